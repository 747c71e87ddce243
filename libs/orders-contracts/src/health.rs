use serde::{Deserialize, Serialize};

use crate::Timestamp;

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
    /// The id of the process, unlike that of any other and of its own next start; `None` from version 0.1.
    pub id: Option<String>,
    /// The seconds since its start; `None` from version 0.1.
    pub uptime_seconds: Option<u64>,
    /// When it heard the question, by its clock; `None` from version 0.1.
    pub asked_at: Option<Timestamp>,
    /// When it answered, by its clock; `None` from version 0.1.
    pub answered_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_an_older_daemon_is_read() {
        let old = r#"{"daemon":"edge","instance":"edge.1","version":"0.1.0 (abc)","problem":null}"#;
        let health: DaemonHealth = serde_json::from_str(old).unwrap();
        assert_eq!(
            (health.id, health.uptime_seconds, health.asked_at),
            (None, None, None)
        );
    }
}
