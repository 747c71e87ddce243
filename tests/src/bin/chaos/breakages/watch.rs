//! What the alerts say, as whoever is woken by them hears it: an alert fires once it has been true for its time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Result;
use orders_testkit::{Alert, VictoriaMetrics};

/// An alert that looks back no further than this is over when its cause is; the others remember it.
const PRESENT: Duration = Duration::from_secs(60);

/// The alerts, asked again and again.
pub(super) struct Watch {
    pub(super) metrics: VictoriaMetrics,
    alerts: Vec<Alert>,
    /// Since when each of them is true, by its name.
    pending: BTreeMap<String, Pending>,
    /// When each of them fired first.
    pub(super) fired: BTreeMap<String, Instant>,
}

/// Whether an alert is the one that is meant: `page OrdersNatsUnhealthy` may be of any stream.
pub(super) fn is_meant(meant: &str, alert: &str) -> bool {
    let rest = alert.strip_prefix(meant);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" of "))
}

struct Pending {
    since: Instant,
    is_of_the_present: bool,
}

impl Watch {
    pub(super) fn new(metrics: VictoriaMetrics) -> Self {
        Self {
            metrics,
            alerts: Alert::all(),
            pending: BTreeMap::new(),
            fired: BTreeMap::new(),
        }
    }

    /// Asks for all of them.
    pub(super) async fn look(&mut self) -> Result<()> {
        let now = Instant::now();
        let mut is_true = BTreeSet::new();
        for alert in &self.alerts {
            let found = self.metrics.query(&alert.expr).await;
            for sample in found.map_err(anyhow::Error::msg)? {
                let of = ["consumer", "daemon", "stream"];
                let of = of.iter().find_map(|label| sample.labels.get(*label));
                let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
                let name = format!("{} {}{of}", alert.severity, alert.name);
                let pending = Pending {
                    since: now,
                    is_of_the_present: looks_back(&alert.expr) <= PRESENT,
                };
                let pending = self.pending.entry(name.clone()).or_insert(pending);
                if now - pending.since >= alert.pending {
                    self.fired.entry(name.clone()).or_insert(now);
                }
                is_true.insert(name);
            }
        }
        self.pending.retain(|name, _| is_true.contains(name));
        Ok(())
    }

    /// The alerts that are true now, or only those of them that do not remember what was.
    pub(super) fn is_true(&self, only_of_the_present: bool) -> Vec<&str> {
        let pending = self.pending.iter();
        let pending =
            pending.filter(|(_, pending)| pending.is_of_the_present || !only_of_the_present);
        pending.map(|(name, _)| name.as_str()).collect()
    }
}

/// The longest range of a query, such as `[5m]`.
fn looks_back(expr: &str) -> Duration {
    let ranges = expr.split('[').skip(1);
    let ranges = ranges.filter_map(|rest| rest.split_once(']'));
    let ranges = ranges.filter_map(|(range, _)| humantime::parse_duration(range).ok());
    ranges.max().unwrap_or_default()
}
