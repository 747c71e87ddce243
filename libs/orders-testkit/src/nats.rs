use std::{
    fs::File,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::process::{Child, Command};

use crate::{Host, environment, eventually, free_port};

/// A real nats-server with JetStream, on a port and a store of its own. It ends when this value is dropped.
#[derive(Debug)]
pub struct NatsServer {
    pub(crate) launch: Launch,
    process: Child,
}

/// How to start a server, as often as that is needed.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    host: Option<Host>,
    port: u16,
    monitor: u16,
    store: PathBuf,
    log: PathBuf,
    sync: Sync,
    pub(crate) settings: String,
}

/// When a server has what it writes put on the disk for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Every two minutes, which is the server's default.
    Seldom,
    /// Before it acknowledges.
    Always,
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
        let server = Launch::new(port, folder, name, settings).start();
        server.ready().await;
        server
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.launch.url()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.launch.port
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.launch.log).unwrap_or_default()
    }

    /// The URL of its monitoring.
    pub fn monitor_url(&self) -> String {
        format!("http://{}:{}", self.launch.address(), self.launch.monitor)
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
        std::fs::remove_dir_all(&self.launch.store).expect("the store can be removed");
    }

    /// Asks it to stop and waits until it has.
    pub async fn terminate(&mut self) {
        kill_process(self.pid(), Signal::TERM).expect("the server takes signals");
        self.process
            .wait()
            .await
            .expect("the server can be waited for");
    }

    /// Starts it again on the same port and store.
    pub async fn restart(&mut self) {
        self.respawn();
        self.ready().await;
    }

    /// Starts it again as [`restart`](Self::restart) does, without waiting for anything.
    pub fn respawn(&mut self) {
        self.process = self.launch.spawn();
    }

    /// Whether it is healthy: JetStream answers, and all that it keeps is up to date.
    pub async fn health(&self) -> Result<(), String> {
        let healthy = reqwest::get(format!("{}/healthz", self.monitor_url())).await;
        let healthy = healthy.and_then(reqwest::Response::error_for_status);
        healthy.map(drop).map_err(|error| error.to_string())
    }

    /// Waits until it is healthy, whoever may log in.
    pub async fn ready(&self) {
        eventually("nats-server is healthy", async || self.health().await).await;
    }
}

impl Launch {
    pub(crate) fn new(port: u16, folder: &Path, name: &str, settings: &str) -> Self {
        Self {
            host: None,
            port,
            monitor: free_port(),
            store: folder.join(name),
            log: folder.join(format!("{name}.log")),
            sync: Sync::Seldom,
            settings: settings.to_owned(),
        }
    }

    pub(crate) fn on(self, host: Option<&Host>) -> Self {
        Self {
            host: host.cloned(),
            ..self
        }
    }

    pub(crate) fn sync(self, sync: Sync) -> Self {
        Self { sync, ..self }
    }

    /// Starts the server without waiting for anything.
    pub(crate) fn start(self) -> NatsServer {
        NatsServer {
            process: self.spawn(),
            launch: self,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}:{}", self.address(), self.port)
    }

    fn address(&self) -> Ipv4Addr {
        let here = Ipv4Addr::LOCALHOST;
        self.host.as_ref().map_or(here, Host::address)
    }

    fn spawn(&self) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log can be written");
        let config = self.store.with_extension("conf");
        std::fs::write(&config, self.configuration()).expect("a writable folder");
        let program = environment("ORDERS_TEST_NATS_SERVER");
        let mut command = match &self.host {
            None => Command::new(program),
            Some(host) => host.command(program),
        };
        command
            .arg("-c")
            .arg(config)
            .args(["-p", &self.port.to_string(), "-sd"])
            .arg(&self.store)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("nats-server starts")
    }

    fn configuration(&self) -> String {
        let (address, monitor, settings) = (self.address(), self.monitor, &self.settings);
        let sync = match self.sync {
            Sync::Seldom => "",
            Sync::Always => ", sync_interval: always",
        };
        let host = match settings.contains("host:") {
            true => String::new(),
            false => format!("host: {address}\n"),
        };
        // The streams reserve their sizes; the server's own limit is what the disk has left, which may be less.
        format!(
            "jetstream {{ max_file_store: 16GB{sync} }}\nhttp: \"{address}:{monitor}\"\n{host}{settings}\n"
        )
    }
}
