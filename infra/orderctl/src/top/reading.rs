//! What the daemons and JetStream tell at one moment.

use std::collections::BTreeMap;

use orders_bus::{DaemonAnswer, DaemonMetrics, Error, Operator};
use orders_contracts::{DaemonHealth, PaymentSettings, Timestamp, streams};
use orders_service::chain;

use super::tally::{self, Counted};
use crate::look::{DAEMONS, Look};

/// What the daemons and JetStream told at one moment.
pub(super) struct Reading {
    pub(super) time: Timestamp,
    pub(super) look: Look,
    /// The processes that answered, by their ids.
    pub(super) processes: BTreeMap<String, Process>,
    /// What could not be seen, and why.
    pub(super) unseen: Vec<String>,
}

/// What a process told; one that is busy may have told only one of both.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) health: Option<DaemonHealth>,
    pub(super) counted: Option<Counted>,
}

impl Reading {
    /// Asks all of them; fails if NATS is away.
    pub(super) async fn take(bus: &Operator) -> Result<Self, Error> {
        bus.readiness()().await?;
        let time = Timestamp::now();
        // The delay of payments does not matter here: the server tells how long it waits for acks.
        let consumers = streams::consumers(&PaymentSettings::default());
        let (look, daemons, metrics) =
            tokio::join!(Look::at(bus, consumers), bus.daemons(), bus.metrics());
        let mut unseen = Vec::new();
        if let Some(refused) = bus.refused() {
            unseen.push(format!(
                "NATS refuses: {refused}; after an upgrade, run orderctl nats init and reload nats-server"
            ));
        }
        let missing = look.missing.iter().map(|what| format!("{what} is missing"));
        unseen.extend(missing);
        unseen.extend(look.errors.iter().map(|error| chain(error)));
        let mut seen = |error: Error| unseen.push(chain(&error));
        let daemons = daemons.map_err(&mut seen).unwrap_or_default();
        let metrics = metrics.map_err(&mut seen).unwrap_or_default();
        let processes = processes(daemons, metrics, &mut unseen);
        Ok(Self {
            time,
            look,
            processes,
            unseen,
        })
    }
}

/// Puts together what each process told, and says what is not there.
fn processes(
    daemons: Vec<DaemonAnswer>,
    metrics: Vec<DaemonMetrics>,
    unseen: &mut Vec<String>,
) -> BTreeMap<String, Process> {
    let mut texts = BTreeMap::new();
    let mut processes: BTreeMap<String, Process> = BTreeMap::new();
    for DaemonMetrics { id, text } in metrics {
        let process = processes.entry(id.clone()).or_default();
        process.counted = text.as_deref().ok().map(tally::read);
        texts.insert(id, text);
    }
    for name in DAEMONS {
        if !daemons.iter().any(|answer| answer.health.daemon == name) {
            unseen.push(format!("no {name} answers"));
        }
    }
    for (number, DaemonAnswer { health, .. }) in daemons.into_iter().enumerate() {
        let instance = &health.instance;
        match health.id.as_ref().map(|id| texts.get(id)) {
            Some(Some(Ok(_))) => {}
            Some(Some(Err(why))) => {
                unseen.push(format!("{instance} cannot send its metrics: {why}"))
            }
            Some(None) => unseen.push(format!("{instance} does not answer with its metrics")),
            None => unseen.push(format!("{instance} is too old to answer with its metrics")),
        }
        // Those of one name may be several.
        let number = || format!("{instance} {number}");
        let id = health.id.clone().unwrap_or_else(number);
        processes.entry(id).or_default().health = Some(health);
    }
    processes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(daemon: &str, id: Option<&str>) -> DaemonAnswer {
        let health = DaemonHealth {
            daemon: daemon.to_owned(),
            instance: format!("{daemon}.1"),
            version: "0.1.0".to_owned(),
            problem: None,
            id: id.map(str::to_owned),
            uptime_seconds: None,
            asked_at: None,
            answered_at: None,
        };
        DaemonAnswer {
            health,
            clock: None,
        }
    }

    #[test]
    fn what_a_daemon_does_not_tell_is_told() {
        let daemons = vec![
            answer("edge", Some("a")),
            answer("writer", Some("b")),
            answer("writer", Some("c")),
            answer("projector", None),
            answer("realtime", Some("d")),
        ];
        let text = |id: &str, text: Result<&str, &str>| DaemonMetrics {
            id: id.to_owned(),
            text: text.map(str::to_owned).map_err(str::to_owned),
        };
        let metrics = vec![
            text("a", Ok("orders_dead_letters_total 2")),
            text("c", Err("2 bytes, and NATS takes 1")),
            text("d", Ok("")),
            text("e", Ok("")),
        ];
        let mut unseen = Vec::new();
        let processes = processes(daemons, metrics, &mut unseen);
        assert_eq!(
            unseen,
            [
                "no payment-simulator answers",
                "writer.1 does not answer with its metrics",
                "writer.1 cannot send its metrics: 2 bytes, and NATS takes 1",
                "projector.1 is too old to answer with its metrics",
            ]
        );
        assert_eq!(processes.len(), 6);
        let counted = processes["a"].counted.as_ref().unwrap();
        assert_eq!(counted.tally.given_up, 2);
        assert!(processes["e"].health.is_none(), "it was too busy to tell");
    }
}
