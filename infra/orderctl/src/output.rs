//! What the operator sees: text for people, or one JSON object a line.

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

/// Prints results to stdout; progress goes to stderr.
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// One finding or result: `text` for people, `value` for programs. A reader that has gone away is no error.
    pub(crate) fn line(&self, text: impl Display, value: &impl Serialize) {
        let mut out = std::io::stdout().lock();
        let _ = if self.json {
            let value = serde_json::to_string(value).expect("results are plain data");
            writeln!(out, "{value}")
        } else {
            writeln!(out, "{text}")
        };
    }

    /// What only people need: headings, hints.
    pub(crate) fn remark(&self, text: impl Display) {
        if !self.json {
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// A bar for `total` steps of long work; on a terminal only.
    pub(crate) fn progress(&self, what: &'static str, total: u64) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
        let style = "{msg} {wide_bar} {pos}/{len} {per_sec} {eta}";
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        bar.set_message(what);
        bar
    }
}

/// Asks whether to do it, on the terminal; without one nothing happens unasked. `false` when a signal came first.
pub(crate) async fn confirmed(question: &str, stop: &CancellationToken) -> anyhow::Result<bool> {
    if !stdin().is_terminal() {
        bail!("there is no terminal to ask on: say --yes to {question}");
    }
    eprint!("{question}? [y/N] ");
    let (answer, answered) = oneshot::channel();
    // A thread of its own: a read of the terminal cannot be given up, and must not hold up the exit.
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = stdin().read_line(&mut line);
        let _ = answer.send(line);
    });
    match stop.run_until_cancelled(answered).await {
        Some(Ok(line)) if matches!(line.trim(), "y" | "Y" | "yes") => Ok(true),
        Some(_) => bail!("nothing was done"),
        None => Ok(false),
    }
}

/// Text from messages, which may be anybody's, without what would command the terminal.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(harmless).collect()
}

/// A moment as an operator names it: RFC 3339, or how long ago (`2h`, `2h ago`).
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let ago = text.trim().trim_end_matches("ago").trim_end();
    humantime::parse_duration(ago)
        .ok()
        .and_then(|ago| i64::try_from(ago.as_millis()).ok())
        .and_then(|ago| Timestamp::from_millis(Timestamp::now().millis().checked_sub(ago)?))
        .ok_or_else(|| "must be like 2025-08-26T09:00:00Z, or a time ago like 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_instants_or_times_ago() {
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
    fn what_messages_say_cannot_command_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[31mb\n\u{9b}c"),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}c"
        );
    }
}
