//! What was given up?

use super::{Panel, Row, Unit, query};

pub(super) const ROW: Row = Row {
    question: "What was given up?",
    panels: &[
        Panel {
            title: "Dead letters",
            help: "Messages that a daemon gave up on; `orderctl dlq list` shows them.",
            unit: Unit::Count,
            queries: &[query(
                "{{daemon}}, {{reason}}",
                "sum by (daemon, reason) (increase(orders_dead_letters_total{$job}[$window]))",
            )],
        },
        Panel {
            title: "Dead letters that wait",
            help: "For an operator: `orderctl dlq redrive` or `drop`.",
            unit: Unit::Count,
            queries: &[query("waiting", "max(orders_dlq_messages{$job})")],
        },
        Panel {
            title: "Lost, and made good",
            help: "Messages that left a stream before they were done, and events that were published again.",
            unit: Unit::Count,
            queries: &[
                query(
                    "lost by {{consumer}}",
                    "sum by (consumer) (increase(orders_messages_lost_total{$job}[$window]))",
                ),
                query(
                    "made good",
                    "sum(increase(orders_healed_total{$job}[$window]))",
                ),
            ],
        },
        Panel {
            title: "Requests that were refused",
            help: "4xx by the client's fault, 5xx by ours.",
            unit: Unit::PerSecond,
            queries: &[query(
                "{{http_response_status_code}}",
                r#"sum by (http_response_status_code) (rate(http_server_request_duration_seconds_count{$job, daemon="edge", http_response_status_code=~"[45].."}[$window]))"#,
            )],
        },
        Panel {
            title: "Refused to protect the others",
            help: "Creates beyond a limit of the edge, requests beyond a rate, callers without a right.",
            unit: Unit::PerSecond,
            queries: &[
                query(
                    "creates, {{limit}}",
                    "sum by (limit) (rate(orders_commands_shed_total{$job}[$window]))",
                ),
                query(
                    "requests, {{policy}}",
                    "sum by (policy) (rate(orders_requests_limited_total{$job}[$window]))",
                ),
                query(
                    "callers, {{kind}}",
                    "sum by (kind) (rate(orders_auth_refusals_total{$job}[$window]))",
                ),
            ],
        },
        Panel {
            title: "Sockets that ended",
            help: "`slow` and `behind` were cut, because they did not read.",
            unit: Unit::Count,
            queries: &[query(
                "{{reason}}",
                "sum by (reason) (increase(orders_socket_disconnects_total{$job}[$window]))",
            )],
        },
    ],
};
