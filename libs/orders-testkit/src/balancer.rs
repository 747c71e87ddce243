use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, Command};

use crate::{Host, environment, eventually, free_port};

/// A real haproxy in front of several servers, which sends each request to one that says that it is ready. It ends when
/// this value is dropped.
///
/// It hides nothing: it does not try again elsewhere what a server refuses or breaks off, but answers 502 or 503.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    _process: Child,
}

impl Balancer {
    /// The header of an answer that says which server it is from.
    pub const SERVED_BY: &str = "x-served-by";

    /// Starts one, with its files in `folder`, in front of servers at these ports of this machine.
    pub async fn start(folder: &Path, ports: &[u16]) -> Self {
        let here = Ipv4Addr::LOCALHOST;
        let servers: Vec<_> = ports.iter().map(|port| (here, *port).into()).collect();
        Self::launch(Command::new(haproxy()), folder, here, &servers, "").await
    }

    /// Starts one on a host, as if nothing else ran there, in front of servers at these addresses.
    ///
    /// It cuts the connections to a server that is not ready any more. While none is ready it asks them all the same,
    /// because each knows best what to answer.
    pub async fn start_on(host: &Host, folder: &Path, servers: &[SocketAddr]) -> Self {
        let more: String = servers
            .iter()
            .map(|server| format!("  server {server} {server} no-check backup\n"))
            .collect();
        let more = format!(
            "  option allbackups\n  default-server inter 500ms on-marked-down shutdown-sessions\n{more}"
        );
        let program = host.command(haproxy());
        Self::launch(program, folder, host.address(), servers, &more).await
    }

    async fn launch(
        mut program: Command,
        folder: &Path,
        here: Ipv4Addr,
        servers: &[SocketAddr],
        more: &str,
    ) -> Self {
        let address = SocketAddr::from((here, free_port()));
        let (config, log) = (folder.join("haproxy.cfg"), folder.join("haproxy.log"));
        fs::write(&config, configuration(address, servers, more)).expect("a writable folder");
        let log = File::create(log).expect("a writable folder");
        let process = program
            .arg("-db")
            .arg("-f")
            .arg(config)
            .env("LD_LIBRARY_PATH", unpacked().join("lib"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("haproxy starts");
        let balancer = Self {
            address,
            _process: process,
        };
        for server in servers {
            balancer.serves(server.port()).await;
        }
        balancer
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until it sends requests to the server at this port.
    pub async fn serves(&self, port: u16) {
        let url = format!("{}/livez", self.url());
        let what = format!("haproxy sends requests to port {port}");
        eventually(&what, async || {
            let answer = reqwest::get(&url)
                .await
                .map_err(|error| error.to_string())?;
            let server = answer.headers().get(Self::SERVED_BY).cloned();
            match server {
                Some(server) if server == port.to_string().as_str() => Ok(()),
                other => Err(format!("{} from {other:?}", answer.status())),
            }
        })
        .await;
    }
}

fn unpacked() -> PathBuf {
    environment("ORDERS_TEST_HAPROXY").into()
}

fn haproxy() -> PathBuf {
    unpacked().join("usr/sbin/haproxy")
}

/// A server counts as away after two checks that fail, and as back after two that do not. A slow answer is no failure.
fn configuration(address: SocketAddr, servers: &[SocketAddr], more: &str) -> String {
    let servers = servers
        .iter()
        .map(|server| format!("  server {} {server}\n", server.port()));
    format!(
        "global\n  log stdout format raw local0\n\
         defaults\n  mode http\n  log global\n  option httplog\n  retries 0\n  timeout connect 2s\n  timeout check 5s\n  timeout client 30s\n  \
         timeout server 30s\n  timeout tunnel 1h\n\
         listen servers\n  bind {address}\n  balance roundrobin\n  option httpchk\n  \
         http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host localhost\n  \
         http-response set-header {} %s\n  default-server check inter 100ms fall 2 rise 2\n{more}{}",
        Balancer::SERVED_BY,
        servers.collect::<String>()
    )
}
