//! Dashboards and alerts: they ask for metrics that there are, in queries that servers understand, and show something.

mod queries;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use orders_service::metrics::{self, Kind};
use orders_testkit::{Alert, SocketClient, VictoriaMetrics, checkout, eventually};
use reqwest::StatusCode;
use serde_json::json;
use tokio::process::Command;

use self::queries::{dashboard, metrics_of, of_dashboards};
use crate::pipeline::{Pipeline, order};

/// Over which rates are taken here; a daemon looks at its streams and consumers every 5 s.
const WINDOW: &str = "20s";
/// How long clients send orders.
const LOAD: Duration = Duration::from_secs(30);

async fn promtool(arguments: &[&str]) {
    let program = std::env::var_os("ORDERS_TEST_PROMTOOL").expect("run `cargo xtask test`");
    let mut promtool = Command::new(program);
    promtool
        .args(arguments)
        .current_dir(checkout().join("infra/prometheus"));
    let output = promtool.output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

/// Each alert fires when it should and no other does, and an hour of normal load fires none.
#[tokio::test]
async fn alerts_fire_when_they_should() {
    promtool(&["check", "config", "prometheus.yml"]).await;
    promtool(&["check", "config", "compose.yml"]).await;
    promtool(&["check", "rules", "orders.rules.yml"]).await;
    promtool(&["test", "rules", "orders.rules.test.yml"]).await;
    let cases = checkout().join("infra/prometheus/orders.rules.test.yml");
    let cases = std::fs::read_to_string(cases).unwrap();
    for Alert { name, severity, .. } in Alert::all() {
        let fires = format!(r#"alertname="{name}", severity="{severity}"}}', value: 1"#);
        assert!(
            cases.contains(&fires),
            "no case in which {name} ({severity}) fires"
        );
    }
}

/// Whoever is woken finds a command that there is, and the alert in the documents.
#[tokio::test]
async fn alerts_say_what_to_do() {
    let binaries = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
    let documents = std::fs::read_to_string(checkout().join("docs/operations.md")).unwrap();
    for Alert { name, runbook, .. } in Alert::all() {
        let mut words = runbook.split(' ');
        let program = words.next().unwrap();
        assert_eq!(program, "orderctl", "{name}");
        let mut help = Command::new(Path::new(&binaries).join(program));
        let output = help.args(words).arg("--help").output().await.unwrap();
        assert!(output.status.success(), "{runbook}: {output:?}");
        assert!(
            documents.contains(&format!("| {name} |")),
            "{name} is not in operations.md"
        );
    }
}

#[tokio::test]
async fn queries_are_those_of_prometheus_and_ask_for_metrics_that_there_are() {
    let alerts = Alert::all().into_iter().map(|alert| alert.expr);
    let queries: Vec<_> = alerts.chain(of_dashboards("1m")).collect();
    for query in &queries {
        for metric in metrics_of(query) {
            let is_known = metric == "up"
                || metrics::ALL.iter().any(|row| match row.kind {
                    Kind::Histogram(_) => ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|end| metric.strip_suffix(end) == Some(row.name)),
                    Kind::Counter | Kind::Gauge => metric == row.name,
                });
            assert!(is_known, "{metric} is in no daemon, but in {query}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("queries.yml");
    let numbered = queries.iter().enumerate();
    let recorded = numbered.map(|(n, query)| json!({ "record": format!("q{n}"), "expr": query }));
    let recorded: Vec<_> = recorded.collect();
    // JSON is YAML.
    let groups = json!({ "groups": [{ "name": "queries", "rules": recorded }] });
    std::fs::write(&rules, groups.to_string()).unwrap();
    promtool(&["check", "rules", rules.to_str().unwrap()]).await;
}

/// Strictly: with a member that Grafana does not know, it fails.
#[tokio::test]
async fn grafana_can_read_its_dashboard() {
    let mut check = Command::new("go");
    check
        .args(["run", "."])
        .arg(dashboard("grafana"))
        .current_dir(checkout().join("infra/tools/grafana"));
    let output = check.output().await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// While clients send orders, one of which nobody can read and one of which is refused, every panel shows something.
#[tokio::test]
async fn every_query_of_the_dashboards_has_an_answer() {
    let pipeline = Pipeline::open("1s").await;
    let stack = &pipeline.stack;
    let web = stack
        .daemon("web")
        .env("ORDERS_EDGE_URL", &pipeline.edge.url())
        .start()
        .await;
    let daemons = [
        &pipeline.edge,
        &pipeline.writer,
        &pipeline.projector,
        &pipeline.payments,
        &pipeline.realtime,
        &web,
    ];
    let metrics = VictoriaMetrics::start(stack.folder(), &daemons).await;
    eventually("all daemons are asked", async || {
        let up = metrics.query("sum(up)").await?;
        match up.first() {
            Some(up) if up.value == daemons.len().to_string() => Ok(()),
            _ => Err(format!("{up:?}")),
        }
    })
    .await;

    let began = SystemTime::now();
    let _socket = SocketClient::of_tenant(&pipeline.edge.url(), "t-1");
    let poison = r#"{"not":"an order"}"#;
    let jetstream = stack.jetstream().await;
    let sent = jetstream
        .publish("orders.cmd.t-1.create", poison.into())
        .await;
    sent.unwrap().await.unwrap();
    let refused = pipeline
        .post("/api/orders", &json!({ "tenantId": "t-1" }))
        .await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    let mut number = 0;
    while began.elapsed().unwrap() < LOAD {
        for request in [number, number, number + 1, number + 2] {
            let order = order(&format!("t-{}", request % 3), &format!("r{request}"));
            assert!(
                pipeline
                    .post("/api/orders", &order)
                    .await
                    .status()
                    .is_success()
            );
        }
        pipeline.get_json("/api/orders?tenantId=t-1").await;
        number += 3;
    }

    let queries: BTreeSet<_> = of_dashboards(WINDOW).into_iter().collect();
    eventually("every query has an answer", async || {
        let mut silent = Vec::new();
        for query in &queries {
            match metrics.values_since(query, began).await {
                Ok(0) => silent.push(query.clone()),
                Ok(_) => {}
                Err(error) => panic!("{query}: {error}"),
            }
        }
        if silent.is_empty() {
            Ok(())
        } else {
            Err(silent)
        }
    })
    .await;
    // What is given up and refused can be seen.
    for query in [
        r#"sum(orders_dead_letters_total{daemon="writer", reason="invalid"})"#,
        "max(orders_dlq_messages)",
        r#"sum(http_server_request_duration_seconds_count{http_response_status_code="400"})"#,
    ] {
        let found = metrics.query(query).await.unwrap();
        let value: f64 = found[0].value.parse().unwrap();
        assert!(value >= 1.0, "{query}: {found:?}");
    }
    show(&metrics).await;
    pipeline.stack.clean_up().await;
}

/// A browser shows the dashboard, and leaves a picture beside what cargo builds.
async fn show(metrics: &VictoriaMetrics) {
    let binaries = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
    let pictures = PathBuf::from(binaries).with_file_name("screenshots");
    std::fs::create_dir_all(&pictures).unwrap();
    let mut node = Command::new("node");
    node.arg(checkout().join("tests/browser/dashboards.mjs"))
        .env("VMUI_URL", metrics.url())
        .env("SCREENSHOTS", pictures)
        .stdin(Stdio::null());
    let output = node.output().await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
