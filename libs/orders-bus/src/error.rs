use std::error::Error as StdError;

use async_nats::jetstream::{
    ErrorCode,
    context::{AccountErrorKind, GetStreamErrorKind, PublishError, PublishErrorKind},
};

use crate::Difference;

type Cause = Box<dyn StdError + Send + Sync>;

/// What can go wrong on the bus. Everything but [`Settings`](Self::Settings), [`Drift`](Self::Drift),
/// [`Unmigrated`](Self::Unmigrated) and [`Foreign`](Self::Foreign) may be tried again. No text repeats its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot work; it names the one to change.
    #[error("{0}")]
    Settings(String),
    /// No server could be reached, or none takes the login; it names each, the cause and the settings to look at.
    #[error("cannot reach NATS at {text}")]
    Unreachable {
        /// The servers with their causes.
        text: String,
        /// Whether it is all about the login, which nobody but a person can mend.
        refuses_login: bool,
    },
    /// The connection is down; nothing was sent.
    #[error("not connected to NATS")]
    Disconnected,
    /// The message was not acknowledged. It may be stored all the same.
    #[error("not acknowledged")]
    Unacknowledged(#[source] Cause),
    /// The stream holds as many messages of the kind and tenant as it may; nothing was stored.
    #[error("too many messages of the tenant wait")]
    TooMany,
    /// The server has the stream or consumer with another configuration and refuses to change it.
    #[error("{name} differs in {fields} and cannot be updated")]
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
    /// The stream is another installation's.
    #[error(
        "stream {name} belongs to installation {theirs}, and this process to {ours}; correct NATS_URL or MONGO_URL, or \
         give each installation an ORDERS_NAMESPACE"
    )]
    Foreign {
        /// The stream.
        name: String,
        /// Its installation.
        theirs: String,
        /// The installation of this process: that of its database, or of another stream.
        ours: String,
    },
    /// The server did not answer, or answered with an error.
    #[error("cannot {what}")]
    Api {
        /// What was asked of the server.
        what: String,
        /// What it said.
        #[source]
        cause: Cause,
    },
}

impl Error {
    /// Whether a daemon should wait for it to go away. Only what this process may not mend stays as it is.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Unmigrated { .. } | Self::Foreign { .. })
    }

    /// Whether no server takes the login, which nobody but a person can mend.
    pub fn refuses_login(&self) -> bool {
        matches!(
            self,
            Self::Unreachable {
                refuses_login: true,
                ..
            }
        )
    }

    /// Whether nobody answered a publication: the stream may just have no leader.
    pub(crate) fn is_unanswered(&self) -> bool {
        let Self::Unacknowledged(cause) = self else {
            return false;
        };
        let kind = cause.downcast_ref().map(PublishError::kind);
        matches!(
            kind,
            Some(PublishErrorKind::TimedOut | PublishErrorKind::StreamNotFound)
        )
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

/// Whether JetStream says nothing, or that it has no leader.
pub(crate) fn is_silence(kind: &AccountErrorKind) -> bool {
    match kind {
        AccountErrorKind::TimedOut => true,
        AccountErrorKind::JetStream(error) => {
            error.error_code() == ErrorCode::CLUSTER_NOT_AVAILABLE
        }
        _ => false,
    }
}

/// Whether the server answers but has no JetStream for us.
pub(crate) fn is_switched_off(kind: &AccountErrorKind) -> bool {
    match kind {
        AccountErrorKind::JetStreamUnavailable => true,
        AccountErrorKind::JetStream(error) => {
            error.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED
                || error.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
        }
        _ => false,
    }
}
