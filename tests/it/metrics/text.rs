//! What a daemon tells Prometheus, and what the documents say that it tells.

use std::collections::{BTreeMap, BTreeSet};

use orders_testkit::{Daemon, checkout};

/// One line of `schemas/metrics.md`.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) kind: String,
    /// Each with the values that it may have, if they are listed.
    pub(super) labels: BTreeMap<String, Vec<String>>,
    daemons: BTreeSet<String>,
}

impl Listed {
    /// How many combinations of values its labels have; `None` if one can have any value.
    pub(super) fn combinations(&self) -> Option<usize> {
        let counts = self.labels.values().map(Vec::len);
        counts
            .map(|count| (count > 0).then_some(count))
            .product::<Option<usize>>()
    }
}

/// The list of the documents, by name.
pub(super) fn list() -> BTreeMap<String, Listed> {
    let path = checkout().join("schemas/metrics.md");
    let text = std::fs::read_to_string(path).expect("the list is there");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let rows: BTreeMap<String, Listed> = rows.map(row).collect();
    assert!(rows.len() > 40, "{text}");
    rows
}

fn row(line: &str) -> (String, Listed) {
    let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
    let [name, kind, labels, daemons, _meaning] = cells[..] else {
        panic!("{line}");
    };
    let words = |text: &str| -> Vec<String> {
        let words = text.split(',').map(|word| word.trim().to_owned());
        words.filter(|word| !word.is_empty()).collect()
    };
    let label = |text: &str| {
        let (label, values) = text.split_once(':').unwrap_or((text, ""));
        (label.trim().trim_matches('`').to_owned(), words(values))
    };
    let labels = labels.split(';').filter(|text| !text.trim().is_empty());
    let listed = Listed {
        kind: kind.to_owned(),
        labels: labels.map(label).collect(),
        daemons: words(daemons).into_iter().collect(),
    };
    (name.trim_matches('`').to_owned(), listed)
}

/// Those of `list` that a daemon has.
pub(super) fn of<'a>(
    list: &'a BTreeMap<String, Listed>,
    daemon: &str,
) -> BTreeMap<&'a str, &'a Listed> {
    list.iter()
        .filter(|(_, listed)| listed.daemons.contains(daemon))
        .map(|(name, listed)| (name.as_str(), listed))
        .collect()
}

/// One number.
#[derive(Debug)]
pub(super) struct Sample {
    /// Its name, of a histogram with `_bucket`, `_sum` or `_count`.
    name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// All that a daemon tells.
#[derive(Debug)]
pub(super) struct Told {
    /// The kind of each metric.
    pub(super) kinds: BTreeMap<String, String>,
    pub(super) helped: BTreeSet<String>,
    samples: Vec<Sample>,
}

impl Told {
    pub(super) async fn by(daemon: &Daemon) -> Self {
        let answer = reqwest::get(format!("{}/metrics", daemon.url())).await;
        Self::read(&answer.unwrap().text().await.unwrap())
    }

    fn read(text: &str) -> Self {
        let mut told = Self {
            kinds: BTreeMap::new(),
            helped: BTreeSet::new(),
            samples: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                let before = told.kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} is there twice");
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(help.len() > 5, "{line}");
                told.helped.insert(name.to_owned());
            } else {
                told.samples.push(sample(line));
            }
        }
        told
    }

    /// The samples of a metric.
    pub(super) fn of(&self, name: &str) -> impl Iterator<Item = &Sample> {
        let ends: &[&str] = match self.kinds.get(name).map(String::as_str) {
            Some("histogram") => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let parts: Vec<String> = ends.iter().map(|end| format!("{name}{end}")).collect();
        self.samples
            .iter()
            .filter(move |sample| parts.contains(&sample.name))
    }

    /// The value of the one sample with this name and, among others, these labels.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&Sample| {
            let has = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).map(String::as_str) == Some(*value)
            };
            sample.name == name && labels.iter().all(has)
        };
        let mut found = self.samples.iter().filter(fits);
        let value = found.next().map(|sample| sample.value);
        assert!(found.next().is_none(), "several {name} with {labels:?}");
        value
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect(line);
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').expect(line);
    // No value of ours has a quote or a comma in it, apart from those of routes, which have neither.
    let labels = labels.split("\",").filter(|label| !label.is_empty());
    let label = |label: &str| {
        let (name, value) = label.split_once("=\"").expect(line);
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    };
    Sample {
        name: name.to_owned(),
        labels: labels.map(label).collect(),
        value: value.parse().expect(line),
    }
}
