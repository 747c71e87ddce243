//! Secrets in files.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tracing::warn;

/// A password or token; its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// From a URL.
    Text(String),
    /// In a file.
    File(PathBuf),
}

impl Secret {
    /// The secret itself, as it is now.
    pub fn read(&self) -> io::Result<String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(file) => read(file),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("***"),
            Self::File(file) => write!(f, "{}", file.display()),
        }
    }
}

/// The content of a file, without the line feed at its end; the error names the file.
pub(super) fn read(file: &Path) -> io::Result<String> {
    let text = fs::read_to_string(file)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Warns of a file with a secret that every user of the machine can read.
pub fn warn_if_public(file: &Path) {
    if fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0) {
        warn!("every user of this machine can read {}", file.display());
    }
}
