use std::error::Error as StdError;

use crate::Delivery;

/// Handles messages whose body is a `T`.
pub trait Handler<T>: Sync {
    /// Handles a batch: acks, postpones or gives up each of its messages. What is left unsettled comes again after the
    /// ack wait.
    ///
    /// Any part of a batch may have been handled before, by anybody: a crash may have kept it from being acked.
    fn handle(&self, batch: &[Delivery<T>]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Why a handler did not get to the end of a batch. The consumer lets it handle the halves of what is left, until the
/// message at fault is alone.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It would fail again, always. Alone, the message becomes a dead letter.
    #[error(transparent)]
    Refused(Box<dyn StdError + Send + Sync>),
    /// It may work later, or with another version of the daemon. Alone, the message is left to come again.
    #[error(transparent)]
    Later(Box<dyn StdError + Send + Sync>),
    /// The handler panicked. Alone, the message becomes a dead letter at its third delivery.
    #[error("{0}")]
    Panicked(String),
}

impl Failure {
    /// The word for it in metrics.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Later(_) => "later",
            Self::Panicked(_) => "panicked",
        }
    }

    /// A [`Refused`](Self::Refused) with its cause.
    pub fn refused(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Refused(cause.into())
    }

    /// A [`Later`](Self::Later) with its cause.
    pub fn later(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Later(cause.into())
    }
}
