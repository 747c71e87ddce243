//! `test`: all tests, on real servers.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Result;
use clap::Args;

use crate::{
    chaos,
    console::Console,
    database::{self, Clients},
    exit::{INTERRUPTED, SUCCESS, exit_code, unless_interrupted},
    ports, progress, revision,
    stack::{Site, temporary},
    supervisor::{Supervisor, stop_in_order},
    tools, up,
    workspace::Workspace,
};

/// Run all the tests against real servers
///
/// Fetches the servers and tools, builds the daemons, starts one database for the run (unless ORDERS_TEST_MONGO_URL
/// names one) and ends with the exit code of `cargo test`. Without arguments, a minute of `cargo xtask chaos`
/// follows.
#[derive(Args)]
pub(crate) struct Options {
    /// Arguments for `cargo test`, such as `-p orders-domain` or `-- --nocapture`
    #[arg(last = true)]
    args: Vec<OsString>,
}

pub(crate) async fn run(workspace: &Workspace, options: Options) -> Result<u8> {
    let folder = temporary()?;
    let all = options.args.is_empty();
    let Some(setup) = unless_interrupted(Setup::new(workspace, folder.path())).await? else {
        return Ok(INTERRUPTED);
    };
    let mut tests = workspace.cargo();
    if let Some(url) = setup.postgres_url {
        tests.env("ORDERS_TEST_POSTGRES_URL", url);
        tests.env(
            "ORDERS_TEST_POSTGRES_BIN",
            tools::postgres(workspace).await?,
        );
    }
    tests.arg("test").args(options.args);
    tests.env("ORDERS_TEST_MONGO_URL", setup.mongo_url);
    tests.env(
        "ORDERS_TEST_NATS_SERVER",
        tools::servers(workspace).await?.join("nats-server"),
    );
    tests.env("ORDERS_TEST_BIN_DIR", workspace.binaries("debug"));
    tests.env("ORDERS_TEST_TOOLS", setup.tools);
    let schemas = tools::kubernetes_schemas(workspace, &setup.python).await?;
    tests.env("ORDERS_TEST_KUBERNETES_SCHEMAS", schemas);
    tests.env("ORDERS_TEST_PYTHON", setup.python.join("bin/python"));
    tests.env("ORDERS_TEST_NGINX", setup.nginx);
    tests.env("ORDERS_TEST_CLAMD", setup.clamd);
    tests.env("ORDERS_TEST_HAPROXY", setup.haproxy);
    tests.env("ORDERS_TEST_PROMTOOL", setup.promtool);
    tests.env("ORDERS_TEST_SYSTEMD", setup.systemd);
    tests.envs(
        setup
            .previous
            .map(|folder| ("ORDERS_TEST_PREVIOUS_BIN_DIR", folder)),
    );
    tests.envs(
        tools::image_packages(workspace)
            .await?
            .map(|folder| ("ORDERS_TEST_IMAGE_PACKAGES", folder)),
    );
    if env::var_os("RUST_TEST_THREADS").is_none() {
        // The tests wait more than they compute, but some of them measure how long others wait.
        tests.env("RUST_TEST_THREADS", "3");
    }
    let status = unless_interrupted(progress::run_shown(&mut tests)).await;
    stop_in_order(setup.database).await;
    let code = status?.map_or(INTERRUPTED, exit_code);
    if code == SUCCESS && all {
        return chaos::run(workspace, chaos::Options::short()).await;
    }
    Ok(code)
}

struct Setup {
    tools: OsString,
    python: PathBuf,
    nginx: PathBuf,
    clamd: PathBuf,
    haproxy: PathBuf,
    promtool: PathBuf,
    systemd: PathBuf,
    /// The daemons of the previous release, if this clone has its commit.
    previous: Option<PathBuf>,
    mongo_url: String,
    /// The database below FerretDB, if it is FerretDB.
    postgres_url: Option<String>,
    database: Vec<Vec<Supervisor>>,
}

impl Setup {
    async fn new(workspace: &Workspace, folder: &Path) -> Result<Self> {
        tools::for_tests(workspace).await?;
        let given = env::var("ORDERS_TEST_MONGO_URL").ok();
        // Daemons and tests in one call: alone, the daemons would need some dependencies built differently.
        let mut build = workspace.cargo();
        build.args(["build", "--workspace", "--all-targets"]);
        let programs = async {
            if given.is_none() {
                database::prepare(workspace, Clients::All).await?;
            }
            Ok((
                tools::all_go(workspace).await?,
                tools::python(workspace).await?,
                tools::nginx().await?,
                tools::clamd().await?,
                tools::haproxy().await?,
                tools::promtool().await?,
                tools::systemd().await?,
            ))
        };
        // Side by side: one downloads while the other compiles.
        let ((tools, python, nginx, clamd, haproxy, promtool, systemd), ()) =
            tokio::try_join!(programs, up::built(&mut build))?;
        let previous = revision::previous(workspace).await?;
        if let Some(mongo_url) = given {
            return Ok(Self {
                tools,
                python,
                nginx,
                clamd,
                haproxy,
                promtool,
                systemd,
                previous,
                mongo_url,
                postgres_url: None,
                database: Vec::new(),
            });
        }
        let site = Site::temporary(folder, false, Console::new(["postgres"]));
        let [port] = ports::free()?;
        let database = database::start(workspace, &site, port, Clients::All).await?;
        Ok(Self {
            tools,
            python,
            nginx,
            clamd,
            haproxy,
            promtool,
            systemd,
            previous,
            mongo_url: format!("mongodb://127.0.0.1:{port}"),
            postgres_url: database.postgres_url,
            database: database.layers,
        })
    }
}
