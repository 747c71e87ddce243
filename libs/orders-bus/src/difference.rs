/// How the server differs from a declaration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// It has no such stream or consumer.
    #[error("is missing")]
    Missing,
    /// These fields differ; each is named with the server's value and the declared one.
    #[error("differs in {0}")]
    Fields(String),
}
