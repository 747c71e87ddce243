//! Where is the backlog?

use super::{Panel, Row, Unit, query};

pub(super) const ROW: Row = Row {
    question: "Where is the backlog?",
    panels: &[
        Panel {
            title: "Oldest message that is not done",
            help: "How far each daemon is behind. The payment-simulator keeps each order for the delay of its payment.",
            unit: Unit::Seconds,
            queries: &[query(
                "{{stream}} > {{consumer}}",
                "max by (stream, consumer) (orders_consumer_oldest_unacked_seconds{$job})",
            )],
        },
        Panel {
            title: "Messages that nobody has yet",
            help: "They grow while messages arrive faster than their daemon handles them.",
            unit: Unit::Count,
            queries: &[query(
                "{{stream}} > {{consumer}}",
                "max by (stream, consumer) (orders_consumer_pending_messages{$job})",
            )],
        },
        Panel {
            title: "Messages in hand",
            help: "Delivered and not done.",
            unit: Unit::Count,
            queries: &[query(
                "{{stream}} > {{consumer}}",
                "max by (stream, consumer) (orders_consumer_ack_pending_messages{$job})",
            )],
        },
        Panel {
            title: "Messages that came again",
            help: "A daemon died with them in hand, or could not do them.",
            unit: Unit::Count,
            queries: &[query(
                "{{stream}} > {{consumer}}",
                "max by (stream, consumer) (orders_consumer_redelivered_messages{$job})",
            )],
        },
        Panel {
            title: "Daemons that wait for messages",
            help: "Zero, and no progress: nobody reads.",
            unit: Unit::Count,
            queries: &[query(
                "{{stream}} > {{consumer}}",
                "max by (stream, consumer) (orders_consumer_waiting_pulls{$job})",
            )],
        },
        Panel {
            title: "Payments to come, changes to tell",
            help: "Orders whose payment is held, and changes that realtime has not read.",
            unit: Unit::Count,
            queries: &[
                query("payments", "sum(orders_payments_pending{$job})"),
                query("changes", "max(orders_feed_lag_entries{$job})"),
            ],
        },
    ],
};
