//! What the operator sees: text for people, or one JSON object a line.

use std::{fmt::Display, io::Write as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

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
