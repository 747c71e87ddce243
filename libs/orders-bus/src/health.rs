//! Daemons tell operators how they are.

use std::{collections::HashMap, time::Duration};

use async_nats::service::ServiceExt;
use futures_util::{StreamExt, future::BoxFuture, stream};
use orders_contracts::{DaemonHealth, HEALTH_INBOX, Subject};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::{Bus, Error, Operator};

/// How long the slowest daemon may take: a probe that gets no answer takes a second.
const ANSWERS: Duration = Duration::from_millis(1_300);

/// The version of the pipeline, which all its packages share.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Bus {
    /// From now on this daemon answers operators who ask how it is: it is a NATS service (ADR-32), so `nats micro ls` shows
    /// it, too. `readiness` says why it is not ready.
    ///
    /// A daemon that cannot do so is none the worse: this only logs a warning.
    pub fn answer_operators<F>(&self, instance: &str, commit: &str, readiness: F)
    where
        F: Fn() -> BoxFuture<'static, Result<(), String>> + Send + 'static,
    {
        let bus = self.clone();
        let health = DaemonHealth {
            daemon: bus.role.as_str().to_owned(),
            instance: instance.to_owned(),
            version: format!("{VERSION} ({commit})"),
            problem: None,
        };
        tokio::spawn(async move {
            if let Err(error) = bus.serve_health(health, readiness).await {
                warn!("operators cannot ask this daemon how it is: {error}");
            }
        });
    }

    async fn serve_health<F>(
        &self,
        health: DaemonHealth,
        readiness: F,
    ) -> Result<(), async_nats::Error>
    where
        F: Fn() -> BoxFuture<'static, Result<(), String>>,
    {
        let about = HashMap::from([("instance".to_owned(), health.instance.clone())]);
        let builder = self.client.service_builder().metadata(about);
        let service = builder.start(self.role.as_str(), VERSION).await?;
        // A queue group of its own: every process answers, not one of each name.
        let endpoint = service.endpoint_builder().queue_group(Uuid::new_v4());
        let subject = self.subject(Subject::health().to_string());
        let mut questions = endpoint.name("health").add(subject).await?;
        while let Some(question) = questions.next().await {
            let problem = readiness().await.err();
            let answer = DaemonHealth {
                problem,
                ..health.clone()
            };
            let answer = serde_json::to_vec(&answer).expect("plain data");
            if let Err(error) = question.respond(Ok(answer.into())).await {
                debug!("cannot answer an operator: {error}");
            }
        }
        Ok(())
    }
}

impl Operator {
    /// How the daemons are, of all that answer.
    pub async fn daemons(&self) -> Result<Vec<DaemonHealth>, Error> {
        let failed = |cause: async_nats::Error| Error::api("ask the daemons how they are", cause);
        let inbox = self.subject(format!("{HEALTH_INBOX}.{}", Uuid::new_v4().simple()));
        let answers = self.client.subscribe(inbox.clone()).await;
        let answers = answers.map_err(|error| failed(error.into()))?;
        let question = self.subject(Subject::health().to_string());
        let asked = self.client.publish_with_reply(question, inbox, "".into());
        asked.await.map_err(|error| failed(error.into()))?;
        let deadline = Instant::now() + ANSWERS;
        let next = |mut answers: async_nats::Subscriber| async move {
            let answer = timeout_at(deadline, answers.next()).await.ok().flatten()?;
            Some((answer, answers))
        };
        let answers = stream::unfold(answers, next);
        // That nobody is there is an answer as well, without a body.
        let read = answers
            .filter_map(|answer| std::future::ready(serde_json::from_slice(&answer.payload).ok()));
        Ok(read.collect().await)
    }
}
