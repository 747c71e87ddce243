use std::{
    collections::BTreeMap,
    fs::File,
    path::Path,
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::Deserialize;
use serde_json::json;
use tokio::process::{Child, Command};

use crate::{Daemon, eventually, free_port, tool};

/// A real VictoriaMetrics, which asks daemons for their metrics every second. It ends when this value is dropped.
#[derive(Debug)]
pub struct VictoriaMetrics {
    port: u16,
    http: reqwest::Client,
    _process: Child,
}

/// A value of a series.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The labels of the series.
    pub labels: BTreeMap<String, String>,
    /// The value, as text.
    pub value: String,
}

impl VictoriaMetrics {
    /// Starts one that asks these `daemons` and keeps its files in `folder`.
    pub async fn start(folder: &Path, daemons: &[&Daemon]) -> Self {
        let port = free_port();
        let folder = folder.join("victoria-metrics");
        std::fs::create_dir_all(&folder).expect("a writable folder");
        let targets = daemons.iter().map(|daemon| {
            let address = daemon.url().replace("http://", "");
            json!({ "targets": [address], "labels": { "daemon": daemon.name() } })
        });
        let targets: Vec<_> = targets.collect();
        // JSON is YAML.
        let config = json!({
            "global": { "scrape_interval": "1s" },
            "scrape_configs": [{ "job_name": "orders", "honor_labels": true, "static_configs": targets }],
        });
        let file = folder.join("scrape.yml");
        std::fs::write(&file, config.to_string()).expect("a writable folder");
        let log = File::create(folder.join("victoria-metrics.log")).expect("a writable folder");
        let process = Command::new(tool("victoria-metrics"))
            .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
            .arg(format!(
                "-storageDataPath={}",
                folder.join("data").display()
            ))
            .arg(format!("-promscrape.config={}", file.display()))
            .arg(format!(
                "-vmui.customDashboardsPath={}",
                crate::checkout().join("infra/vmui").display()
            ))
            .arg("-search.latencyOffset=0s")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("VictoriaMetrics starts");
        let server = Self {
            port,
            http: reqwest::Client::new(),
            _process: process,
        };
        eventually("VictoriaMetrics answers", async || {
            let answer = reqwest::get(format!("{}/health", server.url())).await;
            let answer = answer.and_then(reqwest::Response::error_for_status);
            answer.map(drop).map_err(|error| error.to_string())
        })
        .await;
        server
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What `expr` is now: a sample for each series.
    pub async fn query(&self, expr: &str) -> Result<Vec<Sample>, String> {
        let answer = self.ask("query", &[("query", expr)]).await?;
        let found = answer.into_iter().map(|series| Sample {
            labels: series.metric,
            value: series.value.map_or_else(String::new, |(_, value)| value),
        });
        Ok(found.collect())
    }

    /// The number of values that `expr` has had since then, second by second, in all series.
    pub async fn values_since(&self, expr: &str, since: SystemTime) -> Result<usize, String> {
        let seconds = |time: SystemTime| {
            let time = time.duration_since(UNIX_EPOCH).expect("a clock");
            time.as_secs().to_string()
        };
        let (start, end) = (seconds(since), seconds(SystemTime::now()));
        let asked = [
            ("query", expr),
            ("start", &start),
            ("end", &end),
            ("step", "1s"),
        ];
        let answer = self.ask("query_range", &asked).await?;
        Ok(answer.iter().map(|series| series.values.len()).sum())
    }

    async fn ask(&self, path: &str, asked: &[(&str, &str)]) -> Result<Vec<Series>, String> {
        let request = self
            .http
            .get(format!("{}/api/v1/{path}", self.url()))
            .query(asked)
            .query(&[("nocache", "1")]);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let answer: Answer = answer.json().await.map_err(|error| error.to_string())?;
        match answer.data {
            Some(data) => Ok(data.result),
            None => Err(answer.error.unwrap_or_default()),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}
