use std::{
    any::Any,
    borrow::Borrow,
    collections::{BTreeMap, VecDeque},
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    mem,
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
use futures_util::{FutureExt, StreamExt, stream};
use orders_contracts::{
    Channel, FieldError, Metadata, Refusal, Reply, ReplyTo, Subject, TenantId, header,
    streams::{Consumer, ORDERS_DLQ},
};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::{ACK_DEADLINE, Bus, Error, backoff, publish::BEST_EFFORT};

/// The most messages in one batch.
const BATCH_MESSAGES: usize = 512;
/// The most bytes in one batch.
const BATCH_BYTES: usize = 8 << 20;
/// The most bytes of one message: asked for less, the server may have to refuse the next one.
const MESSAGE_BYTES: usize = 1 << 20;
/// The most bytes of a message's own headers that its dead letter keeps.
const ORIGINAL_HEADERS: usize = 8 << 10;
/// The next batch is not given out while so many messages are in hand.
const AT_ONCE: usize = 8;
/// The longest that messages gather, from the beginning of one batch to that of the next.
const PAUSE: Duration = Duration::from_millis(40);
/// So many need not gather any longer.
const ENOUGH: usize = 64;
/// How long one pull waits for a first message.
const IDLE_PULL: Duration = Duration::from_secs(10);
/// From this delivery on, a message is handled alone.
const SUSPECT: u64 = 3;
/// How long such messages gather before the turn of their first: what its last death took along, and is delivered again
/// when it is, gets through first or takes its place among them.
const SUSPENSE: Duration = Duration::from_millis(500);
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
    /// What the server was asked for and has not delivered yet.
    asked: Option<Asked>,
    /// What it has delivered and no batch has; as fresh to the server as what is worked on.
    gathered: Vec<Delivery>,
    signs_of_progress: Interval,
    /// What has to wait for its turn.
    waiting: VecDeque<Batch>,
    /// Messages that may kill their daemon, each alone, in the order of [`suspect_key`].
    suspects: BTreeMap<(u64, u64), Batch>,
    /// When their turn may come.
    suspects_due: Instant,
    /// Whether the next turn is theirs: it alternates with that of what is new, so that neither holds up the other.
    suspects_turn: bool,
    /// Until then messages gather, unless they are [`ENOUGH`].
    pause_until: Instant,
    failures: u32,
    letters: Letters,
    pulse: Arc<Pulse>,
}

/// A request for messages.
struct Asked {
    messages: pull::Batch,
    has_delivered: bool,
    connections: watch::Receiver<u64>,
    /// The last connection on which the server knows of the request.
    valid_for: u64,
}

impl Asked {
    /// The next message; `None` when there are no more to come.
    async fn next(&mut self) -> Result<Option<jetstream::Message>, String> {
        tokio::select! {
            biased;
            next = self.messages.next() => match next {
                Some(Ok(message)) => {
                    self.has_delivered = true;
                    Ok(Some(message))
                }
                // The request reached its bytes: not an error, but its end.
                Some(Err(_)) if self.has_delivered => Ok(None),
                Some(Err(error)) => Err(error.to_string()),
                None => Ok(None),
            },
            _ = self.connections.wait_for(|now| *now > self.valid_for) => Ok(None),
        }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asked")
    }
}

/// Messages and bytes whose dead letters are being stored. They take room as what is gathered does, though no batch has
/// them.
type Letters = watch::Sender<(usize, usize)>;

/// One of those messages.
struct Letter {
    size: usize,
    all: Letters,
}

impl Letter {
    fn of(raw: &Raw) -> Self {
        let (size, all) = (raw.size, raw.letters.clone());
        all.send_modify(|(count, bytes)| (*count, *bytes) = (*count + 1, *bytes + size));
        Self { size, all }
    }
}

