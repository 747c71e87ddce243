//! Revocations of tokens: publishing one, and knowing all of them.

use std::{sync::Arc, time::Duration};

use async_nats::{datetime::DateTime, jetstream::message::StreamMessage};
use futures_util::StreamExt;
use orders_contracts::{Revocable, Revocation, Subject, streams::REVOCATIONS};
use orders_service::{Daemon, always, retry};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::warn;

use crate::{
    Bus, Error,
    history::{Content, Live},
    publish::{acknowledged, headers},
};

/// How often the stream is looked at, because its consumer does not notice that it was made again or lost its end.
const CHECK: Duration = Duration::from_secs(5);

/// Reads all revocations into memory and keeps them current. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Revocations {
    bus: Bus,
    are_known: Arc<watch::Sender<bool>>,
}

/// The stream, read up to `reached`.
struct Reading {
    made: DateTime,
    reached: u64,
    live: Live,
}

impl Bus {
    /// Revokes what has this name, and waits until that is stored. Daemons that check tokens know of it within moments; a
    /// list that is full takes no more.
    pub async fn revoke(&self, what: Revocable, revocation: Revocation) -> Result<(), Error> {
        let body = serde_json::to_vec(&revocation).expect("a revocation is plain data");
        // The same at another moment is another message.
        let headers = headers(&format!("{what}:{}", revocation.before.millis()), vec![]);
        let subject = Subject::revocation(&what).to_string();
        acknowledged(self.send_raw(subject, headers, body.into()).await).await
    }

    /// All revocations. Nothing is read until somebody [learns](Revocations::teach) them.
    pub fn revocations(&self) -> Revocations {
        Revocations {
            bus: self.clone(),
            are_known: Arc::default(),
        }
    }
}

impl Revocations {
    /// Hands those that are stored and then each new one to `learn`, until `daemon` shuts down, and calls `have_all` once
    /// it has had those that are stored. The daemon is not ready while they cannot be read; after that `learn` gets all of
    /// them again.
    pub fn teach(
        &self,
        daemon: &Daemon,
        learn: impl Fn(Revocable, Revocation) + Send + Sync + 'static,
        have_all: impl Fn() + Send + Sync + 'static,
    ) {
        daemon.health.probe("revocations", {
            let revocations = self.clone();
            move || revocations.clone().probe()
        });
        let (revocations, shutdown) = (self.clone(), daemon.shutdown.clone());
        daemon.spawn("revocations", async move {
            let follow = Box::pin(revocations.follow(learn, have_all));
            shutdown.run_until_cancelled(follow).await;
        });
    }

    async fn follow(&self, learn: impl Fn(Revocable, Revocation), have_all: impl Fn()) {
        let learn = |message: &StreamMessage| match read(message) {
            Some((what, revocation)) => learn(what, revocation),
            None => warn!("skipped malformed revocation {}", message.sequence),
        };
        loop {
            let opened = retry("read the revocations", always, || self.open(&learn));
            let Ok(mut reading) = opened.await else {
                continue;
            };
            have_all();
            self.are_known.send_replace(true);
            self.keep_up(&mut reading, &learn).await;
            self.are_known.send_replace(false);
        }
    }

    async fn probe(self) -> Result<(), &'static str> {
        if *self.are_known.borrow() {
            Ok(())
        } else {
            Err("not reading the revocations")
        }
    }

    /// Resolves once they are known.
    pub async fn known(&self) {
        let mut are_known = self.are_known.subscribe();
        // The sender lives as long as `self`.
        let _ = are_known.wait_for(|known| *known).await;
    }

    /// Reads all that is stored.
    async fn open(&self, learn: &impl Fn(&StreamMessage)) -> Result<Reading, Error> {
        let info = self.bus.stream_info(&REVOCATIONS).await?;
        let info =
            info.ok_or_else(|| Error::api("read the revocations", "their stream is missing"))?;
        let filter = Subject::filter(&REVOCATIONS, None);
        let (mut reached, last) = (0, info.state.last_sequence);
        while reached < last {
            let page = self
                .bus
                .page(&REVOCATIONS, &filter, Content::Whole, reached, last)
                .await?;
            page.messages.iter().for_each(learn);
            reached = page.reached;
        }
        Ok(Reading {
            made: info.created,
            reached,
            live: self.bus.live(&REVOCATIONS, &filter, reached).await?,
        })
    }

    /// Reads each new one until the stream has to be opened again.
    async fn keep_up(&self, reading: &mut Reading, learn: &impl Fn(&StreamMessage)) {
        let mut checks = interval(CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = reading.live.next() => match message {
                    Some(message) => {
                        learn(&message);
                        reading.reached = message.sequence;
                    }
                    None => return,
                },
                _ = checks.tick() => if !self.goes_on(reading.made, reading.reached).await {
                    return;
                },
            }
        }
    }

    /// Whether the stream is still the one that was read up to `reached`.
    async fn goes_on(&self, made: DateTime, reached: u64) -> bool {
        let info = self.bus.stream_info(&REVOCATIONS).await;
        matches!(info, Ok(Some(info)) if info.created == made && info.state.last_sequence >= reached)
    }
}

fn read(message: &StreamMessage) -> Option<(Revocable, Revocation)> {
    let what = Subject::parse_revocation(&message.subject)?;
    Some((what, serde_json::from_slice(&message.payload).ok()?))
}
