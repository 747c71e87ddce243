use std::{process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{LIMIT, checkout};

/// An unmodified `socket.io-client` from npm, run by Node and controlled by lines of JSON.
#[derive(Debug)]
pub struct SocketClient {
    lines: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
    /// Events that no test has read yet.
    unread: Vec<Value>,
    _process: Child,
}

impl SocketClient {
    /// Connects to `url` with the client's own `options`: `path`, `transports`, `auth`, `query`, ...
    pub fn connect(url: &str, options: &Value) -> Self {
        Self::connect_by(Command::new("node"), url, options)
    }

    /// Connects as [`connect`](Self::connect) does, by this `node`, such as one in another network.
    pub fn connect_by(mut node: Command, url: &str, options: &Value) -> Self {
        let mut process = node
            .arg(checkout().join("tests/socketio/client.mjs"))
            .args([url, &options.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let input = process.stdin.take().expect("piped");
        Self {
            lines,
            input,
            unread: Vec::new(),
            _process: process,
        }
    }

    /// Connects as the seed's README does: `{path: '/ws', transports: ['websocket'], auth: {tenantId}}`.
    pub fn of_tenant(url: &str, tenant: &str) -> Self {
        Self::connect(
            url,
            &json!({"path": "/ws", "transports": ["websocket"], "auth": {"tenantId": tenant}}),
        )
    }

    /// The arguments of the next event called `name`; events of other names are kept for later.
    pub async fn event(&mut self, name: &str) -> Vec<Value> {
        self.event_where(name, |_| true).await
    }

    /// The arguments of the next event called `name` for which `fits` is true.
    pub async fn event_where(&mut self, name: &str, fits: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let index = self.find(name, fits).await;
        let event = self.unread.remove(index);
        event["args"].as_array().cloned().unwrap_or_default()
    }

    /// Waits for an event called `name` for which `fits` is true, but leaves it to [`Self::drain`], as all others.
    pub async fn sees(&mut self, name: &str, fits: impl Fn(&[Value]) -> bool) {
        self.find(name, fits).await;
    }

    /// Waits for such an event and returns its index in `unread`.
    async fn find(&mut self, name: &str, fits: impl Fn(&[Value]) -> bool) -> usize {
        let wanted = |event: &Value| {
            event["event"] == name && event["args"].as_array().is_some_and(|args| fits(args))
        };
        loop {
            if let Some(index) = self.unread.iter().position(wanted) {
                return index;
            }
            let seen = format!("{:?}", self.unread);
            let line = timeout(LIMIT, self.lines.next_line())
                .await
                .unwrap_or_else(|_| panic!("no event {name} within {LIMIT:?}; unread: {seen}"))
                .expect("the client's output can be read")
                .unwrap_or_else(|| {
                    panic!("the client ended before the event {name}; unread: {seen}")
                });
            self.unread
                .push(serde_json::from_str(&line).expect("the client writes JSON"));
        }
    }

    /// All unread events as `(name, arguments)`, and those that come until nothing comes for `quiet`.
    pub async fn drain(&mut self, quiet: Duration) -> Vec<(String, Vec<Value>)> {
        while let Ok(Ok(Some(line))) = timeout(quiet, self.lines.next_line()).await {
            self.unread
                .push(serde_json::from_str(&line).expect("the client writes JSON"));
        }
        self.unread
            .drain(..)
            .map(|event| {
                let name = event["event"].as_str().unwrap_or_default().to_owned();
                (name, event["args"].as_array().cloned().unwrap_or_default())
            })
            .collect()
    }

    /// Has the client do `{"do": ...}`: `disconnect`, `connect` (with another `auth`), `auth` (for when it comes back),
    /// `emit`, `ask` (emit, and report the ack as the event `ack`).
    pub async fn tell(&mut self, command: &Value) {
        self.input
            .write_all(format!("{command}\n").as_bytes())
            .await
            .expect("the client listens");
    }
}
