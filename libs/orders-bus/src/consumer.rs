use std::{
    any::Any,
    borrow::Borrow,
    collections::{BTreeMap, VecDeque},
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError,
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
        publish::PublishAck,
    },
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use orders_contracts::{
    Channel, FieldError, Metadata, Refusal, Reply, Subject, TenantId, header,
    streams::{Consumer, ORDERS_DLQ},
};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::{ACK_DEADLINE, Bus, Error, backoff, publish::BEST_EFFORT};

/// The most messages in one batch.
const BATCH_MESSAGES: usize = 512;
/// The most bytes in one batch.
const BATCH_BYTES: usize = 8 << 20;
/// The most bytes of a message's own headers that its dead letter keeps.
const ORIGINAL_HEADERS: usize = 8 << 10;
/// How long one pull waits for a first message.
const IDLE_PULL: Duration = Duration::from_secs(10);
/// From this delivery on, a message that makes its handler panic while it is alone is given up.
const LAST_PANIC: u64 = 3;
/// After so many deliveries a message has one last try, provided that others get through.
const LAST_TRY_AFTER: u64 = 6;
/// How recently others must have got through.
const RECENTLY: Duration = Duration::from_secs(10);
/// What the dead letter of such a message says.
const TOO_OFTEN: &str = "delivered again and again and never settled";

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
    /// Its handler panics.
    Panicked,
}

impl Reason {
    /// The stable word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::UnknownOrder => "unknown_order",
            Self::Refused => "refused",
            Self::CrashLoop => "crash_loop",
            Self::Panicked => "panicked",
        }
    }
}

/// Reads one durable consumer in natural batches.
#[derive(Debug)]
pub struct BatchConsumer {
    bus: Bus,
    declaration: Consumer,
    pull: consumer::Consumer<pull::Config>,
    /// What is in hand and has to wait for its turn.
    waiting: VecDeque<Batch>,
    /// The parts of batches that panicked come back by here.
    parts: mpsc::UnboundedReceiver<Batch>,
    part_sender: mpsc::UnboundedSender<Batch>,
    pulse: Arc<Pulse>,
}

/// When this process last acked a message. While none gets through, a suspect may be innocent.
#[derive(Debug, Default)]
struct Pulse(Mutex<Option<Instant>>);

impl Pulse {
    fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn is_recent(&self) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() < RECENTLY)
    }
}