impl Drop for Letter {
    fn drop(&mut self) {
        let size = self.size;
        self.all
            .send_modify(|(count, bytes)| (*count, *bytes) = (*count - 1, *bytes - size));
    }
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
        let mut signs_of_progress = interval(declaration.ack_wait / 3);
        // It ticks only while something is gathered; after a quiet night there is nothing to catch up on.
        signs_of_progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(BatchConsumer {
            pull: self.declare_consumer(declaration).await?,
            bus: self.clone(),
            declaration: *declaration,
            asked: None,
            gathered: Vec::new(),
            signs_of_progress,
            waiting: VecDeque::new(),
            suspects: BTreeMap::new(),
            suspects_due: Instant::now(),
            suspects_turn: false,
            pause_until: Instant::now(),
            failures: 0,
            letters: Letters::default(),
            pulse: Arc::default(),
        })
    }
}

impl BatchConsumer {
    /// Does `work`, which settles the messages of a batch, on every batch until `shutdown`; then what is in hand has two
    /// seconds more, and is given back.
    ///
    /// As long as few messages are in hand, the next ones are worked on beside them: a message alone does not wait for
    /// the round trips of another one. Behind more than a few they gather, because large batches cost less.
    ///
    /// A panic costs the daemon nothing: what is not settled is tried again in halves, until the message that causes it
    /// is alone.
    pub async fn for_each<F: Future<Output = ()>>(
        self,
        shutdown: &CancellationToken,
        work: impl Fn(Arc<Batch>) -> F,
    ) {
        let in_hand = watch::Sender::new(0);
        let batches = stream::unfold(self, async |mut consumer| {
            let batch = consumer.next(shutdown, in_hand.subscribe()).await?;
            in_hand.send_modify(|count| *count += batch.weight());
            Some((batch, consumer))
        });
        let (work, in_hand) = (&work, &in_hand);
        let finish = |batch: Batch| async move {
            let batch = Arc::new(batch);
            finish(&batch, shutdown, work).await;
            in_hand.send_modify(|count| *count -= batch.weight());
        };
        batches.for_each_concurrent(None, finish).await;
    }

    /// The next batch: all that has come, or the next message to come; never empty. `None` after `shutdown`.
    ///
    /// It waits for ever: an outage of NATS, or even the loss of the consumer, only makes it wait.
    pub async fn next_batch(&mut self, shutdown: &CancellationToken) -> Option<Batch> {
        let (_nothing, in_hand) = watch::channel(0);
        self.next(shutdown, in_hand).await
    }

