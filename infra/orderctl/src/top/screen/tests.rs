use std::collections::BTreeMap;

use super::*;
use crate::top::snapshot::{DeadLetters, Latencies, Listeners, Orders};

fn count(total: u64, per_second: f64) -> Count {
    Count {
        total: Some(total),
        per_second: Some(per_second),
    }
}

fn latency(p50_seconds: f64, p99_seconds: f64) -> Latency {
    let quantiles = Quantiles {
        count: 1,
        p50_seconds,
        p99_seconds,
        largest_seconds: 30.0,
    };
    Latency {
        lately: Some(quantiles.clone()),
        since_start: Some(quantiles),
    }
}

/// A pipeline in trouble of every kind.
fn trouble() -> Snapshot {
    let consumer = |stream, consumer, state| Consumer {
        stream,
        consumer,
        pending: Some(1_234_567),
        in_hand: Some(512),
        oldest_seconds: Some(3_599.0),
        waiting_pulls: Some(0),
        per_second: Some(1_872.4),
        lost: 0,
        state,
    };
    let stream = |stream, fullness, full_in_seconds, loses_unread_in_seconds| Stream {
        stream,
        messages: 123_456_789,
        bytes: 3_650_722_201,
        max_bytes: Some(4_294_967_296),
        fullness: Some(fullness),
        refuses_when_full: stream == "ORDERS_COMMANDS",
        unread: Some(12_345),
        per_second: Some(24.2),
        keeps_seconds: Some(2_592_000.0),
        full_in_seconds,
        loses_unread_in_seconds,
    };
    let daemon = |daemon: &str, state, problem: Option<&str>, silent_seconds| Daemon {
        daemon: daemon.to_owned(),
        instance: Some(format!("{daemon}.1")),
        version: Some("0.1.0 (1a2b3c4d5e6f)".to_owned()),
        uptime_seconds: Some(7_395),
        state,
        problem: problem.map(str::to_owned),
        silent_seconds,
    };
    Snapshot {
        time: "2026-11-30T14:02:31.000Z".parse().unwrap(),
        window_seconds: 10.02,
        unseen: (1..=8)
            .map(|number| format!("cannot look up {number}: {}", "x".repeat(80)))
            .collect(),
        orders: Orders {
            created: count(9_999_999, 1_872.4),
            repeated: count(12, 0.1),
            accepted: count(0, 0.0),
            refused: count(12_345_678, 99.94),
            refused_by_status: BTreeMap::from([
                (429, count(12_345_600, 99.0)),
                (503, count(78, 0.94)),
            ]),
            paid: Count {
                total: None,
                per_second: None,
            },
        },
        latencies: Latencies {
            create: latency(0.0123, 0.4567),
            listed: latency(0.0004, 9.87),
            paid: latency(0.5, 30.0),
            socket: Latency {
                lately: None,
                since_start: None,
            },
        },
        listeners: Listeners {
            sockets: Some(1_203),
            followers: None,
        },
        dead_letters: DeadLetters {
            waiting: Some(3),
            oldest_seconds: Some(7_200.0),
            given_up: count(3, 0.0),
        },
        consumers: vec![
            consumer("ORDERS_COMMANDS", "writer", Progress::Fine),
            consumer("ORDERS_EVENTS", "payment-simulator", Progress::NoReader),
            consumer("ORDERS_EVENTS", "projector", Progress::Stuck),
        ],
        streams: vec![
            stream("ORDERS_COMMANDS", 0.81, Some(422.0), None),
            stream("ORDERS_EVENTS", 0.85, None, Some(600.0)),
            stream("PAYMENTS", 0.85, None, Some(86_400.0)),
        ],
        daemons: vec![
            daemon("edge", State::Ready, None, None),
            daemon("writer", State::Silent, None, Some(14.0)),
            daemon(
                "projector",
                State::NotReady,
                Some("starting; mongo: no answer within 1s"),
                None,
            ),
            Daemon {
                instance: None,
                version: None,
                uptime_seconds: None,
                ..daemon("payment-simulator", State::Silent, None, None)
            },
        ],
    }
}

