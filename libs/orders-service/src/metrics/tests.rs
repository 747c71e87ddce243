use std::collections::BTreeSet;

use super::*;

fn about() -> About {
    About {
        name: "payment-simulator",
        summary: "",
        commit: "abc",
        version: "",
        prints: Vec::new(),
    }
}

/// Installs the recorder of this process, so there is one test of it.
#[test]
fn counters_begin_at_0_and_what_is_unknown_is_left_out() {
    let metrics = Metrics::of(&about());
    let text = metrics.render();
    let has = |line: &str| text.lines().any(|found| found == line);
    for line in [
        r#"orders_dead_letters_total{daemon="payment-simulator",reason="crash_loop"} 0"#,
        r#"orders_dead_letters_total{daemon="payment-simulator",reason="invalid"} 0"#,
        r#"orders_newer_messages_total{daemon="payment-simulator"} 0"#,
        r#"orders_payments_pending{daemon="payment-simulator"} 0"#,
        "# TYPE orders_newer_messages_total counter",
        "# HELP orders_payments_pending Orders that wait for their payment",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(has(line), "{line}: {text}");
    }
    let build = r#"version="0.1.0",commit="abc"} 1"#;
    assert!(text.lines().any(|line| line.ends_with(build)), "{text}");
    assert!(!text.contains("orders_healed_total"), "it is the writer's");

    for (value, is_told) in [(UNKNOWN, false), (7.0, true), (UNKNOWN, false)] {
        gauge!(PAYMENTS_PENDING).set(value);
        let text = metrics.render();
        assert_eq!(text.contains(r#"orders_payments_pending{"#), is_told);
        assert!(text.contains("# TYPE orders_payments_pending gauge"));
    }
    histogram!(PUBLISH_DURATION, "stream" => "PAYMENTS", "outcome" => "ok").record(0.02);
    let text = metrics.render();
    for (bound, count) in [("0.01", 0), ("0.025", 1), ("30", 1), ("+Inf", 1)] {
        let bucket = format!(
            r#"orders_publish_duration_seconds_bucket{{stream="PAYMENTS",outcome="ok",daemon="payment-simulator",le="{bound}"}} {count}"#
        );
        let sorted = |line: &str| -> BTreeSet<String> {
            let parts = line.split(['{', ',', '}']);
            parts.map(str::to_owned).collect()
        };
        let is_there = text.lines().any(|line| sorted(line) == sorted(&bucket));
        assert!(is_there, "{bucket}: {text}");
    }
}

#[test]
fn the_kernel_tells_of_this_process() {
    let mut text = String::new();
    process::write(&mut text, "edge");
    let value = |name: &str| -> f64 {
        let start = format!("{name}{{daemon=\"edge\"}} ");
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(start.as_str()));
        value.expect("it is there").parse().expect("a number")
    };
    assert!(value(RESIDENT_MEMORY) > 1e6, "{text}");
    assert!(
        (3.0..value(OPEN_FILES_LIMIT)).contains(&value(OPEN_FILES)),
        "{text}"
    );
    assert!((0.0..1e6).contains(&value(PROCESSOR_TIME)), "{text}");
}

#[test]
fn names_and_labels_follow_the_rules() {
    let mut names = BTreeSet::new();
    for row in ALL {
        let name = row.name;
        assert!(names.insert(name), "{name} is there twice");
        let is_counter = matches!(row.kind, Kind::Counter);
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        let is_measured = row.unit().is_some() || name.ends_with("_messages");
        assert!(
            is_measured || !matches!(row.kind, Kind::Histogram(_)),
            "{name}"
        );
        assert!(
            !row.help().is_empty() && !row.help().contains('|'),
            "{name}"
        );
        assert!(!row.daemons.is_empty(), "{name}");
        for word in name.split('_') {
            let derived = [
                "ms",
                "millis",
                "milliseconds",
                "minutes",
                "hours",
                "kb",
                "kib",
                "mib",
            ];
            assert!(!derived.contains(&word), "{name}");
        }
        for Label { name: label, .. } in row.labels {
            // There are too many tenants, orders and the like.
            let is_open = ["tenant", "order", "subject", "peer"].contains(label);
            assert!(!is_open && *label != "daemon", "{name}: {label}");
        }
    }
}
