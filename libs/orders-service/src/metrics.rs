//! The metrics of all daemons, each stated once, in one [table](ALL): its row makes its name, its help, its line in
//! `schemas/metrics.md`, and the zero at which a counter starts.
//!
//! `counter!(metrics::DEAD_LETTERS, "reason" => reason).increment(1)` counts something.

mod process;
mod table;

use std::{fmt::Write as _, time::Duration};

use ::metrics::{Key, KeyName, Label as KeyLabel, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

pub use self::table::*;
/// The macros and what they return, so that whoever counts needs nothing else.
pub use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::{About, VERSION};

/// The value of a gauge of which nothing is known: it is left out of what Prometheus gets, rather than left at what it
/// was.
pub const UNKNOWN: f64 = f64::NAN;

/// How often histograms are emptied into their buckets, if nobody asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its name, with its unit.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its labels, besides `daemon`, which all have.
    pub labels: &'static [Label],
    /// What it tells.
    help: &'static str,
    /// The daemons that have it.
    pub daemons: &'static [&'static str],
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// It counts values, up to each of these bounds.
    Histogram(&'static [f64]),
}

/// A label of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// All values it can have; none if that is not known beforehand.
    pub values: &'static [&'static str],
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

impl Definition {
    /// What it tells, as a sentence without its full stop.
    pub fn help(&self) -> &'static str {
        self.help.trim().trim_end_matches('.')
    }

    /// Its base unit, as the end of its name says it.
    pub fn unit(&self) -> Option<Unit> {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let ends = |end: &str| name.ends_with(end);
        if ends("_seconds") {
            Some(Unit::Seconds)
        } else if ends("_bytes") || ends("_bytes_limit") {
            Some(Unit::Bytes)
        } else {
            None
        }
    }

    fn is_of(&self, daemon: &str) -> bool {
        self.daemons.contains(&daemon)
    }

    /// Makes it known to the recorder. A counter whose labels are known is there from the start, at 0: without that, its
    /// first step would be none for whoever asks for a rate.
    fn start(&self, recorder: &PrometheusRecorder) {
        let (name, help) = (KeyName::from(self.name), self.help());
        match self.kind {
            Kind::Counter => {
                recorder.describe_counter(name, self.unit(), help.into());
                for labels in self.combinations() {
                    let key = Key::from_parts(self.name, labels);
                    let _ = recorder.register_counter(&key, &METADATA);
                }
            }
            Kind::Gauge => {
                recorder.describe_gauge(name, self.unit(), help.into());
                if self.labels.is_empty() {
                    let _ = recorder.register_gauge(&Key::from_name(self.name), &METADATA);
                }
            }
            Kind::Histogram(_) => {
                recorder.describe_histogram(name, self.unit(), help.into());
                if self.labels.is_empty() {
                    let _ = recorder.register_histogram(&Key::from_name(self.name), &METADATA);
                }
            }
        }
    }

    /// Each combination of the values that its labels can have; none if one of them can have any value.
    fn combinations(&self) -> Vec<Vec<KeyLabel>> {
        let mut combinations = vec![Vec::new()];
        for Label { name, values } in self.labels {
            let longer = |shorter: &Vec<KeyLabel>| {
                let shorter = shorter.clone();
                values.iter().map(move |value| {
                    let label = KeyLabel::from_static_parts(name, value);
                    shorter.iter().cloned().chain([label]).collect::<Vec<_>>()
                })
            };
            combinations = combinations.iter().flat_map(longer).collect();
        }
        combinations
    }
}

/// The table as Markdown, for the documents.
pub(crate) fn markdown() -> String {
    let mut text =
        "| metric | kind | labels | daemons | meaning |\n|---|---|---|---|---|\n".to_owned();
    for definition in ALL {
        let labels = definition.labels.iter().map(|Label { name, values }| {
            if values.is_empty() {
                format!("`{name}`")
            } else {
                format!("`{name}`: {}", values.join(", "))
            }
        });
        let labels: Vec<String> = labels.collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            definition.name,
            definition.kind.as_str(),
            labels.join("; "),
            definition.daemons.join(", "),
            definition.help(),
        );
    }
    text
}

/// The metrics of this daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    daemon: &'static str,
    recorded: PrometheusHandle,
}

impl Metrics {
    /// Makes the macros record into the result. Only the first call in a process counts.
    pub(crate) fn of(about: &About) -> Self {
        let daemon = about.name;
        let own = || ALL.iter().filter(move |row| row.is_of(daemon));
        let builder = PrometheusBuilder::new().add_global_label("daemon", daemon);
        let builder = own().fold(builder, |builder, row| match row.kind {
            Kind::Histogram(bounds) => builder
                .set_buckets_for_metric(Matcher::Full(row.name.to_owned()), bounds)
                .expect("there are bounds"),
            Kind::Counter | Kind::Gauge => builder,
        });
        let recorder = builder.build_recorder();
        let recorded = recorder.handle();
        own()
            .filter(|row| !process::has(row.name))
            .for_each(|row| row.start(&recorder));
        let _ = ::metrics::set_global_recorder(recorder);
        gauge!(BUILD_INFO, "version" => VERSION, "commit" => about.commit).set(1.0);
        Self { daemon, recorded }
    }

    /// What Prometheus gets, in its text format.
    pub fn render(&self) -> String {
        let recorded = self.recorded.render();
        let mut text = String::with_capacity(recorded.len() + 1_024);
        for line in recorded.lines().filter(|line| !line.ends_with(" NaN")) {
            text.push_str(line);
            text.push('\n');
        }
        process::write(&mut text, self.daemon);
        text
    }

    /// Empties histograms for ever: they keep each value until then.
    pub(crate) async fn keep_small(self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.recorded.run_upkeep();
        }
    }
}

#[cfg(test)]
mod tests;
