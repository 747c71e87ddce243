//! The Debian package: what lintian says of it, what dpkg makes of it, and the pipeline run from it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use futures_util::future::join_all;
use orders_testkit::{Stack, aloud, checkout, eventually, free_port};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    sync::OnceCell,
};

use super::{notify::Heard, said, systemd, systemd_tool};
use crate::pipeline::{order, order_id};

/// The folder of the units in the package.
pub(super) const UNITS: &str = "usr/lib/systemd/system";

const SETTINGS: &str = "etc/orders-pipeline/orders.env";

/// The package of the programs that the tests run, and the same unpacked.
pub(super) struct Package {
    file: PathBuf,
    tree: PathBuf,
}

impl Package {
    /// Makes it the first time.
    pub(super) async fn get() -> &'static Self {
        static PACKAGE: OnceCell<Package> = OnceCell::const_new();
        PACKAGE.get_or_init(Self::make).await
    }

    async fn make() -> Self {
        // There is room for it, and the next run replaces it.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let package = Self {
            file: folder.join("orders-pipeline.deb"),
            tree: folder.join("tree"),
        };
        let programs = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
        let mut build = Command::new(checkout().join("infra/deb/build.sh"));
        // The programs here are large and nobody downloads them.
        build
            .arg(programs)
            .arg(&package.file)
            .env("DPKG_DEB_COMPRESSOR_TYPE", "gzip")
            .env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
        succeed(&mut build).await;
        let mut unpack = Command::new("dpkg-deb");
        succeed(unpack.arg("-x").arg(&package.file).arg(&package.tree)).await;
        package
    }

    /// Copies all of it but the programs, which are empty there, and adds the units of systemd that all others need.
    pub(super) fn copy_units(&self, tree: &Path) {
        for folder in [UNITS, "usr/share/doc"] {
            copy(&self.tree.join(folder), &tree.join(folder));
        }
        let programs = "usr/lib/orders-pipeline";
        fs::create_dir_all(tree.join(programs)).unwrap();
        for program in fs::read_dir(self.tree.join(programs)).unwrap() {
            let program = program.unwrap();
            let copied = tree.join(programs).join(program.file_name());
            fs::write(&copied, "").unwrap();
            fs::set_permissions(&copied, program.metadata().unwrap().permissions()).unwrap();
        }
        // Debian moves them from the one folder to the other.
        let mut folders = [UNITS, "lib/systemd/system"]
            .map(|folder| systemd().join(folder))
            .into_iter();
        let folder = folders.find(|folder| folder.join("sysinit.target").exists());
        let folder = folder.expect("the units of systemd");
        for unit in ["basic", "multi-user", "shutdown", "sockets", "sysinit"] {
            let name = format!("{unit}.target");
            fs::copy(folder.join(&name), tree.join(UNITS).join(name)).unwrap();
        }
    }
}

/// Copies a folder.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

async fn succeed(command: &mut Command) -> Output {
    let output = command.kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    output
}

#[tokio::test]
async fn lintian_finds_nothing_but_what_is_listed() {
    let package = Package::get().await;
    let folder = tempfile::tempdir().unwrap();
    let mut lintian = Command::new("lintian");
    lintian
        .args(["--allow-root", "--fail-on", "error,warning"])
        .arg(&package.file)
        .env("TMPDIR", folder.path());
    succeed(&mut lintian).await;
}

