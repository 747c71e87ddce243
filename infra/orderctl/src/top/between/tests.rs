use orders_bus::{ConsumerState, StreamState};
use orders_contracts::{
    DaemonHealth,
    streams::{ORDERS_COMMANDS, ORDERS_EVENTS, ORDERS_FEED, PROJECTOR},
};
use tokio::time::Instant;

use super::*;
use crate::top::{
    snapshot::{Progress, Stream},
    tally::Counted,
};

/// What the processes with these ids, daemons, uptimes and counts tell.
fn reading(at: Instant, processes: &[(&str, &str, u64, Tally)]) -> Reading {
    let processes = processes.iter().map(|(id, daemon, uptime, tally)| {
        let health = DaemonHealth {
            daemon: (*daemon).to_owned(),
            instance: (*daemon).to_owned(),
            version: "0.1.0 (abc)".to_owned(),
            problem: None,
            id: Some((*id).to_owned()),
            uptime_seconds: Some(*uptime),
            asked_at: None,
            answered_at: None,
        };
        let counted = Counted {
            daemon: (*daemon).to_owned(),
            tally: tally.clone(),
            gauges: Gauges {
                sockets: 2,
                followers: 1,
                feed_lag: 7,
            },
        };
        let process = Process {
            health: Some(health),
            counted: Some(counted),
        };
        ((*id).to_owned(), process)
    });
    Reading {
        time: Timestamp::from_millis(1_700_000_000_000).unwrap(),
        look: Look {
            at,
            streams: Vec::new(),
            consumers: Vec::new(),
            missing: Vec::new(),
            errors: Vec::new(),
        },
        processes: processes.collect(),
        unseen: Vec::new(),
    }
}

/// Creates by status, each of some 500 ms unless refused.
fn created(creates: &[(u16, u64)]) -> Tally {
    let mut tally = Tally::default();
    for (status, count) in creates {
        tally.creates.insert(*status, *count);
        let slow = if *status < 300 { *count } else { 0 };
        for (bound, count) in [(0.25, 0), (0.75, slow), (f64::INFINITY, slow)] {
            tally.create.add(bound, count);
        }
    }
    tally
}

#[test]
fn counts_are_of_all_processes_and_rates_of_what_each_added() {
    let start = Instant::now();
    let end = start + Duration::from_secs(10);
    let before = reading(
        start,
        &[
            ("a", "edge", 100, created(&[(201, 50), (429, 5)])),
            ("gone", "edge", 100, created(&[(201, 1_000)])),
        ],
    );
    let after = reading(
        end,
        &[
            (
                "a",
                "edge",
                110,
                created(&[(201, 80), (200, 10), (429, 15)]),
            ),
            // One that began in between, and one that was too busy to answer before.
            ("b", "edge", 3, created(&[(201, 20)])),
            ("c", "edge", 500, created(&[(201, 900)])),
            ("d", "realtime", 9, Tally::default()),
            ("e", "realtime", 9, Tally::default()),
        ],
    );
    let Snapshot {
        orders,
        latencies,
        listeners,
        daemons,
        window_seconds,
        ..
    } = snapshot(&before, &after, Vec::new());
    let of = |total, per_second| Count {
        total: Some(total),
        per_second: Some(per_second),
    };
    assert_eq!(window_seconds, 10.0);
    assert_eq!(orders.created, of(1_000, 5.0));
    assert_eq!(orders.repeated, of(10, 1.0));
    assert_eq!(orders.accepted, of(0, 0.0));
    assert_eq!(orders.refused, of(15, 1.0));
    let by_status = BTreeMap::from([(429, of(15, 1.0))]);
    assert_eq!(orders.refused_by_status, by_status);
    // No projector has told.
    let unknown = Count {
        total: None,
        per_second: None,
    };
    assert_eq!(orders.paid, unknown);
    let lately = latencies.create.lately.unwrap();
    assert_eq!((lately.count, lately.p50_seconds), (60, 0.5));
    assert_eq!(latencies.create.since_start.unwrap().count, 1_010);
    assert_eq!(latencies.listed.lately, None);
    assert_eq!((listeners.sockets, listeners.followers), (Some(4), Some(2)));
    let names = daemons
        .iter()
        .map(|daemon| (daemon.daemon.as_str(), daemon.state));
    let (ready, silent) = (State::Ready, State::Silent);
    assert_eq!(
        Vec::from_iter(names),
        [
            ("edge", ready),
            ("edge", ready),
            ("edge", ready),
            ("writer", silent),
            ("projector", silent),
            ("payment-simulator", silent),
            ("realtime", ready),
            ("realtime", ready),
        ]
    );
}

