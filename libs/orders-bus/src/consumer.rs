use std::{
    borrow::Borrow,
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{
    HeaderMap, HeaderValue,
    jetstream::{
        self, AckKind,
        consumer::{self, pull},
        message::Acker,
    },
};
use bytes::Bytes;
use futures_util::{StreamExt, future::join_all};
use orders_contracts::{
    Channel, FieldError, Metadata, Refusal, Reply, Subject, TenantId, header, streams::Consumer,
};
use tokio::{task::AbortHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::{
    ACK_DEADLINE, Bus, Error, backoff,
    publish::{BEST_EFFORT, acknowledged},
};

/// The most messages in one batch.
const BATCH_MESSAGES: usize = 512;
/// The most bytes in one batch.
const BATCH_BYTES: usize = 8 << 20;
/// The most bytes of a message's own headers that its dead letter keeps.
const ORIGINAL_HEADERS: usize = 8 << 10;
/// How long one pull waits for a first message.
const IDLE_PULL: Duration = Duration::from_secs(10);
/// From here on a message is handled alone: it may be what brought the others down with it.
const SUSPECT_AFTER: u64 = 10;
/// From here on a message is given up, provided that others get through.
const CRASH_LOOP_AFTER: u64 = 20;

/// How long a batch in hand may go on after the daemon was told to stop.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// Why a message is given up; the word in the dead letter's headers and the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It cannot be read, or breaks a rule.
    Invalid,
    /// It is about an order that does not exist.
    UnknownOrder,
    /// The store refuses it, whatever is tried.
    Refused,
    /// It was delivered again and again and never settled, while others were.
    CrashLoop,
}

impl Reason {
    /// The stable word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::UnknownOrder => "unknown_order",
            Self::Refused => "refused",
            Self::CrashLoop => "crash_loop",
        }
    }
}

/// Reads one durable consumer in natural batches.
#[derive(Debug)]
pub struct BatchConsumer {
    bus: Bus,
    declaration: Consumer,
    pull: consumer::Consumer<pull::Config>,
    /// Suspects wait here, each in a batch of its own.
    waiting: VecDeque<Batch>,
    /// Whether this process has settled any message; without that a suspect may be innocent.
    settled: Arc<AtomicBool>,
}

impl Bus {
    /// Opens the durable consumer, creating or mending it first.
    pub async fn consume(&self, declaration: &Consumer) -> Result<BatchConsumer, Error> {
        Ok(BatchConsumer {
            pull: self.declare_consumer(declaration).await?,
            bus: self.clone(),
            declaration: *declaration,
            waiting: VecDeque::new(),
            settled: Arc::default(),
        })
    }
}

impl BatchConsumer {
    /// The next batch: all that is ready, or the next message to come; never empty. `None` after `shutdown`.
    ///
    /// It waits for ever: an outage of NATS, or even the loss of the consumer, only makes it wait.
    pub async fn next_batch(&mut self, shutdown: &CancellationToken) -> Option<Batch> {
        let mut failures = 0;
        loop {
            if shutdown.is_cancelled() {
                for batch in self.waiting.drain(..) {
                    batch.release().await;
                }
                return None;
            }
            if let Some(batch) = self.waiting.pop_front() {
                if let Some(batch) = self.give_up_crash_loop(batch).await {
                    metrics::histogram!("orders_batch_messages", "stream" => self.declaration.stream.name)
                        .record(batch.deliveries.len() as f64);
                    return Some(batch);
                }
                continue;
            }
            let mut messages = Vec::new();
            // What is ready comes within a moment, shutdown or not; only the waits are cut short.
            let mut outcome = self.pull_ready(&mut messages).await;
            if outcome.is_ok() && messages.is_empty() {
                let next = self.pull_next(&mut messages);
                outcome = shutdown.run_until_cancelled(next).await.unwrap_or(Ok(()));
            }
            match outcome {
                Ok(()) => failures = 0,
                Err(cause) => {
                    let name = self.declaration.stream.name;
                    debug!("cannot pull from {name}: {cause}");
                    if messages.is_empty() {
                        let recover = self.recover(&mut failures, &cause);
                        shutdown.run_until_cancelled(recover).await;
                    }
                }
            }
            self.sort_out(messages).await;
        }
    }

