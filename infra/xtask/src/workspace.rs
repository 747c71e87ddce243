//! The checkout, its settings, and the folders beside it.

use std::{
    collections::HashMap,
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tokio::process::Command;

/// This checkout.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    pub(crate) fn here() -> Self {
        // Cargo tells a program that it runs; the folder at compile time is for a binary started by hand.
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.ancestors().nth(2).unwrap_or(&package).to_owned();
        Self { root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The data, logs and process records of `up`; a test has a folder of its own.
    pub(crate) fn data(&self) -> PathBuf {
        env::var_os("ORDERS_TEST_DATA").map_or_else(|| self.root.join(".orders"), PathBuf::from)
    }

    /// The folder of the programs built with `profile` (a folder name: `debug` or `release`).
    pub(crate) fn binaries(&self, profile: &str) -> PathBuf {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        self.root.join(target).join(profile)
    }

    /// Cargo, in this checkout.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        // `cargo run` sets these for this package; build scripts that read them would run again, here and outside.
        for (key, _) in env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&key);
            }
        }
        cargo
    }

    /// The settings of the `.env` file and, over them, the environment.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let path = self.root.join(".env");
        let file = match fs::read_to_string(&path) {
            Ok(text) => parse_env(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(error).context("reading .env"),
        };
        Ok(Settings { file })
    }
}

/// Settings from `.env` and the environment.
pub(crate) struct Settings {
    file: HashMap<String, String>,
}

impl Settings {
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        env::var(key)
            .ok()
            .or_else(|| self.file.get(key).cloned())
            .filter(|value| !value.is_empty())
    }

    /// The settings that a daemon does not inherit by the environment.
    pub(crate) fn file_only(&self) -> Vec<(String, String)> {
        self.file
            .iter()
            .filter(|(key, _)| env::var_os(key).is_none())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

fn parse_env(text: &str) -> HashMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(key, value)| {
            let value = value.trim();
            let bare = ['"', '\'']
                .iter()
                .find_map(|&quote| value.strip_prefix(quote)?.strip_suffix(quote));
            (key.trim().to_owned(), bare.unwrap_or(value).to_owned())
        })
        .collect()
}

/// The folder of downloads and built tools, outside all checkouts.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: no place to keep downloads")?;
    Ok(base.join("orders-pipeline"))
}

/// The program of that name on the PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// A short name for some content.
pub(crate) fn short_hash(content: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_are_read_as_foreman_reads_them() {
        let env = parse_env("# note\nPORT=3001\n export A = \"b c\" \nURL='x=y'\n\nnonsense\n");
        assert_eq!(env["PORT"], "3001");
        assert_eq!(env["A"], "b c");
        assert_eq!(env["URL"], "x=y");
        assert_eq!(env.len(), 3);
    }
}
