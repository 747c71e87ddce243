//! ORDERS_AUDIT: what operators did; and ORDERS_DROPPED: what they removed of ORDERS_DLQ, which can be brought back.

use std::time::Duration;

use async_nats::{
    HeaderMap,
    jetstream::{message::StreamMessage, publish::PublishAck},
};
use backon::BackoffBuilder;
use orders_contracts::{
    AuditAction, AuditEntry, DeadLetter, PaymentSettings, Subject, TenantId,
    streams::{self, ORDERS_AUDIT, ORDERS_DROPPED},
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::letter::DeadLetterContent;
use crate::{
    BACKOFF, Error, Operator,
    history::Content,
    publish::{acknowledged, headers},
};

/// How long an entry may be without an answer. The stream gives none while it gets its copies on other servers.
const RECORD_DEADLINE: Duration = Duration::from_secs(20);

/// A page of the audit.
#[derive(Debug, Clone)]
pub struct AuditPage {
    /// The entries with their sequences, oldest first; `None` for a message that is no entry.
    pub entries: Vec<(u64, Option<AuditEntry>)>,
    /// The sequence up to which the stream was read; the next page starts after it.
    pub reached: u64,
}

impl Operator {
    /// Whether ORDERS_AUDIT exists; the writer and `orderctl migrate` create it.
    pub async fn has_audit(&self) -> Result<bool, Error> {
        Ok(self.stream_state(&ORDERS_AUDIT).await?.is_some())
    }

    /// Reads the next entries of the audit about one tenant, or about all, after the sequence `after`, up to `up_to`.
    pub async fn audit(
        &self,
        tenant: Option<&TenantId>,
        after: u64,
        up_to: u64,
    ) -> Result<AuditPage, Error> {
        let subject = Subject::filter(&ORDERS_AUDIT, tenant);
        let page = self
            .page(&ORDERS_AUDIT, &subject, Content::Whole, after, up_to)
            .await?;
        let entries = page.messages.iter().map(|message| {
            let entry = serde_json::from_slice(&message.payload).ok();
            (message.sequence, entry)
        });
        Ok(AuditPage {
            entries: entries.collect(),
            reached: page.reached,
        })
    }

    /// Stores an entry of its own, and waits until it is stored.
    pub async fn record(&self, entry: &AuditEntry) -> Result<(), Error> {
        self.record_as(&Uuid::new_v4().to_string(), entry).await
    }

    /// Stores the entry of an action on a dead letter; once, however often it is tried.
    pub(super) async fn record_of_letter(
        &self,
        letter: &DeadLetter,
        entry: &AuditEntry,
    ) -> Result<(), Error> {
        let id = AuditEntry::id(entry.action, letter);
        self.record_as(&id, entry).await
    }

    async fn record_as(&self, id: &str, entry: &AuditEntry) -> Result<(), Error> {
        let body = serde_json::to_vec(entry).expect("an entry is plain data");
        let subject = Subject::audit(entry.action.as_str(), entry.tenant.as_ref());
        let headers = headers(id, entry.headers(id));
        let attempt = async || {
            let (subject, headers) = (subject.to_string(), headers.clone());
            acknowledged(self.send_raw(subject, headers, body.clone().into()).await).await
        };
        let (began, mut backoff) = (Instant::now(), BACKOFF.build());
        loop {
            match attempt().await {
                // Its id keeps the entry from being stored twice.
                Err(error) if error.is_unanswered() && began.elapsed() < RECORD_DEADLINE => {
                    sleep(backoff.next().unwrap_or_default()).await;
                }
                recorded => return recorded,
            }
        }
    }

    /// Keeps in ORDERS_DROPPED what a dead letter holds before `action` removes it: its sequence there, or `None` if it
    /// is of no daemon that this version knows.
    pub(super) async fn keep(
        &self,
        action: AuditAction,
        content: &DeadLetterContent,
    ) -> Result<Option<u64>, Error> {
        let letter = &content.letter;
        let Some(daemon) = daemon(&letter.daemon) else {
            return Ok(None);
        };
        let subject = Subject::dropped(daemon, letter.tenant.as_ref());
        let id = AuditEntry::id(action, letter);
        let headers = content
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        self.copy(&subject, &id, headers, content.body.clone())
            .await
            .map(Some)
    }

    /// Whether what `removed` tells of can still be brought back.
    pub async fn is_kept(&self, removed: &AuditEntry) -> Result<bool, Error> {
        Ok(self.kept(removed).await?.is_some())
    }

    /// Stores the dead letter of `removed` again and records that; its new sequence, or `None` if what it held is no longer
    /// kept.
    pub async fn restore(&self, removed: &AuditEntry, actor: &str) -> Result<Option<u64>, Error> {
        let Some(letter) = &removed.dead_letter else {
            return Ok(None);
        };
        let (Some(kept), Some(daemon)) = (self.kept(removed).await?, daemon(&letter.daemon)) else {
            return Ok(None);
        };
        let own = kept.headers.iter().flat_map(|(name, values)| {
            values
                .iter()
                .map(move |value| (AsRef::<str>::as_ref(name), value.as_str()))
        });
        let subject = Subject::dead_letter(daemon, letter.tenant.as_ref());
        let id = AuditEntry::id(AuditAction::Restored, letter);
        let sequence = self.copy(&subject, &id, own, kept.payload.clone()).await?;
        let entry = AuditEntry::of_letter(AuditAction::Restored, actor, letter);
        self.record_of_letter(letter, &entry).await?;
        Ok(Some(sequence))
    }

    /// What the dead letter of `removed` held.
    async fn kept(&self, removed: &AuditEntry) -> Result<Option<StreamMessage>, Error> {
        let (Some(sequence), Some(letter)) = (removed.kept, &removed.dead_letter) else {
            return Ok(None);
        };
        let kept = self.stored(&ORDERS_DROPPED, sequence).await?;
        let id = AuditEntry::id(removed.action, letter);
        Ok(kept.filter(|kept| {
            let theirs = kept.headers.get(async_nats::header::NATS_MESSAGE_ID);
            theirs.is_some_and(|theirs| theirs.as_str() == id)
        }))
    }

    /// Stores a message with these headers under a new id; its sequence.
    async fn copy<'a>(
        &self,
        subject: &Subject,
        id: &str,
        own: impl Iterator<Item = (&'a str, &'a str)>,
        body: bytes::Bytes,
    ) -> Result<u64, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in own.filter(|(name, _)| !name.starts_with("Nats-")) {
            headers.append(name, value);
        }
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        let sent = self.send_raw(subject.to_string(), headers, body).await?;
        let PublishAck { sequence, .. } = sent.await.map_err(Error::unacknowledged)?;
        Ok(sequence)
    }
}

/// The daemon of that name: only daemons' names make subjects.
fn daemon(name: &str) -> Option<&'static str> {
    // Its settings do not identify a consumer.
    streams::consumers(&PaymentSettings::default())
        .into_iter()
        .map(|consumer| consumer.durable)
        .find(|durable| *durable == name)
}