#[tokio::test]
async fn what_its_pages_and_units_name_is_in_it() {
    let tree = &Package::get().await.tree;
    let docs = tree.join("usr/share/doc/orders-pipeline");
    let files = fs::read_dir(&docs).unwrap();
    let pages = files.map(|file| file.unwrap().path());
    let pages: Vec<_> = pages
        .filter(|it| it.extension().is_some_and(|it| it == "md"))
        .collect();
    assert!(pages.len() > 8, "{pages:?}");
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in text.split("](").skip(1) {
            let (target, _) = link.split_once([')', '#']).unwrap();
            let is_there = target.starts_with("http") || docs.join(target).exists();
            assert!(is_there, "{target} of {}", page.display());
        }
    }
    let units = [UNITS.to_owned(), format!("{UNITS}/orders-@.service.d")];
    let units = units
        .iter()
        .flat_map(|folder| fs::read_dir(tree.join(folder)).unwrap());
    let units = units
        .map(|unit| unit.unwrap().path())
        .filter(|unit| unit.is_file());
    let named = units.flat_map(|unit| values(&unit, "Documentation"));
    let named: Vec<_> = named.map(|url| url.replace("file://", "")).collect();
    assert!(named.len() >= 2, "{named:?}");
    for file in named {
        assert!(inside(tree, &file).exists(), "{file}");
    }
}

/// dpkg with a root of its own.
async fn dpkg(root: &Path, arguments: &[&str]) {
    let mut dpkg = Command::new("dpkg");
    dpkg.arg("--root").arg(root).args([
        "--log=/dev/null",
        "--force-depends",
        "--force-confold",
        "--force-script-chrootless",
    ]);
    succeed(dpkg.args(arguments)).await;
}

#[tokio::test]
async fn an_upgrade_keeps_changed_settings_and_a_purge_leaves_nothing() {
    if !geteuid().is_root() {
        aloud("skipped: only root may install packages");
        return;
    }
    let package = Package::get().await;
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for folder in ["info", "updates"] {
        fs::create_dir_all(root.join("var/lib/dpkg").join(folder)).unwrap();
    }
    fs::write(root.join("var/lib/dpkg/status"), "").unwrap();
    let file = package.file.to_str().unwrap();
    dpkg(root, &["--install", file]).await;
    let settings = root.join(SETTINGS);
    assert!(fs::read_to_string(&settings).unwrap().contains("NATS_URL="));
    fs::write(&settings, "NATS_URL=nats://elsewhere\n").unwrap();
    dpkg(root, &["--install", file]).await;
    let kept = fs::read_to_string(&settings).unwrap();
    assert_eq!(kept, "NATS_URL=nats://elsewhere\n");
    dpkg(root, &["--remove", "orders-pipeline"]).await;
    assert!(settings.exists());
    assert!(!root.join("usr/bin/orderctl").exists());
    dpkg(root, &["--purge", "orders-pipeline"]).await;
    assert!(!settings.exists());
}

/// The values of a key in a unit; it may come more than once.
fn values(file: &Path, key: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    let values = text.lines().filter_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name == key).then(|| value.replace("%i", "1"))
    });
    values.collect()
}

