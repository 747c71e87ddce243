//! The promises that are about the faults of this suite, beside those that hold whatever is done.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use orders_tests::{
    check::{Evidence, Window},
    history::{Millis, Operation},
    promises::{self, creates},
    report::{Promise, Report, spread},
};

use crate::faults::{Measured, RECOVERY, STOP};

/// What an edge may grow by while NATS is away.
const GROWTH: u64 = 50 << 20;
/// How soon an edge must answer while NATS is away, with a moment for the measuring client on a busy machine.
const ANSWER: Millis = 2_000.0;
/// How soon a command must be accepted while the database is away: the edge's first deadline of 3 s.
const ACCEPTED: Millis = 3_500.0;
/// How many messages may be pulled between the count and the SIGTERM.
const PULLED_MEANWHILE: u64 = 32;

pub(crate) fn make(evidence: &Evidence, measured: &Measured) -> Report {
    let mut promises = promises::all(evidence);
    promises.extend([
        without_nats(evidence, measured),
        without_database(evidence, measured),
        half_open(measured),
        stops(measured),
        Promise {
            promise: "everybody is back at work 20 s after every fault, replays answer the same order",
            figure: format!("{} faults", evidence.faults.len()),
            broken: measured.violations.clone(),
        },
    ]);
    let mut faults = String::new();
    let _ = writeln!(faults, "\n| fault | times |\n|---|---|");
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for fault in &evidence.faults {
        *classes.entry(fault.class).or_default() += 1;
    }
    for (class, times) in &classes {
        let _ = writeln!(faults, "| {class} | {times} |");
    }
    Report::new(&faults, &promises)
}

/// Creates that lie wholly within one of the windows, after a moment for what was on its way.
fn creates_during<'a>(
    evidence: &'a Evidence,
    windows: &'a [Window],
) -> impl Iterator<Item = &'a Operation> {
    let during = |operation: &Operation| {
        let within =
            |window: &Window| operation.start > window.from + 200.0 && operation.end < window.to;
        windows.iter().any(within)
    };
    creates(evidence)
        .map(|(.., operation)| operation)
        .filter(move |operation| during(operation))
}

fn without_nats(evidence: &Evidence, measured: &Measured) -> Promise {
    let (mut times, mut broken) = (Vec::new(), Vec::new());
    for operation in creates_during(evidence, &measured.without_nats) {
        let took = operation.end - operation.start;
        times.push(took);
        let told = operation.answer.status == 503 && operation.answer.retry_after;
        if !told {
            broken.push(format!("answered {:?}", operation.answer));
        }
        if took > ANSWER {
            broken.push(format!("answered after {took:.0} ms"));
        }
    }
    if measured.growth > GROWTH {
        broken.push(format!("an edge grew by {} MiB", measured.growth >> 20));
    }
    Promise {
        promise: "without NATS: 503 with Retry-After within 2 s, growth below 50 MiB",
        figure: format!(
            "{}, growth {} MiB",
            spread(times, "ms"),
            measured.growth >> 20
        ),
        broken,
    }
}

fn without_database(evidence: &Evidence, measured: &Measured) -> Promise {
    let (mut times, mut broken) = (Vec::new(), Vec::new());
    for operation in creates_during(evidence, &measured.without_database) {
        let took = operation.end - operation.start;
        times.push(took);
        if operation.answer.status != 202 || took > ACCEPTED {
            broken.push(format!(
                "answered {:?} after {took:.0} ms",
                operation.answer
            ));
        }
    }
    Promise {
        promise: "without the database: 202, and drained afterwards",
        figure: spread(times, "ms"),
        broken,
    }
}

fn half_open(measured: &Measured) -> Promise {
    let times = measured
        .recoveries
        .iter()
        .map(|time| time.as_secs_f64() * 1e3);
    let late = measured.recoveries.iter().filter(|time| **time > RECOVERY);
    Promise {
        promise: "at work again within 20 s of a half-open link's return, without a restart",
        broken: late.map(|time| format!("after {time:?}")).collect(),
        figure: spread(times.collect(), "ms"),
    }
}

fn stops(measured: &Measured) -> Promise {
    let times = measured
        .stops
        .iter()
        .map(Duration::as_secs_f64)
        .map(|time| time * 1e3);
    let most = measured
        .redelivered
        .iter()
        .copied()
        .max_by_key(|(_, again)| *again);
    let (in_flight, again) = most.unwrap_or_default();
    let beyond = measured
        .redelivered
        .iter()
        .filter(|(in_flight, again)| *again > in_flight + PULLED_MEANWHILE);
    Promise {
        promise: "SIGTERM under load: exit 0 within 4 s, redelivered at most what was in flight",
        broken: beyond
            .map(|(in_flight, again)| format!("{in_flight} in flight, {again} redelivered"))
            .collect(),
        figure: format!(
            "{} (limit {STOP:?}); at most {again} redelivered, of {in_flight} in flight",
            spread(times.collect(), "ms")
        ),
    }
}
