//! Erasing stored messages for good: those of a buyer, and all of a tenant.

use async_nats::jetstream::message::StreamMessage;
use futures_util::{StreamExt, TryStreamExt, stream};
use orders_contracts::{
    StoredMessage, Subject, TenantId, Whose, header,
    streams::{
        self, Consumer, ORDERS_COMMANDS, ORDERS_DLQ, ORDERS_DROPPED, ORDERS_EVENTS, Retention,
        Stream,
    },
};

use crate::{
    Error, Operator,
    history::{Content, Page},
};

/// The streams whose messages hold personal data, in the order in which it passes through them.
pub const PERSONAL: [Stream; 4] = [ORDERS_COMMANDS, ORDERS_EVENTS, ORDERS_DLQ, ORDERS_DROPPED];

/// The most concurrent requests about single messages.
const CONCURRENT: usize = 32;

/// Messages of somebody, and how far the stream was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessagesOf {
    /// Their sequences.
    pub sequences: Vec<u64>,
    /// How many messages were looked at.
    pub seen: u64,
    /// The sequence up to which the stream was read; the next page starts after it.
    pub reached: u64,
}

/// What daemons had in hand at some moment.
#[derive(Debug, Clone)]
pub struct InHand(Vec<(Consumer, u64)>);

impl Operator {
    /// Those of the next messages of `stream` that hold data of `whose`, after the sequence `after`, up to `up_to`.
    pub async fn messages_of(
        &self,
        stream: &Stream,
        whose: &Whose,
        after: u64,
        up_to: u64,
    ) -> Result<MessagesOf, Error> {
        // The subject of a dead letter may lack its tenant.
        let is_of_letters = [ORDERS_DLQ, ORDERS_DROPPED].contains(stream);
        let tenant = Some(whose.tenant()).filter(|_| !is_of_letters);
        let filter = Subject::filter(stream, tenant);
        let Page { messages, reached } = match stream.retention {
            Retention::WorkQueue => self.queued(stream, &filter, after, up_to).await?,
            Retention::Limits { .. } | Retention::Latest { .. } => {
                let page = self.page(stream, &filter, Content::Whole, after, up_to);
                page.await?
            }
        };
        let found = messages.iter().filter(|message| is_of(message, whose));
        Ok(MessagesOf {
            sequences: found.map(|message| message.sequence).collect(),
            seen: messages.len() as u64,
            reached,
        })
    }

    /// Removes messages and overwrites them in the server's files; how many were still there.
    pub async fn erase(&self, stream: &Stream, sequences: &[u64]) -> Result<u64, Error> {
        let handle = self.stream_handle(stream).await?;
        let handle = &handle;
        let erased = stream::iter(sequences).map(|sequence| async move {
            match handle.delete_message(*sequence).await {
                Ok(_) => Ok(1),
                Err(_) if self.stored(stream, *sequence).await?.is_none() => Ok(0),
                Err(error) => Err(Error::api(
                    format!("erase {}:{sequence}", stream.name),
                    error,
                )),
            }
        });
        let erased = erased.buffer_unordered(CONCURRENT);
        erased
            .try_fold(0, |sum, one| async move { Ok(sum + one) })
            .await
    }

    /// Removes all messages of `tenant` from `stream`; how many they were. Their bytes stay in the server's files until it
    /// writes over them.
    pub async fn purge(&self, stream: &Stream, tenant: &TenantId) -> Result<u64, Error> {
        let filter = self.subject(Subject::filter(stream, Some(tenant)).as_str());
        let handle = self.stream_handle(stream).await?;
        let purged = handle.purge().filter(filter).await;
        let purged = purged.map_err(|error| Error::api(format!("purge {}", stream.name), error))?;
        Ok(purged.purged)
    }

    /// How many messages of `tenant` are in `stream`; 0 if it does not exist.
    pub async fn count_of(&self, stream: &Stream, tenant: &TenantId) -> Result<u64, Error> {
        if self.stream_state(stream).await?.is_none() {
            return Ok(0);
        }
        let failed = |error: async_nats::Error| Error::api(format!("read {}", stream.name), error);
        let filter = self.subject(Subject::filter(stream, Some(tenant)).as_str());
        let handle = self.stream_handle(stream).await?;
        let subjects = handle.info_with_subjects(filter).await;
        let mut subjects = subjects.map_err(|error| failed(error.into()))?;
        let mut sum = 0;
        while let Some((_, count)) = subjects
            .try_next()
            .await
            .map_err(|error| failed(error.into()))?
        {
            sum += count as u64;
        }
        Ok(sum)
    }

    /// What the daemons have in hand now: what they publish or store next may come from there. For a buyer, payments do not
    /// count: nothing in them is personal.
    pub async fn in_hand(&self, whose: &Whose) -> Result<InHand, Error> {
        // Its settings do not identify a consumer.
        let payment = streams::payment_simulator(&orders_contracts::PaymentSettings::default());
        let counts = |consumer: &Consumer| {
            matches!(whose, Whose::Tenant(_)) || consumer.durable != payment.durable
        };
        let all = streams::consumers(&orders_contracts::PaymentSettings::default());
        let mut delivered = Vec::new();
        for consumer in all.into_iter().filter(counts) {
            if let Some(info) = self.consumer_info(&consumer).await? {
                delivered.push((consumer, info.delivered.stream_sequence));
            }
        }
        Ok(InHand(delivered))
    }

    /// Those of the consumers whose daemons have not settled yet what they had then.
    pub async fn still_in_hand(&self, then: &InHand) -> Result<Vec<String>, Error> {
        let mut still = Vec::new();
        for (consumer, delivered) in &then.0 {
            if let Some(info) = self.consumer_info(consumer).await?
                && info.num_ack_pending > 0
                && info.ack_floor.stream_sequence < *delivered
            {
                still.push(consumer.to_string());
            }
        }
        Ok(still)
    }
}

fn is_of(message: &StreamMessage, whose: &Whose) -> bool {
    let mut tokens = message.subject.split('.');
    // Of a dead letter it is the last one, of all others the third.
    let is_of_letter = ["orders.dlq.", "orders.dropped."]
        .iter()
        .any(|prefix| message.subject.starts_with(prefix));
    let tenant = match is_of_letter {
        true => tokens.next_back(),
        false => tokens.nth(2),
    };
    let tenant: Option<TenantId> = tenant.and_then(|token| token.parse().ok());
    let values = message
        .headers
        .iter()
        .flat_map(|(_, values)| values.iter().map(|value| value.as_str()));
    let headers: Vec<&str> = values.collect();
    let order = message.headers.get(header::SUBJECT);
    whose.is_in(StoredMessage {
        tenant: tenant.as_ref(),
        order: order.map(|order| order.as_str()),
        headers: &headers.join("\n"),
        body: &message.payload,
    })
}
