use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::process::{Child, Command};

use crate::{environment, eventually, free_port};

/// A real nats-server with JetStream, on a port and a store of its own. It ends when this value is dropped.
#[derive(Debug)]
pub struct NatsServer {
    port: u16,
    monitor: u16,
    store: PathBuf,
    log: PathBuf,
    settings: String,
    process: Child,
}

impl NatsServer {
    /// Starts a server that keeps its files in `folder`.
    pub async fn start(folder: &Path) -> Self {
        Self::start_with(folder, "nats", "").await
    }

    /// Starts a server with more `settings` that keeps its files in `folder`, under a `name` of its own.
    pub async fn start_with(folder: &Path, name: &str, settings: &str) -> Self {
        Self::start_on(free_port(), folder, name, settings).await
    }

    /// Starts such a server on a port.
    pub(crate) async fn start_on(port: u16, folder: &Path, name: &str, settings: &str) -> Self {
        let monitor = free_port();
        let (store, log) = (folder.join(name), folder.join(format!("{name}.log")));
        let settings = settings.to_owned();
        let process = spawn(port, monitor, &store, &log, &settings);
        let server = Self {
            port,
            monitor,
            store,
            log,
            settings,
            process,
        };
        server.wait().await;
        server
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The URL of its monitoring.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor)
    }

    /// Kills it as a crash would.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("the server can be killed");
    }

    /// Has it read its configuration again.
    pub fn reload(&self) {
        kill_process(self.pid(), Signal::HUP).expect("the server takes signals");
    }

    /// Lets it write nothing any more, as a full disk would, until it is started again.
    pub fn fill_disk(&self) {
        let nothing = Rlimit {
            current: Some(1),
            maximum: None,
        };
        prlimit(Some(self.pid()), Resource::Fsize, nothing).expect("a child can be limited");
    }

    fn pid(&self) -> Pid {
        let id = self.process.id().expect("the server runs");
        Pid::from_raw(i32::try_from(id).expect("a process id")).expect("not zero")
    }

    /// Removes its store, as a lost disk would; it must not run.
    pub fn lose_store(&self) {
        std::fs::remove_dir_all(&self.store).expect("the store can be removed");
    }

    /// Starts it again on the same port and store.
    pub async fn restart(&mut self) {
        self.process = spawn(
            self.port,
            self.monitor,
            &self.store,
            &self.log,
            &self.settings,
        );
        self.wait().await;
    }

    async fn wait(&self) {
        eventually("nats-server accepts connections", async || {
            // It answers once JetStream does, whoever may log in.
            let healthy = reqwest::get(format!("{}/healthz", self.monitor_url())).await;
            let healthy = healthy.and_then(reqwest::Response::error_for_status);
            healthy.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
}

fn spawn(port: u16, monitor: u16, store: &Path, log: &Path, settings: &str) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("the log can be written");
    // The streams reserve their sizes; the server's own limit is what the disk has left, which may be less.
    let config = store.with_extension("conf");
    let host = match settings.contains("host:") {
        true => "",
        false => "host: 127.0.0.1\n",
    };
    let text = format!(
        "jetstream {{ max_file_store: 16GB }}\nhttp: \"127.0.0.1:{monitor}\"\n{host}{settings}\n"
    );
    std::fs::write(&config, text).expect("a writable folder");
    Command::new(environment("ORDERS_TEST_NATS_SERVER"))
        .arg("-c")
        .arg(config)
        .args(["-p", &port.to_string(), "-sd"])
        .arg(store)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("nats-server starts")
}
