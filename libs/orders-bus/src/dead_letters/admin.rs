//! Dead letters for operators: reading, redriving and dropping them. ORDERS_AUDIT records each action before the dead
//! letter leaves ORDERS_DLQ.

use async_nats::{
    HeaderMap,
    jetstream::{context::PublishAckFuture, publish::PublishAck},
};
use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use orders_contracts::{
    AuditAction, AuditEntry, Channel, DeadLetter, PaymentSettings, Subject, header,
    streams::{self, ORDERS_DLQ},
};

use super::letter::{DeadLetterContent, DeadLetterFilter, DeadLetterPage, read};
use crate::{Error, Operator, history::Content};

/// The most concurrent requests about single dead letters.
const CONCURRENT: usize = 32;

/// Headers about the dead letter, or about a caller that no longer waits; the others are the message's own.
const NOT_ITS_OWN: [&str; 8] = [
    header::REASON,
    header::ERROR,
    header::ORIGINAL_SUBJECT,
    header::ORIGINAL_POSITION,
    header::DELIVERIES,
    header::TRUNCATED,
    header::REDRIVE_OF,
    header::REPLY_TO,
];

/// The progress of a batch.
#[derive(Debug, Default)]
pub struct DeadLetterProgress {
    /// The sequences of the dead letters that this call has removed from the stream.
    pub done: Vec<u64>,
    /// Where the messages that this call sent again are now.
    pub sent: Vec<SentAgain>,
    /// The number of dead letters that somebody else removed meanwhile.
    pub taken: u64,
    /// Why the others are still there.
    pub failure: Option<Error>,
}

/// The message of a dead letter that was sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentAgain {
    /// The sequence of the dead letter.
    pub letter: u64,
    /// The kind of message.
    pub channel: Channel,
    /// The stream that stored it.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
}

impl Operator {
    /// The sequence of the newest dead letter; 0 if there never was one. A reader that stops there does not meet again
    /// the messages that it redrives.
    pub async fn last_dead_letter(&self) -> Result<u64, Error> {
        let state = self.stream_state(&ORDERS_DLQ).await?;
        Ok(state.map_or(0, |state| state.last))
    }