/// The variables that the unit of a daemon's first process sets, with its settings.
fn environment(tree: &Path, unit: &Path) -> BTreeMap<String, String> {
    let common = tree.join(UNITS).join("orders-@.service.d/common.conf");
    let mut lines: Vec<String> = values(unit, "Environment")
        .iter()
        .flat_map(|line| line.split(' ').map(str::to_owned))
        .collect();
    for file in values(&common, "EnvironmentFile") {
        let text = fs::read_to_string(inside(tree, &file)).unwrap();
        lines.extend(text.lines().map(str::to_owned));
    }
    let lines = lines.iter().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Where the package has a file.
fn inside(tree: &Path, path: &str) -> PathBuf {
    tree.join(path.trim_start_matches('/'))
}

/// The first process of a daemon, started from the package as its unit says, but for the addresses.
struct Process {
    name: &'static str,
    child: Child,
    heard: Heard,
    /// The port of the HTTP server.
    port: u16,
    /// The port of its probes.
    probes: u16,
}

impl Process {
    fn start(tree: &Path, stack: &Stack, name: &'static str, settings: &[(&str, String)]) -> Self {
        let unit = tree.join(UNITS).join(format!("orders-{name}@.service"));
        let heard = Heard::at(stack.folder(), name);
        let mut environment = environment(tree, &unit);
        let port = free_port();
        let mut probes = port;
        if let Some(address) = environment.get_mut("ORDERS_ADMIN_ADDR") {
            probes = free_port();
            *address = format!("127.0.0.1:{probes}");
        }
        let addresses = [
            ("PORT", port.to_string()),
            ("NATS_URL", stack.nats.url()),
            ("MONGO_URL", stack.mongo_url.clone()),
            ("NOTIFY_SOCKET", heard.socket.display().to_string()),
        ];
        for (name, value) in addresses.iter().chain(settings) {
            environment.insert((*name).to_owned(), value.clone());
        }

        let program = inside(tree, &values(&unit, "ExecStart").remove(0));
        let mut command = match values(&unit, "Sockets").is_empty() {
            true => {
                let mut command = Command::new(&program);
                command.env_clear().envs(&environment);
                command
            }
            false => {
                // systemd's own tool listens, and starts the daemon with the first connection.
                let mut activate = systemd_tool("systemd-socket-activate");
                activate.arg("--listen").arg(format!("127.0.0.1:{port}"));
                for (name, value) in &environment {
                    activate.arg("--setenv").arg(format!("{name}={value}"));
                }
                activate.arg(&program);
                activate.into()
            }
        };
        let log = fs::File::create(stack.folder().join(format!("{name}.log"))).unwrap();
        command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true);
        Self {
            name,
            child: command.spawn().unwrap(),
            heard,
            port,
            probes,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until it is ready; systemd hears that, too.
    async fn ready(&self) {
        eventually(&format!("{} listens", self.name), async || {
            reqwest::get(format!("{}/livez", self.url())).await
        })
        .await;
        self.heard.until("READY=1").await;
        let probes = format!("http://127.0.0.1:{}/readyz", self.probes);
        assert_eq!(reqwest::get(probes).await.unwrap().status(), 200);
    }

    async fn stop(mut self) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        let status = self.child.wait().await.unwrap();
        assert!(status.success(), "{}: {status}", self.name);
        self.heard.until("STOPPING=1").await;
    }
}

#[tokio::test]
async fn the_pipeline_runs_from_the_package_as_the_units_say() {
    let package = Package::get().await;
    let stack = Stack::open().await;
    let start =
        |name, settings: &[(&str, String)]| Process::start(&package.tree, &stack, name, settings);
    let realtime = start("realtime", &[]);
    let edge = start("edge", &[("ORDERS_REALTIME_URLS", realtime.url())]);
    let processes = [
        start("web", &[("ORDERS_EDGE_URL", edge.url())]),
        start("writer", &[]),
        start("projector", &[]),
        start(
            "payment-simulator",
            &[("ORDERS_PAYMENT__DELAY", "500ms".to_owned())],
        ),
        realtime,
        edge,
    ];
    for process in &processes {
        process.ready().await;
    }
    let [web, .., edge] = &processes;

    let http = reqwest::Client::new();
    let post = http.post(format!("{}/api/orders", edge.url()));
    let created = post.json(&order("t-1", "r1")).send().await.unwrap();
    assert_eq!(created.status(), 201);
    let id = order_id(created).await;
    eventually("the order is paid", async || {
        let one = format!("{}/api/orders/{id}?tenantId=t-1", edge.url());
        let order: Value = reqwest::get(one).await.unwrap().json().await.unwrap();
        match order["status"] == "PAID" {
            true => Ok(()),
            false => Err(order),
        }
    })
    .await;
    let page = reqwest::get(format!("{}/orders/{id}?tenantId=t-1", web.url()));
    let page = page.await.unwrap().text().await.unwrap();
    assert!(page.contains("PAID"), "{page}");

    let mut orderctl = Command::new(package.tree.join("usr/bin/orderctl"));
    let version = succeed(orderctl.arg("--version")).await;
    assert!(said(&version).contains(env!("CARGO_PKG_VERSION")));
    join_all(processes.map(Process::stop)).await;
    stack.clean_up().await;
}
