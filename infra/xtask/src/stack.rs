//! The servers that the daemons use: NATS, and a database that speaks MongoDB's protocol.

use std::{
    env,
    ffi::OsString,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    net::TcpStream,
    process::Command,
    time::{self, Instant},
};

use crate::{
    console::Console,
    process::{Launch, Output, Running},
    progress,
    supervisor::Supervisor,
    tools,
    workspace::{Workspace, on_path},
};

/// The place where servers keep their data and logs.
pub(crate) struct Site {
    pub(crate) data: PathBuf,
    /// Process records, for a site that outlives its run.
    pub(crate) records: Option<PathBuf>,
    /// Whether data must survive a crash of the machine; that of a test need not.
    pub(crate) durable: bool,
    pub(crate) console: Console,
}

impl Site {
    /// A site for one run.
    pub(crate) fn temporary(folder: &Path, durable: bool, console: Console) -> Self {
        Self {
            data: folder.to_owned(),
            records: None,
            durable,
            console,
        }
    }

    pub(crate) fn log_file(&self, name: &str) -> PathBuf {
        self.data.join("log").join(format!("{name}.log"))
    }

    /// A server that logs into a file of its own, emptied at each start.
    pub(crate) fn server(&self, name: &str, program: impl Into<PathBuf>) -> Result<Launch> {
        let file = self.log_file(name);
        fs::create_dir_all(self.data.join("log"))?;
        fs::write(&file, "")?;
        let mut launch = Launch::new(name, program, &self.data, Output::File(file));
        launch.records.clone_from(&self.records);
        Ok(launch)
    }

    /// Waits until a server that was just started accepts connections.
    pub(crate) async fn accepts(&self, name: &str, port: u16, server: &mut Running) -> Result<()> {
        let address = local(port);
        self.ready(name, server, async || {
            TcpStream::connect(address).await.is_ok()
        })
        .await
    }

    /// Waits until a server that was just started is ready; the error says why it is not.
    pub(crate) async fn ready(
        &self,
        name: &str,
        server: &mut Running,
        is_ready: impl AsyncFn() -> bool,
    ) -> Result<()> {
        const DEADLINE: Duration = Duration::from_secs(60);
        let polled = async {
            while !is_ready().await {
                time::sleep(Duration::from_millis(50)).await;
            }
        };
        let what = format!("starting {name}");
        let why = tokio::select! {
            () = progress::step(&what, polled) => return Ok(()),
            ended = server.wait() => format!("ended ({})", ended?),
            () = time::sleep(DEADLINE) => format!("is not ready after {} s", DEADLINE.as_secs()),
        };
        let said = fs::read_to_string(self.log_file(name)).unwrap_or_default();
        bail!("{name} {why}; it said:\n{}", progress::last_lines(&said));
    }
}

/// The settings of NATS on one machine.
pub(crate) fn nats_config(workspace: &Workspace) -> PathBuf {
    workspace.root().join("infra/nats/nats.conf")
}

/// Starts NATS with JetStream; `monitor` is the port of its HTTP monitoring.
pub(crate) async fn start_nats(
    workspace: &Workspace,
    site: &Site,
    config: &Path,
    port: u16,
    monitor: Option<u16>,
) -> Result<Supervisor> {
    let store = site.data.join("nats");
    fs::create_dir_all(&store)?;
    let mut launch = site
        .server("nats-server", nats_server(workspace).await?)?
        .args::<OsString>([
            "--config".into(),
            config.into(),
            "--store_dir".into(),
            store.into(),
            "--port".into(),
            port.to_string().into(),
        ]);
    if let Some(monitor) = monitor {
        launch = launch.args(["--http_port".to_owned(), monitor.to_string()]);
    }
    // It shares the cores with the database and all daemons: if it used every core at once, most of its threads would
    // wake up for nothing.
    launch.env.extend(nats_cores());
    let mut server = launch.start()?;
    site.accepts("nats-server", port, &mut server).await?;
    let mut supervisor = Supervisor::new(site.console);
    supervisor.keep(launch, server);
    Ok(supervisor)
}

/// The variable that says how many cores nats-server uses, unless it is set already.
pub(crate) fn nats_cores() -> Option<(String, String)> {
    if env::var_os("GOMAXPROCS").is_some() {
        return None;
    }
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    Some(("GOMAXPROCS".to_owned(), cores.to_string()))
}

