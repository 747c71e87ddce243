//! What the pipeline promises whatever is done to it, each promise checked by itself.

use std::collections::{HashMap, HashSet};

use crate::{
    check::{Evidence, Fault, SETTLED, number},
    history::{Operation, Outcome, What},
    report::{Promise, spread},
};

/// All of them.
pub fn all(evidence: &Evidence) -> Vec<Promise> {
    vec![
        nothing_lost(evidence),
        one_id(evidence),
        paid_once(evidence),
        in_time_undisturbed(evidence),
        in_time_after_faults(evidence),
        both_sides_equal(evidence),
        listed_means_listed(evidence),
        sockets_saw_all(evidence),
        told_at_all(evidence),
        nothing_given_up(evidence),
    ]
}

/// The creates of the history: tenant, request, operation.
pub fn creates(evidence: &Evidence) -> impl Iterator<Item = (&str, &str, &Operation)> {
    evidence
        .history
        .iter()
        .filter_map(|operation| match &operation.what {
            What::Create { tenant, request } => {
                Some((tenant.as_str(), request.as_str(), operation))
            }
            _ => None,
        })
}

fn nothing_lost(evidence: &Evidence) -> Promise {
    let mut broken = Vec::new();
    let mut acknowledged = HashSet::new();
    for (tenant, request, operation) in creates(evidence) {
        if operation.outcome != Outcome::Ok || !acknowledged.insert((tenant, request)) {
            continue;
        }
        let stored = evidence
            .stored
            .get(&(tenant.to_owned(), request.to_owned()));
        match stored.map(Vec::as_slice) {
            Some([id]) if evidence.rows.contains_key(id) => {}
            Some([id]) => broken.push(format!("{id} ({tenant} {request}) is not in orders_read")),
            Some(ids) => broken.push(format!("{tenant} {request} is stored {} times", ids.len())),
            None => broken.push(format!("{tenant} {request} is not in orders_write")),
        }
    }
    let twice = evidence.stored.iter().filter(|(_, ids)| ids.len() > 1);
    broken.extend(twice.map(|(key, ids)| format!("{key:?} is stored as {ids:?}")));
    let unknown = creates(evidence)
        .filter(|(.., operation)| operation.outcome == Outcome::Unknown)
        .count();
    Promise {
        promise: "acknowledged but missing in a collection: 0; stored twice: 0",
        figure: format!(
            "{} acknowledged, {} stored, {unknown} answers unknown",
            acknowledged.len(),
            evidence.orders.len()
        ),
        broken,
    }
}

fn one_id(evidence: &Evidence) -> Promise {
    let mut broken = Vec::new();
    let mut ids: HashMap<(&str, &str), &str> = HashMap::new();
    let mut created: HashMap<(&str, &str), usize> = HashMap::new();
    let mut replays = 0;
    for (tenant, request, operation) in creates(evidence) {
        let Some(order) = operation.answer.order.as_deref() else {
            continue;
        };
        replays += usize::from(operation.answer.status == 200);
        if operation.answer.status == 201 {
            *created.entry((tenant, request)).or_default() += 1;
        }
        let known = ids.entry((tenant, request)).or_insert(order);
        if *known != order {
            broken.push(format!("{tenant} {request} was named {known} and {order}"));
        }
    }
    let twice = created.iter().filter(|(_, times)| **times > 1);
    broken.extend(twice.map(|(key, times)| format!("{key:?} was answered 201 {times} times")));
    Promise {
        promise: "one id for one request, 201 at most once",
        figure: format!("{} requests, {replays} replays", ids.len()),
        broken,
    }
}

fn paid_once(evidence: &Evidence) -> Promise {
    let histories = evidence.histories();
    let mut broken = Vec::new();
    let (mut paid, mut cancelled) = (0, 0);
    let confirmed: HashSet<&str> = evidence
        .history
        .iter()
        .filter(|operation| operation.answer.status == 200)
        .filter_map(|operation| match &operation.what {
            What::Cancel { order, .. } => Some(order.as_str()),
            _ => None,
        })
        .collect();
    for (id, order) in &evidence.orders {
        match order.status.as_str() {
            "PAID" => {
                paid += 1;
                let early = order.updated - order.created;
                if early < 5_000.0 {
                    broken.push(format!("{id} was paid after {early} ms"));
                }
                if confirmed.contains(id.as_str()) {
                    broken.push(format!("{id} is PAID and its cancel was confirmed"));
                }
            }
            "CANCELLED" => cancelled += 1,
            status => broken.push(format!("{id} is {status} at the end")),
        }
        let told = histories.get(id.as_str()).cloned().unwrap_or_default();
        let expected = HashSet::from([(1, "PENDING"), (2, order.status.as_str())]);
        if order.version != 2 || told != expected {
            broken.push(format!(
                "{id} at version {}: events tell {told:?}",
                order.version
            ));
        }
    }
    Promise {
        promise: "every order ends PAID or CANCELLED, once in effect, none paid before 5.0 s",
        figure: format!(
            "{paid} PAID, {cancelled} CANCELLED, {} events",
            evidence.events.len()
        ),
        broken,
    }
}

fn in_time_undisturbed(evidence: &Evidence) -> Promise {
    let mut times = Vec::new();
    let mut broken = Vec::new();
    for (id, order) in &evidence.orders {
        let until_due = order.created + 6_500.0;
        if order.status == "PAID"
            && evidence.calm.has(order.created)
            && evidence.calm.has(until_due)
        {
            let took = order.updated - order.created;
            times.push(took);
            if took > 6_500.0 {
                broken.push(format!("{id} was paid after {took} ms"));
            }
        }
    }
    if times.is_empty() {
        broken.push("no order was paid while nothing was disturbed".to_owned());
    }
    Promise {
        promise: "undisturbed, paid within 6.5 s",
        figure: spread(times, "ms"),
        broken,
    }
}

