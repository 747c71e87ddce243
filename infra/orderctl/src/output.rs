//! Output for the operator: text for people, or one JSON object per line. Nothing that messages or documents hold can
//! control the terminal.

use std::{fmt::Display, io::Write as _, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use orders_contracts::Timestamp;
use serde::Serialize;
use serde_json::json;

/// How often a spinner moves.
const TICK: Duration = Duration::from_millis(200);

/// Prints results to stdout; progress, questions and errors to stderr.
pub(crate) struct Output {
    json: bool,
    /// Drawn on a terminal only.
    bars: MultiProgress,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            bars: MultiProgress::new(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints one result: `text` for people, `value` for programs.
    pub(crate) fn line(&self, text: impl Display, value: &impl Serialize) {
        self.marked("", text, value);
    }

    /// Prints one result as [`line`](Self::line) does; for people after `mark`, which may control the terminal.
    pub(crate) fn marked(&self, mark: &str, text: impl Display, value: &impl Serialize) {
        if self.json {
            let value = serde_json::to_string(value).expect("results are plain data");
            self.print(&safe_json(&value));
        } else {
            self.print(&format!("{mark}{}", safe_lines(&text.to_string())));
        }
    }

    /// Prints text that only people need, such as the head of a table or a hint.
    pub(crate) fn remark(&self, text: impl Display) {
        if !self.json {
            self.print(&safe_lines(&text.to_string()));
        }
    }

    /// Prints what is no result to stderr.
    pub(crate) fn note(&self, text: impl Display) {
        self.to_stderr("note", &text.to_string());
    }

    /// Prints an error to stderr.
    pub(crate) fn error(&self, error: impl Display) {
        self.to_stderr("error", &error.to_string());
    }

    fn to_stderr(&self, kind: &str, text: &str) {
        let text = match (self.json, kind) {
            (true, _) => safe_json(&json!({ kind: text }).to_string()),
            (false, "error") => format!("error: {}", safe_lines(text)),
            (false, _) => safe_lines(text),
        };
        self.bars.suspend(|| eprintln!("{text}"));
    }

    /// A closed pipe is not an error.
    fn print(&self, text: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        });
    }

    /// A progress bar for `total` steps.
    pub(crate) fn progress(&self, what: &'static str, total: u64) -> ProgressBar {
        let style = "{msg} {wide_bar} {pos}/{len} {per_sec} {eta}";
        let bar = self.bars.add(ProgressBar::new(total));
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        bar.set_message(what);
        bar
    }

    /// A spinner, for work of unknown length.
    pub(crate) fn busy(&self, what: &'static str) -> ProgressBar {
        let style = "{spinner} {msg} {elapsed}";
        let bar = self.bars.add(ProgressBar::new_spinner());
        bar.set_style(ProgressStyle::with_template(style).expect("a valid template"));
        bar.set_message(what);
        bar.enable_steady_tick(TICK);
        bar
    }
}

/// Makes text from messages or documents, which anybody may have written, safe to print on one line.
pub(crate) fn plain(text: &str) -> String {
    escaped(text, |_| false)
}

/// Makes text safe to print, but keeps its lines.
fn safe_lines(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

/// Escapes control characters, and those that change the direction of text or cannot be seen.
fn escaped(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) && !is_kept(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Does the same to JSON, where such characters occur in strings only.
fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                safe += &format!("\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A line of a table: each cell with the width of its column, cut if it is longer.
pub(crate) fn row(cells: &[(usize, &str)]) -> String {
    let cell = |&(width, text): &(usize, &str)| format!("{:<width$}", cut(text, width));
    let cells: Vec<String> = cells.iter().map(cell).collect();
    cells.join("  ").trim_end().to_owned()
}

/// `text` on one line of at most `width` characters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= width {
        return text;
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A moment as tables show it: `2026-11-30 09:12:44`, in UTC.
pub(crate) fn shown(moment: Timestamp) -> String {
    let text = moment.to_string().replace('T', " ");
    text.split('.').next().unwrap_or_default().to_owned()
}

/// A duration in its largest two units: `17m 4s`, `29days 23h`.
pub(crate) fn span(duration: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    let parts: Vec<&str> = text.split(' ').take(2).collect();
    parts.join(" ")
}

/// A number of bytes: `3.4 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for larger in units {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    match unit {
        "bytes" => counted(bytes, "byte"),
        unit => format!("{value:.1} {unit}"),
    }
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
        assert_eq!(shown(instant), "2025-08-26 09:00:00");
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
        let text = "a\u{1b}[31mb\n\u{9b}c\u{202e}fdp";
        assert_eq!(plain(text), r"a\u{1b}[31mb\n\u{9b}c\u{202e}fdp");
        assert_eq!(safe_lines(text), "a\\u{1b}[31mb\n\\u{9b}c\\u{202e}fdp");
        let json = serde_json::to_string(&[text, "\u{e0041}"]).unwrap();
        let safe = safe_json(&json);
        assert!(!safe.chars().any(is_hidden), "{safe}");
        let read: Vec<String> = serde_json::from_str(&safe).unwrap();
        assert_eq!(read, [text, "\u{e0041}"]);
    }

    #[test]
    fn cells_are_padded_or_cut_to_their_columns() {
        let cells = [(4, "ab"), (3, "abcd"), (9, "x\ny")];
        assert_eq!(row(&cells), r"ab    ab…  x\ny");
    }
}
