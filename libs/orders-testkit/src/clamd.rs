use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{environment, eventually, free_port};

/// A real clamd that knows one signature, [`INFECTED`](Self::INFECTED), and takes files of up to a megabyte.
#[derive(Debug)]
pub struct Clamd {
    port: u16,
    _process: Child,
}

impl Clamd {
    /// What it takes for malware.
    pub const INFECTED: &str = "orders-pipeline-test-malware";

    /// Starts one with its files below `folder`.
    pub async fn start(folder: &Path) -> Self {
        let folder = folder.join("clamd");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let hex: String = Self::INFECTED.bytes().map(|b| format!("{b:02x}")).collect();
        let signature = format!("Orders.Test:0:*:{hex}\n");
        fs::write(folder.join("test.ndb"), signature).expect("a writable folder");
        let port = free_port();
        let settings = format!(
            "TCPSocket {port}\nTCPAddr 127.0.0.1\nDatabaseDirectory {}\nForeground yes\nStreamMaxLength 1M\n",
            folder.display()
        );
        let file = folder.join("clamd.conf");
        fs::write(&file, settings).expect("a writable folder");
        let log = File::create(folder.join("clamd.log")).expect("a writable folder");
        let unpacked = PathBuf::from(environment("ORDERS_TEST_CLAMD"));
        let process = Command::new(unpacked.join("usr/sbin/clamd"))
            .arg("--config-file")
            .arg(file)
            .env("LD_LIBRARY_PATH", unpacked.join("lib"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("clamd starts");
        let scanner = Self {
            port,
            _process: process,
        };
        eventually("clamd listens", async || {
            let connected = TcpStream::connect(scanner.address()).await;
            connected.map(drop).map_err(|error| error.to_string())
        })
        .await;
        scanner
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
