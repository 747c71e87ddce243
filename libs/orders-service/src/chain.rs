//! Errors on one line.

use std::error::Error;

/// An error and its sources on one line, without repeating what a message already says.
///
/// The errors of the pipeline name their cause only as their source, so this is how they are logged.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(error.source(), |&error| error.source()).fold(
        error.to_string(),
        |text, source| {
            let source = source.to_string();
            if text.contains(&source) {
                text
            } else {
                format!("{text}: {source}")
            }
        },
    )
}
