//! Bundles `client/` into one script with esbuild, from the packages that its lock file names.
//!
//! Without Node the daemon is built all the same; its pages then have no live updates, and say so.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

#[path = "../../infra/commit/build.rs"]
mod commit;

const SOURCES: [&str; 3] = ["package.json", "package-lock.json", "src"];

fn main() {
    commit::main();
    let client =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join("client");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", client.join(source).display());
    }
    let script = out.join("client.js");
    let installed = install(&client, &out.join("client"));
    if let Err(Failure::NoNode) = &installed {
        println!(
            "cargo::warning=the pages are built without live updates: npm is not on the PATH (install Node.js)"
        );
        // A file that is not there is newer than any: the next build tries again.
        println!("cargo::rerun-if-changed={}", out.join("missing").display());
        fs::write(&script, "").expect("cargo's folder is writable");
        return;
    }
    if let Err(Failure::Other(reason)) = &installed {
        println!("cargo::error={reason}");
        return;
    }
    let sources = out.join("client/src");
    copy(&client.join("src"), &sources).expect("cargo's folder is writable");
    let esbuild = bundle(&out.join("client"), &script);
    if !esbuild.status.success() {
        println!("cargo::error=esbuild failed: {}", text(&esbuild.stderr));
    }
}

/// Why there are no packages.
enum Failure {
    /// The machine has no Node, so the pages do without the script.
    NoNode,
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Installs the locked packages into `folder`, unless they are there: never into the sources.
fn install(client: &Path, folder: &Path) -> Result<(), Failure> {
    let lock = fs::read(client.join("package-lock.json"))?;
    let done = folder.join("installed");
    if fs::read(&done).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(client.join(name), folder.join(name))?;
    }
    let npm = Command::new("npm")
        .args([
            "ci",
            "--omit=dev",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ])
        .current_dir(folder)
        .output();
    match npm {
        Ok(output) if output.status.success() => Ok(fs::write(done, lock)?),
        Ok(output) => {
            let said = text(&output.stderr);
            Err(Failure::Other(format!("npm ci failed: {said}")))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::NoNode),
        Err(error) => Err(Failure::Other(format!("npm: {error}"))),
    }
}

/// Copies a folder of files, and nothing else is in the copy.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

/// Bundles `client/src`, beside the packages: those that somebody has beside the sources need not be the locked ones.
fn bundle(client: &Path, script: &Path) -> Output {
    Command::new("node")
        .arg(client.join("node_modules/esbuild/bin/esbuild"))
        .arg(client.join("src/main.ts"))
        .args([
            "--bundle",
            "--minify",
            "--format=esm",
            "--target=es2022",
            "--legal-comments=none",
        ])
        .args([
            "--log-level=warning",
            "--define:process.env.NODE_ENV=\"production\"",
        ])
        .arg(format!("--outfile={}", script.display()))
        .env_remove("NODE_PATH")
        .output()
        .expect("npm comes with node")
}

/// A message of several lines in the one that cargo shows.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(str::trim).collect::<Vec<_>>().join(" | ")
}
