//! Who is slow?

use super::{Panel, Row, Unit, query};

pub(super) const ROW: Row = Row {
    question: "Who is slow?",
    panels: &[
        Panel {
            title: "Handling a message, p99",
            help: "Without the time that the message waited.",
            unit: Unit::Seconds,
            queries: &[query(
                "{{daemon}}, {{stream}}",
                "histogram_quantile(0.99, sum by (daemon, stream, le) (rate(orders_process_duration_seconds_bucket{$job}[$window])))",
            )],
        },
        Panel {
            title: "Publishing a message, p99",
            help: "Until NATS has stored it.",
            unit: Unit::Seconds,
            queries: &[query(
                "{{daemon}}, {{stream}}",
                "histogram_quantile(0.99, sum by (daemon, stream, le) (rate(orders_publish_duration_seconds_bucket{$job}[$window])))",
            )],
        },
        Panel {
            title: "Asking the database, p99",
            help: "By what was asked.",
            unit: Unit::Seconds,
            queries: &[query(
                "{{daemon}}, {{operation}}",
                "histogram_quantile(0.99, sum by (daemon, operation, le) (rate(orders_store_operation_duration_seconds_bucket{$job}[$window])))",
            )],
        },
        Panel {
            title: "Requests, p99",
            help: "By route of the edge.",
            unit: Unit::Seconds,
            queries: &[query(
                "{{http_request_method}} {{http_route}}",
                r#"histogram_quantile(0.99, sum by (http_request_method, http_route, le) (rate(http_server_request_duration_seconds_bucket{$job, daemon="edge"}[$window])))"#,
            )],
        },
        Panel {
            title: "Messages in a batch",
            help: "Batches grow with the load.",
            unit: Unit::Count,
            queries: &[query(
                "{{daemon}}, {{stream}}",
                "sum by (daemon, stream) (rate(orders_batch_messages_sum{$job}[$window])) / sum by (daemon, stream) (rate(orders_batch_messages_count{$job}[$window]))",
            )],
        },
        Panel {
            title: "Processors used",
            help: "A daemon has one thread: near 100 %, start another instance.",
            unit: Unit::Percent,
            queries: &[query(
                "{{daemon}} {{instance}}",
                "100 * rate(process_cpu_seconds_total{$job}[$window])",
            )],
        },
        Panel {
            title: "Memory",
            help: "What is resident.",
            unit: Unit::Mebibytes,
            queries: &[query(
                "{{daemon}} {{instance}}",
                "process_resident_memory_bytes{$job} / 1048576",
            )],
        },
        Panel {
            title: "Open files, of those allowed",
            help: "A socket is one; at 100 % nobody gets in.",
            unit: Unit::Percent,
            queries: &[query(
                "{{daemon}} {{instance}}",
                "100 * process_open_fds{$job} / process_max_fds{$job}",
            )],
        },
    ],
};