impl Bus {
    /// Opens the durable consumer, creating or mending it first.
    pub async fn consume(&self, declaration: &Consumer) -> Result<BatchConsumer, Error> {
        let (part_sender, parts) = mpsc::unbounded_channel();
        Ok(BatchConsumer {
            pull: self.declare_consumer(declaration).await?,
            bus: self.clone(),
            declaration: *declaration,
            waiting: VecDeque::new(),
            parts,
            part_sender,
            pulse: Arc::default(),
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
            while let Ok(part) = self.parts.try_recv() {
                self.waiting.push_front(part);
            }
            if shutdown.is_cancelled() {
                let waiting = self.waiting.drain(..);
                release_all(waiting.flat_map(Batch::into_deliveries)).await;
                return None;
            }
            if let Some(batch) = self.waiting.pop_front() {
                if let Some(batch) = self.admit(batch).await {
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
            self.sort_out(messages);
        }
    }

    /// Gives out `batch`, unless it is a message whose last try has failed.
    ///
    /// The dead letter of a message that was delivered too often is stored before it is tried for the last time, alone,
    /// and taken back when it gets through. Whoever finds the letter there, the message delivered again, knows how the
    /// last try ended, though nobody lived to tell; the number of deliveries alone would condemn a message that was
    /// given back by many shutdowns.
    async fn admit(&self, mut batch: Batch) -> Option<Batch> {
        let [suspect] = &batch.deliveries[..] else {
            return Some(batch);
        };
        let deliveries = suspect.raw.deliveries;
        if self.declaration.is_held || deliveries <= LAST_TRY_AFTER || !self.pulse.is_recent() {
            return Some(batch);
        }
        let raw = &suspect.raw;
        match raw
            .store_dead_letter(&self.bus, Reason::CrashLoop, TOO_OFTEN)
            .await
        {
            Ok(letter) if !letter.duplicate => batch.letter = Some(letter.sequence),
            Ok(letter) if self.bus.has_letter(letter.sequence).await => {
                raw.terminate(Reason::CrashLoop, TOO_OFTEN).await;
                return None;
            }
            // An earlier last try was given back.
            Ok(_) => {}
            Err(error) => debug!("cannot store a dead letter of {}: {error}", raw.position),
        }
        Some(batch)
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

    /// Puts what was received in order: first what is new, in one batch, then what was delivered before, in smaller ones,
    /// so that a message that kills its daemon is soon alone. The malformed are dead-lettered.
    fn sort_out(&mut self, messages: Vec<jetstream::Message>) {
        let mut by_deliveries: BTreeMap<u64, Vec<Delivery>> = BTreeMap::new();
        for message in messages {
            match self.read(message) {
                Ok(delivery) => {
                    let alike = by_deliveries.entry(delivery.raw.deliveries).or_default();
                    alike.push(delivery);
                }
                Err(unreadable) => {
                    let (raw, cause) = *unreadable;
                    raw.refuse(&self.bus, vec![FieldError::of_message(cause)]);
                }
            }
        }
        for (deliveries, mut alike) in by_deliveries {
            let size = self.batch_size(deliveries);
            // What was behind such a message the last time is before it the next time.
            if alike.len() > size && deliveries % 2 == 1 {
                alike.reverse();
            }
            let mut alike = alike.into_iter().peekable();
            while alike.peek().is_some() {
                let batch = alike.by_ref().take(size).collect();
                self.waiting.push_back(self.batch(batch));
            }
        }
    }

    /// The most messages in a batch of those that were delivered so often.
    fn batch_size(&self, deliveries: u64) -> usize {
        match deliveries {
            _ if self.declaration.is_held => BATCH_MESSAGES,
            0 | 1 => BATCH_MESSAGES,
            2 => 16,
            _ => 1,
        }
    }

    fn batch(&self, deliveries: Vec<Delivery>) -> Batch {
        Batch::new(
            deliveries,
            self.bus.clone(),
            self.declaration.ack_wait,
            self.part_sender.clone(),
        )
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
            is_settled: Arc::default(),
            pulse: Arc::clone(&self.pulse),
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
    bus: Bus,
    ack_wait: Duration,
    /// Where the parts of a batch that panicked go.
    parts: mpsc::UnboundedSender<Batch>,
    /// The dead letter in ORDERS_DLQ of a message that has its last try.
    letter: Option<u64>,
}

#[derive(Debug)]
struct Progress(AbortHandle);

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Batch {
    fn new(
        deliveries: Vec<Delivery>,
        bus: Bus,
        ack_wait: Duration,
        parts: mpsc::UnboundedSender<Self>,
    ) -> Self {
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
            bus,
            ack_wait,
            parts,
            letter: None,
        }
    }

    /// Hands the messages over to somebody who will settle each in time by himself.
    pub fn into_deliveries(self) -> Vec<Delivery> {
        self.deliveries
    }

    /// Does `work`, which settles the messages. After `shutdown` it has two seconds more; then they are given back,
    /// and whoever gets them next finds out how far it had come.
    ///
    /// A panic costs the daemon nothing: what is not settled comes again from
    /// [`next_batch`](BatchConsumer::next_batch), in halves, until the message that causes it is alone.
    pub async fn finish(&self, shutdown: &CancellationToken, work: impl Future<Output = ()>) {
        let patience = async {
            shutdown.cancelled().await;
            tokio::time::sleep(SHUTDOWN_PATIENCE).await;
        };
        tokio::select! {
            // What a panic leaves behind is what a crash leaves behind, and that is provided for.
            ended = AssertUnwindSafe(work).catch_unwind() => {
                if let Err(panic) = ended {
                    self.panicked(&one_line(message(&*panic)));
                }
                self.end_last_try().await;
            }
            () = patience => self.release().await,
        }
    }

    /// Gives everything back, to be delivered again at once.
    pub async fn release(&self) {
        self.progress.0.abort();
        release_all(&self.deliveries).await;
        self.end_last_try().await;
    }

    fn panicked(&self, cause: &str) {
        let unsettled = |delivery: &&Delivery| !delivery.raw.is_settled();
        let left: Vec<&Delivery> = self.deliveries.iter().filter(unsettled).collect();
        warn!(
            "{} messages are left of a batch that panicked: {cause}",
            left.len()
        );
        if let ([alone], [_]) = (&left[..], &self.deliveries[..]) {
            if alone.raw.deliveries >= LAST_PANIC {
                alone.dead_letter(&self.bus, Reason::Panicked, cause);
            }
            // Else it comes again after the ack wait: things may have changed by then.
            return;
        }
        for half in left.chunks(left.len().div_ceil(2).max(1)) {
            let deliveries = half.iter().map(|delivery| (*delivery).clone()).collect();
            let parts = self.parts.clone();
            let half = Self::new(deliveries, self.bus.clone(), self.ack_wait, parts);
            // Without a consumer they come again after the ack wait.
            let _ = self.parts.send(half);
        }
    }

    /// Takes back the dead letter of a message that got through, and terminates one that did not.
    async fn end_last_try(&self) {
        let (Some(letter), [delivery]) = (self.letter, &self.deliveries[..]) else {
            return;
        };
        if delivery.raw.is_settled() {
            self.bus.take_back(letter).await;
        } else {
            delivery.raw.terminate(Reason::CrashLoop, TOO_OFTEN).await;
        }
    }
}

impl Bus {
    async fn has_letter(&self, sequence: u64) -> bool {
        let letters = self.jetstream.get_stream_no_info(ORDERS_DLQ.name).await;
        match letters {
            Ok(letters) => letters.get_raw_message(sequence).await.is_ok(),
            Err(_) => false,
        }
    }

    async fn take_back(&self, sequence: u64) {
        let delete = async {
            let letters = self.jetstream.get_stream_no_info(ORDERS_DLQ.name).await;
            letters.ok()?.delete_message(sequence).await.ok()
        };
        if !matches!(timeout(BEST_EFFORT, delete).await, Ok(Some(true))) {
            warn!("dead letter {sequence} is of a message that got through after all");
        }
    }
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panicked")
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
#[derive(Debug, Clone)]
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
        self.raw.settle(AckKind::Ack).await;
        self.raw.pulse.beat();
    }

    /// Given back, to be delivered again at once.
    pub async fn release(&self) {
        self.raw.settle(AckKind::Nak(None)).await;
    }

    /// Given up: stored in ORDERS_DLQ with `reason`, and only then terminated. Where that fails, it comes again.
    ///
    /// That goes on in the background: nothing behind it is held up.
    pub fn dead_letter(&self, bus: &Bus, reason: Reason, cause: &str) {
        self.raw.clone().dead_letter(bus, reason, cause.to_owned());
    }

    /// Given up as [`Reason::Invalid`], in the background, and whoever waits for it is told `errors`.
    pub fn refuse(&self, bus: &Bus, errors: Vec<FieldError>) {
        self.raw.clone().refuse(bus, errors);
    }
}

/// A message as it came.
#[derive(Clone)]
struct Raw {
    acker: Arc<Acker>,
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
    position: String,
    deliveries: u64,
    is_settled: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
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

    fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
    }

    async fn settle(&self, kind: AckKind) {
        self.acknowledge(kind).await;
        self.is_settled.store(true, Ordering::Relaxed);
    }

    fn refuse(self, bus: &Bus, errors: Vec<FieldError>) {
        let causes: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
        let cause = causes.join("; ");
        if let Some(reply_to) = Metadata::reply_to_of(|name| self.header(name)) {
            let bus = bus.clone();
            tokio::spawn(async move {
                let reply = Reply::Refused(Refusal::Invalid { errors });
                bus.reply(&reply_to, &reply).await;
                self.dead_letter(&bus, Reason::Invalid, cause);
            });
        } else {
            self.dead_letter(bus, Reason::Invalid, cause);
        }
    }

    fn dead_letter(self, bus: &Bus, reason: Reason, cause: String) {
        // It is in good hands: nobody else has to see to it.
        self.is_settled.store(true, Ordering::Relaxed);
        let bus = bus.clone();
        tokio::spawn(async move {
            match self.store_dead_letter(&bus, reason, &cause).await {
                Ok(_) => self.terminate(reason, &cause).await,
                // It comes again after the ack wait.
                Err(error) => warn!("cannot store a dead letter of {}: {error}", self.position),
            }
        });
    }

    /// Gives up the message, whose dead letter is stored.
    async fn terminate(&self, reason: Reason, cause: &str) {
        self.settle(AckKind::Term).await;
        metrics::counter!("orders_dead_letters_total", "reason" => reason.as_str()).increment(1);
        error!(
            dead_letter.reason = reason.as_str(),
            position = self.position,
            "gave up {} as {}: {cause}",
            self.position,
            reason.as_str()
        );
    }

    async fn store_dead_letter(
        &self,
        bus: &Bus,
        reason: Reason,
        cause: &str,
    ) -> Result<PublishAck, Error> {
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
        // Several daemons may give up the same message, and one daemon for several reasons.
        let message_id = format!("{}:{}:{}", bus.daemon, self.position, reason.as_str());
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
        let tenant = Channel::parse(&self.subject).map(|(_, tenant)| tenant);
        let subject = Subject::dead_letter(bus.daemon, tenant.as_ref());
        let stored = bus.send_raw(subject.to_string(), headers, body).await?;
        stored
            .await
            .map_err(|error| Error::Unacknowledged(error.to_string()))
    }
}

/// Text fit for a header value.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(500)
        .collect()
}
