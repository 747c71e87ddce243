use std::{fs::File, path::Path, process::Stdio};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{Certificates, eventually, free_port, tool};

/// A FerretDB of the test's own that asks for a login (SCRAM) and TLS, over the PostgreSQL of the run. It ends when this
/// value is dropped.
#[derive(Debug)]
pub struct FerretDb {
    port: u16,
    _process: Child,
}

impl FerretDb {
    /// Starts it with files in `folder`; `None` if the run uses another database.
    pub async fn start(folder: &Path, certificates: &Certificates) -> Option<Self> {
        let postgres_url = std::env::var("ORDERS_TEST_POSTGRES_URL").ok()?;
        let (plain, port) = (free_port(), free_port());
        let log = File::create(folder.join("ferretdb.log")).expect("the log can be written");
        let option =
            |name: &str, file: &Path| format!("--listen-tls-{name}-file={}", file.display());
        let process = Command::new(tool("ferretdb"))
            .args(["--telemetry=disable", "--log-level=warn", "--debug-addr=-"])
            .arg(format!("--listen-addr=127.0.0.1:{plain}"))
            .arg(format!("--listen-tls=127.0.0.1:{port}"))
            .arg(option("cert", &certificates.server))
            .arg(option("key", &certificates.server_key))
            .arg(format!("--state-dir={}", folder.display()))
            .arg(format!("--postgresql-url={postgres_url}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("ferretdb starts");
        eventually("ferretdb accepts connections", async || {
            TcpStream::connect(("127.0.0.1", port)).await.map(drop)
        })
        .await;
        Some(Self {
            port,
            _process: process,
        })
    }

    /// The port on which it speaks TLS.
    pub fn port(&self) -> u16 {
        self.port
    }
}