    /// Reads the next dead letters that match `filter`, after the sequence `after`, up to `up_to`. Bodies stay on the
    /// server.
    pub async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        after: u64,
        up_to: u64,
    ) -> Result<DeadLetterPage, Error> {
        let subject = Subject::filter(&ORDERS_DLQ, filter.tenant.as_ref());
        let page = self
            .page(&ORDERS_DLQ, &subject, Content::Headers, after, up_to)
            .await?;
        let letters = page.messages.iter().filter_map(read);
        Ok(DeadLetterPage {
            letters: letters.filter(|letter| filter.fits(letter)).collect(),
            reached: page.reached,
        })
    }

    /// Reads the dead letter at `sequence` with its body, if there is one.
    pub async fn dead_letter(&self, sequence: u64) -> Result<Option<DeadLetterContent>, Error> {
        let Some(message) = self.stored(&ORDERS_DLQ, sequence).await? else {
            return Ok(None);
        };
        let headers = message.headers.iter().flat_map(|(name, values)| {
            values
                .iter()
                .map(move |value| (name.to_string(), value.as_str().to_owned()))
        });
        let mut headers: Vec<_> = headers.collect();
        headers.sort();
        Ok(read(&message).map(|letter| DeadLetterContent {
            letter,
            headers,
            body: message.payload,
        }))
    }

    /// Publishes dead letters to their original subjects again, with their own `ce-id`, a new message id and the header
    /// `Orders-Redrive-Of`; records that in ORDERS_AUDIT; and then removes them. Skips those that have an
    /// [`obstacle`](DeadLetter::obstacle) or are gone.
    ///
    /// If it is interrupted and repeated within two minutes, the streams drop duplicates; later the consumers recognise
    /// them by their `ce-id`.
    pub async fn redrive(&self, letters: &[DeadLetter], actor: &str) -> DeadLetterProgress {
        self.send_all_again(letters, None, actor).await
    }

    /// Does what [`redrive`](Self::redrive) does, with a new body. ORDERS_DROPPED keeps what the dead letters held.
    pub async fn amend(
        &self,
        letters: &[DeadLetter],
        body: &Bytes,
        actor: &str,
    ) -> DeadLetterProgress {
        self.send_all_again(letters, Some(body), actor).await
    }

    /// Keeps what dead letters hold in ORDERS_DROPPED, records in ORDERS_AUDIT that they are dropped, and then removes them.
    pub async fn drop_dead_letters(
        &self,
        letters: &[DeadLetter],
        actor: &str,
    ) -> DeadLetterProgress {
        let mut progress = DeadLetterProgress::default();
        let contents = self.contents(letters.iter(), &mut progress).await;
        self.finish(AuditAction::Dropped, contents, actor, progress)
            .await
    }

    /// The sequence in `stream` up to which all daemons that read `channel` from it have settled everything: acked it, or
    /// given it up to a dead letter.
    pub async fn settled_up_to(&self, channel: Channel, stream: &str) -> Result<u64, Error> {
        let mut settled = u64::MAX;
        // Its settings do not identify the consumer.
        for consumer in streams::consumers(&PaymentSettings::default()) {
            let wants = consumer.filter.is_none_or(|wanted| wanted == channel);
            if self.name_of(&consumer.stream) != stream || !wants {
                continue;
            }
            let Some(info) = self.consumer_info(&consumer).await? else {
                return Ok(0);
            };
            if info.num_pending > 0 || info.num_ack_pending > 0 {
                settled = settled.min(info.ack_floor.stream_sequence);
            }
        }
        Ok(settled)
    }

    async fn send_all_again(
        &self,
        letters: &[DeadLetter],
        body: Option<&Bytes>,
        actor: &str,
    ) -> DeadLetterProgress {
        let able = letters
            .iter()
            .filter(|letter| letter.obstacle(body.is_some()).is_none());
        let mut progress = DeadLetterProgress::default();
        let contents = self.contents(able, &mut progress).await;
        let mut sent = Vec::with_capacity(contents.len());
        for content in contents {
            sent.push((self.send_again(&content, body).await, content));
        }
        let acks = sent.into_iter().map(async |(sent, content)| {
            let ack = match sent {
                Ok(ack) => ack.await.map_err(Error::unacknowledged),
                Err(error) => Err(error),
            };
            (ack, content)
        });
        let mut stored = Vec::new();
        for (ack, content) in join_all(acks).await {
            match ack {
                Err(error) => progress.failure = Some(error),
                Ok(ack) => {
                    progress.sent.extend(SentAgain::new(&content.letter, ack));
                    stored.push(content);
                }
            }
        }
        let action = match body {
            None => AuditAction::Redriven,
            Some(_) => AuditAction::Amended,
        };
        self.finish(action, stored, actor, progress).await
    }

    /// Dead letters with what they hold; those that are gone were taken by somebody else.
    async fn contents(
        &self,
        letters: impl Iterator<Item = &DeadLetter>,
        progress: &mut DeadLetterProgress,
    ) -> Vec<DeadLetterContent> {
        let found: Vec<_> = stream::iter(letters)
            .map(async |letter| self.dead_letter(letter.sequence).await)
            .buffered(CONCURRENT)
            .collect()
            .await;
        let mut contents = Vec::with_capacity(found.len());
        for content in found {
            match content {
                Ok(Some(content)) => contents.push(content),
                Ok(None) => progress.taken += 1,
                Err(error) => progress.failure = Some(error),
            }
        }
        contents
    }

    async fn send_again(
        &self,
        content: &DeadLetterContent,
        body: Option<&Bytes>,
    ) -> Result<PublishAckFuture, Error> {
        let letter = &content.letter;
        let mut headers = HeaderMap::new();
        let own = content.headers.iter().filter(|(name, _)| {
            !name.starts_with("Nats-") && !NOT_ITS_OWN.contains(&name.as_str())
        });
        for (name, value) in own {
            headers.append(name.as_str(), value.as_str());
        }
        let message_id = AuditEntry::id(AuditAction::Redriven, letter);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
        headers.insert(header::REDRIVE_OF, letter.sequence.to_string());
        let body = body.unwrap_or(&content.body).clone();
        self.send_raw(letter.original_subject.clone(), headers, body)
            .await
    }

    /// Ends an action on all of `contents`: keeps what is removed for good, then the audit, then the removal.
    async fn finish(
        &self,
        action: AuditAction,
        contents: Vec<DeadLetterContent>,
        actor: &str,
        mut progress: DeadLetterProgress,
    ) -> DeadLetterProgress {
        let audits = contents.iter().map(async |content| {
            let letter = &content.letter;
            let kept = match action {
                AuditAction::Redriven => None,
                _ => self.keep(action, content).await?,
            };
            let entry = AuditEntry {
                kept,
                ..AuditEntry::of_letter(action, actor, letter)
            };
            self.record_of_letter(letter, &entry).await?;
            Ok::<_, Error>(letter.sequence)
        });
        let audited = progress.successes(join_all(audits).await);
        let removals: Vec<_> = stream::iter(audited)
            .map(async |sequence| {
                let removed = self.remove_dead_letter(sequence).await;
                removed.map(|is_ours| (sequence, is_ours))
            })
            .buffered(CONCURRENT)
            .collect()
            .await;
        for (sequence, is_ours) in progress.successes(removals) {
            if is_ours {
                progress.done.push(sequence);
            } else {
                progress.taken += 1;
            }
        }
        progress
    }

    /// Removes a dead letter; false if somebody else has removed it already.
    async fn remove_dead_letter(&self, sequence: u64) -> Result<bool, Error> {
        let stream = self.stream_handle(&ORDERS_DLQ).await?;
        match stream.delete_message(sequence).await {
            Ok(_) => Ok(true),
            Err(_) if self.stored(&ORDERS_DLQ, sequence).await?.is_none() => Ok(false),
            Err(error) => Err(Error::api(format!("remove dead letter {sequence}"), error)),
        }
    }
}

impl SentAgain {
    fn new(letter: &DeadLetter, ack: PublishAck) -> Option<Self> {
        Some(Self {
            letter: letter.sequence,
            channel: Channel::parse(&letter.original_subject)?.0,
            stream: ack.stream,
            sequence: ack.sequence,
        })
    }
}

impl DeadLetterProgress {
    /// The results without an error; keeps the last error of the others.
    fn successes<T>(&mut self, results: Vec<Result<T, Error>>) -> Vec<T> {
        let success = |result: Result<T, Error>| match result {
            Ok(success) => Some(success),
            Err(error) => {
                self.failure = Some(error);
                None
            }
        };
        results.into_iter().filter_map(success).collect()
    }
}
