//! A message in hand, and how it is settled.

mod origin;
mod process;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{
    HeaderValue,
    jetstream::{self, AckKind, message::Acker},
};
use orders_contracts::{
    Body, Channel, Envelope, FieldError, Invalid, Metadata, Refusal, Reply, ReplyTo, TenantId,
    Timestamp, TraceContext, header, may_be_newer,
};
use orders_service::{
    Seldom, chain,
    metrics::{NEWER_MESSAGES, counter},
    trace,
};
use tokio::time::timeout;
use tracing::{Instrument as _, Span, debug, warn};

pub(crate) use self::origin::Origin;
use crate::{Error, Reason, dead_letters::Original, ids, inspect::timestamp, publish::BEST_EFFORT};

/// The longest pause of a message whose dead letter cannot be stored.
const LONGEST_PAUSE: Duration = Duration::from_secs(240);

/// A well-formed message in hand: its body fits its subject and headers. Whoever handles it settles it once: acks,
/// postpones, releases it or gives it up.
#[derive(Debug)]
pub struct Delivery<T> {
    /// What kind of message it is.
    pub channel: Channel,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its headers.
    pub metadata: Metadata,
    /// Its body.
    pub body: T,
    process: trace::Span,
    message: Arc<Received>,
}

impl<T> Delivery<T> {
    /// `reply` and where it goes, if somebody waits for it: for [`Bus::reply`](crate::Bus::reply).
    pub fn reply(&self, reply: Reply) -> Option<(&ReplyTo, Reply)> {
        Some((self.metadata.reply_to.as_ref()?, reply))
    }

    /// Its stream and sequence: `ORDERS_EVENTS:17`. The same for each delivery of the same message.
    pub fn position(&self) -> &str {
        &self.message.original.position
    }

    /// Its position and the time at which its stream stored it: unlike the position, this names no other message after
    /// the stream was lost and made again.
    pub fn occasion(&self) -> String {
        self.message.original.occasion()
    }

    /// Its sequence in its stream.
    pub fn sequence(&self) -> u64 {
        self.message.sequence
    }

    /// When its stream stored it, by the server's clock.
    pub fn stored_at(&self) -> Timestamp {
        self.message.original.stored_at
    }

    /// How often it was delivered, this time included. The server forgets it when it is killed.
    pub(crate) fn deliveries(&self) -> u64 {
        self.message.original.deliveries
    }

    /// Whether it was delivered before, as far as the server remembers.
    pub fn is_redelivered(&self) -> bool {
        self.deliveries() > 1
    }

    /// The span of handling it, which ends when it is settled.
    pub fn process(&self) -> &trace::Span {
        &self.process
    }

    /// The trace context of what it causes.
    pub fn trace(&self) -> TraceContext {
        self.process.context()
    }

    /// The span of its log lines. One that is written outside takes it as its parent: `debug!(parent: &it.span(), "...")`
    /// makes none unless the line is written.
    pub fn span(&self) -> Span {
        ids::span(&self.tenant, &self.metadata)
    }

    /// Done: the server forgets it. A lost ack leads to a redelivery.
    pub async fn ack(&self) {
        self.message.settle(AckKind::Ack).await;
        self.message.origin.acked();
        self.process.end();
        debug!(parent: &self.span(), "done with {}", self.position());
    }

    /// Gives it back, to be delivered again at once.
    pub async fn release(&self) {
        self.message.settle(AckKind::Nak(None)).await;
        self.ended("released");
        debug!(parent: &self.span(), "released {}", self.position());
    }

    /// How long it may still be [postponed](Self::postpone); `None` when it must be decided now.
    fn pause(&self) -> Option<Duration> {
        let attempt = usize::try_from(self.deliveries().max(1) - 1).ok()?;
        let policy = &self.message.origin.declaration.policy;
        policy.pauses.get(attempt).copied()
    }

    /// Whether it may still be [postponed](Self::postpone).
    pub fn may_wait(&self) -> bool {
        self.pause().is_some()
    }

    /// Gives it back because it waits for another message, to be delivered again after its consumer's next pause.
    pub async fn postpone(&self) {
        self.message.settle(AckKind::Nak(self.pause())).await;
        self.ended("postponed");
        debug!(parent: &self.span(), "postponed {}", self.position());
    }