    /// The next batch, as soon as there is not too much `in_hand` for it; until then messages gather.
    async fn next(
        &mut self,
        shutdown: &CancellationToken,
        mut in_hand: watch::Receiver<usize>,
    ) -> Option<Batch> {
        let mut letters = self.letters.subscribe();
        loop {
            if shutdown.is_cancelled() {
                self.release().await;
                return None;
            }
            let count = *in_hand.borrow_and_update();
            letters.mark_unchanged();
            let pause = self.pause();
            if let Some(batch) = self.turn(count, pause.is_some()) {
                if let Some(batch) = self.admit(batch).await {
                    metrics::histogram!("orders_batch_messages", "stream" => self.declaration.stream.name)
                        .record(batch.deliveries.len() as f64);
                    return Some(batch);
                }
                continue;
            }
            if self.asked.is_none() && self.room().is_some() {
                shutdown.run_until_cancelled(self.ask()).await;
            }
            let pause = pause.filter(|_| count < AT_ONCE);
            let due = self.due().filter(|_| count == 0);
            let turn = pause.into_iter().chain(due).min();
            let asked = &mut self.asked;
            let has_asked = asked.is_some();
            let next = async {
                match asked {
                    Some(asked) => asked.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                next = next => if let Err(cause) = self.received(next) {
                    shutdown.run_until_cancelled(self.recover(&cause)).await;
                },
                _ = self.signs_of_progress.tick(), if !self.gathered.is_empty() => {
                    // A connection that takes nothing must not keep this from hearing of a shutdown.
                    let shown = timeout(BEST_EFFORT, self.show_progress());
                    shutdown.run_until_cancelled(shown).await;
                }
                // Last, so that all that is there comes into the batch.
                Ok(()) = in_hand.changed() => {}
                // There may be room again.
                Ok(()) = letters.changed(), if !has_asked => {}
                () = sleep_until(turn.unwrap_or_else(Instant::now)), if turn.is_some() => {}
            }
        }
    }

    /// The batch whose turn it is while `count` messages are in hand: what is new beside a few others, a suspect alone.
    fn turn(&mut self, count: usize, is_pause: bool) -> Option<Batch> {
        if count >= AT_ONCE {
            return None;
        }
        let is_due = self.due().is_some_and(|due| due <= Instant::now());
        if !(is_due && self.suspects_turn) {
            if self.waiting.is_empty() && !is_pause {
                self.pause_until = Instant::now() + pause_after(self.gathered.len());
                self.sort_out();
            }
            if let Some(batch) = self.waiting.pop_front() {
                self.suspects_turn = self.waiting.is_empty();
                return Some(batch);
            }
        }
        if !is_due || count > 0 {
            return None;
        }
        self.suspects_turn = false;
        self.suspects.pop_first().map(|(_, suspect)| suspect)
    }

    /// Until when messages gather, if they do.
    fn pause(&self) -> Option<Instant> {
        let is_pause = Instant::now() < self.pause_until && self.gathered.len() < ENOUGH;
        is_pause.then_some(self.pause_until)
    }

    /// When the turn of a suspect may come.
    fn due(&self) -> Option<Instant> {
        (!self.suspects.is_empty()).then_some(self.suspects_due)
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
        let mut gone = None;
        loop {
            let stored = raw.store_dead_letter(&self.bus, Reason::CrashLoop, TOO_OFTEN, gone);
            let there = match stored.await {
                Ok(letter) if !letter.duplicate => {
                    batch.letter = Some(letter.sequence);
                    return Some(batch);
                }
                Ok(letter) => {
                    gone = Some(letter.sequence);
                    self.bus.stored(&ORDERS_DLQ, letter.sequence).await
                }
                Err(error) => Err(error),
            };
            match there {
                Ok(Some(_)) => {
                    raw.terminate(Reason::CrashLoop, TOO_OFTEN).await;
                    return None;
                }
                // An earlier last try was given back: this one has a letter of its own.
                Ok(None) => {}
                // It may be there or not. Without a try it could be given up untried the next time.
                Err(error) => {
                    debug!("cannot store a dead letter of {}: {error}", raw.position);
                    return Some(batch);
                }
            }
        }
    }

    /// How many messages and bytes there is room for; `None` for none.
    fn room(&self) -> Option<(usize, usize)> {
        let suspects = self.suspects.values();
        let deliveries = suspects.flat_map(|batch| &batch.deliveries);
        let (count, size) = deliveries
            .chain(&self.gathered)
            .fold(*self.letters.borrow(), |(count, size), delivery| {
                (count + 1, size + delivery.raw.size)
            });
        let messages = BATCH_MESSAGES.checked_sub(count)?;
        let bytes = BATCH_BYTES.checked_sub(size)?;
        (messages > 0 && bytes >= MESSAGE_BYTES).then_some((messages, bytes))
    }

    /// Asks for as many messages as there is room for, and goes on until that works.
    async fn ask(&mut self) {
        while let Some((messages, bytes)) = self.room() {
            let connections = self.bus.connections.clone();
            // While there is none, the request is sent on the next one.
            let valid_for = *connections.borrow() + u64::from(!self.bus.is_connected());
            let pull = self.pull.batch().max_messages(messages).max_bytes(bytes);
            let cause = match timeout(ACK_DEADLINE, pull.expires(IDLE_PULL).messages()).await {
                Ok(Ok(messages)) => {
                    let has_delivered = false;
                    self.asked = Some(Asked {
                        messages,
                        has_delivered,
                        connections,
                        valid_for,
                    });
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the connection takes nothing".to_owned(),
            };
            self.recover(&cause).await;
        }
    }

    /// Takes what has come, and all that is there behind it.
    fn received(
        &mut self,
        mut next: Result<Option<jetstream::Message>, String>,
    ) -> Result<(), String> {
        loop {
            let Some(message) = next.inspect_err(|_| self.asked = None)? else {
                self.asked = None;
                return Ok(());
            };
            self.failures = 0;
            match self.read(message) {
                Ok(delivery) => self.gathered.push(delivery),
                Err(unreadable) => {
                    let (raw, cause) = *unreadable;
                    raw.refuse(&self.bus, vec![FieldError::of_message(cause)]);
                }
            }
            let behind = self.asked.as_mut().map(|asked| asked.next().now_or_never());
            match behind.flatten() {
                Some(behind) => next = behind,
                None => return Ok(()),
            }
        }
    }

    /// After a failed request: waits a little, and sees to it that the consumer is still there.
    async fn recover(&mut self, cause: &str) {
        self.failures += 1;
        let name = self.declaration.stream.name;
        debug!("cannot read {name}: {cause}");
        if self.failures == 3 {
            warn!("cannot read {name}: {cause}; trying on");
        }
        tokio::time::sleep(backoff(self.failures)).await;
        if self.bus.is_connected() {
            match self.bus.declare_consumer(&self.declaration).await {
                Ok(pull) => self.pull = pull,
                Err(error) => debug!("{error}"),
            }
        }
    }

    async fn show_progress(&self) {
        for delivery in &self.gathered {
            delivery.raw.acknowledge(AckKind::Progress).await;
        }
    }

    /// Gives everything back.
    async fn release(&mut self) {
        if let Some(mut asked) = self.asked.take() {
            while let Some(Ok(Some(message))) = asked.next().now_or_never() {
                self.gathered.extend(self.read(message).ok());
            }
        }
        release_all(mem::take(&mut self.gathered)).await;
        let suspects = mem::take(&mut self.suspects).into_values();
        let waiting = self.waiting.drain(..).chain(suspects);
        release_all(waiting.flat_map(Batch::into_deliveries)).await;
    }

    /// Makes batches of what was gathered: first what is new, in one batch, then what was delivered before, in smaller
    /// ones, so that a message that kills its daemon is soon alone.
    fn sort_out(&mut self) {
        let mut by_deliveries: BTreeMap<u64, Vec<Delivery>> = BTreeMap::new();
        for delivery in mem::take(&mut self.gathered) {
            let deliveries = match self.declaration.is_held {
                true => 1,
                false => delivery.raw.deliveries,
            };
            by_deliveries.entry(deliveries).or_default().push(delivery);
        }
        for (deliveries, alike) in by_deliveries {
            let size = match deliveries {
                0 | 1 => BATCH_MESSAGES,
                ..SUSPECT => 16,
                _ => 1,
            };
            let mut alike = alike.into_iter().peekable();
            while alike.peek().is_some() {
                let batch = self.batch(alike.by_ref().take(size).collect());
                if deliveries < SUSPECT {
                    self.waiting.push_back(batch);
                    continue;
                }
                if self.suspects.is_empty() {
                    self.suspects_due = Instant::now() + SUSPENSE;
                }
                let key = suspect_key(deliveries, batch.deliveries[0].raw.sequence);
                self.suspects.insert(key, batch);
            }
        }
    }

    fn batch(&self, deliveries: Vec<Delivery>) -> Batch {
        Batch::new(deliveries, self.bus.clone(), self.declaration.ack_wait)
    }

    fn read(&self, message: jetstream::Message) -> Result<Delivery, Box<(Raw, String)>> {
        let (deliveries, sequence, position) =
            message.info().map_or((1, 0, String::new()), |info| {
                (
                    u64::try_from(info.delivered).unwrap_or(1),
                    info.stream_sequence,
                    format!("{}:{}", info.stream, info.stream_sequence),
                )
            });
        let (message, acker) = message.split();
        let raw = Raw {
            size: message.length,
            acker: Arc::new(acker),
            subject: message.subject.to_string(),
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
            sequence,
            position,
            deliveries,
            is_settled: Arc::default(),
            letters: self.letters.clone(),
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

/// How long messages gather after a batch of `count`. Larger batches cost less of the processors, but somebody may wait: the
/// square root keeps the pause in proportion to the rate, where one in proportion to the batch would be none at all below
/// some rate and the longest above it.
fn pause_after(count: usize) -> Duration {
    if count < AT_ONCE {
        return Duration::ZERO;
    }
    let millis = (30.0 * count as f64).sqrt();
    Duration::from_secs_f64(millis / 1e3).min(PAUSE)
}

/// The order of suspects: another one every second time they are delivered, and the reverse of it the time after. Of two
/// that die together whoever was second is first the next time, so an innocent one soon gets through, however often each
/// was delivered; between two that kill their daemon it does by chance.
fn suspect_key(deliveries: u64, sequence: u64) -> (u64, u64) {
    let shuffled =
        BuildHasherDefault::<DefaultHasher>::default().hash_one((deliveries.div_ceil(2), sequence));
    match deliveries % 2 {
        0 => (0, shuffled),
        _ => (1, u64::MAX - shuffled),
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
    fn new(deliveries: Vec<Delivery>, bus: Bus, ack_wait: Duration) -> Self {
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
            letter: None,
        }
    }

    /// Whether it is a message that may kill its daemon, and whatever is beside it.
    fn is_suspect(&self) -> bool {
        matches!(&self.deliveries[..], [suspect] if suspect.raw.deliveries >= SUSPECT)
    }

    /// How much of [`AT_ONCE`] it takes: all of it where nothing may be beside it.
    fn weight(&self) -> usize {
        match self.is_suspect() {
            true => AT_ONCE,
            false => self.deliveries.len(),
        }
    }

    /// Hands the messages over to somebody who will settle each in time by himself.
    pub fn into_deliveries(self) -> Vec<Delivery> {
        self.deliveries
    }

    /// Gives everything back, to be delivered again at once.
    pub async fn release(&self) {
        self.progress.0.abort();
        release_all(&self.deliveries).await;
        self.end_last_try().await;
    }

    /// The halves of what is left of a batch that panicked; a message alone is given up in time.
    fn panicked(&self, cause: &str) -> Vec<Arc<Self>> {
        let unsettled = |delivery: &&Delivery| !delivery.raw.is_settled();
        let left: Vec<&Delivery> = self.deliveries.iter().filter(unsettled).collect();
        let count = left.len();
        warn!("{count} messages are left of a batch that panicked: {cause}");
        if let ([alone], [_]) = (&left[..], &self.deliveries[..]) {
            if alone.raw.deliveries >= LAST_PANIC {
                alone.dead_letter(&self.bus, Reason::Panicked, cause);
            }
            // Else it comes again after the ack wait: things may have changed by then.
            return Vec::new();
        }
        let half = |half: &[&Delivery]| {
            let deliveries = half.iter().map(|&delivery| delivery.clone()).collect();
            Arc::new(Self::new(deliveries, self.bus.clone(), self.ack_wait))
        };
        left.chunks(count.div_ceil(2).max(1)).map(half).collect()
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

/// Does `work` on `batch`, until a while after `shutdown`.
async fn finish<F: Future<Output = ()>>(
    batch: &Arc<Batch>,
    shutdown: &CancellationToken,
    work: &impl Fn(Arc<Batch>) -> F,
) {
    let patience = async {
        shutdown.cancelled().await;
        tokio::time::sleep(SHUTDOWN_PATIENCE).await;
    };
    tokio::select! {
        () = carry_out(batch, work) => batch.end_last_try().await,
        () = patience => batch.release().await,
    }
}

/// Does `work` on `batch`, and again on its halves as long as it panics.
async fn carry_out<F: Future<Output = ()>>(batch: &Arc<Batch>, work: &impl Fn(Arc<Batch>) -> F) {
    let mut parts = vec![Arc::clone(batch)];
    while let Some(part) = parts.pop() {
        // What a panic leaves behind is what a crash leaves behind, and that is provided for.
        let ended = AssertUnwindSafe(work(Arc::clone(&part)))
            .catch_unwind()
            .await;
        if let Err(panic) = ended {
            parts.extend(part.panicked(&one_line(message(&*panic))));
        }
    }
}

impl Bus {
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

/// A well-formed message in hand: its subject and headers are valid. It must be settled once: acked, dead-lettered,
/// postponed or released.
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

    /// `reply` and where it goes, if somebody waits for it: for [`Bus::reply`].
    pub fn reply(&self, reply: Reply) -> Option<(&ReplyTo, Reply)> {
        Some((self.metadata.reply_to.as_ref()?, reply))
    }

    /// Its stream and sequence: `ORDERS_EVENTS:17`. The same for each delivery of the same message.
    pub fn position(&self) -> &str {
        &self.raw.position
    }

    /// Its place in its stream.
    pub fn sequence(&self) -> u64 {
        self.raw.sequence
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

    /// Whether it may still be [postponed](Self::postpone), which is five times at most: for long enough that what dies
    /// with a message that kills its daemon gets through, and not until its own last try.
    pub fn may_wait(&self) -> bool {
        self.raw.deliveries < LAST_TRY_AFTER
    }

    /// Given back because it waits for another message: to be delivered again in a moment, and from then on every 8 s,
    /// in which the other one is delivered again if whoever had it has died.
    pub async fn postpone(&self) {
        let pause = match self.raw.deliveries {
            0 | 1 => Duration::from_millis(250),
            _ => Duration::from_secs(8),
        };
        self.raw.settle(AckKind::Nak(Some(pause))).await;
    }

    /// Given up: stored in ORDERS_DLQ with `reason`, and only then terminated. Where that fails, it comes again.
    ///
    /// That goes on in the background: nothing behind it is held up, unless many are on their way.
    pub fn dead_letter(&self, bus: &Bus, reason: Reason, cause: &str) {
        self.raw
            .clone()
            .dead_letter(bus, reason, cause.to_owned(), None);
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
    /// Of all of it, headers and subject included.
    size: usize,
    sequence: u64,
    position: String,
    deliveries: u64,
    is_settled: Arc<AtomicBool>,
    letters: Letters,
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
                .find(|(key, _)| AsRef::<str>::as_ref(*key).eq_ignore_ascii_case(name))
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
        let reply_to = Metadata::reply_to_of(|name| self.header(name));
        let reply = reply_to.map(|to| (to, Reply::Refused(Refusal::Invalid { errors })));
        self.dead_letter(bus, Reason::Invalid, cause, reply);
    }

    fn dead_letter(
        self,
        bus: &Bus,
        reason: Reason,
        cause: String,
        reply: Option<(ReplyTo, Reply)>,
    ) {
        // It is in good hands: nobody else has to see to it.
        self.is_settled.store(true, Ordering::Relaxed);
        let letter = Letter::of(&self);
        let bus = bus.clone();
        tokio::spawn(async move {
            if let Some((to, reply)) = reply {
                bus.reply([(&to, reply)]).await;
            }
            match self.store_dead_letter(&bus, reason, &cause, None).await {
                Ok(_) => self.terminate(reason, &cause).await,
                // It comes again after the ack wait.
                Err(error) => warn!("cannot store a dead letter of {}: {error}", self.position),
            }
            drop(letter);
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

    /// Stores its dead letter, once; `gone` is the sequence of an earlier one that was taken back.
    async fn store_dead_letter(
        &self,
        bus: &Bus,
        reason: Reason,
        cause: &str,
        gone: Option<u64>,
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
        let mut message_id = format!("{}:{}:{}", bus.daemon, self.position, reason.as_str());
        if let Some(gone) = gone {
            message_id = format!("{message_id}:after:{gone}");
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_gather_for_longer_the_larger_they_are() {
        assert_eq!(pause_after(AT_ONCE - 1), Duration::ZERO);
        let pauses: Vec<_> = (AT_ONCE..=BATCH_MESSAGES).map(pause_after).collect();
        assert!(pauses.is_sorted());
        assert_eq!(pauses[0].as_millis(), 15);
        assert_eq!(pauses.last(), Some(&PAUSE));
    }

    #[test]
    fn suspects_take_turns_in_being_first() {
        let guilty = 1_000;
        for innocent in (0..2_000).filter(|innocent| *innocent != guilty) {
            for apart in 0..5 {
                let is_first =
                    |round| suspect_key(round + apart, innocent) < suspect_key(round, guilty);
                assert_ne!(is_first(3), is_first(4), "{innocent} {apart}");
            }
        }
    }

    #[test]
    fn a_suspect_between_two_that_kill_is_first_some_time() {
        let rounds = SUSPECT..SUSPECT + 30;
        let between = (1..9).filter(|innocent| {
            rounds.clone().all(|round| {
                [0, 9]
                    .iter()
                    .any(|&guilty| suspect_key(round, guilty) < suspect_key(round, *innocent))
            })
        });
        assert_eq!(between.count(), 0);
    }
}
