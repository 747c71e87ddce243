use std::fmt;

/// How the server differs from a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It has no such stream or consumer.
    Missing,
    /// These fields differ; each is named with the server's value and the declared one.
    Fields(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::Fields(fields) => write!(f, "differs in {fields}"),
        }
    }
}