#[test]
fn a_snapshot_is_a_screen_of_80_columns() {
    let lines = lines(&trouble());
    let texts = Vec::from_iter(lines.iter().map(|line| line.text.as_str()));
    assert!(
        texts.iter().all(|text| text.chars().count() <= WIDTH),
        "{texts:#?}"
    );
    let expected = "\
orders at 2026-11-30 14:02:31 UTC, rates and times of the last 10 s
CANNOT SEE
  cannot look up 1: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
  cannot look up 2: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
  cannot look up 3: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
  cannot look up 4: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
  cannot look up 5: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
  cannot look up 6: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
  and 2 more

ORDERS          /s      TOTAL    TIMES         p50       p99   all p50   all p99
created      1,872  9,999,999    create      12 ms    457 ms     12 ms    457 ms
repeated       0.1         12    listed     0.4 ms     9.9 s    0.4 ms     9.9 s
accepted       0.0          0    paid       500 ms   >30.0 s    500 ms   >30.0 s
refused       99.9      12.3M    socket          -         -         -         -
paid             -          -
given up       0.0          3
refused: 12.3M 429, 78 503
1203 sockets, ? followers
3 dead letters, the oldest 2h old

CONSUMER                           PENDING   IN HAND   OLDEST       /s
ORDERS_COMMANDS/writer           1,234,567       512  59m 59s    1,872
ORDERS_EVENTS/payment-simulator  1,234,567       512  59m 59s    1,872  unread
ORDERS_EVENTS/projector          1,234,567       512  59m 59s    1,872  stuck

DAEMON                VERSION                           UP  STATE
edge.1                0.1.0 (1a2b3c4d5e6f)           2h 3m  ready
writer.1              0.1.0 (1a2b3c4d5e6f)           2h 3m  silent for 14s
projector.1           0.1.0 (1a2b3c4d5e6f)           2h 3m  not ready
  starting
  mongo: no answer within 1s
payment-simulator                                        -  none answers

STREAM             MESSAGES       SIZE   FULL     UNREAD       /s  KEEPS
ORDERS_COMMANDS      123.5M    3.4 GiB    81%     12,345     24.2  full 7m 2s
ORDERS_EVENTS        123.5M    3.4 GiB    85%     12,345     24.2  10m LEFT
PAYMENTS             123.5M    3.4 GiB    85%     12,345     24.2  30days";
    let expected = Vec::from_iter(expected.lines());
    assert_eq!(texts, expected, "{}", texts.join("\n"));
    let is_bad = |text: &str| {
        let line = lines
            .iter()
            .find(|line| line.text.starts_with(text))
            .unwrap();
        line.tone == Tone::Bad
    };
    for (text, expected) in [
        ("CANNOT SEE", true),
        ("created", false),
        ("3 dead letters", true),
        ("ORDERS_COMMANDS/writer", false),
        ("ORDERS_EVENTS/projector", true),
        ("edge.1", false),
        ("writer.1", true),
        ("  mongo", true),
        ("ORDERS_COMMANDS  ", true),
        ("ORDERS_EVENTS   ", true),
        ("PAYMENTS", false),
    ] {
        assert_eq!(is_bad(text), expected, "{text}");
    }
}

#[test]
fn numbers_are_short() {
    for (given, expected) in [
        (0, "0"),
        (999, "999"),
        (1_000, "1,000"),
        (9_999_999, "9,999,999"),
        (10_000_000, "10.0M"),
        (2_500_000_000, "2.5G"),
        (u64::MAX, "18446744.1T"),
    ] {
        assert_eq!(number(Some(given)), expected);
    }
    assert_eq!((number(None).as_str(), rate(None).as_str()), ("-", "-"));
    assert_eq!(
        (weight(1_023), weight(1_024)),
        ("1023 B".to_owned(), "1.0 KiB".to_owned())
    );
}

#[test]
fn while_nats_is_away_that_is_said_first() {
    let time = "2026-11-30T14:02:31.000Z".parse().unwrap();
    let lines = away(
        Duration::from_secs(75),
        "cannot reach NATS at nats://a",
        Some(time),
    );
    assert_eq!(
        Vec::from_iter(lines.iter().map(|line| line.text.as_str())),
        [
            "CANNOT SEE anything for 1m 15s, trying on",
            "  cannot reach NATS at nats://a",
            "  below is what was at 2026-11-30 14:02:31 UTC",
        ]
    );
    assert_eq!(
        away(Duration::ZERO, "x", None)[0].text,
        "CANNOT SEE anything for 0s, trying on"
    );
}