/// The one on the PATH if it is new enough, else ours.
pub(crate) async fn nats_server(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(found) = on_path("nats-server") {
        let version = Command::new(&found)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .await;
        if version.is_ok_and(|output| new_enough(&String::from_utf8_lossy(&output.stdout))) {
            return Ok(found);
        }
    }
    Ok(tools::servers(workspace).await?.join("nats-server"))
}

fn new_enough(version: &str) -> bool {
    let number = version.rsplit_once('v').map_or("", |(_, number)| number);
    let mut parts = number
        .trim()
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or_default());
    // The first version in which CVE-2026-33222 and CVE-2026-33248 are fixed.
    (parts.next(), parts.next(), parts.next()) >= (Some(2), Some(12), Some(6))
}

pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A server that the developer named by URL.
pub(crate) struct Given {
    pub(crate) url: String,
    pub(crate) port: u16,
    answers: bool,
    local: bool,
}

impl Given {
    /// Checks whether the first host answers.
    pub(crate) async fn probe(url: String, default_port: u16) -> Result<Self> {
        let (host, port) =
            authority(&url, default_port).with_context(|| format!("no host in {url}"))?;
        let addresses: Vec<_> = match (host, port).to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(_) => Vec::new(), // such as an SRV name of mongodb+srv: the daemons will see
        };
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut answers = addresses.is_empty();
        for address in &addresses {
            answers |= time::timeout_at(deadline, TcpStream::connect(address))
                .await
                .is_ok_and(|connected| connected.is_ok());
        }
        let local = addresses
            .iter()
            .map(SocketAddr::ip)
            .any(|ip: IpAddr| ip.is_loopback());
        Ok(Self {
            port,
            answers,
            local,
            url,
        })
    }

    /// Whether we should start it: it belongs on this machine and does not run.
    pub(crate) fn is_ours_to_start(&self) -> bool {
        self.local && !self.answers
    }

    pub(crate) fn require_answer(&self, key: &str) -> Result<()> {
        if !self.answers {
            bail!("nothing answers at {key}={}", redacted(&self.url));
        }
        Ok(())
    }
}

/// Host and port of a URL's first host.
fn authority(url: &str, default_port: u16) -> Option<(&str, u16)> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next()?;
    let hosts = authority
        .rsplit_once('@')
        .map_or(authority, |(_, hosts)| hosts);
    let first = hosts.split(',').next().filter(|host| !host.is_empty())?;
    match first.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            Some((host.trim_matches(['[', ']']), port.parse().ok()?))
        }
        _ => Some((first.trim_matches(['[', ']']), default_port)),
    }
}

/// A URL without its password.
pub(crate) fn redacted(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://***{}", &url[..scheme], &url[at..])
        }
        _ => url.to_owned(),
    }
}

/// Waits until the daemons on these ports are ready.
pub(crate) async fn all_ready(ports: &[u16]) {
    for port in ports {
        while http_status(*port, "/readyz").await != Some(200) {
            time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// The status of an HTTP answer, if there is one.
async fn http_status(port: u16, path: &str) -> Option<u16> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(local(port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.ok()?;
    std::str::from_utf8(&head[9..]).ok()?.parse().ok()
}

/// A folder that goes away with the run.
pub(crate) fn temporary() -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix("orders-")
        .tempdir()
        .context("making a temporary folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_a_port() {
        assert_eq!(
            authority("nats://localhost", 4222),
            Some(("localhost", 4222))
        );
        assert_eq!(
            authority("mongodb://u:p@a:1,b:2/orders?x=y", 27017),
            Some(("a", 1))
        );
        assert_eq!(
            authority("127.0.0.1:14222", 4222),
            Some(("127.0.0.1", 14222))
        );
        assert_eq!(authority("nats://[::1]", 4222), Some(("::1", 4222)));
        assert_eq!(authority("nats://[::1]:5", 4222), Some(("::1", 5)));
        assert_eq!(authority("mongodb:///orders", 27017), None);
        assert_eq!(redacted("mongodb://u:p@a/orders"), "mongodb://***@a/orders");
    }

    #[test]
    fn an_old_nats_server_is_not_used() {
        assert!(new_enough("nats-server: v2.12.6\n"));
        assert!(new_enough("nats-server: v2.13.0"));
        assert!(new_enough("nats-server: v3.0.1"));
        assert!(!new_enough("nats-server: v2.9.25"));
        assert!(!new_enough("nats-server: v2.12.5"));
        assert!(!new_enough(""));
    }
}
