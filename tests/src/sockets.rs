//! Real Socket.IO clients, all in one Node process, and what each of them has seen.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result};
use orders_testkit::checkout;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::load::{TENANTS, tenant};

/// What one client has seen of its tenant's feed.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// Its tenant.
    pub tenant: String,
    /// The sequence after which it began to listen.
    pub since: Option<u64>,
    /// Every change, in the order it came: sequence, order, status, version.
    pub seen: Vec<(u64, String, String, u64)>,
    /// How often it came back.
    pub connects: usize,
    /// How often it was told that its offset cannot be honoured.
    pub resets: usize,
    /// What it was told of another tenant, or in another shape.
    pub strange: Vec<String>,
}

/// The clients: for each tenant one at each edge.
pub struct Sockets {
    watched: Arc<Mutex<Vec<Watched>>>,
    _process: Child,
}

#[derive(Deserialize)]
struct Line {
    client: usize,
    event: String,
    args: Vec<Value>,
}

impl Sockets {
    /// Starts them.
    pub fn start(edges: &[String]) -> Result<Self> {
        let clients: Vec<(String, &String)> = (0..TENANTS)
            .flat_map(|n| edges.iter().map(move |edge| (tenant(n), edge)))
            .collect();
        let described: Vec<Value> = clients
            .iter()
            .map(|(tenant, url)| json!({ "tenant": tenant, "url": url }))
            .collect();
        let watched = clients
            .into_iter()
            .map(|(tenant, _)| Watched {
                tenant,
                ..Watched::default()
            })
            .collect();
        let mut process = Command::new("node")
            .arg(checkout().join("tests/socketio/watch.mjs"))
            .arg(Value::from(described).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("node")?;
        let lines = BufReader::new(process.stdout.take().context("piped")?).lines();
        let watched = Arc::new(Mutex::new(watched));
        tokio::spawn(record(lines, Arc::clone(&watched)));
        Ok(Self {
            watched,
            _process: process,
        })
    }

    /// What each of them has seen so far.
    pub fn watched(&self) -> MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn record(
    mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    watched: Arc<Mutex<Vec<Watched>>>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(Line {
            client,
            event,
            args,
        }) = serde_json::from_str(&line)
        else {
            continue;
        };
        let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched[client].take(&event, &args);
    }
}

impl Watched {
    fn take(&mut self, event: &str, args: &[Value]) {
        let meta = args.last().unwrap_or(&Value::Null);
        let sequence = meta["offset"]
            .as_str()
            .and_then(|offset| offset.split('.').nth(1)?.parse().ok());
        match (event, sequence) {
            ("connected", Some(sequence)) => {
                self.connects += 1;
                self.since.get_or_insert(sequence);
                if args[0]["tenantId"] != self.tenant.as_str() {
                    self.strange.push(format!("connected: {args:?}"));
                }
            }
            ("order.created" | "order.updated", Some(sequence)) => {
                let text = |name: &str| args[0][name].as_str().unwrap_or_default().to_owned();
                let version = meta["version"].as_u64().unwrap_or(0);
                self.seen
                    .push((sequence, text("orderId"), text("status"), version));
            }
            ("feed.reset", _) => self.resets += 1,
            ("disconnect", _) => {}
            _ => self.strange.push(format!("{event}: {args:?}")),
        }
    }
}
