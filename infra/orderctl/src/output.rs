//! Output for the operator: text for people, or one JSON object per line.

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write as _, stdin},
};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orders_contracts::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Prints results to stdout and progress to stderr.
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints one result: `text` for people, `value` for programs. A closed pipe is not an error.
    pub(crate) fn line(&self, text: impl Display, value: &impl Serialize) {
        let mut out = std::io::stdout().lock();
        let _ = if self.json {
            let value = serde_json::to_string(value).expect("results are plain data");
            writeln!(out, "{value}")
        } else {
            writeln!(out, "{text}")
        };
    }

    /// Prints text that only people need, such as a hint.
    pub(crate) fn remark(&self, text: impl Display) {
        if !self.json {
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// A progress bar for `total` steps, on a terminal only.
    pub(crate) fn progress(&self, what: &'static str, total: u64) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let style = "{msg} {wide_bar} {pos}/{len} {per_sec} {eta}";
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        bar.set_message(what);
        bar
    }
}

/// The operator's answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
    /// A signal came before the answer.
    Interrupted,
}

/// Asks `question` on the terminal. Without a terminal it fails, so nothing is changed unasked.
pub(crate) async fn ask(question: &str, stop: &CancellationToken) -> anyhow::Result<Answer> {
    if !stdin().is_terminal() {
        bail!("cannot ask without a terminal; pass --yes to answer \"{question}?\"");
    }
    eprint!("{question}? [y/N] ");
    let (answer, answered) = oneshot::channel();
    // A thread of its own: a read of the terminal cannot be cancelled, and must not delay the exit.
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = stdin().read_line(&mut line);
        let _ = answer.send(line);
    });
    Ok(match stop.run_until_cancelled(answered).await {
        Some(Ok(line)) if matches!(line.trim(), "y" | "Y" | "yes") => Answer::Yes,
        Some(_) => {
            eprintln!("Nothing was done.");
            Answer::No
        }
        None => Answer::Interrupted,
    })
}

/// Makes text from messages, which anybody may have written, safe to print: control characters are replaced.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(harmless).collect()
}

/// `1 order`, `2 orders`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Parses a time as operators write it: RFC 3339, or an age (`2h`, `2h ago`).
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let ago = text.trim().trim_end_matches("ago").trim_end();
    humantime::parse_duration(ago)
        .ok()
        .and_then(|ago| i64::try_from(ago.as_millis()).ok())
        .and_then(|ago| Timestamp::from_millis(Timestamp::now().millis().checked_sub(ago)?))
        .ok_or_else(|| {
            "must be a time such as 2025-08-26T09:00:00Z, or an age such as 2h".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_instants_or_ages() {
        let instant = moment("2025-08-26T11:00:00+02:00").unwrap();
        assert_eq!(instant.to_string(), "2025-08-26T09:00:00.000Z");
        for ago in ["2h", "2h ago", "1h 60m ago"] {
            let since = Timestamp::now().since(moment(ago).unwrap());
            assert!((7_200..7_210).contains(&since.as_secs()), "{ago}");
        }
        for bad in ["", "yesterday", "2025-08-26", "99999999999y"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_of_messages_cannot_control_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[31mb\n\u{9b}c"),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}c"
        );
    }
}
