//! What a process has counted and measured, of all its metrics those that `top` shows.

use std::collections::BTreeMap;

use orders_service::metrics;

use super::{
    exposition::{Sample, samples},
    histogram::Histogram,
};

/// The metrics of a process.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counted {
    /// Its daemon.
    pub(super) daemon: String,
    /// What it has counted and measured since its start.
    pub(super) tally: Tally,
    /// What it has now.
    pub(super) gauges: Gauges,
}

/// What a process has counted and measured since its start, or several have in some time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally {
    /// The answers to creates, by their status.
    pub(super) creates: BTreeMap<u16, u64>,
    /// How long creates took that did not fail.
    pub(super) create: Histogram,
    /// From a create until lists show the order.
    pub(super) listed: Histogram,
    /// From a create until lists show the order as paid, without the delay of its payment.
    pub(super) paid: Histogram,
    /// From a change of an order until sockets hear of it.
    pub(super) socket: Histogram,
    /// Messages given up.
    pub(super) given_up: u64,
}

/// What a process has now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Gauges {
    /// Sockets that are open.
    pub(super) sockets: u64,
    /// Streams of Server-Sent Events that are open.
    pub(super) followers: u64,
    /// Entries of the feed that it has not read.
    pub(super) feed_lag: u64,
}

impl Tally {
    pub(super) fn plus(&self, other: &Self) -> Self {
        self.combined(other, u64::saturating_add, Histogram::plus)
    }

    /// What was counted since `earlier`, which is of the same process.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        self.combined(earlier, u64::saturating_sub, Histogram::since)
    }

    fn combined(
        &self,
        other: &Self,
        counts: fn(u64, u64) -> u64,
        histograms: fn(&Histogram, &Histogram) -> Histogram,
    ) -> Self {
        let statuses = self.creates.keys().chain(other.creates.keys());
        let of = |tally: &Self, status| tally.creates.get(status).copied().unwrap_or(0);
        let creates = statuses.map(|status| (*status, counts(of(self, status), of(other, status))));
        Self {
            creates: creates.collect(),
            create: histograms(&self.create, &other.create),
            listed: histograms(&self.listed, &other.listed),
            paid: histograms(&self.paid, &other.paid),
            socket: histograms(&self.socket, &other.socket),
            given_up: counts(self.given_up, other.given_up),
        }
    }
}

/// Reads the metrics of a process.
pub(super) fn read(text: &str) -> Counted {
    let mut counted = Counted::default();
    for sample in samples(text) {
        if let Some(daemon) = sample.label("daemon")
            && counted.daemon.is_empty()
        {
            counted.daemon = daemon.to_owned();
        }
        counted.count(&sample);
    }
    counted
}

