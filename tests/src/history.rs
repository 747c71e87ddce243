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
pub type Millis = f64;

/// The time of now.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64() * 1e3)
}

/// One line of the history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Operation {
    /// What was done.
    pub what: What,
    /// When it was begun.
    pub start: Millis,
    /// When it was answered, or given up.
    pub end: Millis,
    /// What is known of it.
    pub outcome: Outcome,
    /// What the edge said.
    #[serde(flatten)]
    pub answer: Answer,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// `POST /api/orders`, the first or another time with the same key.
    Create {
        /// Whose.
        tenant: String,
        /// The id of the request.
        request: String,
    },
    /// `POST /api/orders/ID/cancel`.
    Cancel {
        /// Whose.
        tenant: String,
        /// The order.
        order: String,
    },
    /// The list of a tenant.
    List {
        /// Whose.
        tenant: String,
    },
    /// One order that an edge said is listed, looked up in the list of another edge.
    Read {
        /// Whose.
        tenant: String,
        /// The order.
        order: String,
    },
    /// A fault, by name.
    Fault {
        /// Its name.
        name: String,
    },
}

/// What is known of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It was refused and did not happen.
    Fail,
    /// It may have happened.
    Unknown,
}

/// What an edge said, if anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which edge was asked.
    pub edge: usize,
    /// 0 without an answer.
    pub status: u16,
    /// The order it named, first of all.
    pub order: Option<String>,
    /// Whether the list shows it, by its own word.
    pub listed: bool,
    /// Whether it said when to come again.
    pub retry_after: bool,
}

/// The file of the history.
pub struct History {
    path: PathBuf,
    file: Mutex<BufWriter<File>>,
}

impl History {
    /// Begins a new file.
    pub fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        Ok(Self {
            path,
            file: Mutex::new(BufWriter::new(file)),
        })
    }

    /// Adds a line.
    pub fn add(&self, operation: &Operation) {
        let line = serde_json::to_string(operation).expect("plain data");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").expect("the history can be written");
    }

    /// Ends the file; where it is.
    pub fn finish(&self) -> Result<&Path> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.flush()?;
        Ok(&self.path)
    }
}

/// Reads a history.
pub fn read(path: &Path) -> Result<Vec<Operation>> {
    let lines = BufReader::new(File::open(path)?).lines();
    lines
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}
