//! The promises that are about hosts, beside those that hold whatever is done, and the table of the faults.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use orders_tests::{
    check::{Evidence, Window},
    history::{Millis, Operation, Outcome},
    promises::{self, creates},
    report::{Promise, Report, spread},
};

use crate::faults::{Fault, LEFT, Measured, RECOVERY};

/// How soon after the beginning of a fault creates succeed again, and how long after its end it still counts.
const AGAIN: Millis = 10_000.0;
/// While the work queue gets its copies, nats-server waits 10 s for its consumers and stores nothing.
const GROWN: Millis = 15_000.0;
/// The slowest of a hundred creates far from any fault.
const SLOWEST: Millis = 1_000.0;

/// What the end of the run looks like.
pub(crate) struct Ending {
    /// Streams and consumers without three copies.
    pub(crate) lacking: Vec<String>,
    /// How many commands the work queue still has.
    pub(crate) commands: u64,
}

pub(crate) fn make(evidence: &Evidence, measured: &Measured, ending: &Ending) -> Report {
    let outages = Outages::of(evidence);
    let mut promises = promises::all(evidence);
    promises.extend([
        soon_again(&outages),
        fast_between(evidence),
        servers_left(measured),
        in_full(ending),
        ready_again(evidence, measured),
    ]);
    Report::new(&outages.table(), &promises)
}

/// How long no create succeeded because of each fault.
struct Outages(Vec<Outage>);

struct Outage {
    class: &'static str,
    /// Without any success.
    accepted: Millis,
    /// Without the answer that the order is stored and listed.
    created: Millis,
}

impl Outages {
    fn of(evidence: &Evidence) -> Self {
        let ends = |is_one: fn(&Operation) -> bool| {
            let found = creates(evidence).map(|(.., operation)| operation);
            let mut ends: Vec<Millis> = found
                .filter(|operation| is_one(operation))
                .map(|operation| operation.end)
                .collect();
            ends.sort_by(f64::total_cmp);
            ends
        };
        let accepted = ends(|operation| operation.outcome == Outcome::Ok);
        let created = ends(|operation| matches!(operation.answer.status, 200 | 201));
        let next = evidence.faults.iter().skip(1).map(|next| next.window.from);
        let next = next.chain([Millis::INFINITY]);
        let outages = evidence
            .faults
            .iter()
            .zip(next)
            .map(|(fault, next)| Outage {
                class: fault.class,
                accepted: longest_gap(&accepted, fault.window, next),
                created: longest_gap(&created, fault.window, next),
            });
        Self(outages.collect())
    }

    fn table(&self) -> String {
        let mut classes: BTreeMap<&str, [Vec<Millis>; 2]> = BTreeMap::new();
        for outage in &self.0 {
            let [accepted, created] = classes.entry(outage.class).or_default();
            accepted.push(outage.accepted);
            created.push(outage.created);
        }
        let mut text = String::from(
            "\n| fault | times | no create accepted: longest | median | none listed: longest | median |\n|---|---|---|---|---|---|\n",
        );
        for (class, mut gaps) in classes {
            let _ = write!(text, "| {class} | {} |", gaps[0].len());
            for gaps in &mut gaps {
                gaps.sort_by(f64::total_cmp);
                let (longest, median) = (gaps[gaps.len() - 1], gaps[gaps.len() / 2]);
                let _ = write!(text, " {:.1} s | {:.1} s |", longest / 1e3, median / 1e3);
            }
            text.push('\n');
        }
        text
    }
}

/// The longest time without one of these moments that a fault may be blamed for, before the next fault.
fn longest_gap(moments: &[Millis], fault: Window, next_fault: Millis) -> Millis {
    let until = next_fault.min(fault.to + AGAIN);
    let next = moments.partition_point(|moment| *moment <= fault.from);
    let mut gap = Millis::default();
    let mut last = fault.from;
    for moment in &moments[next..] {
        if last > until {
            break;
        }
        gap = gap.max(moment.min(next_fault) - last);
        last = *moment;
    }
    gap
}

fn soon_again(outages: &Outages) -> Promise {
    let limit = |class| match class == Fault::Growth.class() {
        true => GROWN,
        false => AGAIN,
    };
    let late = outages
        .0
        .iter()
        .filter(|outage| outage.accepted > limit(outage.class));
    let worst = outages.0.iter().map(|outage| outage.accepted);
    Promise {
        promise: "creates succeed again within 10 s of every fault (15 s of growth)",
        figure: spread(worst.collect(), "ms"),
        broken: late
            .map(|outage| format!("{}: none for {:.0} ms", outage.class, outage.accepted))
            .collect(),
    }
}

fn fast_between(evidence: &Evidence) -> Promise {
    let is_calm = |operation: &Operation| {
        evidence.faults.iter().all(|fault| {
            operation.end < fault.window.from || operation.start > fault.window.to + AGAIN
        })
    };
    let calm = creates(evidence).map(|(.., operation)| operation);
    let mut times: Vec<Millis> = calm
        .filter(|operation| is_calm(operation))
        .map(|operation| operation.end - operation.start)
        .collect();
    times.sort_by(f64::total_cmp);
    let p99 = times.get(times.len() * 99 / 100).copied();
    let broken = match p99 {
        None => Some("nothing was measured".to_owned()),
        Some(p99) => (p99 > SLOWEST).then(|| format!("p99 is {p99:.0} ms")),
    };
    Promise {
        promise: "p99 of creates below 1 s more than 10 s after any fault",
        figure: spread(times, "ms"),
        broken: broken.into_iter().collect(),
    }
}

fn servers_left(measured: &Measured) -> Promise {
    let late = measured.left.iter().filter(|time| **time >= LEFT);
    Promise {
        promise: "every daemon leaves a server that has lost the others",
        figure: spread(millis(&measured.left), "ms"),
        broken: late.map(|time| format!("not within {time:?}")).collect(),
    }
}

fn in_full(ending: &Ending) -> Promise {
    let mut broken = ending.lacking.clone();
    if ending.commands > 0 {
        let what = format!("the work queue keeps {} that are handled", ending.commands);
        broken.push(what);
    }
    Promise {
        promise: "at the end three copies of everything, and no command that is handled is kept",
        figure: format!("{} commands", ending.commands),
        broken,
    }
}

fn ready_again(evidence: &Evidence, measured: &Measured) -> Promise {
    Promise {
        promise: "every server and daemon is ready again within 60 s of a fault's end, replays answer the same order",
        figure: format!(
            "{} faults; ready {} (limit {RECOVERY:?}); SIGTERM {}",
            evidence.faults.len(),
            spread(millis(&measured.ready), "ms"),
            spread(millis(&measured.stops), "ms")
        ),
        broken: measured.violations.clone(),
    }
}

fn millis(times: &[Duration]) -> Vec<Millis> {
    times.iter().map(|time| time.as_secs_f64() * 1e3).collect()
}
