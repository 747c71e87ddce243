//! How long does an order take?

use super::{Panel, Row, Unit, query};

pub(super) const ROW: Row = Row {
    question: "How long does an order take?",
    panels: &[
        Panel {
            title: "From POST to the answer",
            help: "99 % should be below 250 ms.",
            unit: Unit::Seconds,
            queries: percentiles!(creates!("bucket", "")),
        },
        Panel {
            title: "From POST to the list",
            help: "A create waits half a second for it; then it answers without.",
            unit: Unit::Seconds,
            queries: percentiles!("orders_create_to_listed_seconds_bucket{$job}[$window]"),
        },
        Panel {
            title: "Listed as paid, after it was due",
            help: "The delay of the payment is not counted. 99.9 % should be below 1 s.",
            unit: Unit::Seconds,
            queries: percentiles!("orders_paid_delay_seconds_bucket{$job}[$window]"),
        },
        Panel {
            title: "From the change to the sockets",
            help: "99 % should be below 250 ms.",
            unit: Unit::Seconds,
            queries: percentiles!("orders_feed_delay_seconds_bucket{$job}[$window]"),
        },
        Panel {
            title: "From the change to the list",
            help: "The projector's part.",
            unit: Unit::Seconds,
            queries: percentiles!("orders_projection_lag_seconds_bucket{$job}[$window]"),
        },
        Panel {
            title: "Accepted without a decision",
            help: "Creates that were answered 202, because the writer or the database is away.",
            unit: Unit::PerSecond,
            queries: &[query(
                "202",
                "sum(rate(orders_accepted_total{$job}[$window]))",
            )],
        },
    ],
};
