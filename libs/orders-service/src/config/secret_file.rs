use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use tracing::warn;

use super::{
    Invalid,
    load::variable,
    secret::{read, warn_if_public},
};
use crate::Seldom;

/// What a file with secrets says now: the file may change at any time.
pub struct SecretFile<T> {
    setting: &'static str,
    file: PathBuf,
    parse: fn(&str) -> Result<T, String>,
    known: Mutex<Known<T>>,
    lines: Seldom,
}

struct Known<T> {
    changed: Option<SystemTime>,
    secrets: Arc<T>,
}

impl<T> SecretFile<T> {
    /// The one that `setting` names, as in `uploads.access_key_file`. What `parse` says of its text must not repeat it.
    pub fn open(
        setting: &'static str,
        file: &Path,
        parse: fn(&str) -> Result<T, String>,
    ) -> Result<Self, Invalid> {
        warn_if_public(file);
        let changed = changed(file);
        let secrets = load(file, parse).map_err(|reason| Invalid::new(setting, reason))?;
        let secrets = Arc::new(secrets);
        Ok(Self {
            setting,
            file: file.to_owned(),
            parse,
            known: Mutex::new(Known { changed, secrets }),
            lines: Seldom::new(),
        })
    }

    /// What it says. To ask the system whether the file has changed takes a microsecond, so each request may. A file that
    /// is wrong changes nothing.
    pub fn get(&self) -> Arc<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = changed(&self.file);
        if now != known.changed {
            match load(&self.file, self.parse) {
                Ok(secrets) => {
                    known.secrets = Arc::new(secrets);
                    known.changed = now;
                }
                Err(reason) => self.lines.say(|unsaid| {
                    let setting = variable(self.setting);
                    warn!(
                        unsaid,
                        "{setting}: {reason}; what the file said before still counts"
                    );
                }),
            }
        }
        Arc::clone(&known.secrets)
    }
}

impl<T> fmt::Debug for SecretFile<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())
    }
}

fn changed(file: &Path) -> Option<SystemTime> {
    fs::metadata(file).and_then(|file| file.modified()).ok()
}

fn load<T>(file: &Path, parse: fn(&str) -> Result<T, String>) -> Result<T, String> {
    let text = read(file).map_err(|error| error.to_string())?;
    parse(&text).map_err(|rule| format!("{} {rule}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn number(text: &str) -> Result<u32, String> {
        text.parse().map_err(|_| "must be a number".to_owned())
    }

    #[test]
    fn what_changes_counts_at_once_and_what_is_wrong_never() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let write = |text: &str, age: u64| {
            fs::write(&path, text).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
            fs::File::open(&path).unwrap().set_modified(at).unwrap();
        };
        write("1\n", 1);
        let file = SecretFile::open("a.file", &path, number).unwrap();
        assert_eq!(*file.get(), 1);
        write("nonsense", 2);
        assert_eq!(*file.get(), 1);
        write("2", 3);
        assert_eq!(*file.get(), 2);
        fs::remove_file(&path).unwrap();
        assert_eq!(*file.get(), 2);
        write("3", 4);
        assert_eq!(*file.get(), 3);
    }

    #[test]
    fn the_setting_and_the_file_are_named_and_the_secret_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let error = || {
            let opened = SecretFile::open("payment.file", &path, number);
            opened.unwrap_err().to_string()
        };
        assert!(error().contains("No such file"), "{}", error());
        fs::write(&path, "hunter2").unwrap();
        let expected = format!("ORDERS_PAYMENT__FILE: {} must be a number", path.display());
        assert_eq!(error(), expected);
        fs::write(&path, "7").unwrap();
        let file = SecretFile::open("payment.file", &path, number).unwrap();
        assert_eq!(format!("{file:?}"), path.display().to_string());
    }
}
