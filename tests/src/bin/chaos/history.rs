//! What was asked and what came of it, one JSON object a line, written as it happens and read again by the checker.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, with fractions: the clock of the history and of the stored documents.
pub(crate) type Millis = f64;

pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

/// One line of the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(crate) what: What,
    pub(crate) start: Millis,
    pub(crate) end: Millis,
    pub(crate) outcome: Outcome,
    #[serde(flatten)]
    pub(crate) answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// `POST /api/orders`, the first or another time with the same key.
    Create {
        tenant: String,
        request: String,
    },
    Cancel {
        tenant: String,
        order: String,
    },
    /// The list of a tenant.
    List {
        tenant: String,
    },
    /// One order that an edge said is listed, looked up in the list of another edge.
    Read {
        tenant: String,
        order: String,
    },
    /// A fault, by name.
    Fault {
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It happened.
    Ok,
    /// It was refused and did not happen.
    Fail,
    /// It may have happened.
    Unknown,
}

/// What an edge said, if anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Which edge was asked.
    pub(crate) edge: usize,
    /// 0 without an answer.
    pub(crate) status: u16,
    /// The order it named, first of all.
    pub(crate) order: Option<String>,
    /// Whether the list shows it, by its own word.
    pub(crate) listed: bool,
    /// Whether it said when to come again.
    pub(crate) retry_after: bool,
}

/// The file of the history.
pub(crate) struct History {
    path: PathBuf,
    file: Mutex<BufWriter<File>>,
}

impl History {
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Ok(Self {
            path,
            file: Mutex::new(BufWriter::new(file)),
        })
    }

    pub(crate) fn add(&self, operation: &Operation) {
        let line = serde_json::to_string(operation).expect("plain data");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").expect("the history can be written");
    }

    /// Ends the file; where it is.
    pub(crate) fn finish(&self) -> Result<&Path> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush()?;
        Ok(&self.path)
    }
}

/// Reads a history.
pub(crate) fn read(path: &Path) -> Result<Vec<Operation>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}
