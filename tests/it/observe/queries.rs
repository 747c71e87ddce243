//! The queries of the dashboards and alerts, and what they ask for.

use std::{collections::BTreeSet, path::PathBuf};

use orders_testkit::checkout;
use serde_json::Value;

/// A dashboard's file.
pub(super) fn dashboard(kind: &str) -> PathBuf {
    checkout().join("infra").join(kind).join("orders.json")
}

/// Every query of both dashboards, with its variables filled in: a rate is taken over `window`.
pub(super) fn of_dashboards(window: &str) -> Vec<String> {
    let mut queries = Vec::new();
    for kind in ["vmui", "grafana"] {
        let text = std::fs::read_to_string(dashboard(kind)).unwrap();
        let before = queries.len();
        collect(&serde_json::from_str(&text).unwrap(), &mut queries);
        assert!(queries.len() > before + 30, "{kind}");
    }
    let filled = queries.into_iter().map(|query| {
        let query = query.replace("$__rate_interval", window);
        query.replace("$job", "orders")
    });
    filled.collect()
}

/// Each text, or each of several, that is called `expr` somewhere below.
fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(query) if name == "expr" => found.push(query.clone()),
                    Value::Array(queries) if name == "expr" => {
                        let queries = queries.iter().filter_map(Value::as_str);
                        found.extend(queries.map(str::to_owned));
                    }
                    member => collect(member, found),
                }
            }
        }
        Value::Array(members) => members.iter().for_each(|member| collect(member, found)),
        _ => {}
    }
}

/// The names of the metrics that a query asks for.
pub(super) fn metrics_of(query: &str) -> BTreeSet<&str> {
    const LISTS: [&str; 6] = [
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
    ];
    const OPERATORS: [&str; 4] = ["and", "or", "unless", "bool"];
    let mut metrics = BTreeSet::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        if end == 0 {
            rest = match first {
                '{' => after(rest, '}'),
                '[' => after(rest, ']'),
                _ => &rest[first.len_utf8()..],
            };
            continue;
        }
        let (word, behind) = rest.split_at(end);
        rest = behind.trim_start();
        if LISTS.contains(&word) {
            if rest.starts_with('(') {
                rest = after(rest, ')');
            }
        } else if !first.is_ascii_digit() && !OPERATORS.contains(&word) {
            let is_aggregation = ["by ", "without "]
                .iter()
                .any(|list| rest.starts_with(list));
            if !rest.starts_with('(') && !is_aggregation {
                metrics.insert(word);
            }
        }
    }
    metrics
}

/// What follows the next `end` that is not in quotes.
fn after(text: &str, end: char) -> &str {
    let mut is_quoted = false;
    let found = text.find(|c| {
        is_quoted ^= c == '"';
        c == end && !is_quoted
    });
    found.map_or("", |at| &text[at + end.len_utf8()..])
}

#[test]
fn metrics_are_told_from_the_rest() {
    let query = r#"100 * (sum by (job) (rate(a_total{x="}", y=~"[45].."}[5m])) or 0 * b:c) / on (x) group_right () max(d) > bool 0.5 and e"#;
    assert_eq!(
        metrics_of(query),
        BTreeSet::from(["a_total", "b:c", "d", "e"])
    );
}
