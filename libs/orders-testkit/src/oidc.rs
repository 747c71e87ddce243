use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{LIMIT, checkout, free_port};

/// The password of every user of an [`OidcProvider`].
pub const PASSWORD: &str = "correct horse";

/// A real OpenID provider, npm's oidc-provider, with the users `alice` (of the tenant `t-123`), `bob` (of `t-456`), `carol`
/// (of both) and the operator `olga` (of none), a client with a login, the docs of an edge, and a machine.
#[derive(Debug)]
pub struct OidcProvider {
    settings: PathBuf,
    issuer: String,
    folder: PathBuf,
    process: Child,
}

/// How long what the provider gives is valid.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// An access token.
    pub access: Duration,
    /// A refresh token.
    pub refresh: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access: Duration::from_secs(300),
            refresh: Duration::from_secs(60 * 60),
        }
    }
}

impl OidcProvider {
    /// The client of the pages, and its secret.
    pub const PAGES: (&str, &str) = ("pages", "secret of the pages");
    /// A client for `client_credentials`, of both tenants, and its secret.
    pub const MACHINE: (&str, &str) = ("machine", "secret of the machine");

    /// Starts one for pages, or an edge with its docs, at `home`, a URL without a slash at its end; its files are below `folder`.
    pub async fn start(folder: &Path, home: &str, lifetimes: Lifetimes) -> Self {
        let folder = folder.join("oidc");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let port = free_port();
        let user = |name: &str, tenants: &[&str], operator: bool| json!({ "name": name, "password": PASSWORD, "tenants": tenants, "operator": operator });
        let (pages, secret) = Self::PAGES;
        let (machine, machines_secret) = Self::MACHINE;
        let settings: Value = json!({
            "port": port,
            "lifetimes": { "access": lifetimes.access.as_secs(), "refresh": lifetimes.refresh.as_secs() },
            "clients": [
                { "id": pages, "secret": secret, "home": home },
                { "id": "orders-docs", "redirects": [format!("{home}/docs/assets/oauth2-redirect.html")] },
                {
                    "id": machine,
                    "secret": machines_secret,
                    "tenants": ["t-123", "t-456"],
                    "scopes": ["orders:read", "orders:create", "orders:cancel", "uploads:create"],
                },
            ],
            "users": [
                user("alice", &["t-123"], false),
                user("bob", &["t-456"], false),
                user("carol", &["t-123", "t-456"], false),
                user("olga", &[], true),
            ],
        });
        let file = folder.join("settings.json");
        fs::write(&file, settings.to_string()).expect("a file can be written");
        Self {
            process: spawn(&file).await,
            settings: file,
            issuer: format!("http://127.0.0.1:{port}"),
            folder,
        }
    }

    /// Its URL. As another site than pages at `localhost`, as providers usually are.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The settings of web for logins at this provider by pages at `home`.
    pub fn login(&self, home: &str) -> Vec<(&'static str, String)> {
        let (id, secret) = Self::PAGES;
        let file = |name: &str, text: &str| {
            let file = self.folder.join(name);
            fs::write(&file, text).expect("a file can be written");
            file.to_str().expect("a path in UTF-8").to_owned()
        };
        // 32 zeros in base64.
        let key = format!("{}=\n", "A".repeat(43));
        vec![
            ("ORDERS_OIDC__ISSUER", self.issuer.clone()),
            ("ORDERS_OIDC__CLIENT_ID", id.to_owned()),
            ("ORDERS_OIDC__CLIENT_SECRET_FILE", file("secret", secret)),
            (
                "ORDERS_OIDC__REDIRECT_URL",
                format!("{home}/login/callback"),
            ),
            ("ORDERS_SESSION__KEYS_FILE", file("keys", &key)),
        ]
    }

    /// An access token of the machine.
    pub async fn machine_token(&self) -> String {
        let (id, secret) = Self::MACHINE;
        let scopes = "orders:read orders:create orders:cancel uploads:create";
        let answer = reqwest::Client::new()
            .post(format!("{}/token", self.issuer))
            .basic_auth(id.replace(' ', "+"), Some(secret.replace(' ', "+")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!(
                "grant_type=client_credentials&scope={}",
                scopes.replace(' ', "+")
            ))
            .send()
            .await
            .expect("the provider answers");
        let answer: Value = answer.json().await.expect("JSON");
        let token = answer["access_token"].as_str();
        token
            .unwrap_or_else(|| panic!("no token: {answer}"))
            .to_owned()
    }

    /// Ends it as a crash would.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("it can be killed");
    }

    /// Starts it again. Its keys and all logins are new.
    pub async fn restart(&mut self) {
        self.process = spawn(&self.settings).await;
    }
}

async fn spawn(settings: &Path) -> Child {
    let mut process = Command::new("node")
        .arg(checkout().join("infra/tools/oidc/provider.mjs"))
        .arg(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node starts");
    let output = process.stdout.take().expect("piped");
    let mut lines = BufReader::new(output).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if line.starts_with("ready ") {
                return;
            }
        }
        panic!(
            "the OpenID provider ended, see above; are its packages installed? (cargo xtask test)"
        );
    };
    let ready = tokio::time::timeout(LIMIT, ready).await;
    ready.expect("the OpenID provider starts");
    // What else it says is not to end it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    process
}