    /// A message that was delivered too often is given up if this process has settled another by now: then it is not
    /// the daemon that fails, but this message.
    async fn give_up_crash_loop(&self, batch: Batch) -> Option<Batch> {
        let [suspect] = &batch.deliveries[..] else {
            return Some(batch);
        };
        let deliveries = suspect.raw.deliveries;
        let others_get_through = self.settled.load(Ordering::Relaxed);
        if self.declaration.is_held || deliveries <= CRASH_LOOP_AFTER || !others_get_through {
            return Some(batch);
        }
        let cause = format!("delivered {deliveries} times and never settled");
        suspect
            .dead_letter(&self.bus, Reason::CrashLoop, &cause)
            .await;
        None
    }

    /// Takes what is there without waiting.
    async fn pull_ready(&self, into: &mut Vec<jetstream::Message>) -> Result<(), String> {
        let pull = self
            .pull
            .fetch()
            .max_messages(BATCH_MESSAGES)
            .max_bytes(BATCH_BYTES)
            .messages();
        self.collect(pull, ACK_DEADLINE, into).await
    }

    /// Waits for the next message.
    async fn pull_next(&self, into: &mut Vec<jetstream::Message>) -> Result<(), String> {
        let pull = self
            .pull
            .batch()
            .max_messages(1)
            .expires(IDLE_PULL)
            .messages();
        self.collect(pull, IDLE_PULL + ACK_DEADLINE, into).await
    }

    async fn collect(
        &self,
        pull: impl Future<Output = Result<pull::Batch, pull::BatchError>>,
        limit: Duration,
        into: &mut Vec<jetstream::Message>,
    ) -> Result<(), String> {
        let receive = async {
            let mut messages = pull.await.map_err(|error| error.to_string())?;
            while let Some(message) = messages.next().await {
                match message {
                    Ok(message) => into.push(message),
                    // The batch reached its bytes: not an error, but its end.
                    Err(_) if !into.is_empty() => break,
                    Err(error) => return Err(error.to_string()),
                }
            }
            Ok(())
        };
        tokio::select! {
            received = timeout(limit, receive) => received.unwrap_or_else(|_| Err("no answer".to_owned())),
            () = self.bus.reconnected() => Err("the connection was lost".to_owned()),
        }
    }

    /// After a failed pull: waits a little, and sees to it that the consumer is still there.
    async fn recover(&mut self, failures: &mut u32, cause: &str) {
        *failures += 1;
        let name = self.declaration.stream.name;
        if *failures == 3 {
            warn!("cannot read {name}: {cause}; trying on");
        }
        tokio::time::sleep(backoff(*failures)).await;
        if self.bus.is_connected() {
            match self.bus.declare_consumer(&self.declaration).await {
                Ok(pull) => self.pull = pull,
                Err(error) => debug!("{error}"),
            }
        }
    }

    /// Puts what was received in order: the regular are the next batch, suspects wait for their turn alone, and the
    /// malformed are dead-lettered.
    async fn sort_out(&mut self, messages: Vec<jetstream::Message>) {
        let (mut regular, mut suspects, mut malformed) = (Vec::new(), Vec::new(), Vec::new());
        for message in messages {
            match self.read(message) {
                Ok(delivery) if delivery.raw.deliveries > SUSPECT_AFTER => suspects.push(delivery),
                Ok(delivery) => regular.push(delivery),
                Err(unreadable) => malformed.push(*unreadable),
            }
        }
        let batches = [regular]
            .into_iter()
            .chain(suspects.into_iter().map(|suspect| vec![suspect]));
        self.waiting.extend(
            batches
                .filter(|deliveries| !deliveries.is_empty())
                .map(|deliveries| Batch::new(deliveries, self.declaration.ack_wait)),
        );
        let refuse = async |(raw, cause): (Raw, String)| {
            raw.refuse(&self.bus, vec![FieldError::of_message(cause)])
                .await;
        };
        join_all(malformed.into_iter().map(refuse)).await;
    }

