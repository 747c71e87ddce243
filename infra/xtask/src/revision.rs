//! The daemons of another revision, built in a work tree of its own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Stdio},
};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::{progress, up, workspace::Workspace};

/// Those that messages pass through.
const DAEMONS: [&str; 5] = [
    "edge",
    "writer",
    "projector",
    "payment-simulator",
    "realtime",
];

/// The file that names the commit of the previous release.
const PREVIOUS: &str = "infra/previous-release";

/// Builds the daemons of the previous release as the tests' own are built, which must be done. None, said aloud, if this
/// clone does not have its commit.
pub(crate) async fn previous(workspace: &Workspace) -> Result<Option<PathBuf>> {
    let file = workspace.root().join(PREVIOUS);
    let text = fs::read_to_string(&file).with_context(|| format!("reading {PREVIOUS}"))?;
    let revision = text.trim();
    if let Err(missing) = commit(workspace, revision).await {
        eprintln!("{missing:#}: tests of upgrades are SKIPPED");
        return Ok(None);
    }
    let binaries = workspace.binaries("debug");
    // There are no examples; but with them, cargo chooses the features of dependencies as it does for tests.
    let targets = ["--examples", "--profile", "dev"];
    build(workspace, revision, &targets, &binaries)
        .await
        .map(Some)
}

/// Builds the daemons of `revision` with more arguments for cargo, unless an earlier run has done so. They are in the
/// folder below `binaries` that is returned, which is named after the commit.
pub(crate) async fn build(
    workspace: &Workspace,
    revision: &str,
    arguments: &[&str],
    binaries: &Path,
) -> Result<PathBuf> {
    let commit = commit(workspace, revision).await?;
    let builds = binaries.join("revisions");
    let folder = builds.join(&commit);
    fs::create_dir_all(&builds)?;
    let lock = File::create(builds.join("lock"))?;
    let locked = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock));
    let _lock = progress::step("waiting for another build of a revision", locked).await??;
    if folder.exists() {
        eprintln!("{revision} ({commit}) has been built before");
        return Ok(folder);
    }
    eprintln!("building {revision} ({commit})");
    // Cargo takes a package for the same in every work tree: in one target folder it would mix the two revisions.
    let target = builds.join("target");
    let built = target.join(binaries.file_name().context("a folder with a name")?);
    seed(&built, binaries).await?;
    let tree = WorkTree::add(workspace, builds.join("work-tree"), &commit).await?;
    let mut build = workspace.cargo();
    build
        .current_dir(&tree.path)
        .env("CARGO_TARGET_DIR", &target)
        // The features of dependencies are chosen for the whole workspace, as in this checkout.
        .args(["build", "--workspace"])
        .args(arguments)
        .args(DAEMONS.iter().flat_map(|daemon| ["--bin", daemon]));
    up::built(&mut build).await?;
    // It gets its name only when complete.
    let making = folder.with_extension("new");
    fs::create_dir_all(&making)?;
    for daemon in DAEMONS {
        fs::copy(built.join(daemon), making.join(daemon))
            .with_context(|| format!("keeping {daemon}"))?;
    }
    fs::rename(&making, &folder)?;
    Ok(folder)
}

/// Copies what cargo has built in `from`, so that dependencies need not be built again.
async fn seed(to: &Path, from: &Path) -> Result<()> {
    if to.exists() {
        return Ok(());
    }
    let making = to.with_extension("new");
    fs::create_dir_all(&making)?;
    let mut copy = Command::new("find");
    // Programs, which have no dot in their names, would be built again anyway.
    copy.args([".fingerprint", "build", "deps", "-type", "f", "("])
        .args(["-path", "deps/*.*", "-o", "-not", "-path", "deps/*", ")"])
        .args(["-exec", "cp", "-a", "--parents", "-t"])
        .arg(&making)
        .args(["{}", "+"])
        .current_dir(from);
    progress::run("copying the dependencies", &mut copy).await?;
    Ok(fs::rename(&making, to)?)
}

/// The commit's short id.
async fn commit(workspace: &Workspace, revision: &str) -> Result<String> {
    let output = Command::from(git(workspace))
        .args(["rev-parse", "--verify", "--short=10"])
        .arg(format!("{revision}^{{commit}}"))
        .stdin(Stdio::null())
        .output()
        .await
        .context("starting git")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git knows no revision {revision}: {}", said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn git(workspace: &Workspace) -> process::Command {
    let mut git = process::Command::new("git");
    git.arg("-C").arg(workspace.root());
    git
}

/// A second work tree of this repository, removed in the end.
struct WorkTree<'a> {
    workspace: &'a Workspace,
    path: PathBuf,
}

impl<'a> WorkTree<'a> {
    async fn add(workspace: &'a Workspace, path: PathBuf, commit: &str) -> Result<Self> {
        // A run that was killed leaves it behind.
        let _ = fs::remove_dir_all(&path);
        let tree = Self { workspace, path };
        let mut add = Command::from(git(workspace));
        add.args(["worktree", "add", "--force", "--detach"])
            .args([tree.path.as_os_str(), commit.as_ref()]);
        progress::run("checking out a work tree", &mut add).await?;
        Ok(tree)
    }
}

impl Drop for WorkTree<'_> {
    fn drop(&mut self) {
        let mut remove = git(self.workspace);
        remove
            .args(["worktree", "remove", "--force"])
            .arg(&self.path)
            .stderr(Stdio::null());
        let _ = remove.status();
    }
}
