use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{Certificates, Host, eventually, free_port, tool};

/// A FerretDB of the test's own, over the PostgreSQL of the run. It ends when this value is dropped.
#[derive(Debug)]
pub struct FerretDb {
    address: SocketAddr,
    _process: Child,
}

impl FerretDb {
    /// Starts one with files in `folder` that asks for a login (SCRAM) and TLS; `None` if the run uses another database.
    pub async fn start(folder: &Path, certificates: &Certificates) -> Option<Self> {
        let (plain, port) = (free_port(), free_port());
        let option =
            |name: &str, file: &Path| format!("--listen-tls-{name}-file={}", file.display());
        let doors = [
            format!("--listen-addr=127.0.0.1:{plain}"),
            format!("--listen-tls=127.0.0.1:{port}"),
            option("cert", &certificates.server),
            option("key", &certificates.server_key),
        ];
        let program = Command::new(tool("ferretdb"));
        Self::launch(program, folder, &doors, (Ipv4Addr::LOCALHOST, port).into()).await
    }

    /// Starts one on a host, with files in `folder`, that lets everybody in; `None` if the run uses another database.
    pub async fn start_on(host: &Host, folder: &Path) -> Option<Self> {
        let address = (host.address(), 27017).into();
        let doors = ["--no-auth".into(), format!("--listen-addr={address}")];
        Self::launch(host.command(tool("ferretdb")), folder, &doors, address).await
    }

    async fn launch(
        mut program: Command,
        folder: &Path,
        doors: &[String],
        address: SocketAddr,
    ) -> Option<Self> {
        let postgres_url = std::env::var("ORDERS_TEST_POSTGRES_URL").ok()?;
        let log = File::create(folder.join("ferretdb.log")).expect("the log can be written");
        let process = program
            .args(["--telemetry=disable", "--log-level=warn", "--debug-addr=-"])
            .args(doors)
            .arg(format!("--state-dir={}", folder.display()))
            .arg(format!("--postgresql-url={postgres_url}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("ferretdb starts");
        eventually("ferretdb accepts connections", async || {
            TcpStream::connect(address).await.map(drop)
        })
        .await;
        Some(Self {
            address,
            _process: process,
        })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
