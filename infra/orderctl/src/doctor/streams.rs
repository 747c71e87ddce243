//! How full each stream is, and how long it lasts at the present rate.

use std::time::Duration;

use orders_bus::StreamState;
use orders_contracts::streams::{Retention, Stream};

use super::{
    Look,
    report::{Diagnosis, Report},
};
use crate::output::size;

/// A daemon may be away this long without losing messages.
const ENOUGH: Duration = Duration::from_secs(24 * 60 * 60);
/// A queue that is full within this time needs somebody now.
const SOON: Duration = Duration::from_secs(60 * 60);

pub(super) fn judge(before: &Look, after: &Look, report: &mut Report<'_>) {
    let look = after.at - before.at;
    for (stream, state) in &after.streams {
        if let Some(before) = before.stream(stream.name) {
            let check = format!("space in {}", stream.name);
            report.add(&check, space(stream, before, state, look));
        }
    }
}

/// Judges a stream by two looks at it, `look` apart.
fn space(stream: &Stream, before: &StreamState, after: &StreamState, look: Duration) -> Diagnosis {
    if let Retention::Latest { max_subjects, .. } = stream.retention {
        return subjects(after.messages, max_subjects.into());
    }
    let Some(max_bytes) = after.max_bytes.filter(|max| *max > 0) else {
        return Diagnosis::green(format!("{} used, without a limit", size(after.bytes)));
    };
    let percent = u128::from(after.bytes) * 100 / u128::from(max_bytes);
    let found = format!("{percent}% of {} used", size(max_bytes));
    match stream.retention {
        Retention::WorkQueue => {
            let grown = after.bytes.saturating_sub(before.bytes);
            let free = max_bytes.saturating_sub(after.bytes);
            let lasts = lasts(free, grown, look).filter(|lasts| *lasts < ENOUGH);
            let found = match lasts {
                Some(lasts) => format!("{found}, full in {} at this rate", shown(lasts)),
                None => found,
            };
            let remedy =
                "a full queue refuses orders; start more of what reads it, and see its log";
            if percent >= 90 || lasts.is_some_and(|lasts| lasts < SOON) && percent >= 10 {
                Diagnosis::red(found, remedy)
            } else if percent >= 50 {
                Diagnosis::yellow(found, remedy)
            } else {
                Diagnosis::green(found)
            }
        }
        Retention::Limits { .. } | Retention::Latest { .. } => {
            let added = after.last.saturating_sub(before.last);
            let each = after.bytes.checked_div(after.messages).unwrap_or(0);
            let max_age = after.max_age.unwrap_or(Duration::MAX);
            match lasts(max_bytes, added.saturating_mul(each), look) {
                Some(lasts) if lasts < max_age => {
                    let found = format!("{found}, keeps {} at this rate", shown(lasts));
                    if lasts < ENOUGH {
                        let remedy = "a daemon that is away for longer loses messages; raise the limit of the stream";
                        Diagnosis::yellow(found, remedy)
                    } else {
                        Diagnosis::green(found)
                    }
                }
                _ if max_age == Duration::MAX => Diagnosis::green(found),
                _ => Diagnosis::green(format!("{found}, keeps {}", shown(max_age))),
            }
        }
    }
}

/// Judges a stream that keeps the latest message of each subject.
fn subjects(used: u64, most: u64) -> Diagnosis {
    let found = format!("{used} of {most} used");
    let remedy = "a full list takes no further revocations, and daemons let no new sockets in; find out who revokes so much";
    match used * 100 / most {
        0..50 => Diagnosis::green(found),
        50..90 => Diagnosis::yellow(found, remedy),
        _ => Diagnosis::red(found, remedy),
    }
}

/// How long `room` lasts where `used` bytes go in each `look`; `None` where nothing does.
fn lasts(room: u64, used: u64, look: Duration) -> Option<Duration> {
    if used == 0 {
        return None;
    }
    let seconds = room as f64 / used as f64 * look.as_secs_f64();
    Duration::try_from_secs_f64(seconds).ok()
}

/// A duration in its largest two units: `17m 4s`, `29days 23h`.
fn shown(duration: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    let parts: Vec<&str> = text.split(' ').take(2).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use orders_contracts::streams::{ORDERS_COMMANDS, ORDERS_EVENTS, REVOCATIONS};

    use super::{super::report::Colour, *};

    const LOOK: Duration = Duration::from_secs(2);

    fn state(stream: &Stream, messages: u64) -> StreamState {
        StreamState {
            messages,
            first: 1,
            last: messages,
            oldest: None,
            bytes: messages * 1_024,
            max_bytes: Some(stream.max_bytes),
            max_age: match stream.retention {
                Retention::Limits { max_age } | Retention::Latest { max_age, .. } => Some(max_age),
                Retention::WorkQueue => None,
            },
        }
    }

    #[test]
    fn a_stream_says_how_long_it_lasts() {
        let of = |stream: Stream, before, after| {
            space(
                &stream,
                &state(&stream, before),
                &state(&stream, after),
                LOOK,
            )
        };
        for (diagnosis, colour, found) in [
            (
                of(ORDERS_EVENTS, 0, 0),
                Colour::Green,
                "0% of 4.0 GiB used, keeps 30days",
            ),
            (
                of(ORDERS_EVENTS, 9, 9),
                Colour::Green,
                "0% of 4.0 GiB used, keeps 30days",
            ),
            // 2,000 KiB a second into 4 GiB.
            (
                of(ORDERS_EVENTS, 1_000_000, 1_004_000),
                Colour::Yellow,
                "23% of 4.0 GiB used, keeps 34m 57s at this rate",
            ),
            (
                of(REVOCATIONS, 0, 89_999),
                Colour::Yellow,
                "89999 of 100000 used",
            ),
            (
                of(REVOCATIONS, 0, 90_000),
                Colour::Red,
                "90000 of 100000 used",
            ),
            (
                of(ORDERS_COMMANDS, 0, 9),
                Colour::Green,
                "0% of 1.0 GiB used",
            ),
            (
                of(ORDERS_COMMANDS, 600_000, 600_000),
                Colour::Yellow,
                "57% of 1.0 GiB used",
            ),
            (
                of(ORDERS_COMMANDS, 200_000, 204_000),
                Colour::Red,
                "19% of 1.0 GiB used, full in 7m 2s at this rate",
            ),
        ] {
            assert_eq!(
                (diagnosis.colour, diagnosis.found.as_str()),
                (colour, found)
            );
        }
    }
}
