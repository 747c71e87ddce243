//! infra/nats/secure.conf: three NATS servers, each with its certificate, form a cluster that no other server joins.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use orders_testkit::{Certificates, Stack, checkout, eventually, free_port};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::orderctl::{Said, orderctl};

/// Ports of a server.
struct Ports {
    clients: u16,
    routes: u16,
    monitor: u16,
}

/// A server with that configuration; only its place on this machine differs.
struct Server {
    name: &'static str,
    ports: Ports,
    log: PathBuf,
    _process: Child,
}

impl Server {
    /// Starts one whose certificates are in `tls`; `keys` are those of the stack.
    fn start(name: &'static str, ports: Ports, routes: &str, keys: &Path, tls: &Path) -> Self {
        let text = fs::read_to_string(checkout().join("infra/nats/secure.conf")).unwrap();
        let text = text.replace("/etc/nats/tls", tls.to_str().unwrap());
        // Beside auth.conf.
        let config = keys.join(format!("{name}.conf"));
        fs::write(&config, text).unwrap();
        let log = keys.join(format!("{name}.log"));
        let own = format!("nats://127.0.0.1:{}", ports.routes);
        let program = std::env::var("ORDERS_TEST_NATS_SERVER").expect("run `cargo xtask test`");
        let process = Command::new(program)
            .arg("--config")
            .arg(config)
            .args(["--name", name, "--addr", "127.0.0.1"])
            .args(["--port", &ports.clients.to_string()])
            .args(["--http_port", &ports.monitor.to_string()])
            .args(["--cluster_listen", &own, "--routes", routes])
            .arg("--store_dir")
            .arg(keys.join(name))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            name,
            ports,
            log,
            _process: process,
        }
    }

    async fn monitoring(&self, page: &str) -> Result<Value, reqwest::Error> {
        let url = format!("http://127.0.0.1:{}/{page}", self.ports.monitor);
        let answer = reqwest::get(url).await?.error_for_status()?;
        answer.json().await
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

#[tokio::test]
async fn servers_with_certificates_form_a_cluster_that_no_other_joins() {
    let stack = Stack::guarded("").await;
    let creds = stack.guard.as_ref().unwrap().creds("migrator");
    let keys = creds.parent().unwrap().parent().unwrap();
    let tls = keys.join("tls");
    let certificates = Certificates::make(&tls).unwrap();
    let members = ["nats-1", "nats-2", "nats-3"].map(|name| (name, ports()));
    let routes = members.each_ref();
    let routes = routes.map(|(_, ports)| format!("nats://127.0.0.1:{}", ports.routes));
    let routes = routes.join(",");
    let members = members.map(|(name, ports)| Server::start(name, ports, &routes, keys, &tls));
    for server in &members {
        eventually(&format!("{} is healthy", server.name), async || {
            let health = server.monitoring("healthz").await;
            health.map_err(|error| format!("{error}\n{}", server.log()))
        })
        .await;
    }

    // Each keeps a copy of what a client makes that has a login.
    let urls = members.each_ref();
    let urls = urls.map(|server| format!("tls://127.0.0.1:{}", server.ports.clients));
    let mut migrate = orderctl(&stack, &["migrate", "--yes"]);
    migrate
        .env("NATS_URL", urls.join(","))
        .env("ORDERS_NATS__CA_FILE", &certificates.ca)
        .env("ORDERS_STREAMS__REPLICAS", "3");
    let migrated = Said::of(migrate.output().await.unwrap()).expect(0).text;
    assert!(migrated.contains("ORDERS_COMMANDS: created"), "{migrated}");

    let elsewhere = keys.join("tls of another authority");
    Certificates::make(&elsewhere).unwrap();
    let stranger = Server::start("stranger", ports(), &routes, keys, &elsewhere);
    for server in members.iter().chain([&stranger]) {
        eventually("it is refused", async || match server.log() {
            log if log.contains("TLS route handshake error") => Ok(()),
            log => Err(log),
        })
        .await;
    }
    let known = members.each_ref().map(|server| server.name);
    for server in &members {
        let routes = server.monitoring("routez").await.unwrap();
        let routes = routes["routes"].as_array().unwrap();
        assert!(!routes.is_empty());
        for route in routes {
            let name = route["remote_name"].as_str().unwrap();
            assert!(known.contains(&name), "{name}");
        }
    }
    stack.clean_up().await;
}

fn ports() -> Ports {
    Ports {
        clients: free_port(),
        routes: free_port(),
        monitor: free_port(),
    }
}
