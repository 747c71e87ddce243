//! What the tests make the image of, run it with, and read the Compose file by.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result};
use rustix::process::geteuid;
use tokio::process::Command;

use super::{GoTools, ensure};
use crate::{
    progress,
    workspace::{Workspace, on_path, short_hash},
};

/// What reads Compose files as Docker does.
pub(super) const COMPOSE: GoTools = GoTools {
    name: "go-compose",
    what: "a reader of Compose files",
    module: "infra/tools/compose",
    packages: &["."],
};

/// The programs that run containers, and the package of each. Nobody but root is asked for them.
pub(super) fn programs() -> impl Iterator<Item = (&'static str, &'static str)> {
    const PROGRAMS: [(&str, &str); 4] = [
        ("buildah", "buildah"),
        ("crun", "crun"),
        ("ip", "iproute2"),
        ("podman", "podman"),
    ];
    PROGRAMS.into_iter().filter(|_| geteuid().is_root())
}

/// The folder with the packages of Debian that are in the image, if this is Debian and somebody can run it.
pub(crate) async fn image_packages(workspace: &Workspace) -> Result<Option<PathBuf>> {
    if on_path("apt-get").is_none() || !geteuid().is_root() {
        return Ok(None);
    }
    let fetch = workspace.root().join("infra/image/fetch.sh");
    let text = fs::read(&fetch).context("reading infra/image")?;
    let version = short_hash((text, env::consts::ARCH));
    let folder = ensure("image-packages", &version, async |folder| {
        let what = "fetching what the image has of Debian (first time only)";
        progress::run(what, Command::new(&fetch).arg(folder)).await
    });
    folder.await.map(Some)
}
