//! Toxiproxy between the daemons and their servers, told over its HTTP API.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use orders_testkit::{free_port, tool};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// A running toxiproxy; it ends with this value.
pub(crate) struct Toxiproxy {
    api: String,
    http: reqwest::Client,
    _process: Child,
}

/// A way from one daemon to one server.
#[derive(Clone)]
pub(crate) struct Link {
    /// Its name at toxiproxy.
    pub(crate) name: String,
    /// Where it begins, `127.0.0.1:PORT`.
    pub(crate) address: String,
}

/// What can be wrong with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// What is sent disappears, both ways, and no connection breaks.
    BlackHole,
    /// What is sent stands still, both ways, and arrives when it is over.
    Frozen,
    /// Every connection is reset, again and again.
    Reset,
    /// Everything takes 300 ms more, with a jitter of 200 ms.
    Slow,
    /// Everything comes in pieces of a few bytes.
    Sliced,
    /// No connection, as if the server were down.
    Cut,
}

impl Harm {
    pub(crate) const ALL: [Self; 6] = [
        Self::BlackHole,
        Self::Frozen,
        Self::Reset,
        Self::Slow,
        Self::Sliced,
        Self::Cut,
    ];

    /// Whether a peer can only find out by waiting.
    pub(crate) fn is_half_open(self) -> bool {
        matches!(self, Self::BlackHole | Self::Frozen)
    }

    fn toxic(self) -> Option<(&'static str, Value)> {
        Some(match self {
            Self::BlackHole => ("timeout", json!({ "timeout": 0 })),
            Self::Frozen => ("bandwidth", json!({ "rate": 0 })),
            Self::Reset => ("reset_peer", json!({ "timeout": 0 })),
            Self::Slow => ("latency", json!({ "latency": 300, "jitter": 200 })),
            Self::Sliced => (
                "slicer",
                json!({ "average_size": 64, "size_variation": 32, "delay": 500 }),
            ),
            Self::Cut => return None,
        })
    }
}

impl Toxiproxy {
    pub(crate) async fn start() -> Result<Self> {
        let port = free_port();
        let process = Command::new(tool("server"))
            .args(["-host", "127.0.0.1", "-port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting toxiproxy")?;
        let toxiproxy = Self {
            api: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::new(),
            _process: process,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = toxiproxy.http.get(toxiproxy.url("version")).send().await {
            ensure!(
                Instant::now() < deadline,
                "toxiproxy does not answer: {error}"
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(toxiproxy)
    }

    /// Makes a link called `name` to the server at `upstream`.
    pub(crate) async fn link(&self, name: &str, upstream: &str) -> Result<Link> {
        let link = Link {
            name: name.to_owned(),
            address: format!("127.0.0.1:{}", free_port()),
        };
        let proxy = json!({
            "name": name, "listen": link.address, "upstream": upstream, "enabled": true,
        });
        self.post("proxies", &proxy).await?;
        Ok(link)
    }

    /// Begins to harm a link.
    pub(crate) async fn harm(&self, link: &Link, harm: Harm) -> Result<()> {
        let Some((kind, attributes)) = harm.toxic() else {
            return self.enable(link, false).await;
        };
        for stream in ["upstream", "downstream"] {
            let toxic =
                json!({ "name": stream, "type": kind, "stream": stream, "attributes": attributes });
            self.post(&format!("proxies/{}/toxics", link.name), &toxic)
                .await?;
        }
        Ok(())
    }

    /// Ends what [`harm`](Self::harm) began.
    pub(crate) async fn heal(&self, link: &Link, harm: Harm) -> Result<()> {
        if harm.toxic().is_none() {
            return self.enable(link, true).await;
        }
        for stream in ["upstream", "downstream"] {
            let toxic = self.url(&format!("proxies/{}/toxics/{stream}", link.name));
            self.http.delete(toxic).send().await?.error_for_status()?;
        }
        Ok(())
    }

    async fn enable(&self, link: &Link, enabled: bool) -> Result<()> {
        self.post(
            &format!("proxies/{}", link.name),
            &json!({ "enabled": enabled }),
        )
        .await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<()> {
        let sent = self.http.post(self.url(path)).json(body).send().await?;
        let (status, text) = (sent.status(), sent.text().await.unwrap_or_default());
        ensure!(status.is_success(), "toxiproxy {path}: {status}: {text}");
        Ok(())
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.api)
    }
}
