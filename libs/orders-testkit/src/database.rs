use std::{
    env,
    fs::{self, File},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{eventually, free_port, tool};

const NOBODY: u32 = 65534;
/// How long it may take to end.
const GRACE: Duration = Duration::from_secs(5);
/// What it is told once, as `cargo xtask` tells its own: its jobs get an address, and none wakes up to look for work.
const PREPARE: [&str; 4] = [
    "CREATE EXTENSION documentdb CASCADE",
    "CREATE EXTENSION documentdb_extended_rum",
    "UPDATE cron.job SET nodename = current_setting('unix_socket_directories')",
    "SELECT cron.alter_job(jobid, active := false) FROM cron.job WHERE command LIKE '%build_index_concurrently%'",
];

/// A database of the test's own, which it may lose: FerretDB over PostgreSQL with DocumentDB. It ends when this value is
/// dropped.
#[derive(Debug)]
pub struct Database {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    /// FerretDB, and PostgreSQL below it.
    processes: Option<[Child; 2]>,
}

impl Database {
    /// Starts it with files in `folder`; `None` if the run uses another database.
    pub async fn start(folder: &Path) -> Option<Self> {
        let programs = PathBuf::from(env::var_os("ORDERS_TEST_POSTGRES_BIN")?);
        let folder = folder.join("database");
        fs::create_dir(&folder).expect("a writable folder");
        if geteuid().is_root() {
            chown(&folder, Some(NOBODY), Some(NOBODY)).expect("root may give it away");
        }
        let mut database = Self {
            folder,
            programs,
            port: free_port(),
            processes: None,
        };
        let options = ["--username=postgres", "--auth=trust", "--encoding=UTF8"];
        database.run("initdb", &options).await;
        let postgres = database.start_postgres().await;
        let statements = PREPARE.map(|statement| ["-c", statement]);
        database.run("psql", &statements.concat()).await;
        database.start_ferretdb(postgres).await;
        Some(database)
    }

    /// Its URL, with the name of a database.
    pub fn url(&self) -> String {
        format!("mongodb://127.0.0.1:{}/orders", self.port)
    }

    /// A program that runs as the user to whom its files belong, and finds PostgreSQL's programs, server and files.
    pub fn command(&self, program: &str) -> Command {
        // PostgreSQL refuses to run as root: then it is nobody, who may still read and write what is root's.
        let mut command = Command::new("setpriv");
        if geteuid().is_root() {
            let nobody = NOBODY.to_string();
            command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"]);
            command.args(["--inh-caps", "+dac_override"]);
            command.args(["--ambient-caps", "+dac_override"]);
            command.args(["--securebits", "+no_setuid_fixup"]);
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let programs = [self.programs.clone()]
            .into_iter()
            .chain(env::split_paths(&path));
        command
            .args(["--pdeathsig", "QUIT", "--", program])
            .env(
                "PATH",
                env::join_paths(programs).expect("paths without colons"),
            )
            .env("PGHOST", &self.folder)
            .env("PGUSER", "postgres")
            .env("PGDATABASE", "postgres")
            .env("PGDATA", self.folder.join("data"))
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    /// Ends it as a crash would.
    pub async fn kill(&mut self) {
        for mut process in self.processes.take().into_iter().flatten() {
            quit(&process);
            process.wait().await.expect("it can be waited for");
        }
    }

    /// Removes its files, as a lost disk would; it must not run.
    pub fn lose_files(&self) {
        assert!(self.processes.is_none(), "it runs");
        fs::remove_dir_all(self.folder.join("data")).expect("the files can be removed");
    }

    /// Starts it again on the files that are there.
    pub async fn restart(&mut self) {
        let postgres = self.start_postgres().await;
        self.start_ferretdb(postgres).await;
    }

    async fn start_postgres(&self) -> Child {
        let folder = self.folder.display();
        let settings = [
            "listen_addresses=".to_owned(),
            format!("unix_socket_directories={folder}"),
            format!("documentdb.localhost_connection_string=host={folder}"),
            format!("cron.host={folder}"),
            "cron.database_name=postgres".to_owned(),
            "shared_preload_libraries=pg_cron,pg_documentdb_core,pg_documentdb_extended_rum,pg_documentdb".to_owned(),
            "documentdb.alternate_index_handler_name=extended_rum".to_owned(),
            "documentdb.indexBuildsScheduledOnBgWorker=on".to_owned(),
            "fsync=off".to_owned(),
        ];
        let mut postgres = self.command("postgres");
        for setting in &settings {
            postgres.args(["-c", setting]);
        }
        let process = self.spawn(postgres, "postgres");
        eventually("postgres answers", async || {
            let asked = self.command("psql").args(["-c", "SELECT 1"]).output().await;
            let asked = asked.expect("psql starts");
            match asked.status.success() {
                true => Ok(()),
                false => Err(String::from_utf8_lossy(&asked.stderr).into_owned()),
            }
        })
        .await;
        process
    }

    async fn start_ferretdb(&mut self, postgres: Child) {
        let program = tool("ferretdb").display().to_string();
        let mut ferretdb = self.command(&program);
        let folder = self.folder.display();
        ferretdb
            .args(["--no-auth", "--telemetry=disable", "--log-level=warn"])
            .args(["--debug-addr=-".to_owned(), format!("--state-dir={folder}")])
            .arg(format!("--listen-addr=127.0.0.1:{}", self.port))
            .arg(format!(
                "--postgresql-url=postgres://postgres@/postgres?host={folder}"
            ));
        self.processes = Some([self.spawn(ferretdb, "ferretdb"), postgres]);
        eventually("ferretdb accepts connections", async || {
            let connected = TcpStream::connect(("127.0.0.1", self.port)).await;
            connected.map(drop)
        })
        .await;
    }

    fn spawn(&self, mut command: Command, name: &str) -> Child {
        let log = self.folder.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log);
        let log = log.expect("the log can be written");
        command
            .stdout(log.try_clone().expect("a file handle"))
            .stderr(log);
        command.spawn().expect("it starts")
    }

    async fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program).args(arguments).output().await;
        let output = output.expect("it starts");
        assert!(output.status.success(), "{program}: {output:?}");
    }
}

impl Drop for Database {
    /// A server that is killed outright leaves its shared memory behind, and one that still runs its files.
    fn drop(&mut self) {
        let mut processes = self.processes.take();
        processes.iter().flatten().for_each(quit);
        let deadline = Instant::now() + GRACE;
        for process in processes.iter_mut().flatten() {
            while matches!(process.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Has it end at once.
fn quit(process: &Child) {
    let id = process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let Some(id) = id {
        // Unless it has ended already.
        let _ = kill_process(id, Signal::QUIT);
    }
}
