//! What a panel of the dashboards shows.

use anyhow::{Context, Result};
use orders_testkit::{VictoriaMetrics, checkout};
use serde::Deserialize;

#[derive(Deserialize)]
struct Dashboard {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    panels: Vec<Panel>,
}

/// A panel, as VictoriaMetrics reads it.
#[derive(Deserialize)]
pub(super) struct Panel {
    title: String,
    unit: String,
    expr: Vec<String>,
}

impl Panel {
    /// The panel with this title.
    pub(super) fn titled(title: &str) -> Result<Self> {
        let file = checkout().join("infra/vmui/orders.json");
        let dashboard: Dashboard = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        let mut panels = dashboard.rows.into_iter().flat_map(|row| row.panels);
        let found = panels.find(|panel| panel.title == title);
        found.with_context(|| format!("no panel {title}"))
    }

    /// The highest of its lines now, of those with a label that has the value `of`; `-` where there is none.
    pub(super) async fn shows(&self, metrics: &VictoriaMetrics, of: &str) -> Result<String> {
        let mut highest: Option<f64> = None;
        for expr in &self.expr {
            let found = metrics.query(expr).await.map_err(anyhow::Error::msg)?;
            let lines = found
                .iter()
                .filter(|line| of.is_empty() || line.labels.values().any(|value| value == of));
            let values = lines.filter_map(|line| line.value.parse::<f64>().ok());
            highest = values.chain(highest).reduce(f64::max);
        }
        Ok(highest.map_or_else(
            || "-".to_owned(),
            |value| format!("{}{}", short(value), self.unit()),
        ))
    }

    fn unit(&self) -> String {
        match self.unit.as_str() {
            "" | "%" | "/s" => self.unit.clone(),
            unit => format!(" {unit}"),
        }
    }
}

/// Two places where they tell something.
fn short(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
