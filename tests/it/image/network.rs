//! A network of a test's own: hosts with names, each a network namespace, joined by a bridge.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{self, Child, Stdio},
};

use orders_testkit::checkout;
use tokio::process::Command;

/// The network, and a namespace of processes: whatever runs here ends with this value, or with the test.
#[derive(Debug)]
pub(super) struct Network(Child);

impl Network {
    /// Makes a host of each name; `folder` gets its files. The error says why this machine cannot.
    pub(super) fn new(folder: &Path, names: &[&str]) -> Result<Self, String> {
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for (number, name) in (2..).zip(names) {
            let _ = writeln!(hosts, "10.96.0.{number} {name}");
        }
        let file = folder.join("hosts");
        fs::write(&file, hosts).expect("a writable folder");
        let log = folder.join("network.log");
        let mut holder = process::Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--mount-proc"])
            .args(["--fork", "--kill-child", "sh"])
            .arg(checkout().join("tests/it/image/network.sh"))
            .arg(&file)
            .args(names)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a writable folder"))
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let mut said = String::new();
        let output = holder.stdout.take().expect("piped");
        let read = BufReader::new(output).read_line(&mut said);
        let network = Self(holder);
        match read {
            Ok(_) if said == "made\n" => Ok(network),
            _ => Err(fs::read_to_string(log).unwrap_or_default()),
        }
    }

    /// A program that runs where the bridge is: it reaches every host by its name.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        for (kind, file) in [
            ("mount", "mnt"),
            ("net", "net"),
            ("pid", "pid_for_children"),
        ] {
            command.arg(format!("--{kind}=/proc/{}/ns/{file}", self.0.id()));
        }
        command.arg("--").arg(program).stdin(Stdio::null());
        command
    }

    /// A program that runs on a host.
    pub(super) fn on(&self, host: &str, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("ip");
        command.args(["netns", "exec", host]).arg(program);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Closes its input, and returns when the last process in it has ended.
        let _ = self.0.wait();
    }
}
