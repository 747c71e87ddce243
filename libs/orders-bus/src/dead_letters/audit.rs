//! ORDERS_AUDIT: what operators did to dead letters, and bringing back what they removed.

use async_nats::{HeaderMap, jetstream::publish::PublishAck};
use orders_contracts::{
    AuditAction, AuditEntry, PaymentSettings, Subject, TenantId,
    streams::{self, ORDERS_AUDIT},
};

use super::admin::entry;
use crate::{
    Error, Operator,
    history::Content,
    publish::{acknowledged, headers},
};

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

    /// Stores the dead letter of `removed` again and records that; its new sequence, or `None` if the audit has not kept
    /// what it held.
    pub async fn restore(
        &self,
        removed: &AuditEntry,
        operator: &str,
    ) -> Result<Option<u64>, Error> {
        let letter = &removed.dead_letter;
        // Only daemons' names make subjects; their settings do not identify the consumers.
        let mut daemons = streams::consumers(&PaymentSettings::default())
            .into_iter()
            .map(|consumer| consumer.durable);
        let daemon = daemons.find(|name| *name == letter.daemon);
        let (Some(content), Some(daemon)) = (&removed.content, daemon) else {
            return Ok(None);
        };
        let mut headers = HeaderMap::new();
        let own = content.headers.iter();
        for (name, value) in own.filter(|(name, _)| !name.starts_with("Nats-")) {
            headers.append(name.as_str(), value.as_str());
        }
        let message_id = AuditEntry::id(AuditAction::Restored, letter);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
        let subject = Subject::dead_letter(daemon, letter.tenant.as_ref());
        let body = content.body.clone().into();
        let PublishAck { sequence, .. } = self
            .send_raw(subject.to_string(), headers, body)
            .await?
            .await
            .map_err(Error::unacknowledged)?;
        self.record(&entry(AuditAction::Restored, operator, letter.clone()))
            .await?;
        Ok(Some(sequence))
    }

    /// Stores an entry, and waits until it is stored.
    pub(super) async fn record(&self, entry: &AuditEntry) -> Result<(), Error> {
        let (action, letter) = (entry.action, &entry.dead_letter);
        let body = serde_json::to_vec(entry).expect("an entry is plain data");
        let headers = headers(&AuditEntry::id(action, letter), entry.headers());
        let subject = Subject::audit(action.as_str(), letter.tenant.as_ref());
        let sent = self.send_raw(subject.to_string(), headers, body.into());
        acknowledged(sent.await).await
    }
}
