//! A snapshot as lines of at most 80 columns.

use std::time::Duration;

use orders_contracts::Timestamp;

use self::Cell::{Left, Right};
use super::snapshot::{
    Consumer, Count, Daemon, Latency, Progress, Quantiles, Snapshot, State, Stream,
};
use crate::output::{counted, cut, shown, size, span};

/// The columns of a terminal that everybody has.
pub(super) const WIDTH: usize = 80;
/// A stream that loses what nobody has read, or is full, within this time needs somebody now.
const SOON: f64 = 6.0 * 60.0 * 60.0;
/// How full a stream may be that then refuses messages.
const NEARLY_FULL: f64 = 0.8;
/// The most lines on what cannot be seen.
const MOST_UNSEEN: usize = 6;

/// A line, and how it is to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// How a line is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// The head of a table.
    Head,
    /// It needs somebody.
    Bad,
}

impl Line {
    pub(super) fn of(text: impl AsRef<str>) -> Self {
        Self {
            text: cut(text.as_ref(), WIDTH).trim_end().to_owned(),
            tone: Tone::Plain,
        }
    }

    pub(super) fn head(text: impl AsRef<str>) -> Self {
        Self {
            tone: Tone::Head,
            ..Self::of(text)
        }
    }

    pub(super) fn bad_if(text: impl AsRef<str>, is_bad: bool) -> Self {
        let tone = if is_bad { Tone::Bad } else { Tone::Plain };
        Self {
            tone,
            ..Self::of(text)
        }
    }
}

/// The whole of it. What needs somebody comes early: a small terminal shows no more.
pub(super) fn lines(snapshot: &Snapshot) -> Vec<Line> {
    let blank = || [Line::of("")];
    let mut lines = vec![Line::of(heading(snapshot))];
    lines.extend(unseen(&snapshot.unseen));
    lines.extend(blank());
    lines.extend(flow(snapshot));
    lines.extend(blank());
    lines.extend(consumers(&snapshot.consumers));
    lines.extend(blank());
    lines.extend(daemons(&snapshot.daemons));
    lines.extend(blank());
    lines.extend(streams(&snapshot.streams));
    lines
}

fn heading(snapshot: &Snapshot) -> String {
    let window = snapshot.window_seconds;
    format!(
        "orders at {} UTC, rates and times of the last {window:.0} s",
        shown(snapshot.time)
    )
}

fn unseen(unseen: &[String]) -> Vec<Line> {
    let mut lines = Vec::new();
    if !unseen.is_empty() {
        lines.push(Line::bad_if("CANNOT SEE", true));
    }
    for text in unseen.iter().take(MOST_UNSEEN) {
        lines.push(Line::bad_if(format!("  {text}"), true));
    }
    if let Some(more) = unseen.len().checked_sub(MOST_UNSEEN + 1) {
        lines.push(Line::bad_if(format!("  and {} more", more + 1), true));
    }
    lines
}

