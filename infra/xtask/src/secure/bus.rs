//! NATS in operator mode, over TLS: keys and creds by `orderctl nats`, as in production.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use orders_certificates::Certificates;
use tokio::process::Command;

use super::{provider::TENANTS, set};
use crate::{
    progress,
    stack::{self, Site},
    supervisor::Supervisor,
    workspace::Workspace,
};

pub(super) struct Bus {
    pub(super) orderctl: PathBuf,
    /// The keys and creds.
    folder: PathBuf,
    port: u16,
}

impl Bus {
    pub(super) fn new(workspace: &Workspace, profile: &str, keys: &Path, port: u16) -> Self {
        Self {
            orderctl: workspace.binaries(profile).join("orderctl"),
            folder: keys.join("nats"),
            port,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("tls://localhost:{}", self.port)
    }

    fn creds(&self, role: &str) -> PathBuf {
        self.folder.join(format!("creds/{role}.creds"))
    }

    /// The creds with which a tenant hears of its own orders.
    pub(super) fn tap_creds(&self, tenant: &str) -> PathBuf {
        self.creds(&format!("tap-{tenant}"))
    }

    /// The settings by which a role logs in.
    pub(super) fn settings_of(&self, role: &str, tls: &Certificates) -> Vec<(String, String)> {
        vec![
            set("NATS_URL", self.url()),
            set("ORDERS_NATS__CA_FILE", tls.ca.display()),
            set("ORDERS_NATS__CREDS", self.creds(role).display()),
        ]
    }

    /// Makes the keys and creds, and starts the server.
    pub(super) async fn start(
        &self,
        workspace: &Workspace,
        site: &Site,
        tls: &Certificates,
    ) -> Result<Supervisor> {
        for command in ["init", "creds"] {
            self.orderctl(&[command]).await?;
        }
        for tenant in TENANTS {
            self.orderctl(&["tap", "--tenant", tenant]).await?;
        }
        let config = self.folder.join("server.conf");
        let common = stack::nats_config(workspace);
        let common = fs::read_to_string(&common).context("reading infra/nats/nats.conf")?;
        fs::write(&config, server_config(&common, tls)).context("the settings of NATS")?;
        stack::start_nats(workspace, site, &config, self.port, None).await
    }

    /// Makes streams, consumers and indexes, as the migrator with its `settings`.
    pub(super) async fn migrate(&self, settings: &[(String, String)]) -> Result<()> {
        let mut migrate = Command::new(&self.orderctl);
        migrate.args(["migrate", "--yes"]);
        migrate.envs(settings.iter().cloned());
        progress::run("orderctl migrate", &mut migrate).await
    }

    async fn orderctl(&self, args: &[&str]) -> Result<()> {
        let mut orderctl = Command::new(&self.orderctl);
        orderctl.arg("nats").args(args);
        orderctl.arg("--dir").arg(&self.folder);
        progress::run("making the keys of NATS", &mut orderctl).await
    }
}

/// The settings of a server that takes known users only, by TLS. Its monitoring would ask for no login, so it has none.
fn server_config(common: &str, tls: &Certificates) -> String {
    let common = common.lines().filter(|line| !line.starts_with("http:"));
    let common: Vec<&str> = common.collect();
    let (certificate, key) = (&tls.server, &tls.server_key);
    format!(
        "{}\n\ninclude auth.conf\n\ntls {{\n  cert_file: {certificate:?}\n  key_file: {key:?}\n}}\n",
        common.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_has_no_monitoring_and_nothing_else_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let tls = Certificates::make(folder.path()).unwrap();
        let common = fs::read_to_string(stack::nats_config(&Workspace::here())).unwrap();
        let config = server_config(&common, &tls);
        assert!(!config.contains("\nhttp:"), "{config}");
        for part in [
            "listen: 127.0.0.1",
            "max_file_store",
            "include auth.conf",
            "tls {",
        ] {
            assert!(config.contains(part), "{part} in {config}");
        }
    }
}
