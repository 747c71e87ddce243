//! Is it healthy?

use super::{Panel, Row, Unit, query};

pub(super) const ROW: Row = Row {
    question: "Is it healthy?",
    panels: &[
        Panel {
            title: "Daemons that answer",
            help: "If one line falls, an instance of that daemon is down.",
            unit: Unit::Count,
            queries: &[query("{{daemon}}", "sum by (daemon) (up{$job})")],
        },
        Panel {
            title: "Creates, by status",
            help: "201 is stored and listed, 200 a replay, 202 accepted without a decision; 503 is refused.",
            unit: Unit::PerSecond,
            queries: &[query(
                "{{http_response_status_code}}",
                concat!(
                    "sum by (http_response_status_code) (rate(",
                    creates!("count", ""),
                    "))"
                ),
            )],
        },
        Panel {
            title: "Creates that fail or are slow",
            help: "The objectives over 30 days: at most 0.1 % fail, at most 1 % take longer than 250 ms.",
            unit: Unit::Percent,
            queries: &[
                query(
                    "failed",
                    concat!(
                        "100 * (sum(rate(",
                        creates!("count", r#", http_response_status_code=~"5..""#),
                        ")) or 0 * sum(rate(",
                        creates!("count", ""),
                        "))) / sum(rate(",
                        creates!("count", ""),
                        "))"
                    ),
                ),
                query(
                    "slow",
                    concat!(
                        "100 * (1 - sum(rate(",
                        creates!("bucket", r#", le="0.25""#),
                        ")) / sum(rate(",
                        creates!("count", ""),
                        ")))"
                    ),
                ),
            ],
        },
        Panel {
            title: "Requests in flight",
            help: "At the limits of the edge, creates are refused.",
            unit: Unit::Count,
            queries: &[query(
                "{{daemon}}",
                "sum by (daemon) (http_server_active_requests{$job})",
            )],
        },
        Panel {
            title: "Sockets and streams",
            help: "Clients that follow the changes of their orders.",
            unit: Unit::Count,
            queries: &[
                query("sockets", "sum(orders_socket_connections{$job})"),
                query("streams", "sum(orders_stream_connections{$job})"),
            ],
        },
        Panel {
            title: "Errors of the bus",
            help: "Lost connections, and what a daemon was not allowed to do.",
            unit: Unit::Count,
            queries: &[
                query(
                    "{{daemon}}",
                    "sum by (daemon) (increase(orders_bus_errors_total{$job}[$window]))",
                ),
                query(
                    "{{daemon}}, not allowed",
                    "sum by (daemon) (increase(orders_nats_permission_violations_total{$job}[$window]))",
                ),
            ],
        },
    ],
};
