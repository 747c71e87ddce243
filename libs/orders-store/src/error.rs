use mongodb::error::{ErrorKind, InsertManyError, WriteFailure};

/// Why an operation failed. For the log only: its text is not meant for clients. It holds no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The outcome is unknown or nothing happened: the same operation may succeed later.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The same operation will never succeed.
    #[error("the database refuses: {0}")]
    Refused(String),
}

impl Error {
    /// Whether to try again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// The same error, saying what it is about.
    pub(crate) fn about(self, what: &str) -> Self {
        match self {
            Self::Unavailable(why) => Self::Unavailable(format!("{what}: {why}")),
            Self::Refused(why) => Self::Refused(format!("{what}: {why}")),
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
        let refused = |code: i32| REFUSALS.contains(&code);
        match *error.kind {
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
