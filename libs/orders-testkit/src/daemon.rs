use std::{
    collections::BTreeMap,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net::TcpSocket,
    process::{Child, Command},
};

use crate::{Guard, Host, LIMIT, environment, eventually, free_port};

/// Runs a program with standard input as its one socket, by the protocol of systemd. The process is that of the shell.
const PASS: &str = r#"exec env LISTEN_FDS=1 LISTEN_PID=$$ "$0" 3<&0 </dev/null"#;

/// A daemon and its environment before it is started.
#[derive(Debug, Clone)]
pub struct Setup {
    name: &'static str,
    programs: PathBuf,
    port: u16,
    log: PathBuf,
    environment: BTreeMap<String, String>,
    guard: Option<Arc<Guard>>,
    socket: Option<Arc<TcpListener>>,
    host: Option<Host>,
}

impl Setup {
    /// A daemon that logs to a file in `folder`.
    pub fn new(name: &'static str, folder: &Path) -> Self {
        let port = free_port();
        Self {
            name,
            programs: environment("ORDERS_TEST_BIN_DIR").into(),
            port,
            log: folder.join(format!("{name}-{port}.log")),
            environment: BTreeMap::new(),
            guard: None,
            socket: None,
            host: None,
        }
    }

    /// Has the streams declared as it expects them, before each start.
    #[must_use]
    pub(crate) fn guarded(mut self, guard: Arc<Guard>) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Runs the program of that folder instead of this checkout's.
    #[must_use]
    pub fn programs(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.programs);
        self
    }

    /// Runs it on a host.
    #[must_use]
    pub fn on(mut self, host: &Host) -> Self {
        self.host = Some(host.clone());
        self.env("ORDERS_HOST", &host.address().to_string())
            .env("ORDERS_AUTH__ALLOW_OFF", "true")
    }

    /// Listens for it from now on, as systemd does: connections wait while it does not run.
    #[must_use]
    pub fn activated(mut self) -> Self {
        let address = ([127, 0, 0, 1], self.port).into();
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(address).expect("a free port");
        // A longer queue than that of `TcpListener`, as systemd's is.
        let listener = socket.listen(4096).and_then(|listener| listener.into_std());
        self.socket = Some(Arc::new(listener.expect("a listener")));
        self
    }

    /// The URL at which it will listen: `http://127.0.0.1:PORT`, unless it runs on a host.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The address at which it will listen.
    pub fn address(&self) -> SocketAddr {
        let here = Ipv4Addr::LOCALHOST;
        let address = self.host.as_ref().map_or(here, Host::address);
        (address, self.port).into()
    }

    /// Starts it without waiting for anything.
    pub fn spawn(self) -> Daemon {
        let process = self.start_process();
        Daemon {
            setup: self,
            process,
        }
    }

    /// Starts it and waits until it is ready.
    pub async fn start(self) -> Daemon {
        let daemon = self.spawn();
        daemon.ready().await;
        daemon
    }

    fn start_process(&self) -> Child {
        if let Some(guard) = &self.guard {
            guard.migrate(&self.environment);
        }
        let program = self.programs.join(self.name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log can be written");
        let mut command = match (&self.socket, &self.host) {
            (None, host) => {
                let mut command = match host {
                    None => Command::new(&program),
                    Some(host) => host.command(&program),
                };
                command.stdin(Stdio::null());
                command
            }
            (Some(socket), _) => {
                let socket = socket.try_clone().expect("a file handle");
                let mut command = Command::new("sh");
                command.args(["-c", PASS]).arg(&program);
                command.stdin(OwnedFd::from(socket));
                command
            }
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PORT", self.port.to_string())
            .envs(&self.environment)
            .stdout(log.try_clone().expect("a file handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}: {error}: run `cargo xtask test`", program.display())
            })
    }
}

/// A daemon that runs as a process of its own, which ends when this value is dropped.
#[derive(Debug)]
pub struct Daemon {
    setup: Setup,
    process: Child,
}

impl Daemon {
    /// The URL at which it listens.
    pub fn url(&self) -> String {
        self.setup.url()
    }

    /// The URL at which it listens.
    pub fn port(&self) -> u16 {
        self.setup.port
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.setup.name
    }

    /// Its exit status, if it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.process
            .try_wait()
            .expect("the daemon can be waited for")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id().expect("the daemon runs")
    }

    /// Its peak resident memory in KiB.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(path).expect("the daemon runs");
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        peak.expect("Linux tells it").parse().expect("a number")
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.setup.log).unwrap_or_default()
    }

    /// Waits until it says that it is not ready, because of `reason`.
    pub async fn unready(&self, reason: &str) {
        let url = format!("{}/readyz?verbose", self.url());
        let what = format!("{} is not ready: {reason}", self.setup.name);
        eventually(&what, async || {
            let answer = reqwest::get(&url)
                .await
                .map_err(|error| error.to_string())?;
            let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
            match status.as_u16() {
                503 if text.contains(reason) => Ok(()),
                _ => Err(text),
            }
        })
        .await;
    }

    /// Waits until it says that it is ready.
    pub async fn ready(&self) {
        let url = format!("{}/readyz?verbose", self.url());
        eventually(&format!("{} is ready", self.setup.name), async || {
            let answer = reqwest::get(&url)
                .await
                .map_err(|error| error.to_string())?;
            let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
            if status.is_success() {
                Ok(())
            } else {
                Err(text)
            }
        })
        .await;
    }

    /// Kills it as a crash would.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("the daemon can be killed");
    }

    /// Asks it to stop and waits until it has.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.process
            .wait()
            .await
            .expect("the daemon can be waited for")
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(LIMIT, self.process.wait())
            .await
            .unwrap_or_else(|_| panic!("{} did not end within {LIMIT:?}", self.setup.name))
            .expect("the daemon can be waited for")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.id()).expect("a process id")).expect("not zero");
        kill_process(pid, signal).expect("the daemon takes signals");
    }

    /// Starts it again, with `change` made to its setup, on the same port, and waits until it is ready.
    pub async fn restart(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.respawn(change);
        self.ready().await;
    }

    /// Starts it again as [`restart`](Self::restart) does, without waiting for anything.
    pub fn respawn(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.setup = change(self.setup.clone());
        self.process = self.setup.start_process();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let tail: String = tail
                .into_iter()
                .rev()
                .map(|line| format!("  {line}\n"))
                .collect();
            eprintln!(
                "--- {} at {}, the end of its log:\n{tail}",
                self.setup.name,
                self.url()
            );
        }
    }
}
