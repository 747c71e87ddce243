use std::error::Error as StdError;

use async_nats::jetstream::{ErrorCode, context::GetStreamErrorKind};

use crate::Difference;

type Cause = Box<dyn StdError + Send + Sync>;

/// What can go wrong on the bus. Everything but [`Connect`](Self::Connect), [`Drift`](Self::Drift) and
/// [`Unmigrated`](Self::Unmigrated) may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL is malformed.
    #[error("cannot connect to nats: {0}")]
    Connect(#[source] Cause),
    /// The connection is down; nothing was sent.
    #[error("not connected to nats")]
    Disconnected,
    /// The message was not acknowledged. It may be stored all the same.
    #[error("not acknowledged: {0}")]
    Unacknowledged(#[source] Cause),
    /// The server has the stream or consumer with another configuration and refuses to change it.
    #[error("{name} differs in {fields} and cannot be updated: {cause}")]
    Drift {
        /// The stream, or `STREAM/consumer`.
        name: String,
        /// The fields that differ, each with the server's value and the declared one.
        fields: String,
        /// What the server said.
        #[source]
        cause: Cause,
    },
    /// The server does not have the stream or consumer as declared, and it is not this process's to change.
    #[error("{name} {difference}; run `orderctl migrate`, or set ORDERS_AUTO_MIGRATE=true")]
    Unmigrated {
        /// The stream, or `STREAM/consumer`.
        name: String,
        /// How it differs.
        difference: Difference,
    },
    /// The server did not answer, or answered with an error.
    #[error("cannot {what}: {cause}")]
    Api {
        /// What was asked of the server.
        what: String,
        /// What it said.
        #[source]
        cause: Cause,
    },
}

impl Error {
    /// Whether a daemon should wait for it to go away. Only what was forbidden to be mended stays as it is.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Unmigrated { .. })
    }

    pub(crate) fn unacknowledged(cause: impl Into<Cause>) -> Self {
        Self::Unacknowledged(cause.into())
    }

    pub(crate) fn drift(name: String, fields: String, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        Self::Drift {
            name,
            fields,
            cause,
        }
    }

    pub(crate) fn api(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Api {
            what: what.into(),
            cause: cause.into(),
        }
    }
}

/// Whether the server has no such stream.
pub(crate) fn is_not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
