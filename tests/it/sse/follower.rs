//! A client of Server-Sent Events by hand, which sees what an `EventSource` hides.

use orders_contracts::sse::PATH;
use orders_testkit::LIMIT;
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

/// A block of a stream.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) event: String,
    pub(crate) id: String,
    pub(crate) data: Value,
    pub(crate) retry: Option<u64>,
}

impl Told {
    fn read(block: &str) -> Self {
        let mut told = Self::default();
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("event", name)) => told.event = name.to_owned(),
                Some(("id", id)) => told.id = id.to_owned(),
                Some(("data", data)) => told.data = serde_json::from_str(data).expect("JSON"),
                Some(("retry", retry)) => told.retry = Some(retry.parse().expect("a number")),
                _ => assert!(line.starts_with(':'), "{block:?}"),
            }
        }
        told
    }

    /// The sequence in its id.
    pub(crate) fn sequence(&self) -> u64 {
        let sequence = self.id.split('.').nth(1).expect("an offset");
        sequence.parse().expect("a number")
    }
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// As an answer ends.
    Clean,
    /// In the middle, with its connection.
    Broken,
}

/// A client with an open stream.
pub(crate) struct Follower {
    response: Response,
    unread: String,
    /// The id of the last block.
    pub(crate) last: String,
}

/// Asks `url` for a stream of `tenant` after `last`.
pub(crate) async fn ask(url: &str, tenant: &str, last: Option<&str>) -> Response {
    let request = reqwest::Client::new().get(format!("{url}{PATH}?tenantId={tenant}"));
    let request = match last {
        Some(last) => request.header("last-event-id", last),
        None => request,
    };
    request.send().await.expect("an answer")
}

impl Follower {
    /// Opens a stream of `tenant` at `url`, which goes on after `last`.
    pub(crate) async fn open(url: &str, tenant: &str, last: Option<&str>) -> Self {
        Self::of(ask(url, tenant, last).await).await
    }

    /// Reads the greeting of a stream.
    pub(crate) async fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut follower = Self {
            response,
            unread: String::new(),
            last: String::new(),
        };
        let greeting = follower.next().await.expect("a greeting");
        assert!(
            greeting.retry.is_some() && !greeting.id.is_empty(),
            "{greeting:?}"
        );
        assert!(
            greeting.event.is_empty() && greeting.data.is_null(),
            "{greeting:?}"
        );
        follower
    }

    /// The head of the answer.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.response.headers().get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }

    /// The next block but comments.
    pub(crate) async fn next(&mut self) -> Result<Told, End> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (told, rest) = (Told::read(block), rest.to_owned());
                self.unread = rest;
                if told != Told::default() {
                    self.last.clone_from(&told.id);
                    return Ok(told);
                }
            }
            let chunk = timeout(LIMIT, self.response.chunk()).await;
            match chunk.expect("something happens") {
                Ok(Some(chunk)) => self.unread += std::str::from_utf8(&chunk).expect("UTF-8"),
                Ok(None) => return Err(End::Clean),
                Err(_) => return Err(End::Broken),
            }
        }
    }

    /// Reads up to the event `name` of the order `id`.
    pub(crate) async fn sees(&mut self, name: &str, id: &str) -> Told {
        loop {
            let told = self.next().await.expect("the stream goes on");
            if told.event == name && told.data["orderId"] == id {
                return told;
            }
        }
    }

    /// Reads up to the end, and says how that comes.
    pub(crate) async fn end(&mut self) -> End {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }
}
