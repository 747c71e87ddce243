use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::checkout;

/// An alert of `infra/prometheus/orders.rules.yml`.
#[derive(Debug, Clone)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// `page` or `ticket`.
    pub severity: String,
    /// What has to be true for a while. Recorded series are replaced by what they record, so any server can be asked.
    pub expr: String,
    /// For how long it has to be so before anybody is told.
    pub pending: Duration,
    /// The command to begin with.
    pub runbook: String,
}

impl Alert {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let path = checkout().join("infra/prometheus/orders.rules.yml");
        let text = std::fs::read_to_string(path).expect("the rules are there");
        let file: File = serde_saphyr::from_str(&text).expect("the rules are YAML");
        let rules: Vec<Rule> = file
            .groups
            .into_iter()
            .flat_map(|group| group.rules)
            .collect();
        let recorded = |rule: &Rule| Some((rule.record.clone()?, rule.expr.clone()));
        let recorded: Vec<_> = rules.iter().filter_map(recorded).collect();
        let alert = |rule: Rule| {
            Some(Self {
                name: rule.alert?,
                severity: text_of(&rule.labels, "severity"),
                expr: expand(rule.expr, &recorded),
                pending: rule.pending.as_deref().map_or(Duration::ZERO, duration),
                runbook: text_of(&rule.annotations, "runbook"),
            })
        };
        rules.into_iter().filter_map(alert).collect()
    }
}

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    expr: String,
    #[serde(rename = "for")]
    pending: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

fn text_of(texts: &BTreeMap<String, String>, name: &str) -> String {
    let text = texts
        .get(name)
        .unwrap_or_else(|| panic!("an alert without {name}"));
    text.clone()
}

fn duration(text: &str) -> Duration {
    humantime::parse_duration(text).expect("a duration of Prometheus that people understand, too")
}

/// A recorded series may use those before it.
fn expand(expr: String, recorded: &[(String, String)]) -> String {
    recorded.iter().rev().fold(expr, |expr, (name, meaning)| {
        expr.replace(name, &format!("({meaning})"))
    })
}