    fn read(&self, message: jetstream::Message) -> Result<Delivery, Box<(Raw, String)>> {
        let (deliveries, position) = message.info().map_or((1, String::new()), |info| {
            (
                u64::try_from(info.delivered).unwrap_or(1),
                format!("{}:{}", info.stream, info.stream_sequence),
            )
        });
        let (message, acker) = message.split();
        let raw = Raw {
            acker: Arc::new(acker),
            subject: message.subject.to_string(),
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
            position,
            deliveries,
            settled: Arc::clone(&self.settled),
        };
        let Some((channel, tenant)) = Channel::parse(&raw.subject) else {
            return Err(Box::new((
                raw,
                "the subject names no message of this pipeline".to_owned(),
            )));
        };
        match Metadata::parse(channel, |name| raw.header(name)) {
            Ok(metadata) => Ok(Delivery {
                channel,
                tenant,
                metadata,
                raw,
            }),
            Err(error) => Err(Box::new((raw, error.to_string()))),
        }
    }
}

/// Messages in hand. As long as it lives, the server is told that they are being worked on, so that a long outage of
/// the database leads to no redelivery.
#[derive(Debug)]
pub struct Batch {
    /// The messages, in the order of the stream.
    pub deliveries: Vec<Delivery>,
    progress: Progress,
}

#[derive(Debug)]
struct Progress(AbortHandle);

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Batch {
    fn new(deliveries: Vec<Delivery>, ack_wait: Duration) -> Self {
        let ackers: Vec<Arc<Acker>> = deliveries
            .iter()
            .map(|delivery| Arc::clone(&delivery.raw.acker))
            .collect();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(ack_wait / 3).await;
                for acker in &ackers {
                    // A lost sign of progress costs a redelivery at worst.
                    let _ = acker.ack_with(AckKind::Progress).await;
                }
            }
        });
        Self {
            deliveries,
            progress: Progress(task.abort_handle()),
        }
    }

    /// Hands the messages over to somebody who will settle each in time by himself.
    pub fn into_deliveries(self) -> Vec<Delivery> {
        self.deliveries
    }

    /// Does `work`, which settles the messages. After `shutdown` it has two seconds more; then they are given back,
    /// and whoever gets them next finds out how far it had come.
    pub async fn finish(&self, shutdown: &CancellationToken, work: impl Future<Output = ()>) {
        let patience = async {
            shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN_PATIENCE).await;
        };
        tokio::select! {
            () = work => {}
            () = patience => self.release().await,
        }
    }

    /// Gives everything back, to be delivered again at once.
    pub async fn release(&self) {
        self.progress.0.abort();
        release_all(&self.deliveries).await;
    }
}

/// Gives messages back, as many as can be told to the server in a moment; the others follow after the ack wait.
pub async fn release_all(deliveries: impl IntoIterator<Item = impl Borrow<Delivery>>) {
    let release = async {
        for delivery in deliveries {
            delivery.borrow().release().await;
        }
    };
    if timeout(BEST_EFFORT, release).await.is_err() {
        debug!("some messages could not be given back");
    }
}

/// A well-formed message in hand: its subject and headers are valid. It must be settled once: acked, dead-lettered
/// or released.
#[derive(Debug)]
pub struct Delivery {
    /// What kind of message it is.
    pub channel: Channel,
    /// Whose it is, by its subject.
    pub tenant: TenantId,
    /// Its headers.
    pub metadata: Metadata,
    raw: Raw,
}

impl Delivery {
    /// Its body.
    pub fn payload(&self) -> &Bytes {
        &self.raw.payload
    }

    /// Its stream and sequence: `ORDERS_EVENTS:17`. The same for each delivery of the same message.
    pub fn position(&self) -> &str {
        &self.raw.position
    }

    /// Done: the server forgets it. A lost ack leads to a redelivery.
    pub async fn ack(&self) {
        self.raw.acknowledge(AckKind::Ack).await;
        self.raw.settled.store(true, Ordering::Relaxed);
    }

    /// Given back, to be delivered again at once.
    pub async fn release(&self) {
        self.raw.acknowledge(AckKind::Nak(None)).await;
    }

    /// Given up: stored in ORDERS_DLQ with `reason`, and only then terminated. Where that fails, it comes again.
    pub async fn dead_letter(&self, bus: &Bus, reason: Reason, cause: &str) {
        self.raw.dead_letter(bus, reason, cause).await;
    }

    /// Given up as [`Reason::Invalid`], and whoever waits for it is told `errors`.
    pub async fn refuse(&self, bus: &Bus, errors: Vec<FieldError>) {
        self.raw.refuse(bus, errors).await;
    }
}