fn in_time_after_faults(evidence: &Evidence) -> Promise {
    let mut slowest = 0.0_f64;
    let mut broken = Vec::new();
    for (id, order) in &evidence.orders {
        let due = evidence.due(order.created);
        if order.updated > due {
            broken.push(format!(
                "{id} got its final status {} ms late",
                order.updated - due
            ));
        }
        let before = evidence
            .faults
            .iter()
            .filter(|Fault { window, .. }| window.from < order.updated);
        if let Some(end) = before.map(|fault| fault.window.to).reduce(f64::max) {
            let own = order.created + 6_500.0;
            slowest = slowest.max(order.updated - end.max(own));
        }
    }
    Promise {
        promise: "final within 30 s of the last fault",
        figure: format!("slowest {:.1} s after it", slowest.max(0.0) / 1e3),
        broken,
    }
}

fn both_sides_equal(evidence: &Evidence) -> Promise {
    let mut broken = Vec::new();
    for (id, order) in &evidence.orders {
        match evidence.rows.get(id) {
            None => broken.push(format!("{id} has no row")),
            Some(row) => {
                let differs = order
                    .view
                    .iter()
                    .filter(|(field, value)| row.get(field.as_str()) != Some(*value));
                let version = number(row.get("version"));
                if version != Some(order.version) {
                    broken.push(format!(
                        "{id}: version is {version:?}, not {}",
                        order.version
                    ));
                }
                broken.extend(differs.map(|(field, value)| {
                    format!("{id}: {field} is {:?}, not {value:?}", row.get(field))
                }));
            }
        }
    }
    let orphans = evidence
        .rows
        .keys()
        .filter(|id| !evidence.orders.contains_key(*id));
    broken.extend(orphans.map(|id| format!("{id} is in orders_read alone")));
    if evidence.settled.is_none() {
        broken.push(format!("not settled {SETTLED:?} after the load"));
    }
    Promise {
        promise: "read and write side equal within 60 s",
        figure: format!(
            "{} orders, settled {:.1} s after the load",
            evidence.orders.len(),
            evidence.settled.unwrap_or_default().as_secs_f64()
        ),
        broken,
    }
}

fn listed_means_listed(evidence: &Evidence) -> Promise {
    let reads = evidence
        .history
        .iter()
        .filter_map(|operation| match &operation.what {
            What::Read { order, .. } => Some((order, operation)),
            _ => None,
        });
    let (mut answered, mut broken) = (0, Vec::new());
    for (order, operation) in reads {
        if operation.answer.status != 200 {
            continue;
        }
        answered += 1;
        if operation.answer.order.as_ref() != Some(order) {
            broken.push(format!(
                "{order} was listed by one edge's word and not on the other"
            ));
        }
    }
    Promise {
        promise: "listed on every edge when one says so",
        figure: format!("{answered} reads on the other edge"),
        broken,
    }
}

fn sockets_saw_all(evidence: &Evidence) -> Promise {
    let feeds = evidence.feeds();
    let (mut events, mut connects, mut broken) = (0, 0, Vec::new());
    for (n, client) in evidence.watched.iter().enumerate() {
        connects += client.connects;
        events += client.seen.len();
        let who = format!("client {n} of {}", client.tenant);
        broken.extend(
            client
                .strange
                .iter()
                .map(|strange| format!("{who} got {strange}")),
        );
        if client.resets > 0 {
            broken.push(format!("{who} was reset {} times", client.resets));
        }
        let Some(since) = client.since else {
            broken.push(format!("{who} never connected"));
            continue;
        };
        let feed = feeds
            .get(client.tenant.as_str())
            .map_or(&[][..], Vec::as_slice);
        let expected: Vec<_> = feed
            .iter()
            .filter(|entry| entry.sequence > since)
            .map(|entry| {
                (
                    entry.sequence,
                    entry.order.clone(),
                    entry.status.clone(),
                    entry.version,
                )
            })
            .collect();
        if client.seen != expected {
            let at = client
                .seen
                .iter()
                .zip(&expected)
                .position(|(seen, expected)| seen != expected);
            let at = at.unwrap_or_else(|| client.seen.len().min(expected.len()));
            broken.push(format!(
                "{who} saw {} of {} entries; at {at} {:?} instead of {:?}",
                client.seen.len(),
                expected.len(),
                client.seen.get(at),
                expected.get(at)
            ));
        }
    }
    Promise {
        promise: "every socket saw every update of its tenant, in order, once, and nothing else",
        figure: format!(
            "{} clients, {} connections, {events} events",
            evidence.watched.len(),
            connects
        ),
        broken,
    }
}

fn told_at_all(evidence: &Evidence) -> Promise {
    let told = evidence.told();
    let silent = evidence.orders.iter().filter_map(|(id, order)| {
        let versions = 1..=u64::try_from(order.version).unwrap_or_default();
        let told = told.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        let is_whole = versions.eq(told.iter().copied());
        let current = order.version;
        (!is_whole).then(|| format!("{id} at version {current}: the feed announces {told:?}"))
    });
    let broken = silent.collect();
    let doubles = evidence
        .feed
        .len()
        .saturating_sub(2 * evidence.orders.len());
    Promise {
        promise: "the feed announces every version of every order, in order",
        figure: format!("{} entries, {doubles} of them doubles", evidence.feed.len()),
        broken,
    }
}

fn nothing_given_up(evidence: &Evidence) -> Promise {
    let count = evidence.dead_letters;
    Promise {
        promise: "no fault dead-letters anything",
        figure: format!("{count} dead letters"),
        broken: (count > 0)
            .then(|| format!("{count} dead letters"))
            .into_iter()
            .collect(),
    }
}