#[test]
fn one_reading_tells_no_rates() {
    let only = reading(Instant::now(), &[("a", "edge", 1, created(&[(201, 5)]))]);
    let told = snapshot(&only, &only, Vec::new());
    assert_eq!(told.orders.created.per_second, None);
    assert_eq!(told.latencies.create.lately, None);
    assert_eq!(told.latencies.create.since_start.unwrap().count, 5);
}

#[test]
fn streams_tell_how_full_they_are_and_when_they_lose_what_nobody_read() {
    let start = Instant::now();
    let stream = |messages: u64, last, max_bytes| StreamState {
        messages,
        bytes: messages * 1_000,
        max_bytes: Some(max_bytes),
        max_age: Some(Duration::from_secs(3_600)),
        first: last - messages + 1,
        last,
        ..StreamState::default()
    };
    let consumer = |pending, ack_floor, waiting| ConsumerState {
        pending,
        ack_floor,
        waiting,
        ..ConsumerState::default()
    };
    let look = |at, events: u64, queue: u64, state| Look {
        at,
        streams: vec![
            (ORDERS_EVENTS, stream(100, events, 100_000)),
            (ORDERS_COMMANDS, stream(queue, queue, 100_000)),
            (ORDERS_FEED, stream(50, events, 100_000)),
        ],
        consumers: vec![(PROJECTOR, state)],
        missing: Vec::new(),
        errors: Vec::new(),
    };
    let mut before = reading(start, &[]);
    let mut after = reading(
        start + Duration::from_secs(10),
        &[("d", "realtime", 9, Tally::default())],
    );
    before.look = look(start, 1_000, 20, consumer(20, 980, 1));
    after.look = look(after.look.at, 1_100, 40, consumer(60, 1_040, 0));
    let told = snapshot(&before, &after, Vec::new());
    let [events, queue, feed] = &told.streams[..] else {
        panic!("{told:?}")
    };
    let seconds = |stream: &Stream| {
        [
            stream.keeps_seconds,
            stream.full_in_seconds,
            stream.loses_unread_in_seconds,
        ]
    };
    // 10 messages a second where 100 fit, of which 60 are not read.
    assert_eq!(
        (events.fullness, events.per_second),
        (Some(1.0), Some(10.0))
    );
    assert_eq!(seconds(events), [Some(10.0), None, Some(4.0)]);
    assert_eq!(
        (events.unread, feed.unread, queue.unread),
        (Some(60), Some(7), None)
    );
    assert_eq!((queue.fullness, queue.per_second), (Some(0.4), Some(2.0)));
    assert_eq!(seconds(queue), [None, Some(30.0), None]);
    let [projector, realtime] = &told.consumers[..] else {
        panic!("{told:?}")
    };
    assert_eq!(
        (projector.per_second, projector.state),
        (Some(6.0), Progress::Fine)
    );
    assert_eq!((realtime.consumer, realtime.pending), ("realtime", Some(7)));

    // It settles nothing more, then nobody reads, and messages leave the stream unread.
    for (floor, last, waiting, state) in [
        (980, 1_010, 1, Progress::Stuck),
        (980, 1_010, 0, Progress::NoReader),
        (980, 1_100, 1, Progress::Lost),
    ] {
        before.look = look(start, 1_000, 20, consumer(20, 980, waiting));
        after.look = look(after.look.at, last, 20, consumer(60, floor, waiting));
        let told = snapshot(&before, &after, Vec::new());
        assert_eq!(told.consumers[0].state, state, "{:?}", told.consumers[0]);
    }
    let paused = ConsumerState {
        is_paused: true,
        ..consumer(60, 980, 1)
    };
    after.look = look(after.look.at, 1_010, 20, paused);
    let told = snapshot(&before, &after, Vec::new());
    assert_eq!(told.consumers[0].state, Progress::Paused);
}