/// A message as it came.
struct Raw {
    acker: Arc<Acker>,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    position: String,
    deliveries: u64,
    settled: Arc<AtomicBool>,
}

impl fmt::Debug for Raw {
    // Bodies hold personal data and stay out of the logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.subject, self.position)
    }
}

impl Raw {
    fn header(&self, name: &'static str) -> Option<&str> {
        let found = self.headers.get(name).or_else(|| {
            // The server keeps the case of names; the CloudEvents binding has them case-insensitive.
            self.headers
                .iter()
                .find(|(key, _)| key.to_string().eq_ignore_ascii_case(name))
                .and_then(|(_, values)| values.first())
        });
        found.map(HeaderValue::as_str)
    }

    async fn acknowledge(&self, kind: AckKind) {
        if !matches!(
            timeout(BEST_EFFORT, self.acker.ack_with(kind)).await,
            Ok(Ok(()))
        ) {
            debug!("an ack of {} could not be sent", self.position);
        }
    }

    async fn refuse(&self, bus: &Bus, errors: Vec<FieldError>) {
        let cause = errors
            .iter()
            .map(|error| error.message.as_str())
            .collect::<Vec<_>>()
            .join("; ");
        if let Some(reply_to) = Metadata::reply_to_of(|name| self.header(name)) {
            bus.reply(&reply_to, &Reply::Refused(Refusal::Invalid { errors }))
                .await;
        }
        self.dead_letter(bus, Reason::Invalid, &cause).await;
    }

    async fn dead_letter(&self, bus: &Bus, reason: Reason, cause: &str) {
        let tenant = Channel::parse(&self.subject).map(|(_, tenant)| tenant);
        let subject = Subject::dead_letter(bus.daemon, tenant.as_ref());
        if let Err(error) = self.store_dead_letter(bus, &subject, reason, cause).await {
            // It comes again after the ack wait, and nothing behind it is held up.
            return warn!("cannot store a dead letter of {}: {error}", self.position);
        }
        self.acknowledge(AckKind::Term).await;
        metrics::counter!("orders_dead_letters_total", "reason" => reason.as_str()).increment(1);
        error!(
            dead_letter.reason = reason.as_str(),
            position = self.position,
            "gave up {} to {subject}: {cause}",
            self.position
        );
    }

    async fn store_dead_letter(
        &self,
        bus: &Bus,
        subject: &Subject,
        reason: Reason,
        cause: &str,
    ) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        let mut room_for_headers = ORIGINAL_HEADERS;
        let mut missing = Vec::new();
        for (name, values) in self.headers.iter() {
            // The server would act on its own headers a second time; what is missing is for us to say.
            let name_text: &str = name.as_ref();
            if name_text.starts_with("Nats-") || name_text == header::TRUNCATED {
                continue;
            }
            for value in values {
                let size = name.to_string().len() + value.as_str().len() + 4;
                if size <= room_for_headers {
                    room_for_headers -= size;
                    headers.append(name.clone(), value.clone());
                } else {
                    missing = vec!["headers".to_owned()];
                }
            }
        }
        // Several daemons may give up the same message.
        let message_id = format!("{}:{}", bus.daemon, self.position);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, message_id.as_str());
        headers.insert(header::REASON, reason.as_str());
        headers.insert(header::ERROR, one_line(cause).as_str());
        headers.insert(header::ORIGINAL_SUBJECT, self.subject.as_str());
        headers.insert(header::ORIGINAL_POSITION, self.position.as_str());
        headers.insert(header::DELIVERIES, self.deliveries.to_string().as_str());
        // A message of the largest size that the server takes would not fit with what is added.
        let room = bus
            .client
            .server_info()
            .max_payload
            .saturating_sub(16 << 10);
        let size = self.payload.len();
        let body = self.payload.slice(..size.min(room));
        if body.len() < size {
            missing.push(format!("the end of a body of {size} bytes"));
        }
        if !missing.is_empty() {
            headers.insert(header::TRUNCATED, missing.join(", ").as_str());
        }
        acknowledged(bus.send_raw(subject.to_string(), headers, body).await?).await
    }
}

/// Text fit for a header value.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(500)
        .collect()
}
