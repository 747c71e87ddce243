use std::time::Duration;

use http::StatusCode;
use orders_service::BoxError;

/// Why the storage did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It takes too long.
    #[error("the storage does not answer within {0:?}")]
    Slow(Duration),
    /// It cannot be reached, or breaks off.
    #[error("the storage cannot be reached")]
    Broken(#[source] BoxError),
    /// It says no.
    #[error("the storage answers {status}{}", .code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// S3's word for the reason, if there is one.
        code: Option<String>,
    },
    /// It says something else than S3 would.
    #[error("the storage's answer is not one of S3: {0}")]
    Unreadable(&'static str),
    /// The scanner does not answer, or breaks off.
    #[error("clamd does not answer")]
    Scanner(#[source] Option<std::io::Error>),
}

impl Error {
    /// Whether it has no such file; 405 is its answer about a version that marks a deletion.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED,
                ..
            }
        )
    }

    /// Whether it does not know this kind of request.
    #[must_use]
    pub fn is_not_implemented(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: StatusCode::NOT_IMPLEMENTED,
                ..
            }
        )
    }
}
