//! The access key, in a file that may change at any time.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use orders_service::{
    Invalid, Seldom,
    config::{Secret, warn_if_public},
};
use rusty_s3::Credentials;
use tracing::warn;

/// The setting that names the file.
const SETTING: &str = "uploads.access_key_file";

/// The access key as its file has it now.
#[derive(Debug)]
pub(crate) struct AccessKey {
    file: PathBuf,
    known: Mutex<Known>,
    lines: Seldom,
}

#[derive(Debug)]
struct Known {
    changed: Option<SystemTime>,
    credentials: Arc<Credentials>,
}

impl AccessKey {
    pub(crate) fn new(file: &Path) -> Result<Self, Invalid> {
        warn_if_public(file);
        let changed = changed(file);
        let credentials = read(file).map_err(|reason| Invalid::new(SETTING, reason))?;
        let credentials = Arc::new(credentials);
        Ok(Self {
            file: file.to_owned(),
            known: Mutex::new(Known {
                changed,
                credentials,
            }),
            lines: Seldom::new(),
        })
    }

    /// The key. To ask the system whether the file has changed takes a microsecond, so each request may. A file that is
    /// wrong changes nothing.
    pub(crate) fn get(&self) -> Arc<Credentials> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = changed(&self.file);
        if now != known.changed {
            match read(&self.file) {
                Ok(credentials) => {
                    known.credentials = Arc::new(credentials);
                    known.changed = now;
                }
                Err(reason) => self.lines.say(|unsaid| {
                    warn!(
                        unsaid,
                        "the access key of uploads stays as it was: {reason}"
                    );
                }),
            }
        }
        Arc::clone(&known.credentials)
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|file| file.modified()).ok()
}

fn read(file: &Path) -> Result<Credentials, String> {
    let text = Secret::File(file.to_owned()).read();
    let text = text.map_err(|error| error.to_string())?;
    let parts = text.trim().split_once(':');
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
    match parts.filter(|(id, secret)| is_part(id) && is_part(secret)) {
        Some((id, secret)) => Ok(Credentials::new(id, secret)),
        None => Err(format!("{} must be ID:SECRET", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_new_key_counts_at_once_and_a_wrong_one_never() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let write = |text: &str, age: u64| {
            fs::write(&file, text).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
            fs::File::open(&file).unwrap().set_modified(at).unwrap();
        };
        write("AKIA1:se/cret+1=\n", 1);
        let key = AccessKey::new(&file).unwrap();
        assert_eq!(key.get().key(), "AKIA1");
        assert_eq!(key.get().secret(), "se/cret+1=");
        write("nonsense", 2);
        assert_eq!(key.get().key(), "AKIA1");
        write("AKIA2:s2", 3);
        assert_eq!(key.get().key(), "AKIA2");
        fs::remove_file(&file).unwrap();
        assert_eq!(key.get().key(), "AKIA2");
    }

    #[test]
    fn the_file_is_named_and_its_content_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        for bad in ["", "secret", ":secret", "id:", "id:se cret"] {
            fs::write(&file, bad).unwrap();
            let error = AccessKey::new(&file).unwrap_err().to_string();
            let expected = format!("{} must be ID:SECRET", file.display());
            assert_eq!(
                error,
                format!("ORDERS_UPLOADS__ACCESS_KEY_FILE: {expected}")
            );
        }
        fs::remove_file(&file).unwrap();
        let error = AccessKey::new(&file).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
