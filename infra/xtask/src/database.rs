//! The database: `mongod` where there is one, else FerretDB over PostgreSQL with the DocumentDB extension.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use orders_certificates::Certificates;
use rustix::process::{Signal, geteuid};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::{
    process::{User, as_user},
    progress,
    stack::{self, Site},
    supervisor::Supervisor,
    tools,
    workspace::{Workspace, on_path},
};

const NOBODY: u32 = 65534;

/// Whom a database lets in.
#[derive(Clone, Copy)]
pub(crate) enum Clients<'a> {
    /// Every program on this machine.
    All,
    /// Those with a login, by SCRAM-SHA-256 and over TLS only.
    Known(&'a [Login], &'a Certificates),
    /// FerretDBs that others start over its PostgreSQL.
    OtherFerretDb,
}

/// A login at a database.
pub(crate) struct Login {
    pub(crate) user: &'static str,
    pub(crate) password: String,
}

/// Gets what [`start`] needs, to let `clients` in.
pub(crate) async fn prepare(workspace: &Workspace, clients: Clients<'_>) -> Result<()> {
    if mongod(clients).is_none() {
        tools::servers(workspace).await?;
        tools::postgres(workspace).await?;
    }
    Ok(())
}

/// The `mongod` to use. It would need a MongoDB shell to make logins, so whoever wants those gets our own database.
fn mongod(clients: Clients<'_>) -> Option<PathBuf> {
    match clients {
        Clients::All => on_path("mongod"),
        Clients::Known(..) | Clients::OtherFerretDb => None,
    }
}

/// The running database.
pub(crate) struct Database {
    /// Its processes: each layer stands on the next.
    pub(crate) layers: Vec<Vec<Supervisor>>,
    /// Where PostgreSQL is, if that is below.
    pub(crate) postgres_url: Option<String>,
}

/// Starts it.
pub(crate) async fn start(
    workspace: &Workspace,
    site: &Site,
    port: u16,
    clients: Clients<'_>,
) -> Result<Database> {
    match mongod(clients) {
        Some(mongod) => Ok(Database {
            layers: vec![vec![start_mongod(&mongod, site, port).await?]],
            postgres_url: None,
        }),
        None => {
            let ferretdb = tools::servers(workspace).await?.join("ferretdb");
            let postgres = Postgres::new(tools::postgres(workspace).await?, site)?;
            let mut below = postgres.start(site).await?;
            if let Clients::Known(logins, _) = clients {
                postgres.let_in(logins).await?;
            }
            let mut layers = Vec::new();
            if let Some(doors) = doors(port, clients) {
                layers.push(vec![
                    start_ferretdb(&ferretdb, &postgres, site, port, doors).await?,
                ]);
            }
            let postgres_url = Some(postgres.url());
            below.own(postgres.socket);
            layers.push(vec![below]);
            Ok(Database {
                layers,
                postgres_url,
            })
        }
    }
}

async fn start_mongod(program: &Path, site: &Site, port: u16) -> Result<Supervisor> {
    let folder = site.data.join("mongod");
    fs::create_dir_all(&folder)?;
    let launch = site
        .server("mongod", program)?
        .args(["--bind_ip", "127.0.0.1", "--quiet"])
        .args([
            "--port".into(),
            port.to_string(),
            "--dbpath".into(),
            folder.to_string_lossy().into_owned(),
        ]);
    let mut server = launch.start()?;
    site.accepts("mongod", port, &mut server).await?;
    let mut supervisor = Supervisor::new(site.console);
    supervisor.keep(launch, server);
    Ok(supervisor)
}

/// How FerretDB listens, if it is wanted.
fn doors(port: u16, clients: Clients<'_>) -> Option<Vec<String>> {
    match clients {
        Clients::All => Some(vec![
            "--no-auth".into(),
            format!("--listen-addr=127.0.0.1:{port}"),
        ]),
        Clients::Known(_, certificates) => Some(vec![
            "--listen-addr=-".into(),
            format!("--listen-tls=127.0.0.1:{port}"),
            format!("--listen-tls-cert-file={}", certificates.server.display()),
            format!(
                "--listen-tls-key-file={}",
                certificates.server_key.display()
            ),
        ]),
        Clients::OtherFerretDb => None,
    }
}

async fn start_ferretdb(
    program: &Path,
    postgres: &Postgres,
    site: &Site,
    port: u16,
    doors: Vec<String>,
) -> Result<Supervisor> {
    let folder = site.data.join("ferretdb");
    fs::create_dir_all(&folder)?;
    let launch = site.server("ferretdb", program)?.args(doors).args([
        "--telemetry=disable".into(),
        "--log-level=warn".into(),
        "--debug-addr=-".into(),
        format!("--state-dir={}", folder.display()),
        format!("--postgresql-url={}", postgres.url()),
    ]);
    let mut server = launch.start()?;
    site.accepts("ferretdb", port, &mut server).await?;
    let mut supervisor = Supervisor::new(site.console);
    supervisor.keep(launch, server);
    Ok(supervisor)
}

struct Postgres {
    bin: PathBuf,
    data: PathBuf,
    /// The folder of its only listener. A socket's path is short by law, a checkout's may be long.
    socket: TempDir,
}

