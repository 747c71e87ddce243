mod text;

use std::error::Error as StdError;

use mongodb::{
    bson,
    error::{Error as DriverError, ErrorKind, IndexedWriteError, InsertManyError, WriteFailure},
};
use orders_contracts::without_value;

use crate::{index::IndexDifference, installation::Mismatch};

/// Why an operation failed. For the log only: its text is not meant for clients. It holds no credentials, and does not
/// repeat its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The outcome is unknown or nothing happened: the same operation may succeed later.
    #[error("the database is unavailable")]
    Unavailable(#[source] Cause),
    /// Too many reads are under way: nothing happened, and the same operation may succeed later.
    #[error("too many reads are under way")]
    Busy,
    /// The same operation will never succeed.
    #[error("the database refuses")]
    Refused(#[source] Cause),
    /// An index is not as declared, and it is not this process's to change.
    #[error("{0}; run `orderctl migrate`, or set ORDERS_AUTO_MIGRATE=true")]
    Unmigrated(IndexDifference),
    /// This process must not use the database.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// Only [`Corrupt`] and a refused login are told from others.
type Cause = Box<dyn StdError + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct About {
    what: String,
    #[source]
    cause: Cause,
}

/// A document that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("corrupt order {id}: {field}")]
pub(crate) struct Corrupt {
    pub(crate) id: String,
    pub(crate) field: String,
    pub(crate) source: Detail,
}

/// An error of the driver, in a line; its `Debug` has all that is known of it.
#[derive(Debug, thiserror::Error)]
#[error("{}", text::of(&.0.kind))]
pub(crate) struct Driver(pub(crate) DriverError);

/// Why a document cannot be read, without what the driver adds to that, and without the value.
#[derive(Debug, thiserror::Error)]
#[error("{}", without_value(&.0.message.clone().unwrap_or_else(|| .0.to_string())))]
pub(crate) struct Detail(bson::error::Error);

impl From<bson::error::Error> for Detail {
    fn from(error: bson::error::Error) -> Self {
        Self(error)
    }
}

impl Error {
    /// Whether to try again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy)
    }

    /// Whether a document is at fault, which this version cannot read.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Refused(cause) if cause.is::<Corrupt>())
    }

    /// Whether the server does not take the login, which nobody but a person can mend.
    pub fn refuses_login(&self) -> bool {
        matches!(self, Self::Unavailable(cause)
            if cause.downcast_ref::<Driver>().is_some_and(|Driver(error)| text::refuses_login(&error.kind)))
    }

    /// Whether a daemon that starts should wait for it to go away. Only what this process may not mend stays as it is.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Unmigrated(_) | Self::Mismatch(_))
    }

    pub(crate) fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    pub(crate) fn refused(cause: impl Into<Cause>) -> Self {
        Self::Refused(cause.into())
    }

    /// The same error, saying what it is about.
    pub(crate) fn about(self, what: impl Into<String>) -> Self {
        let what = what.into();
        match self {
            Self::Unavailable(cause) => Self::unavailable(About { what, cause }),
            Self::Refused(cause) => Self::refused(About { what, cause }),
            other @ (Self::Busy | Self::Unmigrated(_) | Self::Mismatch(_)) => other,
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

impl From<DriverError> for Error {
    fn from(error: DriverError) -> Self {
        let is_refusal = match &*error.kind {
            ErrorKind::InvalidArgument { .. } => true,
            ErrorKind::Command(error) => REFUSALS.contains(&error.code),
            ErrorKind::Write(WriteFailure::WriteError(error)) => REFUSALS.contains(&error.code),
            ErrorKind::InsertMany(error) => return Self::from(error.clone()),
            _ => false,
        };
        if is_refusal {
            Self::refused(Driver(error))
        } else {
            Self::unavailable(Driver(error))
        }
    }
}

impl From<InsertManyError> for Error {
    fn from(error: InsertManyError) -> Self {
        if let Some(error) = error.write_concern_error {
            return Self::unavailable(format!("code {}: {}", error.code, error.message));
        }
        let errors = error.write_errors.unwrap_or_default().into_iter();
        let failures = errors.filter(|error| error.code != DUPLICATE_KEY);
        let is_refusal = |error: &IndexedWriteError| REFUSALS.contains(&error.code);
        // One document whose outcome may change makes the whole call worth another try.
        let Some(error) = failures.min_by_key(is_refusal) else {
            return Self::unavailable("a write failed without a reason");
        };
        let (index, code) = (error.index, error.code);
        let cause = format!("document {index}: code {code}: {}", error.message);
        if is_refusal(&error) {
            Self::refused(cause)
        } else {
            Self::unavailable(cause)
        }
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Document, deserialize_from_document, doc};

    use super::*;

    fn command(code: i32) -> Error {
        let error = doc! { "code": code, "codeName": "Name", "errmsg": "why" };
        let kind = ErrorKind::Command(deserialize_from_document(error).unwrap());
        Error::from(DriverError::from(kind))
    }

    fn insert_many(error: Document) -> Error {
        let kind = ErrorKind::InsertMany(deserialize_from_document(error).unwrap());
        Error::from(DriverError::from(kind))
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
        assert!(Error::from(DriverError::from(broken)).is_transient());
    }

    #[test]
    fn an_insert_is_refused_only_if_nothing_about_it_is_transient() {
        let of = |index: i32, code: i32| doc! { "index": index, "code": code, "errmsg": "why" };
        let refused = insert_many(doc! { "writeErrors": [of(0, 11000), of(3, 121)] });
        assert!(!refused.is_transient());
        let cause = refused.source().unwrap().to_string();
        assert_eq!(cause, "document 3: code 121: why");
        for transient in [
            doc! { "writeErrors": [of(0, 121), of(1, 112)] },
            doc! { "writeErrors": [of(0, 121)], "writeConcernError": { "code": 64, "errmsg": "why" } },
            doc! { "writeErrors": [of(0, 11000)], "writeConcernError": { "code": 64, "errmsg": "why" } },
            doc! {},
        ] {
            assert!(insert_many(transient.clone()).is_transient(), "{transient}");
        }
    }

    #[test]
    fn an_error_says_what_it_is_about_and_keeps_its_cause() {
        let error = command(85).about("index x");
        assert_eq!(error.to_string(), "the database refuses");
        let cause = error.source().unwrap();
        assert_eq!(cause.to_string(), "index x");
        assert_eq!(cause.source().unwrap().to_string(), "why (code 85, Name)");
    }
}
