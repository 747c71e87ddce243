//! Whether each stream has the limits that the settings say, how full it is, and how long it lasts at the present rate.

use std::time::Duration;

use orders_bus::{Difference, StreamState};
use orders_contracts::streams::{Retention, Stream};

use super::report::{Diagnosis, Report};
use crate::{
    look::{Look, added, lasts},
    output::{size, span},
};

/// A daemon may be away this long without losing messages.
const ENOUGH: Duration = Duration::from_secs(24 * 60 * 60);
/// A queue that is full within this time needs somebody now.
const SOON: Duration = Duration::from_secs(60 * 60);
/// What the id of a message takes of the server's memory until the duplicate window is over, about.
const ID_BYTES: u64 = 220;
/// More for all ids together is worth knowing.
const MUCH_MEMORY: u64 = 1 << 30;

/// Judges whether a stream is as declared, or has higher limits, which no start lowers.
pub(super) fn settings(difference: Option<&Difference>, raised: Option<String>) -> Diagnosis {
    match (difference, raised) {
        (None, Some(limits)) => Diagnosis::yellow(
            format!("has higher limits than the settings: {limits}"),
            "give the daemons these limits (ORDERS_STREAMS__...), or run orderctl migrate --lower-limits",
        ),
        (difference, _) => Diagnosis::drift(difference),
    }
}

pub(super) fn judge(before: &Look, after: &Look, report: &mut Report<'_>) {
    let look = after.at - before.at;
    report.add("duplicate windows", windows(before, after, look));
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
                Some(lasts) => format!("{found}, full in {} at this rate", span(lasts)),
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
            let max_age = after.max_age.unwrap_or(Duration::MAX);
            match lasts(max_bytes, added(before, after), look) {
                Some(lasts) if lasts < max_age => {
                    let found = format!("{found}, keeps {} at this rate", span(lasts));
                    if lasts < ENOUGH {
                        let needed = max_bytes as f64 * ENOUGH.div_duration_f64(lasts);
                        let remedy = format!(
                            "a daemon that is away for longer loses messages; a day takes {} (ORDERS_STREAMS__..., \
                             MAX_BYTES)",
                            size(needed as u64)
                        );
                        Diagnosis::yellow(found, remedy)
                    } else {
                        Diagnosis::green(found)
                    }
                }
                _ if max_age == Duration::MAX => Diagnosis::green(found),
                _ => Diagnosis::green(format!("{found}, keeps {}", span(max_age))),
            }
        }
    }
}

/// Judges what the server remembers of the messages of all streams, to drop a second one.
fn windows(before: &Look, after: &Look, look: Duration) -> Diagnosis {
    let ids = after.streams.iter().filter_map(|(stream, state)| {
        let sent = state.last.saturating_sub(before.stream(stream.name)?.last);
        Some(sent as f64 / look.as_secs_f64() * state.duplicate_window.as_secs_f64())
    });
    let ids: f64 = ids.filter(|ids| ids.is_finite()).sum();
    let bytes = (ids as u64).saturating_mul(ID_BYTES);
    let found = format!("about {} of ids in NATS at this rate", size(bytes));
    if bytes < MUCH_MEMORY {
        return Diagnosis::green(found);
    }
    let remedy = "give the server that memory, or shorten ORDERS_STREAMS__..., DUPLICATE_WINDOW: 20s are enough for \
                  EVENTS, PAYMENTS and FEED";
    Diagnosis::yellow(found, remedy)
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
            bytes: messages * 1_024,
            duplicate_window: stream.duplicate_window,
            max_bytes: Some(stream.max_bytes),
            max_age: match stream.retention {
                Retention::Limits { max_age } | Retention::Latest { max_age, .. } => Some(max_age),
                Retention::WorkQueue => None,
            },
            ..StreamState::default()
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

    #[test]
    fn a_day_of_messages_is_told_when_a_stream_holds_less() {
        let of = |messages| state(&ORDERS_EVENTS, messages);
        let told = space(&ORDERS_EVENTS, &of(1_000_000), &of(1_004_000), LOOK);
        let remedy = told.remedy.unwrap();
        assert!(remedy.contains("a day takes 164.8 GiB"), "{remedy}");
    }

    #[test]
    fn limits_that_somebody_raised_are_told() {
        let raised = || Some("max_bytes (server 2, declared 1)".to_owned());
        let lower = Difference::Fields("max_age".to_owned());
        for (diagnosis, colour) in [
            (settings(None, None), Colour::Green),
            (settings(None, raised()), Colour::Yellow),
            (settings(Some(&lower), raised()), Colour::Red),
        ] {
            assert_eq!(diagnosis.colour, colour, "{diagnosis:?}");
        }
    }

    #[test]
    fn the_memory_of_duplicate_windows_is_told() {
        let at = |at, messages| Look {
            at,
            streams: vec![(ORDERS_EVENTS, state(&ORDERS_EVENTS, messages))],
            consumers: Vec::new(),
            missing: Vec::new(),
            errors: Vec::new(),
        };
        let start = tokio::time::Instant::now();
        // 2 minutes of 3,000 and of 100,000 messages a second.
        for (sent, found, colour) in [
            (
                0,
                "about 0 bytes of ids in NATS at this rate",
                Colour::Green,
            ),
            (
                6_000,
                "about 75.5 MiB of ids in NATS at this rate",
                Colour::Green,
            ),
            (
                200_000,
                "about 2.5 GiB of ids in NATS at this rate",
                Colour::Yellow,
            ),
        ] {
            let told = windows(&at(start, 10), &at(start + LOOK, 10 + sent), LOOK);
            assert_eq!((told.found.as_str(), told.colour), (found, colour));
        }
    }
}
