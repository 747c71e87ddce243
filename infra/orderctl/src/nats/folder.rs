//! The folder with the keys and what is made of them. Only its owner can read its files.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, OpenOptions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use nkeys::KeyPair;

/// When users were revoked, in seconds since 1970, by their keys.
const REVOKED: &str = "revoked.json";

pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Whether `init` was here.
    pub(super) fn has_keys(&self) -> bool {
        self.seed("operator").exists()
    }

    fn seed(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.nk"))
    }

    /// The key called `name`.
    pub(super) fn key(&self, name: &str) -> Result<KeyPair> {
        let path = self.seed(name);
        if !path.exists() {
            let folder = self.0.display();
            bail!(
                "{} is missing: run `orderctl nats init --dir {folder}`",
                path.display()
            );
        }
        let seed = read(&path)?;
        // What is in the file stays out of the error.
        KeyPair::from_seed(seed.trim())
            .map_err(|_| anyhow::anyhow!("{} holds no seed of a key", path.display()))
    }

    /// The key called `name`, made if it is not there.
    pub(super) fn key_or(&self, name: &str, make: fn() -> KeyPair) -> Result<KeyPair> {
        if !self.seed(name).exists() {
            let seed = make().seed().context("the seed of a new key")?;
            self.write(&format!("{name}.nk"), &seed)?;
        }
        self.key(name)
    }

    pub(super) fn revoked(&self) -> Result<BTreeMap<String, u64>> {
        let path = self.0.join(REVOKED);
        match path.exists() {
            true => serde_json::from_str(&read(&path)?)
                .with_context(|| format!("reading {}", path.display())),
            false => Ok(BTreeMap::new()),
        }
    }

    pub(super) fn write_revoked(&self, revoked: &BTreeMap<String, u64>) -> Result<()> {
        let text = serde_json::to_string_pretty(revoked).context("plain data")?;
        self.write(REVOKED, &text).map(drop)
    }

    /// Writes a file of the folder, and returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        write(&path, text)?;
        Ok(path)
    }
}

pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Writes a file that only its owner can read, and its folder if that is missing. Whoever reads meanwhile gets the old
/// file or the new one.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    let writing = || format!("writing {}", path.display());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(folder).with_context(writing)?;
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = Path::new(&fresh);
    // One that an interrupted run has left may have other permissions.
    match fs::remove_file(fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(writing);
        }
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(fresh).with_context(writing)?;
    file.write_all(text.as_bytes()).with_context(writing)?;
    if !text.ends_with('\n') {
        file.write_all(b"\n").with_context(writing)?;
    }
    file.sync_all().with_context(writing)?;
    fs::rename(fresh, path).with_context(writing)
}