impl Counted {
    fn count(&mut self, sample: &Sample<'_>) {
        let (tally, gauges) = (&mut self.tally, &mut self.gauges);
        let count = sample.value.max(0.0) as u64;
        match sample.name {
            metrics::DEAD_LETTERS => tally.given_up += count,
            metrics::SOCKET_CONNECTIONS => gauges.sockets += count,
            metrics::STREAM_CONNECTIONS => gauges.followers += count,
            metrics::FEED_LAG => gauges.feed_lag += count,
            name => {
                // The parts of a histogram: `_bucket`, `_sum` and `_count`.
                let (name, part) = name.rsplit_once('_').unwrap_or((name, ""));
                let status = status_of_create(sample);
                match (name, bound(sample)) {
                    (metrics::CREATE_TO_LISTED, Some(bound)) => tally.listed.add(bound, count),
                    (metrics::PAID_DELAY, Some(bound)) => tally.paid.add(bound, count),
                    (metrics::FEED_DELAY, Some(bound)) => tally.socket.add(bound, count),
                    (metrics::HTTP_REQUESTS, Some(bound)) if status.is_some_and(|s| s < 300) => {
                        tally.create.add(bound, count);
                    }
                    (metrics::HTTP_REQUESTS, None) if part == "count" => {
                        if let Some(status) = status {
                            *tally.creates.entry(status).or_default() += count;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The bound of a bucket of a histogram.
fn bound(sample: &Sample<'_>) -> Option<f64> {
    sample.label("le")?.parse().ok()
}

/// How a create was answered, if the sample is of creates.
fn status_of_create(sample: &Sample<'_>) -> Option<u16> {
    let is = |label, value| sample.label(label) == Some(value);
    let is_create = is("http_request_method", "POST") && is("http_route", "/api/orders");
    let status = sample.label("http_response_status_code")?;
    status.parse().ok().filter(|_| is_create)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the edge and realtime write it, together.
    const TEXT: &str = r#"
# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{daemon="edge",http_request_method="POST",http_route="/api/orders",http_response_status_code="201",le="0.01"} 3
http_server_request_duration_seconds_bucket{daemon="edge",http_request_method="POST",http_route="/api/orders",http_response_status_code="201",le="+Inf"} 4
http_server_request_duration_seconds_sum{daemon="edge",http_request_method="POST",http_route="/api/orders",http_response_status_code="201"} 0.5
http_server_request_duration_seconds_count{daemon="edge",http_request_method="POST",http_route="/api/orders",http_response_status_code="201"} 4
http_server_request_duration_seconds_bucket{http_request_method="POST",http_route="/api/orders",http_response_status_code="200",le="0.01"} 1
http_server_request_duration_seconds_bucket{http_request_method="POST",http_route="/api/orders",http_response_status_code="200",le="+Inf"} 1
http_server_request_duration_seconds_count{http_request_method="POST",http_route="/api/orders",http_response_status_code="200"} 1
http_server_request_duration_seconds_bucket{http_request_method="POST",http_route="/api/orders",http_response_status_code="429",le="+Inf"} 7
http_server_request_duration_seconds_count{http_request_method="POST",http_route="/api/orders",http_response_status_code="429"} 7
http_server_request_duration_seconds_count{http_request_method="GET",http_route="/api/orders",http_response_status_code="200"} 9
http_server_request_duration_seconds_count{http_request_method="POST",http_route="/api/orders/{orderId}/cancel",http_response_status_code="200"} 9
orders_create_to_listed_seconds_bucket{daemon="edge",le="0.1"} 4
orders_create_to_listed_seconds_bucket{daemon="edge",le="+Inf"} 4
orders_create_to_listed_seconds_count{daemon="edge"} 4
orders_paid_delay_seconds_bucket{daemon="projector",le="+Inf"} 2
orders_feed_delay_seconds_bucket{daemon="realtime",le="+Inf"} 6
orders_dead_letters_total{daemon="writer",reason="invalid"} 1
orders_dead_letters_total{daemon="writer",reason="crash_loop"} 2
orders_socket_connections{daemon="realtime"} 5
orders_stream_connections{daemon="realtime"} 3
orders_feed_lag_entries{daemon="realtime"} 8
"#;

    #[test]
    fn the_text_of_a_daemon_is_read() {
        let Counted {
            daemon,
            tally,
            gauges,
        } = read(TEXT);
        assert_eq!(daemon, "edge");
        let creates = BTreeMap::from([(200, 1), (201, 4), (429, 7)]);
        assert_eq!(tally.creates, creates);
        assert_eq!((tally.create.count(), tally.create.largest()), (5, 0.01));
        let counts = [&tally.listed, &tally.paid, &tally.socket].map(Histogram::count);
        assert_eq!((counts, tally.given_up), ([4, 2, 6], 3));
        let expected = Gauges {
            sockets: 5,
            followers: 3,
            feed_lag: 8,
        };
        assert_eq!(gauges, expected);
    }

    #[test]
    fn a_sum_less_one_part_is_the_other() {
        let one = read(TEXT).tally;
        let other = Tally {
            creates: BTreeMap::from([(202, 3), (201, 1)]),
            given_up: 5,
            ..Tally::default()
        };
        let rest = one.plus(&other).since(&one);
        assert_eq!(rest.creates[&202], 3);
        assert_eq!((rest.creates[&201], rest.creates[&429]), (1, 0));
        assert_eq!((rest.given_up, rest.create.count()), (5, 0));
    }
}
