use mongodb::error::{ErrorKind, InsertManyError, WriteFailure};

use crate::IndexDifference;

/// Why an operation failed. For the log only: its text is not meant for clients. It holds no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The outcome is unknown or nothing happened: the same operation may succeed later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// Too many reads are under way: nothing happened, and the same operation may succeed later.
    #[error("too many reads are under way")]
    Busy,
    /// The same operation will never succeed.
    #[error("the database refuses: {0}")]
    Refused(String),
    /// An index is not as declared, and it is not this process's to change.
    #[error("{0}; run `orderctl migrate`, or set ORDERS_AUTO_MIGRATE=true")]
    Unmigrated(IndexDifference),
}

impl Error {
    /// Whether to try again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy)
    }

    /// Whether a daemon that starts should wait for it to go away. Only what was forbidden to be mended stays as it is.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Unmigrated(_))
    }

    /// The same error, saying what it is about.
    pub(crate) fn about(self, what: &str) -> Self {
        match self {
            Self::Unavailable(why) => Self::Unavailable(format!("{what}: {why}")),
            Self::Refused(why) => Self::Refused(format!("{what}: {why}")),
            other @ (Self::Busy | Self::Unmigrated(_)) => other,
        }
    }
}

/// The code of a unique index that has the key already.
pub(crate) const DUPLICATE_KEY: i32 = 11000;

/// The server's codes that blame what was asked for. Any other counts as transient: to try an order again for ever is
/// safer than to give it up, and compatible engines report the loss of their own storage under any code.
const REFUSALS: [i32; 16] = [
    2,     // BadValue
    9,     // FailedToParse
    14,    // TypeMismatch
    15,    // Overflow
    16,    // InvalidLength
    22,    // InvalidBSON
    52,    // DollarPrefixedFieldName
    66,    // ImmutableField
    73,    // InvalidNamespace
    85,    // IndexOptionsConflict
    86,    // IndexKeySpecsConflict
    121,   // DocumentValidationFailure
    10334, // BSONObjectTooLarge
    17280, // KeyTooLong
    17419, // the updated document would be too large
    DUPLICATE_KEY,
];

impl From<mongodb::error::Error> for Error {
    fn from(error: mongodb::error::Error) -> Self {
        Self::from(*error.kind)
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        let refused = |code: i32| REFUSALS.contains(&code);
        match kind {
            ErrorKind::InvalidArgument { message, .. } => Self::Refused(message),
            ErrorKind::Command(error) if refused(error.code) => Self::Refused(error.to_string()),
            ErrorKind::Write(WriteFailure::WriteError(error)) if refused(error.code) => {
                Self::Refused(format!("code {}: {}", error.code, error.message))
            }
            ErrorKind::InsertMany(error) => Self::from(error),
            kind => Self::Unavailable(kind.to_string()),
        }
    }
}

impl From<InsertManyError> for Error {
    fn from(error: InsertManyError) -> Self {
        if let Some(concern) = error.write_concern_error {
            return Self::Unavailable(format!("code {}: {}", concern.code, concern.message));
        }
        // One document whose outcome may change makes the whole call worth another try; duplicates are no failures.
        let errors = error.write_errors.unwrap_or_default();
        let (refused, transient): (Vec<_>, Vec<_>) = errors
            .into_iter()
            .filter(|error| error.code != DUPLICATE_KEY)
            .partition(|error| REFUSALS.contains(&error.code));
        let text = |error: &mongodb::error::IndexedWriteError| {
            format!(
                "document {}: code {}: {}",
                error.index, error.code, error.message
            )
        };
        match (transient.first(), refused.first()) {
            (Some(error), _) => Self::Unavailable(text(error)),
            (None, Some(error)) => Self::Refused(text(error)),
            (None, None) => Self::Unavailable("an insert failed without a reason".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Document, deserialize_from_document, doc};

    use super::*;

    fn command(code: i32) -> Error {
        let error = doc! { "code": code, "codeName": "Name", "errmsg": "why" };
        Error::from(ErrorKind::Command(
            deserialize_from_document(error).unwrap(),
        ))
    }

    fn insert_many(error: Document) -> Error {
        Error::from(ErrorKind::InsertMany(
            deserialize_from_document(error).unwrap(),
        ))
    }

    #[test]
    fn only_what_can_never_succeed_is_refused() {
        // 1 is what FerretDB says of a PostgreSQL that is away; the others are elections, shutdowns and time-outs.
        for code in [
            1, 6, 7, 13, 18, 50, 89, 91, 189, 262, 9001, 10107, 11600, 13435, 13436,
        ] {
            assert!(command(code).is_transient(), "{code}");
        }
        for code in [2, 9, 14, 85, 86, 121, 10334] {
            assert!(!command(code).is_transient(), "{code}");
        }
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(Error::from(ErrorKind::from(broken)).is_transient());
    }

    #[test]
    fn an_insert_is_refused_only_if_nothing_about_it_is_transient() {
        let of = |index: i32, code: i32| doc! { "index": index, "code": code, "errmsg": "why" };
        let refused = insert_many(doc! { "writeErrors": [of(0, 11000), of(3, 121)] });
        let text = "document 3: code 121: why";
        assert_eq!(refused, Error::Refused(text.to_owned()));
        for transient in [
            doc! { "writeErrors": [of(0, 121), of(1, 112)] },
            doc! { "writeErrors": [of(0, 121)], "writeConcernError": { "code": 64, "errmsg": "why" } },
            doc! { "writeErrors": [of(0, 11000)], "writeConcernError": { "code": 64, "errmsg": "why" } },
            doc! {},
        ] {
            assert!(insert_many(transient.clone()).is_transient(), "{transient}");
        }
    }
}
