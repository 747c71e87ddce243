//! Dead letters for operators: reading, redriving and dropping them. ORDERS_AUDIT records each action before the dead
//! letter leaves ORDERS_DLQ.

use std::collections::BTreeSet;

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use orders_contracts::{
    Channel, Subject, TenantId, Timestamp, header,
    streams::{ORDERS_AUDIT, ORDERS_DLQ},
};
use serde::Serialize;

use crate::{Error, Operator, history::Content, inspect::timestamp, publish::acknowledged};

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

/// A dead letter without its body. Its texts are unchecked and may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its sequence in ORDERS_DLQ, which names it.
    pub sequence: u64,
    /// When it was stored there.
    pub time: Timestamp,
    /// The daemon that gave the message up.
    pub daemon: String,
    /// The tenant, if the subject names one.
    pub tenant: Option<TenantId>,
    /// The reason: one of the words of [`Reason`](crate::Reason).
    pub reason: String,
    /// The error, for people.
    pub error: String,
    /// The subject of the message.
    pub original_subject: String,
    /// The stream of the message, and its sequence there.
    pub original_position: String,
    /// How often it had been delivered.
    pub deliveries: String,
    /// `ce-id`.
    pub id: Option<String>,
    /// `ce-subject`, the order it is about.
    pub order_id: Option<String>,
    /// The parts of the message that are missing.
    pub truncated: Option<String>,
    /// The size of its body in bytes.
    pub size: u64,
}

/// A dead letter with its headers and body.
#[derive(Debug, Clone)]
pub struct DeadLetterContent {
    /// The dead letter.
    pub letter: DeadLetter,
    /// All its headers.
    pub headers: Vec<(String, String)>,
    /// The message's body.
    pub body: Bytes,
}

/// Selects dead letters; an unset field matches all.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Only those given up by this daemon.
    pub daemon: Option<String>,
    /// Only those of this tenant.
    pub tenant: Option<TenantId>,
    /// Only those given up for this reason.
    pub reason: Option<String>,
    /// Only those stored at this time or later.
    pub since: Option<Timestamp>,
    /// Only those stored before this time.
    pub until: Option<Timestamp>,
    /// Only those with these sequences; empty for all.
    pub sequences: BTreeSet<u64>,
}

/// A page of dead letters.
#[derive(Debug, Clone)]
pub struct DeadLetterPage {
    /// The dead letters that match, oldest first; a page may be empty.
    pub letters: Vec<DeadLetter>,
    /// The sequence up to which the stream was read; the next page starts after it.
    pub reached: u64,
}

/// The progress of a batch.
#[derive(Debug, Default)]
pub struct DeadLetterProgress {
    /// The sequences of the dead letters that have left the stream.
    pub done: Vec<u64>,
    /// Why the others have not.
    pub failure: Option<Error>,
}

/// An operator's action on a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Redriven,
    Dropped,
}

/// An entry of the audit: the body of `orders.audit.{tenant}.{action}`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuditEntry<'a> {
    action: &'static str,
    operator: &'a str,
    at: Timestamp,
    dead_letter: &'a DeadLetter,
}

impl Action {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Redriven => "redriven",
            Self::Dropped => "dropped",
        }
    }
}

impl DeadLetter {
    /// Why it cannot be redriven; `None` if it can.
    pub fn obstacle(&self) -> Option<String> {
        if let Some(missing) = &self.truncated {
            return Some(format!("it is incomplete, without {missing}"));
        }
        match Channel::parse(&self.original_subject) {
            Some(_) => None,
            None => Some("its subject names no message of this pipeline".to_owned()),
        }
    }

    /// The same id for each attempt at `action`, so that repeating an interrupted attempt does nothing twice.
    fn message_id(&self, action: Action) -> String {
        format!(
            "{}:{}:{}",
            action.as_str(),
            self.sequence,
            self.time.millis()
        )
    }

    fn read(subject: &str, headers: &HeaderMap, place: Place) -> Option<Self> {
        let (daemon, tenant) = Subject::parse_dead_letter(subject)?;
        let text = |name: &'static str| headers.get(name).map(|value| value.as_str().to_owned());
        Some(Self {
            sequence: place.sequence,
            time: place.time,
            daemon: daemon.to_owned(),
            tenant,
            reason: text(header::REASON).unwrap_or_default(),
            error: text(header::ERROR).unwrap_or_default(),
            original_subject: text(header::ORIGINAL_SUBJECT).unwrap_or_default(),
            original_position: text(header::ORIGINAL_POSITION).unwrap_or_default(),
            deliveries: text(header::DELIVERIES).unwrap_or_default(),
            id: text(header::ID),
            order_id: text(header::SUBJECT),
            truncated: text(header::TRUNCATED),
            size: place.size,
        })
    }

    fn of_message(message: &jetstream::Message) -> Option<Self> {
        let info = message.info().ok()?;
        let none = HeaderMap::new();
        let headers = message.headers.as_ref().unwrap_or(&none);
        let size = headers
            .get("Nats-Msg-Size")
            .and_then(|size| size.as_str().parse().ok());
        let place = Place {
            sequence: info.stream_sequence,
            time: timestamp(info.published.unix_timestamp_nanos()),
            size: size.unwrap_or(message.payload.len() as u64),
        };
        Self::read(&message.subject, headers, place)
    }
}