/// What became of orders, and how long it took, beside each other.
fn flow(snapshot: &Snapshot) -> Vec<Line> {
    let Snapshot {
        orders,
        latencies,
        listeners,
        dead_letters,
        ..
    } = snapshot;
    let head = columns(&[
        Left(9, "ORDERS"),
        Right(7, "/s"),
        Right(9, "TOTAL"),
        Left(0, ""),
        Left(7, "TIMES"),
        Right(8, "p50"),
        Right(8, "p99"),
        Right(8, "all p50"),
        Right(8, "all p99"),
    ]);
    let mut lines = vec![Line::head(head)];
    for (name, count, what, latency) in [
        ("created", orders.created, "create", Some(&latencies.create)),
        (
            "repeated",
            orders.repeated,
            "listed",
            Some(&latencies.listed),
        ),
        ("accepted", orders.accepted, "paid", Some(&latencies.paid)),
        ("refused", orders.refused, "socket", Some(&latencies.socket)),
        ("paid", orders.paid, "", None),
        ("given up", dead_letters.given_up, "", None),
    ] {
        let [lately, lately_most, ever, ever_most] = latency.map_or_else(Default::default, times);
        lines.push(Line::of(columns(&[
            Left(9, name),
            Right(7, &rate(count.per_second)),
            Right(9, &number(count.total)),
            Left(0, ""),
            Left(7, what),
            Right(8, &lately),
            Right(8, &lately_most),
            Right(8, &ever),
            Right(8, &ever_most),
        ])));
    }
    let refusals = orders.refused_by_status.iter();
    let refusals =
        refusals.map(|(status, Count { total, .. })| format!("{} {status}", number(*total)));
    let refusals = Vec::from_iter(refusals).join(", ");
    if !refusals.is_empty() {
        lines.push(Line::of(format!("refused: {refusals}")));
    }
    let of = |count: Option<u64>, what| match count {
        Some(count) => counted(count, what),
        None => format!("? {what}s"),
    };
    lines.push(Line::of(format!(
        "{}, {}",
        of(listeners.sockets, "socket"),
        of(listeners.followers, "follower")
    )));
    if let Some(waiting) = dead_letters.waiting.filter(|waiting| *waiting > 0) {
        let oldest = age(dead_letters.oldest_seconds);
        let letters = counted(waiting, "dead letter");
        lines.push(Line::bad_if(
            format!("{letters}, the oldest {oldest} old"),
            true,
        ));
    }
    lines
}

fn times(latency: &Latency) -> [String; 4] {
    let of = |quantiles: &Option<Quantiles>| {
        let Some(quantiles) = quantiles else {
            return ["-".to_owned(), "-".to_owned()];
        };
        let of = |seconds| time(seconds, quantiles.largest_seconds);
        [of(quantiles.p50_seconds), of(quantiles.p99_seconds)]
    };
    let ([lately, lately_most], [ever, ever_most]) =
        (of(&latency.lately), of(&latency.since_start));
    [lately, lately_most, ever, ever_most]
}

fn consumers(consumers: &[Consumer]) -> Vec<Line> {
    let head = columns(&[
        Left(31, "CONSUMER"),
        Right(9, "PENDING"),
        Right(8, "IN HAND"),
        Right(7, "OLDEST"),
        Right(7, "/s"),
        Left(8, ""),
    ]);
    let lines = consumers.iter().map(|consumer| {
        let state = match consumer.state {
            Progress::Fine => "",
            Progress::Stuck => "stuck",
            Progress::NoReader => "unread",
            Progress::Paused => "paused",
            Progress::Lost => "LOST",
        };
        let text = columns(&[
            Left(31, &format!("{}/{}", consumer.stream, consumer.consumer)),
            Right(9, &number(consumer.pending)),
            Right(8, &number(consumer.in_hand)),
            Right(7, &age(consumer.oldest_seconds)),
            Right(7, &rate(consumer.per_second)),
            Left(8, state),
        ]);
        Line::bad_if(text, consumer.state != Progress::Fine)
    });
    [Line::head(head)].into_iter().chain(lines).collect()
}

fn daemons(daemons: &[Daemon]) -> Vec<Line> {
    let head = columns(&[
        Left(20, "DAEMON"),
        Left(24, "VERSION"),
        Right(10, "UP"),
        Left(20, "STATE"),
    ]);
    let mut lines = vec![Line::head(head)];
    for daemon in daemons {
        let up = daemon.uptime_seconds.map(|seconds| seconds as f64);
        let state = match (daemon.state, daemon.silent_seconds) {
            (State::Ready, _) => "ready".to_owned(),
            (State::NotReady, _) => "not ready".to_owned(),
            (State::Silent, None) => "none answers".to_owned(),
            (State::Silent, silent) => format!("silent for {}", age(silent)),
        };
        let text = columns(&[
            Left(20, daemon.instance.as_ref().unwrap_or(&daemon.daemon)),
            Left(24, daemon.version.as_deref().unwrap_or("")),
            Right(10, &age(up)),
            Left(20, &state),
        ]);
        lines.push(Line::bad_if(text, daemon.state != State::Ready));
        // What a daemon needs, each on a line: the last may be what is at fault.
        let problems = daemon.problem.iter().flat_map(|all| all.split("; "));
        lines.extend(problems.map(|problem| Line::bad_if(format!("  {problem}"), true)));
    }
    lines
}

