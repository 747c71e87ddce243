//! What two readings tell together.

use std::{collections::BTreeMap, time::Duration};

use orders_contracts::{Timestamp, streams::ORDERS_DLQ};

use super::{
    backlog,
    histogram::Histogram,
    reading::{Process, Reading},
    roll::Silent,
    snapshot::{
        Count, Daemon, DeadLetters, Latencies, Latency, Listeners, Orders, Quantiles, Snapshot,
        State,
    },
    tally::{Gauges, Tally},
};
use crate::look::{DAEMONS, Look};

/// The pipeline at `after`, with what happened since `before`, which may be the same reading.
pub(super) fn snapshot(before: &Reading, after: &Reading, silent: Vec<Silent>) -> Snapshot {
    let window = after.look.at - before.look.at;
    let sums = Sums::of(before, after, window);
    let feed_lag = sums.gauges.map(|gauges| gauges.feed_lag);
    Snapshot {
        time: after.time,
        window_seconds: window.as_secs_f64(),
        unseen: after.unseen.clone(),
        orders: sums.orders(),
        latencies: sums.latencies(),
        listeners: Listeners {
            sockets: sums.gauges.map(|gauges| gauges.sockets),
            followers: sums.gauges.map(|gauges| gauges.followers),
        },
        dead_letters: dead_letters(&after.look, after.time, &sums),
        consumers: backlog::consumers(&before.look, &after.look, feed_lag, window),
        streams: backlog::streams(&before.look, &after.look, feed_lag, window),
        daemons: daemons(&after.processes, silent),
    }
}

/// How often something happens in a second, if `window` is long enough to tell.
pub(super) fn per_second(count: u64, window: Duration) -> Option<f64> {
    (!window.is_zero()).then(|| count as f64 / window.as_secs_f64())
}

/// What all processes have counted and measured.
struct Sums {
    /// Since their starts.
    total: Tally,
    /// In the window.
    lately: Tally,
    window: Duration,
    /// Of realtime, if one answers.
    gauges: Option<Gauges>,
    /// The daemons whose metrics are known.
    known: Vec<String>,
}

impl Sums {
    fn of(before: &Reading, after: &Reading, window: Duration) -> Self {
        let mut sums = Self {
            total: Tally::default(),
            lately: Tally::default(),
            window,
            gauges: None,
            known: Vec::new(),
        };
        for (id, process) in &after.processes {
            let Some(counted) = &process.counted else {
                continue;
            };
            let earlier = before.processes.get(id);
            let earlier = earlier.and_then(|earlier| earlier.counted.as_ref());
            sums.total = sums.total.plus(&counted.tally);
            sums.lately = match earlier {
                Some(earlier) => sums.lately.plus(&counted.tally.since(&earlier.tally)),
                None if began_within(process, window) => sums.lately.plus(&counted.tally),
                // It was there and too busy to answer, so nobody knows since when it has counted.
                None => sums.lately,
            };
            if counted.daemon == "realtime" {
                let sum = sums.gauges.unwrap_or_default();
                sums.gauges = Some(Gauges {
                    sockets: sum.sockets + counted.gauges.sockets,
                    followers: sum.followers + counted.gauges.followers,
                    // Each reads the whole feed.
                    feed_lag: sum.feed_lag.max(counted.gauges.feed_lag),
                });
            }
            sums.known.push(counted.daemon.clone());
        }
        sums
    }

    /// The sum of what `daemon` counts; nothing if none of it has told.
    fn count(&self, daemon: &str, count: impl Fn(&Tally) -> u64) -> Count {
        let is_known = self.known.iter().any(|known| known == daemon);
        let lately = || per_second(count(&self.lately), self.window);
        Count {
            total: is_known.then(|| count(&self.total)),
            per_second: is_known.then(lately).flatten(),
        }
    }