impl Postgres {
    fn new(bin: PathBuf, site: &Site) -> Result<Self> {
        let socket = stack::temporary()?;
        give_to_postgres(socket.path())?;
        Ok(Self {
            bin,
            data: site.data.join("postgres"),
            socket,
        })
    }

    fn url(&self) -> String {
        let socket = self.socket.path().display();
        format!("postgres://postgres@/postgres?host={socket}")
    }

    async fn start(&self, site: &Site) -> Result<Supervisor> {
        if !self.data.join("PG_VERSION").exists() {
            self.create().await?;
        }
        let socket = self.socket.path().display();
        let mut settings = vec![
            "listen_addresses=".into(),
            format!("unix_socket_directories={socket}"),
            // DocumentDB and its scheduler call back into the server.
            format!("documentdb.localhost_connection_string=host={socket}"),
            format!("cron.host={socket}"),
            "cron.database_name=postgres".into(),
            "cron.log_run=off".into(),
            "cron.log_statement=off".into(),
            "shared_preload_libraries=pg_cron,pg_documentdb_core,pg_documentdb_extended_rum,pg_documentdb".into(),
            // Only this kind of index serves a sort from the index. It must be chosen before any index is made.
            "documentdb.alternate_index_handler_name=extended_rum".into(),
            "documentdb.indexBuildsScheduledOnBgWorker=on".into(),
            // The indexes of a million orders; what does not fit is read and written again and again.
            "shared_buffers=1GB".into(),
            // The first change of a page after a checkpoint logs the whole page.
            "checkpoint_timeout=15min".into(),
            "max_wal_size=4GB".into(),
            "wal_level=minimal".into(),
            "max_wal_senders=0".into(),
            "log_min_messages=error".into(),
            "log_checkpoints=off".into(),
        ];
        if !site.durable {
            settings.extend([
                "fsync=off".into(),
                "synchronous_commit=off".into(),
                "full_page_writes=off".into(),
            ]);
        }
        let mut launch = site
            .server("postgres", self.bin.join("postgres"))?
            .args(["-D".into(), self.data.clone()]);
        launch.args.extend(
            settings
                .into_iter()
                .flat_map(|setting| ["-c".into(), setting.into()]),
        );
        launch.stop = Signal::INT; // closes connections rather than waiting for them
        launch.user = User::NotRoot;
        let mut server = launch.start()?;
        site.ready("postgres", &mut server, async || {
            self.query("SELECT 1").await.is_ok()
        })
        .await?;
        let sql = format!(
            "SET client_min_messages = warning; \
             CREATE EXTENSION IF NOT EXISTS documentdb CASCADE; \
             CREATE EXTENSION IF NOT EXISTS documentdb_extended_rum; \
             UPDATE cron.job SET nodename = '{socket}' WHERE nodename <> '{socket}'; \
             SELECT cron.alter_job(jobid, active := false) FROM cron.job WHERE command LIKE '%build_index_concurrently%';"
        );
        progress::step("preparing the database", self.query(&sql)).await?;
        let mut supervisor = Supervisor::new(site.console);
        supervisor.keep(launch, server);
        Ok(supervisor)
    }

    /// Makes the data folder; it gets its name only when complete.
    async fn create(&self) -> Result<()> {
        let making = self.data.with_extension("new");
        let _ = fs::remove_dir_all(&making);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&making)
            .context("creating the database")?;
        give_to_postgres(&making)?;
        let mut initdb = as_user(User::NotRoot, None, &self.bin.join("initdb"));
        initdb.arg("-D").arg(&making);
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        progress::run("creating the database", &mut initdb).await?;
        fs::rename(&making, &self.data).context("creating the database")
    }

    /// Makes the users, each with its password of now. FerretDB takes the roles of PostgreSQL for its users.
    async fn let_in(&self, logins: &[Login]) -> Result<()> {
        let role = |Login { user, password }: &Login| {
            format!(
                "SELECT 'CREATE ROLE \"{user}\" LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}') \\gexec\n\
                 ALTER ROLE \"{user}\" PASSWORD '{password}';\n"
            )
        };
        // A statement that fails is logged, and these have passwords.
        let quiet =
            "SET log_min_error_statement = panic; SET password_encryption = 'scram-sha-256';\n";
        let roles: String = logins.iter().map(role).collect();
        self.query(&format!("{quiet}{roles}")).await
    }

    /// Runs statements of SQL, which other processes do not see.
    async fn query(&self, sql: &str) -> Result<()> {
        let mut psql = Command::new(self.bin.join("psql"))
            .args([
                "--no-psqlrc",
                "--quiet",
                "--username=postgres",
                "--dbname=postgres",
            ])
            .args(["--set=ON_ERROR_STOP=1", "--file=-", "--host"])
            .arg(self.socket.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let written = match psql.stdin.take() {
            Some(mut input) => input.write_all(sql.as_bytes()).await,
            None => Ok(()),
        };
        let output = psql.wait_with_output().await?;
        if !output.status.success() {
            bail!(
                "preparing the database: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        written.context("preparing the database")
    }
}

/// Makes a folder PostgreSQL's own: it insists on that, and does not run as root.
fn give_to_postgres(folder: &Path) -> Result<()> {
    if geteuid().is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY))
            .with_context(|| format!("preparing {}", folder.display()))?;
    }
    Ok(())
}
