//! `up --secure`: an installation on this machine in which everything asks for a login. All of it is below
//! .orders/secure: data, keys, and what the daemons read.

mod bus;
pub(crate) mod keys;
mod provider;
mod tour;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use orders_certificates::Certificates;

use self::{bus::Bus, keys::Folder, provider::Provider};
use crate::{
    database::{self, Clients, Login},
    stack::Site,
    supervisor::Supervisor,
    tools,
    workspace::Workspace,
};

/// Who logs in to the database; the other daemons do not use it.
const DATABASE_USERS: [&str; 5] = ["edge", "writer", "projector", "migrator", "operator"];

/// Where it listens.
pub(crate) struct Ports {
    pub(crate) nats: u16,
    pub(crate) mongo: u16,
    pub(crate) edge: u16,
    pub(crate) web: u16,
    pub(crate) provider: u16,
}

pub(crate) struct Secure {
    ports: Ports,
    keys: Folder,
    data: PathBuf,
    certificates: Certificates,
    logins: Vec<Login>,
    bus: Bus,
    provider: Provider,
}

impl Secure {
    /// Makes the certificates and passwords. Servers and daemons are started after this, so each run has new ones.
    pub(crate) fn new(workspace: &Workspace, profile: &str, ports: Ports) -> Result<Self> {
        let data = workspace.data().join("secure");
        let keys = Folder::make(data.join("keys"))?;
        let certificates = Certificates::make(&keys.path().join("tls")).context("certificates")?;
        let login = |user| {
            let password = keys::password()?;
            let uri = format!(
                "mongodb://{user}:{password}@localhost:{}/orders?authMechanism=SCRAM-SHA-256&tls=true&tlsCAFile={}",
                ports.mongo,
                in_query(&certificates.ca)
            );
            keys.write(&uri_file(user), &uri)?;
            Ok(Login { user, password })
        };
        let logins = DATABASE_USERS
            .into_iter()
            .map(login)
            .collect::<Result<_>>()?;
        Ok(Self {
            bus: Bus::new(workspace, profile, keys.path(), ports.nats),
            provider: Provider::new(workspace, &keys, &ports)?,
            ports,
            keys,
            data,
            certificates,
            logins,
        })
    }

    /// The folder with its data.
    pub(crate) fn folder(&self) -> &Path {
        &self.data
    }

    /// Gets the programs of the servers.
    pub(crate) async fn fetch(&self, workspace: &Workspace) -> Result<()> {
        tools::servers(workspace).await?;
        database::prepare(workspace, self.clients()).await?;
        self.provider.fetch().await
    }

    fn clients(&self) -> Clients<'_> {
        Clients::Known(&self.logins, &self.certificates)
    }

    /// Starts the servers and prepares them for the daemons, which may not do that themselves.
    pub(crate) async fn start(
        &self,
        workspace: &Workspace,
        site: &Site,
    ) -> Result<Vec<Vec<Supervisor>>> {
        let database = database::start(workspace, site, self.ports.mongo, self.clients()).await?;
        let mut layers = database.layers;
        let nats = self.bus.start(workspace, site, &self.certificates).await?;
        let provider = self.provider.start(site).await?;
        layers[0].extend([nats, provider]);
        self.bus.migrate(&self.logins_of("migrator")).await?;
        Ok(layers)
    }

    /// The settings of a daemon: its logins, and how it knows who calls.
    pub(crate) fn settings_of(&self, daemon: &str) -> Vec<(String, String)> {
        let mut settings = self.logins_of(daemon);
        settings.push(set("ORDERS_AUTO_MIGRATE", false));
        settings.extend(self.provider.settings_of(daemon));
        settings
    }

    /// The settings by which a daemon, the migrator or the operator logs in to NATS and the database.
    fn logins_of(&self, role: &str) -> Vec<(String, String)> {
        let mut settings = self.bus.settings_of(role, &self.certificates);
        if DATABASE_USERS.contains(&role) {
            let file = self.keys.file(&uri_file(role));
            settings.push(set("ORDERS_MONGO__URI_FILE", file.display()));
        }
        settings
    }

    /// The file by which a shell becomes an operator.
    fn operator_file(&self) -> PathBuf {
        self.keys.file("operator.env")
    }

    /// Writes that file; the operator has also the settings of `uploads`.
    pub(crate) fn write_operator_file(&self, uploads: Vec<(String, String)>) -> Result<()> {
        let line = |(name, value): (String, String)| format!("export {name}='{value}'\n");
        let pages = set("WEB_URL", format!("http://localhost:{}", self.ports.web));
        let logins = self.logins_of("operator").into_iter();
        let settings = logins.chain(uploads).chain([pages]);
        let lines: String = settings.map(line).collect();
        self.keys.write("operator.env", &lines).map(drop)
    }
}

/// The file with the URL of the database for a user.
fn uri_file(user: &str) -> String {
    format!("mongo-{user}.uri")
}

/// A path as a value in a URL's query.
fn in_query(path: &Path) -> String {
    let escape = |byte: u8| match byte {
        b'/' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .copied()
        .map(escape)
        .collect()
}

fn set(name: &str, value: impl std::fmt::Display) -> (String, String) {
    (name.to_owned(), value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_a_query() {
        assert_eq!(in_query(Path::new("/a/b-1.pem")), "/a/b-1.pem");
        assert_eq!(
            in_query(Path::new("/my files/ä&b")),
            "/my%20files/%C3%A4%26b"
        );
    }
}
