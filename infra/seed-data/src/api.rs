//! The HTTP API, as this program uses it: patiently, because a busy pipeline asks its clients to wait.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow};
use orders_contracts::{OrderRef, ProblemDetails, http_header};
use reqwest::{Client, Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::example::Example;

/// How long the API may take for one answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long the API may put off a request, or not answer it, before the run gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause before a request is repeated, unless the API names one.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Api {
    http: Client,
    url: String,
    token: Option<String>,
}

/// What became of an example.
pub(crate) struct Placed {
    pub(crate) outcome: Outcome,
    /// Whether this run cancelled it.
    pub(crate) is_cancelled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created,
    /// Stored, and created once the pipeline can.
    Accepted,
    /// It was there before.
    Found,
    /// Another order was there before, with the same request id.
    Differs,
}

impl Api {
    pub(crate) fn new(url: &str, token: Option<&str>) -> Result<Self> {
        Ok(Self {
            http: Client::builder().timeout(DEADLINE).no_proxy().build()?,
            url: url.trim_end_matches('/').to_owned(),
            token: token.map(str::to_owned),
        })
    }

    /// Fails if nothing answers there, so that nobody waits for a pipeline that does not run.
    pub(crate) async fn answers(&self) -> Result<()> {
        let answer = self.http.get(format!("{}/livez", self.url)).send().await;
        answer.map(drop).with_context(|| {
            format!(
                "nothing answers at {}: start it with `cargo xtask up`, or name it with --url",
                self.url
            )
        })
    }

    /// Creates an order, and cancels it if that is its fate.
    pub(crate) async fn place(&self, example: &Example) -> Result<Placed> {
        let answer = self
            .send(Method::POST, "/api/orders", Some(&example.body))
            .await?;
        let outcome = match answer.status() {
            StatusCode::CREATED => Outcome::Created,
            StatusCode::ACCEPTED => Outcome::Accepted,
            StatusCode::OK if answer.headers().contains_key(http_header::MISMATCH) => {
                Outcome::Differs
            }
            StatusCode::OK => Outcome::Found,
            // With ORDERS_IDEMPOTENCY__ON_MISMATCH=reject.
            StatusCode::UNPROCESSABLE_ENTITY => Outcome::Differs,
            _ => return Err(refusal(answer).await),
        };
        let is_cancelled = example.is_cancelled
            && outcome != Outcome::Differs
            && self
                .cancel(example, outcome, &order_id(answer).await?)
                .await?;
        Ok(Placed {
            outcome,
            is_cancelled,
        })
    }

    /// Cancels an order, unless it is settled already.
    async fn cancel(&self, example: &Example, outcome: Outcome, id: &str) -> Result<bool> {
        // Cancelling twice would tell everybody twice.
        if outcome == Outcome::Found && !self.is_pending(example, id).await? {
            return Ok(false);
        }
        let body = json!({ "tenantId": example.tenant });
        let path = format!("/api/orders/{id}/cancel");
        let answer = self.send(Method::POST, &path, Some(&body)).await?;
        match answer.status() {
            StatusCode::OK | StatusCode::ACCEPTED => Ok(true),
            // The payment was faster.
            StatusCode::CONFLICT => Ok(false),
            _ => Err(refusal(answer).await),
        }
    }

    async fn is_pending(&self, example: &Example, id: &str) -> Result<bool> {
        let path = format!("/api/orders/{id}?tenantId={}", example.tenant);
        let answer = self.send(Method::GET, &path, None).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.json::<Value>().await?["status"] == "PENDING"),
            // Accepted by an earlier run, and not created yet.
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(refusal(answer).await),
        }
    }

    /// Sends a request until it is answered. That is safe: an order has its request id, and a cancel changes nothing twice.
    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response> {
        let began = Instant::now();
        loop {
            let mut request = self
                .http
                .request(method.clone(), format!("{}{path}", self.url));
            if let Some(token) = &self.token {
                request = request.bearer_auth(token);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await;
            let put_off = match &answer {
                Ok(answer) => put_off(answer),
                Err(_) => Some(PAUSE),
            };
            match put_off {
                Some(pause) if began.elapsed() + pause <= PATIENCE => sleep(pause).await,
                _ => {
                    return answer
                        .with_context(|| format!("{} does not answer any more", self.url));
                }
            }
        }
    }
}

/// How long the API asks to wait, if it puts a request off.
fn put_off(answer: &Response) -> Option<Duration> {
    let is_busy = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&answer.status());
    let header = answer.headers().get(header::RETRY_AFTER);
    let seconds = header.and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    is_busy.then(|| seconds.map_or(PAUSE, Duration::from_secs))
}

async fn order_id(answer: Response) -> Result<String> {
    let order: OrderRef = answer.json().await.context("reading the id of an order")?;
    Ok(order.order_id.to_string())
}

/// Why the API refuses a request, in its own words.
async fn refusal(answer: Response) -> Error {
    let status = answer.status();
    let problem: Option<ProblemDetails> = answer.json().await.ok();
    match problem {
        Some(_) if status == StatusCode::UNAUTHORIZED => anyhow!(
            "the API asks who calls: set ORDERS_TOKEN to an access token or API key, and --tenant to its tenant"
        ),
        Some(problem) => anyhow!("the API answers {status}: {}", problem.message.join("; ")),
        None => anyhow!("the API answers {status}"),
    }
}