    /// Gives it up: stores it in ORDERS_DLQ with `reason`, and only then terminates it. Where that fails, it comes
    /// again, after longer and longer pauses.
    ///
    /// That goes on in the background: nothing waits behind it, unless many are on their way.
    pub fn dead_letter(&self, reason: Reason, cause: &str) {
        self.process.fail(reason.as_str());
        self.process.end();
        let (cause, told) = (cause.to_owned(), cause.to_owned());
        Arc::clone(&self.message).dead_letter(reason, cause, told, None);
    }

    /// Tells the server that it is being worked on. A lost sign of progress costs a redelivery at worst.
    pub(crate) async fn show_progress(&self) {
        if !self.is_settled() {
            self.message.acknowledge(AckKind::Progress).await;
        }
    }

    /// Its span says why it is not done.
    fn ended(&self, why: &'static str) {
        self.process.text("orders.outcome", why);
        self.process.end();
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.message.is_settled.load(Ordering::Relaxed)
    }
}

/// Gives messages back, as many as the server takes in a moment; the others follow after the ack wait.
pub async fn release_all<T>(deliveries: impl IntoIterator<Item = Delivery<T>>) {
    let release = async {
        for delivery in deliveries {
            delivery.release().await;
        }
    };
    if timeout(BEST_EFFORT, release).await.is_err() {
        debug!("some messages could not be given back");
    }
}

/// A message as it came.
struct Received {
    original: Original,
    sequence: u64,
    /// Of all of it, headers and subject included.
    size: usize,
    acker: Acker,
    is_settled: AtomicBool,
    origin: Arc<Origin>,
}

impl fmt::Debug for Received {
    // Bodies hold personal data and stay out of the logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.original.subject, self.original.position)
    }
}

/// Reads a message; one that is malformed is refused, and becomes a dead letter in the background.
pub(crate) fn read<T: Body>(
    message: jetstream::Message,
    origin: &Arc<Origin>,
) -> Option<Delivery<T>> {
    let message = Arc::new(Received::of(message, origin));
    match message.read() {
        Ok((channel, tenant, metadata, body)) => Some(Delivery {
            process: message.process(channel, &tenant, &metadata),
            channel,
            tenant,
            metadata,
            body,
            message,
        }),
        Err(faults) => {
            let deliveries = message.original.deliveries;
            if message.may_be_newer()
                && let Some(pause) = message.origin.pause_for_newer(deliveries)
            {
                message.leave_to_newer(pause);
            } else {
                message.refusal();
                message.refuse(faults);
            }
            None
        }
    }
}

impl Received {
    fn of(message: jetstream::Message, origin: &Arc<Origin>) -> Self {
        let stream = origin.declaration.stream.name;
        let (deliveries, sequence, stored_at) = message.info().map_or_else(
            |_| (1, 0, Timestamp::now()),
            |info| {
                (
                    u64::try_from(info.delivered).unwrap_or(1),
                    info.stream_sequence,
                    timestamp(info.published),
                )
            },
        );
        let (message, acker) = origin.bus.delivered_here(message).split();
        Self {
            size: message.length,
            acker,
            original: Original {
                subject: message.subject.to_string(),
                headers: message.headers.unwrap_or_default(),
                payload: message.payload,
                position: format!("{stream}:{sequence}"),
                stored_at,
                deliveries,
            },
            sequence,
            is_settled: AtomicBool::new(false),
            origin: Arc::clone(origin),
        }
    }

    fn read<T: Body>(&self) -> Result<(Channel, TenantId, Metadata, T), Vec<FieldError>> {
        let fault = |detail: String| vec![FieldError::of_message(detail)];
        let (channel, tenant) = Channel::parse(&self.original.subject)
            .ok_or_else(|| fault("the subject names no message of this pipeline".to_owned()))?;
        let metadata =
            Metadata::parse(channel, |name| self.header(name)).map_err(|Invalid(faults)| faults)?;
        let envelope = Envelope {
            channel,
            tenant: &tenant,
            metadata: &metadata,
        };
        // A body that makes its decoder panic must not end the daemon.
        let body = catch_unwind(AssertUnwindSafe(|| {
            T::read(&self.original.payload, envelope)
        }))
        .unwrap_or_else(|_| Err(fault("the body cannot be read".to_owned())))?;
        Ok((channel, tenant, metadata, body))
    }

