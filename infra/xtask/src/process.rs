//! Child processes that never outlive this one: each leads a process group of its own.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Output as Captured, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
    time,
};

use crate::{console::Console, workspace::on_path};

/// A child and whatever it starts; dropping it kills them.
pub(crate) struct Group {
    child: Child,
    id: Pid,
}

impl Group {
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let id = id.ok_or_else(|| io::Error::other("a child without an id"))?;
        Ok(Self { child, id })
    }

    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Waits for the end and returns what was printed.
    pub(crate) async fn output(mut self) -> io::Result<Captured> {
        async fn all(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                pipe.read_to_end(&mut bytes).await?;
            }
            Ok(bytes)
        }
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (stdout, stderr) = tokio::try_join!(all(stdout), all(stderr))?;
        let status = self.wait().await?;
        Ok(Captured {
            status,
            stdout,
            stderr,
        })
    }

    /// Asks the child to stop, and kills what is left after `grace`. Whether the child stopped by itself.
    pub(crate) async fn stop(mut self, signal: Signal, grace: Duration) -> bool {
        let _ = kill_process_group(self.id, signal);
        time::timeout(grace, self.wait()).await.is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Even when the child itself has gone: it may have left some of its own behind.
        let _ = kill_process_group(self.id, Signal::KILL);
    }
}

/// How a long-running process is started and stopped.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) folder: PathBuf,
    pub(crate) stop: Signal,
    pub(crate) user: User,
    pub(crate) output: Output,
    /// The folder of records of running processes, by which `down` finds them.
    pub(crate) records: Option<PathBuf>,
}

/// The user a process runs as.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum User {
    Same,
    /// PostgreSQL refuses to run as root: then it is nobody, who may still read and write what is root's.
    NotRoot,
}

/// The destination of a process's output.
#[derive(Clone)]
pub(crate) enum Output {
    File(PathBuf),
    Lines(Console),
}

impl Launch {
    pub(crate) fn new(
        name: &str,
        program: impl Into<PathBuf>,
        folder: &Path,
        output: Output,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            folder: folder.to_owned(),
            stop: Signal::TERM,
            user: User::Same,
            output,
            records: None,
        }
    }

    pub(crate) fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts it, with its output on the way to where it belongs.
    pub(crate) fn start(&self) -> Result<Running> {
        let mut command = as_user(self.user, Some(self.stop), &self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().cloned())
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        match &self.output {
            Output::File(path) => {
                let file = File::options().create(true).append(true).open(path)?;
                command.stdout(file.try_clone()?).stderr(file);
            }
            Output::Lines(_) => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let mut group = Group::spawn(&mut command)
            .with_context(|| format!("starting {} ({})", self.name, self.program.display()))?;
        if let Output::Lines(console) = self.output {
            forward(group.child.stdout.take(), &self.name, console);
            forward(group.child.stderr.take(), &self.name, console);
        }
        let record = self
            .records
            .as_deref()
            .map(|folder| Record::write(folder, &self.name, group.id, self.stop));
        Ok(Running {
            group,
            stop: self.stop,
            _record: record.transpose()?,
        })
    }
}

/// A program run as another user if need be and, where `setpriv` exists (Linux), stopped when this one dies.
pub(crate) fn as_user(user: User, on_death: Option<Signal>, program: &Path) -> Command {
    let drop_root = user == User::NotRoot && rustix::process::geteuid().is_root();
    let Some(setpriv) = on_path("setpriv") else {
        return Command::new(program);
    };
    let mut command = Command::new(setpriv);
    if drop_root {
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args([
            "--inh-caps",
            "+dac_override",
            "--ambient-caps",
            "+dac_override",
        ]);
        // Without this the capability does not count for access(2), by which PostgreSQL looks for its programs.
        command.args(["--securebits", "+no_setuid_fixup"]);
    }
    if let Some(signal) = on_death {
        let name = if signal == Signal::INT { "INT" } else { "TERM" };
        command.args(["--pdeathsig", name]);
    }
    command.arg("--").arg(program);
    command
}

fn forward(pipe: Option<impl AsyncRead + Unpin + Send + 'static>, name: &str, console: Console) {
    let Some(pipe) = pipe else { return };
    let name = name.to_owned();
    tokio::spawn(async move {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader
            .read_until(b'\n', &mut line)
            .await
            .is_ok_and(|read| read > 0)
        {
            console.line(&name, String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    });
}

/// A started [`Launch`].
pub(crate) struct Running {
    group: Group,
    stop: Signal,
    _record: Option<Record>,
}

impl Running {
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.group.wait().await
    }

    /// Whether it stopped by itself within `grace`; else it is killed.
    pub(crate) async fn stop(self, grace: Duration) -> bool {
        self.group.stop(self.stop, grace).await
    }
}

/// A note on disk that a process of ours runs: its id, when it started, and the signal that stops it.
pub(crate) struct Record {
    path: PathBuf,
}

impl Record {
    pub(crate) fn write(folder: &Path, name: &str, id: Pid, stop: Signal) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(name);
        let id = id.as_raw_nonzero().get();
        let started = start_time(id).unwrap_or_default();
        fs::write(&path, format!("{id} {started} {}\n", stop.as_raw()))?;
        Ok(Self { path })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A recorded process that still runs.
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) id: Pid,
    pub(crate) stop: Signal,
    started: String,
}

impl Recorded {
    /// All of them; records of processes that are gone are removed.
    pub(crate) fn all(folder: &Path) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        entries
            .flatten()
            .filter_map(|entry| {
                let found = Self::read(&entry.path());
                if found.is_none() {
                    let _ = fs::remove_file(entry.path());
                }
                found
            })
            .collect()
    }

    fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let mut words = text.split_whitespace();
        let id = words.next()?.parse().ok()?;
        let started = words.next()?.to_owned();
        let stop = match words.next()?.parse::<i32>().ok()? {
            signal if signal == Signal::INT.as_raw() => Signal::INT,
            _ => Signal::TERM,
        };
        let found = Self {
            name: path.file_name()?.to_string_lossy().into_owned(),
            id: Pid::from_raw(id)?,
            stop,
            started,
        };
        found.runs().then_some(found)
    }

    /// Whether the process runs and is not another one that got its id.
    pub(crate) fn runs(&self) -> bool {
        start_time(self.id.as_raw_nonzero().get()).is_some_and(|started| started == self.started)
    }
}

/// When a running process started, in the kernel's ticks: with its id this names it for good.
fn start_time(id: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in brackets and may hold anything; the third is the state.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z")
        .then(|| fields.nth(18))
        .flatten()
        .map(str::to_owned)
}