/// The place of a message in the stream, and its size.
struct Place {
    sequence: u64,
    time: Timestamp,
    size: u64,
}

impl DeadLetterFilter {
    fn fits(&self, letter: &DeadLetter) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none() || wanted == found
        }
        is(self.daemon.as_ref(), Some(&letter.daemon))
            && is(self.tenant.as_ref(), letter.tenant.as_ref())
            && is(self.reason.as_ref(), Some(&letter.reason))
            && self.since.is_none_or(|since| letter.time >= since)
            && self.until.is_none_or(|until| letter.time < until)
            && (self.sequences.is_empty() || self.sequences.contains(&letter.sequence))
    }
}

impl Operator {
    /// The sequence of the newest dead letter; 0 if there never was one. A reader that stops there does not meet again
    /// the messages that it redrives.
    pub async fn last_dead_letter(&self) -> Result<u64, Error> {
        Ok(self
            .stream_state(&ORDERS_DLQ)
            .await?
            .map_or(0, |state| state.last))
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
            .bus
            .page(&ORDERS_DLQ, &subject, Content::Headers, after, up_to)
            .await?;
        let letters = page
            .messages
            .iter()
            .filter_map(DeadLetter::of_message)
            .filter(|letter| filter.fits(letter))
            .collect();
        Ok(DeadLetterPage {
            letters,
            reached: page.reached,
        })
    }

    /// Reads the dead letter at `sequence` with its body, if there is one.
    pub async fn dead_letter(&self, sequence: u64) -> Result<Option<DeadLetterContent>, Error> {
        let Some(message) = self.bus.stored(&ORDERS_DLQ, sequence).await? else {
            return Ok(None);
        };
        let place = Place {
            sequence,
            time: timestamp(message.time.unix_timestamp_nanos()),
            size: message.payload.len() as u64,
        };
        let headers = message.headers.iter().flat_map(|(name, values)| {
            values
                .iter()
                .map(move |value| (name.to_string(), value.as_str().to_owned()))
        });
        let mut headers: Vec<_> = headers.collect();
        headers.sort();
        Ok(
            DeadLetter::read(&message.subject, &message.headers, place).map(|letter| {
                DeadLetterContent {
                    letter,
                    headers,
                    body: message.payload,
                }
            }),
        )
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
        let acks = sent.into_iter().map(async |(letter, sent)| match sent {
            Ok(ack) => (letter, acknowledged(ack).await),
            Err(error) => (letter, Err(error)),
        });
        let stored = progress.successes(join_all(acks).await);
        self.finish(stored, Action::Redriven, operator, progress)
            .await
    }

    /// Records in ORDERS_AUDIT that dead letters are dropped, and then removes them for good.
    pub async fn drop_dead_letters(
        &self,
        letters: &[DeadLetter],
        operator: &str,
    ) -> DeadLetterProgress {
        let letters = letters.iter().collect();
        self.finish(
            letters,
            Action::Dropped,
            operator,
            DeadLetterProgress::default(),
        )
        .await
    }

    async fn send_again(
        &self,
        content: &DeadLetterContent,
    ) -> Result<jetstream::context::PublishAckFuture, Error> {
        let mut headers = HeaderMap::new();
        let own = content.headers.iter().filter(|(name, _)| {
            !name.starts_with("Nats-") && !NOT_ITS_OWN.contains(&name.as_str())
        });
        for (name, value) in own {
            headers.append(name.as_str(), value.as_str());
        }
        let message_id = content.letter.message_id(Action::Redriven);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id.as_str());
        let subject = content.letter.original_subject.clone();
        self.bus
            .send_raw(subject, headers, content.body.clone())
            .await
    }

    /// Ends both actions: first the audit, then the removal.
    async fn finish(
        &self,
        letters: Vec<&DeadLetter>,
        action: Action,
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
        action: Action,
        operator: &str,
    ) -> Result<(), Error> {
        let entry = AuditEntry {
            action: action.as_str(),
            operator,
            at: Timestamp::now(),
            dead_letter: letter,
        };
        let body = serde_json::to_vec(&entry).expect("an entry is plain data");
        let message_type = format!("com.example.orders.audit.{}.v1", action.as_str());
        let message_id = letter.message_id(action);
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id.as_str());
        headers.insert(header::SPEC_VERSION, "1.0");
        headers.insert(header::ID, message_id.as_str());
        headers.insert(header::TYPE, message_type.as_str());
        headers.insert(header::SOURCE, "/orders/orderctl");
        headers.insert(header::TIME, entry.at.to_string().as_str());
        headers.insert(header::DATA_CONTENT_TYPE, "application/json");
        if let Some(order) = &letter.order_id {
            headers.insert(header::SUBJECT, order.as_str());
        }
        let subject = Subject::audit(action.as_str(), letter.tenant.as_ref());
        acknowledged(
            self.bus
                .send_raw(subject.to_string(), headers, body.into())
                .await?,
        )
        .await
    }

    /// Removes a dead letter. It is no error if it is gone already.
    async fn remove_dead_letter(&self, sequence: u64) -> Result<(), Error> {
        let failed = |error: String| Error::api(format!("remove dead letter {sequence}"), error);
        let stream = self.bus.stream_handle(&ORDERS_DLQ).await?;
        match stream.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(_) if self.bus.stored(&ORDERS_DLQ, sequence).await?.is_none() => Ok(()),
            Err(error) => Err(failed(error.to_string())),
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
