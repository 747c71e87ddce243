//! Where everything is, and what its processes use.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    process::{Child, Command},
    time::sleep,
};

use crate::{
    client::{Connection, GET},
    deployment::Build,
};

/// The kernel counts CPU time in hundredths of a second for everybody who asks.
const TICKS_PER_SECOND: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;
/// How long a daemon may take to be ready.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Thousands of sockets need more files than the soft limit, which is low for the sake of programs that use `select`.
pub(crate) fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Whether it was needed is seen when files run out.
    let _ = setrlimit(Resource::Nofile, all);
}

/// The database server that `cargo xtask bench` has started, and the builds to measure on it.
pub(crate) struct Site {
    mongo: String,
    /// This checkout.
    pub(crate) ours: Build,
    /// Another revision.
    pub(crate) other: Option<Build>,
    /// The folder for what is found out.
    pub(crate) results: PathBuf,
    /// Held until this process ends.
    _lock: File,
}

impl Site {
    /// `other` holds the daemons of another revision and is named after its commit.
    pub(crate) fn from_env(other: Option<PathBuf>) -> Result<Self> {
        let program = std::env::current_exe()?;
        let binaries = program.parent().context("a folder")?.to_owned();
        let results = binaries.with_file_name("bench");
        fs::create_dir_all(&results)?;
        let lock = File::create(results.join("lock"))?;
        lock.try_lock().context("another benchmark is under way")?;
        let other = other.map(|binaries| {
            let commit = binaries.file_name().context("a folder with a name")?;
            let name = commit.to_string_lossy().into_owned();
            anyhow::Ok(Build { name, binaries })
        });
        Ok(Self {
            mongo: std::env::var("MONGO_URL").context("MONGO_URL: run `cargo xtask bench`")?,
            ours: Build {
                name: "pipeline".to_owned(),
                binaries,
            },
            other: other.transpose()?,
            results,
            _lock: lock,
        })
    }

    /// The URL of the database of that name.
    pub(crate) fn database(&self, name: &str) -> String {
        format!("{}/{name}", self.mongo)
    }

    /// Starts a program of ours on a port of its own and waits until it is ready; how long that took. Its log is among the
    /// results.
    pub(crate) async fn start(
        &self,
        program: &Path,
        env: &[(&str, String)],
    ) -> Result<(Program, Duration)> {
        let port = orders_testkit::free_port();
        let name = program.file_name().context("a program")?;
        let name = name.to_string_lossy();
        let log = self.results.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(log)?;
        let began = Instant::now();
        let child = Command::new(program)
            .env("ORDERS_LOG__FILTER", "warn")
            .envs(env.iter().map(|(name, value)| (name, value)))
            .env("PORT", port.to_string())
            .stdout(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let started = Program {
            name: name.to_string(),
            url: format!("http://127.0.0.1:{port}"),
            child,
        };
        loop {
            if let Ok(mut connection) = Connection::open(&started.url).await
                && let Ok(answer) = connection.send(GET, "/readyz", "").await
                && answer.status == 200
            {
                return Ok((started, began.elapsed()));
            }
            ensure!(began.elapsed() < START_LIMIT, "{name} is not ready");
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A program that the benchmark has started itself.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) url: String,
    child: Child,
}

impl Program {
    /// The id of its process.
    pub(crate) fn id(&self) -> Result<u32> {
        self.child.id().context("it has ended")
    }

    /// The bytes of memory it has now.
    pub(crate) fn memory(&self) -> Result<u64> {
        let id = self.id()?;
        Ok(Process::read(id).context("it has ended")?.memory)
    }

    /// Kills it; an error if it has ended by itself.
    pub(crate) async fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} has ended by itself: {status}", self.url);
        }
        self.child.kill().await?;
        Ok(())
    }
}

/// What the processes of one name use.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU time since they started.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes; what several share is counted for each.
    pub(crate) memory: u64,
}

/// What all processes of the site use now, by name: the daemons, the servers, and the benchmark itself.
pub(crate) fn usage() -> Result<BTreeMap<String, Usage>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // It may have ended in the meantime.
        if let Some(process) = Process::read(id) {
            parents.insert(id, process);
        }
    }
    let root = parents
        .get(&std::process::id())
        .context("ourselves")?
        .parent;
    let mut usage = BTreeMap::<String, Usage>::new();
    for process in parents.values() {
        let mut ancestor = process.parent;
        while ancestor != root && ancestor > 1 {
            ancestor = parents.get(&ancestor).map_or(0, |process| process.parent);
        }
        if ancestor == root {
            let sum = usage.entry(process.name.clone()).or_default();
            sum.cpu += process.cpu;
            sum.memory += process.memory;
        }
    }
    if usage.is_empty() {
        bail!("no processes found");
    }
    Ok(usage)
}

struct Process {
    name: String,
    parent: u32,
    cpu: Duration,
    memory: u64,
}

impl Process {
    /// Reads /proc/ID/stat, proc_pid_stat(5).
    fn read(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (start, rest) = stat.rsplit_once(')')?;
        let (_, name) = start.split_once('(')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        // With those of its children that have ended, as autovacuum's workers do.
        let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
        Some(Self {
            name: name.to_owned(),
            parent: u32::try_from(number(1)?).ok()?,
            cpu: Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND),
            memory: number(21)? * PAGE_BYTES,
        })
    }
}
