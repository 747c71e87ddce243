use serde::{Deserialize, Serialize};

/// What a daemon answers to [`Subject::health`](crate::Subject::health).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DaemonHealth {
    /// Its name, such as `writer`.
    pub daemon: String,
    /// The process among several of that name, such as `writer.2`.
    pub instance: String,
    /// Its version and the commit it was built from, such as `0.1.0 (1a2b3c4)`.
    pub version: String,
    /// Why it is not ready; `None` if it is.
    pub problem: Option<String>,
}