fn streams(streams: &[Stream]) -> Vec<Line> {
    let head = columns(&[
        Left(15, "STREAM"),
        Right(10, "MESSAGES"),
        Right(9, "SIZE"),
        Right(5, "FULL"),
        Right(9, "UNREAD"),
        Right(7, "/s"),
        Left(13, "KEEPS"),
    ]);
    let lines = streams.iter().map(|stream| {
        let is_soon = |seconds: Option<f64>| seconds.is_some_and(|seconds| seconds < SOON);
        let loses = stream.loses_unread_in_seconds;
        let is_nearly_full = stream.fullness.is_some_and(|full| full > NEARLY_FULL);
        let is_full = stream.refuses_when_full && is_nearly_full;
        let fills = stream
            .full_in_seconds
            .filter(|_| is_soon(stream.full_in_seconds));
        let (outlook, is_bad) = match (fills, loses) {
            (Some(_), _) => (format!("full {}", age(fills)), is_full),
            (None, Some(_)) if is_soon(loses) => (format!("{} LEFT", age(loses)), true),
            _ => (age(stream.keeps_seconds), is_full),
        };
        let full = stream.fullness.map(|full| format!("{:.0}%", full * 100.0));
        let text = columns(&[
            Left(15, stream.stream),
            Right(10, &number(Some(stream.messages))),
            Right(9, &weight(stream.bytes)),
            Right(5, full.as_deref().unwrap_or("-")),
            Right(9, &number(stream.unread)),
            Right(7, &rate(stream.per_second)),
            Left(13, &outlook),
        ]);
        Line::bad_if(text, is_bad)
    });
    [Line::head(head)].into_iter().chain(lines).collect()
}

/// A cell with the width of its column.
enum Cell<'a> {
    Left(usize, &'a str),
    Right(usize, &'a str),
}

fn columns(cells: &[Cell<'_>]) -> String {
    let cell = |cell: &Cell<'_>| match *cell {
        Left(width, text) => format!("{:<width$}", cut(text, width)),
        Right(width, text) => format!("{:>width$}", cut(text, width)),
    };
    Vec::from_iter(cells.iter().map(cell)).join("  ")
}

/// `1,234,567`; beyond that `12.3M`.
fn number(number: Option<u64>) -> String {
    let Some(number) = number else {
        return "-".to_owned();
    };
    if number >= 10_000_000 {
        let units = [(1e12, "T"), (1e9, "G"), (1e6, "M")];
        let number = number as f64;
        let unit = units.iter().find(|(unit, _)| number >= *unit);
        return unit.map_or_else(String::new, |(unit, name)| {
            format!("{:.1}{name}", number / unit)
        });
    }
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn weight(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        _ => size(bytes),
    }
}

fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => "-".to_owned(),
        Some(rate) if rate < 100.0 => format!("{rate:.1}"),
        Some(rate) => number(Some(rate.round() as u64)),
    }
}

/// A time as people write it; one that may be larger than the `largest` that is measured says so.
fn time(seconds: f64, largest: f64) -> String {
    let more = if seconds >= largest { ">" } else { "" };
    if seconds < 0.01 {
        format!("{more}{:.1} ms", seconds * 1_000.0)
    } else if seconds < 1.0 {
        format!("{more}{:.0} ms", seconds * 1_000.0)
    } else {
        format!("{more}{seconds:.1} s")
    }
}

fn age(seconds: Option<f64>) -> String {
    let age = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    age.map_or_else(|| "-".to_owned(), span)
}

/// What to say while NATS does not answer.
pub(super) fn away(since: Duration, why: &str, last: Option<Timestamp>) -> Vec<Line> {
    let mut lines = vec![
        format!("CANNOT SEE anything for {}, trying on", span(since)),
        format!("  {why}"),
    ];
    lines.extend(last.map(|last| format!("  below is what was at {} UTC", shown(last))));
    let bad = lines.iter().map(|text| Line::bad_if(text, true));
    bad.collect()
}

#[cfg(test)]
mod tests;
