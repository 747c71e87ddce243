//! Is a stream about to overwrite what nobody has read?

use super::{Panel, Row, Unit, query};

pub(super) const ROW: Row = Row {
    question: "Is a stream about to overwrite what nobody has read?",
    panels: &[
        Panel {
            title: "How full",
            help: "A full ORDERS_COMMANDS refuses creates; a full stream of another kind drops its oldest messages.",
            unit: Unit::Percent,
            queries: &[query(
                "{{stream}}",
                "100 * max by (stream) (orders_stream_bytes{$job}) / max by (stream) (orders_stream_bytes_limit{$job})",
            )],
        },
        Panel {
            title: "How long a message stays",
            help: "At the present rate, once the stream is full. Streams whose messages leave by age keep them no longer than that.",
            unit: Unit::Hours,
            queries: &[query("{{stream}}", concat!(holds!(), " / 3600"))],
        },
        Panel {
            title: "Until unread messages are overwritten",
            help: "At zero, messages are lost that a daemon has not done.",
            unit: Unit::Hours,
            queries: &[query(
                "{{stream}} > {{consumer}}",
                concat!(
                    "(",
                    holds!(),
                    " - on (stream) group_right () max by (stream, consumer) (orders_consumer_oldest_unacked_seconds{$job})) / 3600"
                ),
            )],
        },
        Panel {
            title: "Messages stored",
            help: "By stream.",
            unit: Unit::Count,
            queries: &[query(
                "{{stream}}",
                "max by (stream) (orders_stream_messages{$job})",
            )],
        },
    ],
};
