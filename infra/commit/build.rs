//! The build script of every program: tells it which commit it is built from.
//!
//! No library knows the commit, or each commit would build them all again.

use std::{path::Path, process::Command};

pub(crate) fn main() {
    // Something to watch outside a checkout, where cargo would otherwise watch every file.
    println!("cargo::rerun-if-changed=Cargo.toml");
    // HEAD changes with the branch, its log with each commit; no other file of Git is watched.
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name]);
        if let Some(path) = path.filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "--short=7", "HEAD"]);
    let commit = commit.as_deref().unwrap_or("unknown");
    println!("cargo::rustc-env=ORDERS_COMMIT={commit}");
}

/// What git prints; nothing outside a checkout or without git.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
