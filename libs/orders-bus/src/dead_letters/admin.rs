//! Dead letters for operators: reading, redriving and dropping them. ORDERS_AUDIT records each action before the dead
//! letter leaves ORDERS_DLQ.

use async_nats::{HeaderMap, jetstream::context::PublishAckFuture};
use futures_util::{StreamExt, future::join_all, stream};
use orders_contracts::{
    AuditAction, AuditEntry, DeadLetter, Subject, Timestamp, header,
    streams::{ORDERS_AUDIT, ORDERS_DLQ},
};

use super::letter::{DeadLetterContent, DeadLetterFilter, DeadLetterPage, read};
use crate::{
    Error, Operator,
    history::Content,
    publish::{acknowledged, headers},
};

/// The most concurrent requests about single dead letters.
const CONCURRENT: usize = 32;

/// Headers about the dead letter, or about a caller that no longer waits; the others are the message's own.
const NOT_ITS_OWN: [&str; 7] = [
    header::REASON,
    header::ERROR,
    header::ORIGINAL_SUBJECT,
    header::ORIGINAL_POSITION,
    header::DELIVERIES,
    header::TRUNCATED,
    header::REPLY_TO,
];

/// The progress of a batch.
#[derive(Debug, Default)]
pub struct DeadLetterProgress {
    /// The sequences of the dead letters that have left the stream.
    pub done: Vec<u64>,
    /// Why the others have not.
    pub failure: Option<Error>,
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

    /// Whether ORDERS_AUDIT exists; the writer and `orderctl migrate` create it.
    pub async fn has_audit(&self) -> Result<bool, Error> {
        Ok(self.stream_state(&ORDERS_AUDIT).await?.is_some())
    }

    /// Publishes dead letters to their original subjects again, with their own `ce-id` and a new message id; records that
    /// in ORDERS_AUDIT; and then removes them. Skips those that have an [`obstacle`](DeadLetter::obstacle) or are gone.
    ///
    /// If it is interrupted and repeated within two minutes, the streams drop duplicates; later the consumers recognise
    /// them by their `ce-id`.
    pub async fn redrive(&self, letters: &[DeadLetter], operator: &str) -> DeadLetterProgress {
        let able = letters.iter().filter(|letter| letter.obstacle().is_none());
        let contents: Vec<_> = stream::iter(able)
            .map(async |letter| (letter, self.dead_letter(letter.sequence).await))
            .buffered(CONCURRENT)
            .collect()
            .await;
        let mut progress = DeadLetterProgress::default();
        let mut sent = Vec::new();
        for (letter, content) in contents {
            match content {
                Ok(Some(content)) => sent.push((letter, self.send_again(&content).await)),
                Ok(None) => {}
                Err(error) => progress.failure = Some(error),
            }
        }
        let acks = sent.into_iter();
        let acks = acks.map(async |(letter, sent)| (letter, acknowledged(sent).await));
        let stored = progress.successes(join_all(acks).await);
        let action = AuditAction::Redriven;
        self.finish(stored, action, operator, progress).await
    }

    /// Records in ORDERS_AUDIT that dead letters are dropped, and then removes them for good.
    pub async fn drop_dead_letters(
        &self,
        letters: &[DeadLetter],
        operator: &str,
    ) -> DeadLetterProgress {
        let (letters, progress) = (letters.iter().collect(), DeadLetterProgress::default());
        let action = AuditAction::Dropped;
        self.finish(letters, action, operator, progress).await
    }

    async fn send_again(&self, content: &DeadLetterContent) -> Result<PublishAckFuture, Error> {
        let mut headers = HeaderMap::new();
        let own = content.headers.iter().filter(|(name, _)| {
            !name.starts_with("Nats-") && !NOT_ITS_OWN.contains(&name.as_str())
        });
        for (name, value) in own {
            headers.append(name.as_str(), value.as_str());
        }
        let message_id = AuditEntry::id(AuditAction::Redriven, &content.letter);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id);
        let subject = content.letter.original_subject.clone();
        self.send_raw(subject, headers, content.body.clone()).await
    }

    /// Ends both actions: first the audit, then the removal.
    async fn finish(
        &self,
        letters: Vec<&DeadLetter>,
        action: AuditAction,
        operator: &str,
        mut progress: DeadLetterProgress,
    ) -> DeadLetterProgress {
        let audits = letters
            .into_iter()
            .map(async |letter| (letter, self.audit(letter, action, operator).await));
        let audited = progress.successes(join_all(audits).await);
        let removals: Vec<_> = stream::iter(audited)
            .map(async |letter| (letter, self.remove_dead_letter(letter.sequence).await))
            .buffered(CONCURRENT)
            .collect()
            .await;
        let removed = progress.successes(removals);
        progress.done = removed.iter().map(|letter| letter.sequence).collect();
        progress
    }

    async fn audit(
        &self,
        letter: &DeadLetter,
        action: AuditAction,
        operator: &str,
    ) -> Result<(), Error> {
        let entry = AuditEntry {
            action,
            operator,
            at: Timestamp::now(),
            dead_letter: letter,
        };
        let body = serde_json::to_vec(&entry).expect("an entry is plain data");
        let headers = headers(&AuditEntry::id(action, letter), entry.headers());
        let subject = Subject::audit(action.as_str(), letter.tenant.as_ref());
        let sent = self.send_raw(subject.to_string(), headers, body.into());
        acknowledged(sent.await).await
    }

    /// Removes a dead letter. It is no error if it is gone already.
    async fn remove_dead_letter(&self, sequence: u64) -> Result<(), Error> {
        let stream = self.stream_handle(&ORDERS_DLQ).await?;
        match stream.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(_) if self.stored(&ORDERS_DLQ, sequence).await?.is_none() => Ok(()),
            Err(error) => Err(Error::api(format!("remove dead letter {sequence}"), error)),
        }
    }
}

impl DeadLetterProgress {
    /// The dead letters without an error; keeps the last error of the others.
    fn successes<'a>(
        &mut self,
        results: Vec<(&'a DeadLetter, Result<(), Error>)>,
    ) -> Vec<&'a DeadLetter> {
        let success = |(letter, result): (&'a DeadLetter, Result<(), Error>)| match result {
            Ok(()) => Some(letter),
            Err(error) => {
                self.failure = Some(error);
                None
            }
        };
        results.into_iter().filter_map(success).collect()
    }
}
