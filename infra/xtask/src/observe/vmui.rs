//! The dashboard for VictoriaMetrics' own pages (app/vmui/packages/vmui/public/dashboards/README.md there). They know no
//! variables.

use serde_json::{Value, json};

use super::panels::{Panel, ROWS, TITLE, Unit};

/// Twelve columns make a row.
const WIDTH: u32 = 4;

pub(super) fn dashboard() -> String {
    let rows = ROWS.iter().map(|row| {
        let panels: Vec<_> = row.panels.iter().map(panel).collect();
        json!({ "title": row.question, "panels": panels })
    });
    let rows: Vec<_> = rows.collect();
    let dashboard = json!({ "title": TITLE, "rows": rows });
    format!("{dashboard:#}\n")
}

fn panel(panel: &Panel) -> Value {
    let exprs: Vec<_> = panel.queries.iter().map(|query| expr(query.expr)).collect();
    let legends: Vec<_> = panel.queries.iter().map(|query| query.legend).collect();
    json!({
        "title": panel.title,
        "description": panel.help,
        "unit": unit(panel.unit),
        "expr": exprs,
        "alias": legends,
        "showLegend": true,
        "width": WIDTH,
    })
}

fn expr(expr: &str) -> String {
    expr.replace("$job", "job=\"orders\"")
        .replace("$window", "1m")
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "",
        Unit::PerSecond => "/s",
        Unit::Seconds => "s",
        Unit::Hours => "h",
        Unit::Percent => "%",
        Unit::Mebibytes => "MiB",
    }
}
