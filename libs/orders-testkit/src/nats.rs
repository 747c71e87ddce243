use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, Command};

use crate::{environment, eventually, free_port};

/// A real nats-server with JetStream, on a port and a store of its own. It ends when this value is dropped.
#[derive(Debug)]
pub struct NatsServer {
    port: u16,
    monitor: u16,
    store: PathBuf,
    log: PathBuf,
    process: Child,
}

impl NatsServer {
    /// Starts a server that keeps its files in `folder`.
    pub async fn start(folder: &Path) -> Self {
        let (port, monitor) = (free_port(), free_port());
        let (store, log) = (folder.join("nats"), folder.join("nats.log"));
        let process = spawn(port, monitor, &store, &log);
        let server = Self {
            port,
            monitor,
            store,
            log,
            process,
        };
        server.wait().await;
        server
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The URL of its monitoring.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor)
    }

    /// Kills it as a crash would.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("the server can be killed");
    }

    /// Starts it again on the same port and store.
    pub async fn restart(&mut self) {
        self.process = spawn(self.port, self.monitor, &self.store, &self.log);
        self.wait().await;
    }

    async fn wait(&self) {
        eventually("nats-server accepts connections", async || {
            let client = async_nats::connect(self.url())
                .await
                .map_err(|error| error.to_string())?;
            let account = async_nats::jetstream::new(client).query_account().await;
            account.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
}

fn spawn(port: u16, monitor: u16, store: &Path, log: &Path) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("the log can be written");
    // The streams reserve their sizes; the server's own limit is what the disk has left, which may be less.
    let config = store.with_extension("conf");
    std::fs::write(&config, "jetstream { max_file_store: 16GB }\n").expect("a writable folder");
    Command::new(environment("ORDERS_TEST_NATS_SERVER"))
        .arg("-c")
        .arg(config)
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .args(["-m", &monitor.to_string(), "-sd"])
        .arg(store)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("nats-server starts")
}
