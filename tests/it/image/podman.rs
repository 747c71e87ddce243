//! The image and its containers, by buildah and podman, in a storage of their own.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use orders_testkit::checkout;
use serde_json::Value;
use tokio::process::Command;

use super::{compose::Service, network::Network};

/// Podman on a network.
#[derive(Debug)]
pub(super) struct Podman<'a> {
    network: &'a Network,
    folder: PathBuf,
}

impl<'a> Podman<'a> {
    /// Keeps images and containers in `folder`. The error says why this machine cannot.
    pub(super) async fn new(network: &'a Network, folder: &Path) -> Result<Self, String> {
        let graph = folder.join("containers");
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"/run/containers\"\n",
            graph.display()
        );
        fs::write(folder.join("storage.conf"), storage).expect("a writable folder");
        let podman = Self {
            network,
            folder: folder.to_owned(),
        };
        let info = podman.podman(&["info"]).output().await;
        let info = info.map_err(|error| error.to_string())?;
        match info.status.success() {
            true => Ok(podman),
            false => Err(text(&info.stderr)),
        }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.network.command(program);
        command
            .env("CONTAINERS_STORAGE_CONF", self.folder.join("storage.conf"))
            .env("TMPDIR", &self.folder);
        command
    }

    fn podman(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("podman");
        command
            .args(["--runtime=crun", "--cgroup-manager=cgroupfs"])
            .args(["--events-backend=none"])
            .args(arguments);
        command
    }

    /// What podman prints; it must succeed.
    async fn asked(&self, arguments: &[&str]) -> String {
        succeed(&mut self.podman(arguments)).await
    }

    /// Builds the image from the programs in `binaries` and Debian's `packages`, and returns its id.
    pub(super) async fn build(&self, binaries: &Path, packages: &Path) -> String {
        let mut build = self.command(checkout().join("infra/image/build.sh"));
        build
            .args([binaries, packages])
            .env("SOURCE_DATE_EPOCH", "1700000000");
        succeed(&mut build).await.trim().to_owned()
    }

    /// What the image says of itself.
    pub(super) async fn image(&self, name: &str) -> Value {
        let text = self.asked(&["image", "inspect", name]).await;
        let found: Value = serde_json::from_str(&text).expect("JSON");
        found[0].clone()
    }

    /// The programs in the image, by path; libraries are none.
    pub(super) async fn programs(&self, image: &str) -> BTreeSet<String> {
        let root = self.asked(&["image", "mount", image]).await;
        let mut find = self.command("find");
        find.args([root.trim(), "-type", "f", "-perm", "/111"]);
        find.args(["!", "-name", "*.so*", "-printf", "/%P\\n"]);
        let found = succeed(&mut find).await;
        found.lines().map(str::to_owned).collect()
    }

    /// Starts a container as the file says of `service`, with other `environment`, on the host of its name.
    pub(super) async fn start(&self, name: &str, service: &Service, environment: &[(&str, &str)]) {
        let mut run = self.podman(&["run", "--detach", "--name", name]);
        run.arg(format!("--network=ns:/run/netns/{name}"));
        run.arg(format!("--log-opt=path={}", self.log(name).display()));
        // This machine's limits: whoever makes no cgroups needs no right to, and a filter of system calls needs a kernel
        // that has it.
        run.args(["--cgroups=disabled", "--security-opt=seccomp=unconfined"]);
        if service.read_only {
            run.args(["--read-only", "--read-only-tmpfs=false"]);
        }
        for capability in &service.cap_drop {
            run.arg(format!("--cap-drop={capability}"));
        }
        for option in &service.security_opt {
            run.arg(format!("--security-opt={option}"));
        }
        for (variable, value) in &service.environment {
            run.arg(format!(
                "--env={variable}={}",
                value.as_deref().unwrap_or_default()
            ));
        }
        for (variable, value) in environment {
            run.arg(format!("--env={variable}={value}"));
        }
        run.arg(&service.image);
        run.args(service.command.iter().flatten());
        succeed(&mut run).await;
    }

    /// Whether the command of `service` in its container says that it is healthy; the error is what it says instead.
    pub(super) async fn health(&self, name: &str, service: &Service) -> Result<(), String> {
        let mut exec = self.podman(&["exec", name]);
        let said = exec.args(service.health_command()).output().await.unwrap();
        match said.status.success() {
            true => Ok(()),
            false => Err(text(&said.stderr)),
        }
    }

    /// What a command in a container prints; it must succeed.
    pub(super) async fn run_in(&self, name: &str, command: &[&str]) -> String {
        self.asked(&[&["exec", name], command].concat()).await
    }

    /// A line of `/proc/PID/status` of a container's process.
    pub(super) async fn status(&self, name: &str, line: &str) -> String {
        let status = self.process(name, "status").await;
        let value = status
            .lines()
            .find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
        value.expect("Linux tells it").trim().to_owned()
    }

    /// Where a container could write, if it had the rights.
    pub(super) async fn writable(&self, name: &str) -> Vec<String> {
        let mounts = self.process(name, "mounts").await;
        let writable = mounts.lines().filter_map(|mount| {
            let mut fields = mount.split(' ').skip(1);
            let (place, options) = (fields.next()?, fields.nth(1)?);
            options.starts_with("rw").then(|| place.to_owned())
        });
        writable.collect()
    }

    /// A file below `/proc/PID` of a container's process.
    async fn process(&self, name: &str, file: &str) -> String {
        let process = self
            .asked(&["inspect", "--format={{.State.Pid}}", name])
            .await;
        let mut read = self.command("cat");
        read.arg(format!("/proc/{}/{file}", process.trim()));
        succeed(&mut read).await
    }

    /// Stops a container as the file says, and returns the exit code.
    pub(super) async fn stop(&self, name: &str, service: &Service) -> i32 {
        let patience = service.stop_grace_period.trim_end_matches('s');
        self.asked(&["stop", "--time", patience, name]).await;
        let question = ["inspect", "--format={{.State.ExitCode}}", name];
        let code = self.asked(&question).await;
        code.trim().parse().expect("a number")
    }

    /// Everything that a container has logged.
    pub(super) fn logged(&self, name: &str) -> String {
        fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }
}

async fn succeed(command: &mut Command) -> String {
    let output: Output = command
        .stderr(Stdio::piped())
        .output()
        .await
        .expect("the program is there");
    let said = text(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