    fn orders(&self) -> Orders {
        let answered = |is: fn(u16) -> bool| {
            self.count("edge", |tally| {
                let answers = tally.creates.iter().filter(|(status, _)| is(**status));
                answers.map(|(_, count)| count).sum()
            })
        };
        let refusals = self
            .total
            .creates
            .keys()
            .filter(|status| is_refusal(**status));
        let by_status = refusals.map(|status| {
            let count = |tally: &Tally| tally.creates.get(status).copied().unwrap_or(0);
            (*status, self.count("edge", count))
        });
        Orders {
            created: answered(|status| status == 201),
            repeated: answered(|status| status == 200),
            accepted: answered(|status| status == 202),
            refused: answered(is_refusal),
            refused_by_status: by_status.collect(),
            paid: self.count("projector", |tally| tally.paid.count()),
        }
    }

    fn latencies(&self) -> Latencies {
        let of = |histogram: fn(&Tally) -> &Histogram| Latency {
            lately: quantiles(histogram(&self.lately)),
            since_start: quantiles(histogram(&self.total)),
        };
        Latencies {
            create: of(|tally| &tally.create),
            listed: of(|tally| &tally.listed),
            paid: of(|tally| &tally.paid),
            socket: of(|tally| &tally.socket),
        }
    }
}

/// Whether a process has only run since the last `window`.
fn began_within(process: &Process, window: Duration) -> bool {
    let uptime = process
        .health
        .as_ref()
        .and_then(|health| health.uptime_seconds);
    uptime.is_some_and(|seconds| Duration::from_secs(seconds) < window)
}

fn is_refusal(status: u16) -> bool {
    status >= 400
}

fn quantiles(histogram: &Histogram) -> Option<Quantiles> {
    Some(Quantiles {
        count: histogram.count(),
        p50_seconds: histogram.quantile(50)?,
        p99_seconds: histogram.quantile(99)?,
        largest_seconds: histogram.largest(),
    })
}

fn dead_letters(look: &Look, now: Timestamp, sums: &Sums) -> DeadLetters {
    let state = look.stream(ORDERS_DLQ.name);
    let oldest = state.and_then(|state| state.oldest);
    DeadLetters {
        waiting: state.map(|state| state.messages),
        oldest_seconds: oldest.map(|oldest| now.since(oldest).as_secs_f64()),
        given_up: Count {
            total: Some(sums.total.given_up),
            per_second: per_second(sums.lately.given_up, sums.window),
        },
    }
}

fn daemons(processes: &BTreeMap<String, Process>, silent: Vec<Silent>) -> Vec<Daemon> {
    let answering = processes.values().filter_map(|process| {
        let health = process.health.as_ref()?;
        Some(Daemon {
            daemon: health.daemon.clone(),
            instance: Some(health.instance.clone()),
            version: Some(health.version.clone()),
            uptime_seconds: health.uptime_seconds,
            state: match health.problem {
                None => State::Ready,
                Some(_) => State::NotReady,
            },
            problem: health.problem.clone(),
            silent_seconds: None,
        })
    });
    let silent = silent.into_iter().map(|Silent { health, since }| Daemon {
        daemon: health.daemon,
        instance: Some(health.instance),
        version: Some(health.version),
        uptime_seconds: None,
        state: State::Silent,
        problem: None,
        silent_seconds: Some(since.as_secs_f64()),
    });
    let mut daemons = Vec::from_iter(answering.chain(silent));
    for name in DAEMONS {
        if !daemons.iter().any(|daemon| daemon.daemon == name) {
            daemons.push(Daemon {
                daemon: name.to_owned(),
                instance: None,
                version: None,
                uptime_seconds: None,
                state: State::Silent,
                problem: None,
                silent_seconds: None,
            });
        }
    }
    // In the order in which an order passes them; `web` is no part of the line.
    let place = |daemon: &Daemon| DAEMONS.iter().position(|name| *name == daemon.daemon);
    daemons.sort_by_key(|daemon| {
        (
            place(daemon).unwrap_or(DAEMONS.len()),
            daemon.instance.clone(),
        )
    });
    daemons
}

#[cfg(test)]
mod tests;
