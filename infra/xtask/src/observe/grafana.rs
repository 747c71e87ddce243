//! The dashboard for Grafana, to be imported: it asks for the data source and the job.

use serde_json::{Value, json};

use super::panels::{Panel, Query, ROWS, TITLE, Unit};

/// Of the grid, which is 24 wide.
const WIDTH: usize = 8;
const HEIGHT: usize = 8;
const PER_LINE: usize = 24 / WIDTH;

pub(super) fn dashboard() -> String {
    let dashboard = json!({
        "uid": "orders-pipeline",
        "title": TITLE,
        "tags": ["orders"],
        "timezone": "browser",
        "editable": true,
        "graphTooltip": 1,
        "schemaVersion": 41,
        "refresh": "10s",
        "time": { "from": "now-1h", "to": "now" },
        "annotations": { "list": [] },
        "templating": { "list": [
            {
                "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus",
            },
            {
                "type": "query", "name": "job", "label": "Installation", "datasource": data_source(),
                "query": "label_values(orders_build_info, job)", "refresh": 2, "sort": 1, "includeAll": true,
                "multi": true, "current": { "text": "All", "value": "$__all" },
            },
        ] },
        "panels": panels(),
    });
    format!("{dashboard:#}\n")
}

fn data_source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

/// A line for each question, and below it the panels that answer it.
fn panels() -> Vec<Value> {
    let mut all = Vec::new();
    let mut y = 0;
    for row in &ROWS {
        let place = json!({ "x": 0, "y": y, "w": 24, "h": 1 });
        all.push(json!({
            "type": "row", "id": all.len() + 1, "title": row.question, "collapsed": false, "panels": [],
            "gridPos": place,
        }));
        y += 1;
        for (n, shown) in row.panels.iter().enumerate() {
            let (x, y) = (n % PER_LINE * WIDTH, y + n / PER_LINE * HEIGHT);
            let place = json!({ "x": x, "y": y, "w": WIDTH, "h": HEIGHT });
            all.push(panel(all.len() + 1, place, shown));
        }
        y += row.panels.len().div_ceil(PER_LINE) * HEIGHT;
    }
    all
}

fn panel(id: usize, place: Value, panel: &Panel) -> Value {
    let targets: Vec<_> = ('A'..).zip(panel.queries).map(target).collect();
    json!({
        "type": "timeseries",
        "id": id,
        "title": panel.title,
        "description": panel.help,
        "datasource": data_source(),
        "gridPos": place,
        "fieldConfig": {
            "defaults": { "unit": unit(panel.unit), "min": 0, "custom": { "fillOpacity": 8 } },
            "overrides": [],
        },
        "options": {
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
            "tooltip": { "mode": "multi", "sort": "desc" },
        },
        "targets": targets,
    })
}

fn target((name, query): (char, &Query)) -> Value {
    let expr = query
        .expr
        .replace("$job", "job=~\"$job\"")
        .replace("$window", "$__rate_interval");
    json!({
        "refId": name.to_string(), "datasource": data_source(), "expr": expr, "legendFormat": query.legend, "range": true,
    })
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "short",
        Unit::PerSecond => "cps",
        Unit::Seconds => "s",
        Unit::Hours => "h",
        Unit::Percent => "percent",
        Unit::Mebibytes => "mbytes",
    }
}
