//! Secrets of a development installation: random texts, in files that only their owner can read.

use std::{
    fs::{self, DirBuilder, File},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use data_encoding::{BASE64, HEXLOWER};

/// 256 random bits in base64.
pub(crate) fn base64() -> Result<String> {
    Ok(BASE64.encode(&random::<32>()?))
}

/// 128 random bits as hexadecimal digits, which need no escape anywhere.
pub(crate) fn password() -> Result<String> {
    Ok(HEXLOWER.encode(&random::<16>()?))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut source = File::open("/dev/urandom").context("/dev/urandom")?;
    source.read_exact(&mut bytes).context("/dev/urandom")?;
    Ok(bytes)
}

/// A folder for secrets: only its owner can look into it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn make(path: PathBuf) -> Result<Self> {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&path);
        made.with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.file(name);
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// The text of a file, made by `make` the first time.
    pub(crate) fn read_or(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<String>,
    ) -> Result<String> {
        if !self.file(name).exists() {
            self.write(name, &make()?)?;
        }
        let path = self.file(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_long_and_each_is_another() {
        let (one, other) = (base64().unwrap(), base64().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), 44);
        assert_ne!(password().unwrap(), password().unwrap());
        assert_eq!(password().unwrap().len(), 32);
    }

    #[test]
    fn only_their_owner_can_read_them() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::make(parent.path().join("a/keys")).unwrap();
        let file = folder.write("secret", "one").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&file)), (0o700, 0o600));
        assert_eq!(
            folder.read_or("secret", || Ok("two".to_owned())).unwrap(),
            "one"
        );
        assert_eq!(
            folder.read_or("new", || Ok("two".to_owned())).unwrap(),
            "two"
        );
    }
}
