//! Daemons tell operators how they are, and what they have counted and measured.

use std::{collections::HashMap, future::ready, time::Duration};

use async_nats::{
    HeaderMap, Message, PublishErrorKind,
    service::{self, NATS_SERVICE_ERROR, ServiceExt, endpoint::Endpoint},
};
use futures_util::{Stream, StreamExt, stream};
use orders_contracts::{DaemonHealth, HEALTH_INBOX, Subject, Timestamp};
use orders_service::Daemon;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{Bus, ClockOffset, Error, Operator};

/// How long the slowest daemon may take: a probe that gets no answer takes a second.
const ANSWERS: Duration = Duration::from_millis(1_300);

/// The version of the pipeline, which all its packages share.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The header with the id of the process whose metrics a message has.
const PROCESS: &str = "orders-process";

/// What a daemon says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonAnswer {
    /// How it is.
    pub health: DaemonHealth,
    /// Its clock; `None` if it does not tell the time.
    pub clock: Option<ClockOffset>,
}

/// What a daemon has counted and measured since its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonMetrics {
    /// The process, as [`DaemonHealth::id`] has it.
    pub id: String,
    /// The text for Prometheus, or why there is none.
    pub text: Result<String, String>,
}

impl Bus {
    /// From now on this daemon answers operators who ask how it is or for its metrics: it is a NATS service (ADR-32), so
    /// `nats micro ls` shows it, too.
    ///
    /// A daemon that cannot do so is none the worse: this only logs a warning.
    pub fn answer_operators(&self, daemon: &Daemon) {
        let (bus, daemon) = (self.clone(), daemon.clone());
        let started = Instant::now();
        tokio::spawn(async move {
            if let Err(error) = bus.serve_operators(&daemon, started).await {
                warn!("operators cannot ask this daemon how it is: {error}");
            }
        });
    }

    async fn serve_operators(
        &self,
        daemon: &Daemon,
        started: Instant,
    ) -> Result<(), async_nats::Error> {
        let about = HashMap::from([("instance".to_owned(), daemon.instance.clone())]);
        let builder = self.client.service_builder().metadata(about);
        let service = builder.start(self.role.as_str(), VERSION).await?;
        // A queue group of its own: every process answers, not one of each name.
        let group = Uuid::new_v4();
        let endpoint = |name: &str| service.endpoint_builder().queue_group(group).name(name);
        let health = self.subject(Subject::health().as_str());
        let health = endpoint("health").add(health).await?;
        let metrics = self.subject(Subject::metrics().as_str());
        let metrics = endpoint("metrics").add(metrics).await?;
        let id = service.info().await.id;
        tokio::join!(
            self.tell_health(health, daemon, &id, started),
            self.tell_metrics(metrics, daemon, &id)
        );
        Ok(())
    }

    async fn tell_health(&self, mut asked: Endpoint, daemon: &Daemon, id: &str, started: Instant) {
        let readiness = daemon.health.readiness();
        while let Some(question) = asked.next().await {
            let asked_at = Some(Timestamp::now());
            let problem = readiness().await.err();
            let answer = DaemonHealth {
                daemon: self.role.as_str().to_owned(),
                instance: daemon.instance.clone(),
                version: format!("{VERSION} ({})", daemon.commit),
                problem,
                id: Some(id.to_owned()),
                uptime_seconds: Some(started.elapsed().as_secs()),
                asked_at,
                answered_at: Some(Timestamp::now()),
            };
            let answer = serde_json::to_vec(&answer).expect("plain data");
            if let Err(error) = question.respond(Ok(answer.into())).await {
                debug!("cannot answer an operator: {error}");
            }
        }
    }

    async fn tell_metrics(&self, mut asked: Endpoint, daemon: &Daemon, id: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(PROCESS, id);
        while let Some(question) = asked.next().await {
            let text = daemon.metrics.render();
            let size = text.len();
            let answered = question.respond_with_headers(Ok(text.into()), headers.clone());
            let answered = match answered.await {
                Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                    let most = self.client.max_payload();
                    let status = format!("{size} bytes, and NATS takes {most} (max_payload)");
                    let error = service::error::Error { status, code: 413 };
                    let answered = question.respond_with_headers(Err(error), headers.clone());
                    answered.await
                }
                answered => answered,
            };
            if let Err(error) = answered {
                debug!("cannot answer an operator: {error}");
            }
        }
    }
}

impl Operator {
    /// How the daemons are, of all that answer.
    pub async fn daemons(&self) -> Result<Vec<DaemonAnswer>, Error> {
        let asked = Timestamp::now();
        let what = "ask the daemons how they are";
        let answers = self.ask(Subject::health(), what).await?;
        // That nobody is there is an answer as well, without a body.
        let read = answers.filter_map(|answer| {
            let health = serde_json::from_slice(&answer.payload).ok();
            let heard = Timestamp::now();
            ready(health.map(|health| DaemonAnswer::new(health, asked, heard)))
        });
        Ok(read.collect().await)
    }

    /// The metrics of the daemons, of all that answer.
    pub async fn metrics(&self) -> Result<Vec<DaemonMetrics>, Error> {
        let what = "ask the daemons for their metrics";
        let answers = self.ask(Subject::metrics(), what).await?;
        let read = answers.filter_map(|answer| ready(DaemonMetrics::read(&answer)));
        Ok(read.collect().await)
    }

    /// Asks all daemons something and returns what comes within [`ANSWERS`].
    async fn ask(
        &self,
        subject: Subject,
        what: &'static str,
    ) -> Result<impl Stream<Item = Message> + use<>, Error> {
        let failed = |cause: async_nats::Error| Error::api(what, cause);
        let inbox = self.subject(format!("{HEALTH_INBOX}.{}", Uuid::new_v4().simple()));
        let answers = self.client.subscribe(inbox.clone()).await;
        let answers = answers.map_err(|error| failed(error.into()))?;
        let question = self.subject(subject.to_string());
        let asked = self.client.publish_with_reply(question, inbox, "".into());
        asked.await.map_err(|error| failed(error.into()))?;
        let deadline = Instant::now() + ANSWERS;
        let next = move |mut answers: async_nats::Subscriber| async move {
            let answer = timeout_at(deadline, answers.next()).await.ok().flatten()?;
            Some((answer, answers))
        };
        Ok(stream::unfold(answers, next))
    }
}

impl DaemonAnswer {
    fn new(health: DaemonHealth, asked: Timestamp, heard: Timestamp) -> Self {
        let times = health.asked_at.zip(health.answered_at);
        Self {
            clock: times.map(|(came, left)| ClockOffset::between(asked, came, left, heard)),
            health,
        }
    }
}

impl DaemonMetrics {
    fn read(answer: &Message) -> Option<Self> {
        let headers = answer.headers.as_ref()?;
        let text = match headers.get(NATS_SERVICE_ERROR) {
            Some(error) => Err(error.to_string()),
            None => std::str::from_utf8(&answer.payload)
                .map(str::to_owned)
                .map_err(|error| error.to_string()),
        };
        Some(Self {
            id: headers.get(PROCESS)?.to_string(),
            text,
        })
    }
}
