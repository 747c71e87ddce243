//! What the dashboards show: a row for each question that people ask. In the queries, which both kinds of dashboards
//! share, `$job` stands for the filter of the installation and `$window` for the time over which a rate is taken.
//!
//! Instances of a daemon report the same consumers and streams: `max`, never `sum`.

pub(super) const TITLE: &str = "Orders pipeline";

/// A question, and the panels that answer it.
pub(super) struct Row {
    pub(super) question: &'static str,
    pub(super) panels: &'static [Panel],
}

pub(super) struct Panel {
    pub(super) title: &'static str,
    /// What to look for.
    pub(super) help: &'static str,
    pub(super) unit: Unit,
    pub(super) queries: &'static [Query],
}

/// A line, or one for each set of labels.
pub(super) struct Query {
    pub(super) expr: &'static str,
    /// `{{label}}` stands for the label's value.
    pub(super) legend: &'static str,
}

#[derive(Clone, Copy)]
pub(super) enum Unit {
    Count,
    PerSecond,
    Seconds,
    Hours,
    Percent,
    Mebibytes,
}

const fn query(legend: &'static str, expr: &'static str) -> Query {
    Query { expr, legend }
}

/// Which requests create an order.
macro_rules! creates {
    ($suffix:literal, $more:literal) => {
        concat!(
            "http_server_request_duration_seconds_",
            $suffix,
            r#"{$job, daemon="edge", http_request_method="POST", http_route="/api/orders""#,
            $more,
            "}[$window]"
        )
    };
}

/// How long the half and all but a hundredth of what a histogram counts take at most.
macro_rules! percentiles {
    ($($buckets:tt)+) => {
        &[
            query(
                "p50",
                concat!("histogram_quantile(0.5, sum by (le) (rate(", $($buckets)+, ")))"),
            ),
            query(
                "p99",
                concat!("histogram_quantile(0.99, sum by (le) (rate(", $($buckets)+, ")))"),
            ),
        ]
    };
}

/// Seconds for which a stream, once full, holds a message at the present rate.
macro_rules! holds {
    () => {
        r#"max by (stream) (orders_stream_bytes_limit{$job, stream!="ORDERS_COMMANDS"}) / (max by (stream) (orders_stream_bytes{$job} / orders_stream_messages{$job}) * max by (stream) (rate(orders_stream_last_sequence{$job}[$window])) > 0)"#
    };
}

mod backlog;
mod duration;
mod given_up;
mod health;
mod slow;
mod streams;

pub(super) const ROWS: [Row; 6] = [
    health::ROW,
    backlog::ROW,
    duration::ROW,
    slow::ROW,
    given_up::ROW,
    streams::ROW,
];