    fn header(&self, name: &'static str) -> Option<&str> {
        let found = self.original.headers.get(name).or_else(|| {
            // The server keeps the case of names; the CloudEvents binding has them case-insensitive.
            self.original
                .headers
                .iter()
                .find(|(key, _)| AsRef::<str>::as_ref(*key).eq_ignore_ascii_case(name))
                .and_then(|(_, values)| values.first())
        });
        found.map(HeaderValue::as_str)
    }

    /// The span of its log lines.
    fn span(&self) -> Span {
        ids::span_of(&self.original.subject, |name| self.header(name))
    }

    async fn acknowledge(&self, kind: AckKind) {
        if !matches!(
            timeout(BEST_EFFORT, self.acker.ack_with(kind)).await,
            Ok(Ok(()))
        ) {
            let position = &self.original.position;
            debug!(parent: &self.span(), "an ack of {position} could not be sent");
        }
    }

    async fn settle(&self, kind: AckKind) {
        self.acknowledge(kind).await;
        self.is_settled.store(true, Ordering::Relaxed);
    }

    /// Whether a newer version may have written it.
    fn may_be_newer(&self) -> bool {
        let Original {
            subject, payload, ..
        } = &self.original;
        let kind = self.header(header::TYPE);
        // It decodes again what may have made a decoder panic.
        catch_unwind(AssertUnwindSafe(|| may_be_newer(subject, kind, payload))).unwrap_or(false)
    }

    /// Gives it back for as long as `pause`, for a daemon of a newer version.
    fn leave_to_newer(self: Arc<Self>, pause: Duration) {
        let position = &self.original.position;
        if self.original.deliveries == 1 {
            warn!(
                parent: &self.span(),
                "{position} may be of a newer version; it stays for an upgraded daemon"
            );
        }
        counter!(NEWER_MESSAGES).increment(1);
        self.is_settled.store(true, Ordering::Relaxed);
        tokio::spawn(async move { self.settle(AckKind::Nak(Some(pause))).await });
    }

    /// Gives it up as [`Reason::Invalid`], and tells whoever waits for it.
    fn refuse(self: Arc<Self>, errors: Vec<FieldError>) {
        let causes: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
        let cause = format!("{}; see schemas/asyncapi.json", causes.join("; "));
        let told: Vec<String> = errors.iter().map(FieldError::for_log).collect();
        let reply_to = Metadata::reply_to_of(|name| self.header(name));
        let reply = reply_to.map(|to| (to, Reply::Refused(Refusal::Invalid { errors })));
        self.dead_letter(Reason::Invalid, cause, told.join("; "), reply);
    }

    /// `told` is the cause as the log may have it.
    fn dead_letter(
        self: Arc<Self>,
        reason: Reason,
        cause: String,
        told: String,
        reply: Option<(ReplyTo, Reply)>,
    ) {
        // It is in good hands: nobody else has to see to it.
        self.is_settled.store(true, Ordering::Relaxed);
        // What cannot be handled takes room until its dead letter is stored.
        let share = self.origin.budget.take(self.size);
        let span = self.span();
        let store = async move {
            let (bus, letters) = (&self.origin.bus, &self.origin.letters);
            if let Some((to, reply)) = reply {
                bus.reply([(&to, reply)]).await;
            }
            if letters.may_try() {
                let stored = bus.store_dead_letter(&self.original, reason, &cause).await;
                letters.tried(stored.is_ok());
                match stored {
                    Ok(()) => {
                        self.settle(AckKind::Term).await;
                        reason.given_up(&self.original.position, &told);
                    }
                    Err(error) => self.keep(&error).await,
                }
            } else {
                self.wait_for_letters().await;
            }
            drop(share);
        };
        tokio::spawn(store.instrument(span));
    }

    async fn keep(&self, error: &Error) {
        static LINES: Seldom = Seldom::new();
        let (position, error) = (&self.original.position, chain(error));
        LINES.say(|unsaid| warn!(unsaid, "cannot store a dead letter of {position}: {error}"));
        self.wait_for_letters().await;
    }

    /// Gives it back until ORDERS_DLQ may take its dead letter: 1 s, 2 s, 4 s, and so on, up to 4 minutes.
    async fn wait_for_letters(&self) {
        let doublings = self.original.deliveries.saturating_sub(1).min(8);
        let pause = Duration::from_secs(1 << doublings).min(LONGEST_PAUSE);
        self.acknowledge(AckKind::Nak(Some(pause))).await;
    }
}
