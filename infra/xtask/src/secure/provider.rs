//! The OpenID provider: users to try, a client for the pages and one for the programs of each tenant.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Ports,
    keys::{self, Folder},
    set,
};
use crate::{stack::Site, supervisor::Supervisor, tools, workspace::Workspace};

/// The tenants that there are users and programs of.
pub(super) const TENANTS: [&str; 2] = ["t-123", "t-456"];
/// Users: their names, their tenants, and whether they are operators.
const USERS: [(&str, &[&str], bool); 4] = [
    ("alice", &["t-123"], false),
    ("bob", &["t-456"], false),
    ("carol", &["t-123", "t-456"], false),
    ("olga", &[], true),
];
/// What a program may do.
const SCOPES: [&str; 4] = [
    "orders:read",
    "orders:create",
    "orders:cancel",
    "uploads:create",
];
/// The daemon of the pages, and its id at the provider.
const PAGES_DAEMON: &str = "web";
const PAGES: &str = "pages";

/// A user who can log in.
pub(super) struct User {
    pub(super) name: &'static str,
    pub(super) password: String,
    pub(super) tenants: &'static [&'static str],
    pub(super) is_operator: bool,
}

/// A program of a tenant.
pub(super) struct Machine {
    pub(super) tenant: &'static str,
    pub(super) secret: String,
}

pub(super) struct Provider {
    /// The folder of the program.
    program: PathBuf,
    settings: PathBuf,
    pages_secret: PathBuf,
    session_keys: PathBuf,
    /// The URL of the pages.
    pages: String,
    port: u16,
    pub(super) issuer: String,
    pub(super) users: Vec<User>,
    pub(super) machines: Vec<Machine>,
}

impl Provider {
    /// Makes passwords and secrets, which stay the same in later runs: somebody may have kept them.
    pub(super) fn new(workspace: &Workspace, keys: &Folder, ports: &Ports) -> Result<Self> {
        let secret = |name: &str| keys.read_or(name, keys::password);
        let user = |(name, tenants, is_operator)| {
            let password = secret(&format!("user-{name}"))?;
            Ok(User {
                name,
                password,
                tenants,
                is_operator,
            })
        };
        let machine = |tenant| {
            let secret = secret(&format!("machine-{tenant}"))?;
            Ok(Machine { tenant, secret })
        };
        let pages = secret("pages")?;
        keys.read_or("session", keys::base64)?;
        let users: Vec<User> = USERS.into_iter().map(user).collect::<Result<_>>()?;
        let machines: Vec<Machine> = TENANTS.into_iter().map(machine).collect::<Result<_>>()?;
        let issuer = format!("http://localhost:{}", ports.provider);
        let settings = json!({
            "port": ports.provider,
            "issuer": &issuer,
            "clients": clients(&pages, &machines, ports),
            "users": users.iter().map(User::describe).collect::<Value>(),
        });
        Ok(Self {
            program: workspace.root().join("infra/tools/oidc"),
            settings: keys.write("provider.json", &settings.to_string())?,
            pages_secret: keys.file("pages"),
            session_keys: keys.file("session"),
            pages: pages_url(ports),
            port: ports.provider,
            issuer,
            users,
            machines,
        })
    }

    /// Gets the program.
    pub(super) async fn fetch(&self) -> Result<()> {
        tools::node_modules(&self.program).await
    }

    pub(super) async fn start(&self, site: &Site) -> Result<Supervisor> {
        let args = [self.program.join("provider.mjs"), self.settings.clone()];
        let launch = site.server("provider", "node")?.args(args);
        let mut server = launch.start()?;
        site.accepts("provider", self.port, &mut server).await?;
        let mut supervisor = Supervisor::new(site.console);
        supervisor.keep(launch, server);
        Ok(supervisor)
    }

    /// The settings by which a daemon knows who calls, and the pages let users log in.
    pub(super) fn settings_of(&self, daemon: &str) -> Vec<(String, String)> {
        let mut settings = vec![set("ORDERS_AUTH__MODE", "jwt")];
        if ["edge", "realtime", PAGES_DAEMON].contains(&daemon) {
            settings.push(set("ORDERS_AUTH__ISSUER", &self.issuer));
        }
        if daemon == PAGES_DAEMON {
            let redirect = format!("{}/login/callback", self.pages);
            settings.extend([
                set("ORDERS_OIDC__ISSUER", &self.issuer),
                set("ORDERS_OIDC__CLIENT_ID", PAGES),
                set(
                    "ORDERS_OIDC__CLIENT_SECRET_FILE",
                    self.pages_secret.display(),
                ),
                set("ORDERS_OIDC__REDIRECT_URL", redirect),
                set("ORDERS_OIDC__SCOPES", pages_scopes()),
                set("ORDERS_SESSION__KEYS_FILE", self.session_keys.display()),
            ]);
        }
        settings
    }
}

impl User {
    fn describe(&self) -> Value {
        json!({
            "name": self.name, "password": self.password, "tenants": self.tenants, "operator": self.is_operator,
        })
    }
}

/// What the pages ask the provider for. It grants the operators' scope to operators alone.
fn pages_scopes() -> String {
    format!(
        "openid profile offline_access {} orders:operator",
        SCOPES.join(" ")
    )
}

fn pages_url(ports: &Ports) -> String {
    format!("http://localhost:{}", ports.web)
}

/// The pages, the documentation of the API, and the programs.
fn clients(pages_secret: &str, machines: &[Machine], ports: &Ports) -> Value {
    let pages = json!({ "id": PAGES, "secret": pages_secret, "home": pages_url(ports) });
    let docs = format!(
        "http://localhost:{}/docs/assets/oauth2-redirect.html",
        ports.edge
    );
    let docs = json!({ "id": "orders-docs", "redirects": [docs] });
    let machine = |Machine { tenant, secret }: &Machine| json!({ "id": tenant, "secret": secret, "tenants": [tenant], "scopes": SCOPES });
    [pages, docs]
        .into_iter()
        .chain(machines.iter().map(machine))
        .collect()
}
