//! The streams and durable consumers of the pipeline, declared once.
//!
//! The order's id travels in the headers and not in the subject: the server keeps memory per distinct subject and
//! reads them all when it restarts.

use std::{fmt, time::Duration};

use crate::{Channel, PaymentSettings, Revocation};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// As settings write `1year`: 365.25 days.
const YEAR: Duration = Duration::from_secs(31_557_600);
const MIB: u64 = 1 << 20;

/// What a stream does with a message that was acked, or when it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// An acked message is removed; a full stream refuses new ones, so that no command is ever dropped.
    WorkQueue,
    /// Messages stay for `max_age`; a full stream drops its oldest.
    Limits {
        /// How long a message stays.
        max_age: Duration,
    },
    /// The latest message of each subject stays for `max_age`; a full stream refuses further subjects, so that no message
    /// is dropped before its time.
    Latest {
        /// How long a message stays.
        max_age: Duration,
        /// The most subjects.
        max_subjects: u32,
    },
}

/// The declaration of a stream, with the default of each [setting](crate::StreamSettings). All are on file storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// The stream's name.
    pub name: &'static str,
    /// The subjects it captures.
    pub subjects: &'static str,
    /// What it keeps.
    pub retention: Retention,
    /// The most bytes it holds.
    pub max_bytes: u64,
    /// How long a second message with the id of an earlier one is dropped.
    pub duplicate_window: Duration,
    /// The most messages of one subject, that is of one tenant and kind; the stream refuses more.
    pub max_of_subject: Option<u32>,
    /// Whether nobody can remove a message before its time. Once it is so on a server, it stays so.
    pub is_append_only: bool,
}

/// Commands on their way to the writer.
pub const ORDERS_COMMANDS: Stream = Stream {
    name: "ORDERS_COMMANDS",
    subjects: "orders.cmd.>",
    retention: Retention::WorkQueue,
    max_bytes: 1024 * MIB,
    duplicate_window: MINUTE.saturating_mul(2),
    // Several seconds of work for the writer, so that no tenant can fill the stream.
    max_of_subject: Some(10_000),
    is_append_only: false,
};

/// What happened to orders, from the writer.
pub const ORDERS_EVENTS: Stream = Stream {
    name: "ORDERS_EVENTS",
    subjects: "orders.evt.>",
    retention: Retention::Limits {
        max_age: DAY.saturating_mul(30),
    },
    max_bytes: 4096 * MIB,
    duplicate_window: MINUTE.saturating_mul(2),
    max_of_subject: None,
    is_append_only: false,
};

/// What happened to payments, from the payment-simulator or from outside, by the edge.
pub const PAYMENTS: Stream = Stream {
    name: "PAYMENTS",
    subjects: "payments.evt.>",
    retention: Retention::Limits {
        max_age: DAY.saturating_mul(7),
    },
    max_bytes: 1024 * MIB,
    duplicate_window: MINUTE.saturating_mul(2),
    max_of_subject: None,
    is_append_only: false,
};

/// Changes that the list already shows, from the projector.
pub const ORDERS_FEED: Stream = Stream {
    name: "ORDERS_FEED",
    subjects: "orders.feed.>",
    retention: Retention::Limits {
        max_age: DAY.saturating_mul(3),
    },
    max_bytes: 1024 * MIB,
    duplicate_window: MINUTE.saturating_mul(2),
    max_of_subject: None,
    is_append_only: false,
};

/// Messages that a daemon gave up on, with the reason in their headers.
pub const ORDERS_DLQ: Stream = Stream {
    name: "ORDERS_DLQ",
    subjects: "orders.dlq.>",
    retention: Retention::Limits {
        max_age: DAY.saturating_mul(30),
    },
    max_bytes: 512 * MIB,
    // A daemon may die between storing a dead letter and terminating its message, and start again minutes later.
    duplicate_window: MINUTE.saturating_mul(15),
    max_of_subject: None,
    is_append_only: false,
};

/// What operators removed of ORDERS_DLQ, so that it can be brought back.
pub const ORDERS_DROPPED: Stream = Stream {
    name: "ORDERS_DROPPED",
    subjects: "orders.dropped.>",
    retention: Retention::Limits { max_age: YEAR },
    max_bytes: 128 * MIB,
    duplicate_window: MINUTE.saturating_mul(2),
    max_of_subject: None,
    is_append_only: false,
};

/// What operators did. Nothing pushes it out, and nothing personal is in it.
pub const ORDERS_AUDIT: Stream = Stream {
    name: "ORDERS_AUDIT",
    subjects: "orders.audit.>",
    retention: Retention::Limits { max_age: YEAR },
    max_bytes: 64 * MIB,
    duplicate_window: MINUTE.saturating_mul(2),
    max_of_subject: None,
    is_append_only: true,
};

/// Tokens that are refused although they have not expired, from operators and from identity providers.
///
/// Whoever checks tokens reads all of it into memory, which is why it is small.
pub const REVOCATIONS: Stream = Stream {
    name: "REVOCATIONS",
    subjects: "orders.auth.revoked.>",
    retention: Retention::Latest {
        max_age: Revocation::LONGEST,
        max_subjects: 100_000,
    },
    max_bytes: 64 * MIB,
    duplicate_window: MINUTE.saturating_mul(2),
    max_of_subject: None,
    is_append_only: false,
};

/// Every stream of the pipeline.
pub const ALL: [Stream; 8] = [
    ORDERS_COMMANDS,
    ORDERS_EVENTS,
    PAYMENTS,
    ORDERS_FEED,
    ORDERS_DLQ,
    ORDERS_DROPPED,
    ORDERS_AUDIT,
    REVOCATIONS,
];

/// The declaration of a durable pull consumer; it is named after its daemon.
///
/// None has a delivery limit or a back-off list: a message is given up by a decision, never by a count of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consumer {
    /// The stream it reads.
    pub stream: Stream,
    /// Its durable name: the daemon's.
    pub durable: &'static str,
    /// The one kind of message it wants; `None` for all of the stream.
    pub filter: Option<Channel>,
    /// How long the server waits for an ack, or a sign of progress, before it delivers again.
    pub ack_wait: Duration,
    /// The most messages that may be delivered and not acked.
    pub max_ack_pending: u32,
    /// How its daemon treats messages that are delivered again.
    pub policy: Policy,
}

/// As `ORDERS_EVENTS/projector`.
impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream.name, self.durable)
    }
}

/// How a daemon treats messages that are delivered again. Shutdowns, reconnections and crashes of the daemon all
/// count as deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// From this delivery on the daemon handles the message alone: it may be what kills the daemon.
    pub alone_from: u64,
    /// From this delivery on the daemon gives the message up, provided that others get through.
    pub give_up_from: u64,
    /// How long a message that the daemon postpones stays away, by delivery. After the last pause the daemon must
    /// decide.
    pub pauses: &'static [Duration],
}

impl Policy {
    /// Messages are handled in batches and acked at once, so one that is delivered again and again is suspect.
    ///
    /// A message that kills its daemon comes again every `ack_wait`: 30 deliveries take less than four minutes, and
    /// more clean shutdowns than that never hit the same message.
    pub const BATCH: Self = Self {
        alone_from: 3,
        give_up_from: 30,
        pauses: &[],
    };

    /// Messages stay un-acked on purpose, so the number of deliveries says nothing.
    pub const HOLD: Self = Self {
        alone_from: u64::MAX,
        give_up_from: u64::MAX,
        pauses: &[],
    };
}

const fn batches_of(stream: Stream, durable: &'static str) -> Consumer {
    Consumer {
        stream,
        durable,
        filter: None,
        ack_wait: Duration::from_secs(5),
        // Those whose dead letter cannot be stored wait beside the others.
        max_ack_pending: 50_000,
        policy: Policy::BATCH,
    }
}

/// The writer's commands. A cancel whose create may still be on its way comes again five times: soon, and then every
/// 8 s, within which the server delivers the create again if its writer died.
pub const WRITER_COMMANDS: Consumer = Consumer {
    policy: Policy {
        pauses: &[
            Duration::from_millis(250),
            Duration::from_secs(8),
            Duration::from_secs(8),
            Duration::from_secs(8),
            Duration::from_secs(8),
        ],
        ..Policy::BATCH
    },
    ..batches_of(ORDERS_COMMANDS, "writer")
};
/// The writer's payments.
pub const WRITER_PAYMENTS: Consumer = batches_of(PAYMENTS, "writer");
/// The projector's events.
pub const PROJECTOR: Consumer = batches_of(ORDERS_EVENTS, "projector");

/// How long a payment may take once it is due.
const PAYMENT: Duration = Duration::from_secs(3);

/// The payment-simulator's created orders: each stays un-acked for the payment's delay.
pub const fn payment_simulator(payment: &PaymentSettings) -> Consumer {
    Consumer {
        stream: ORDERS_EVENTS,
        durable: "payment-simulator",
        filter: Some(Channel::OrderCreated),
        ack_wait: payment.delay.saturating_add(PAYMENT),
        max_ack_pending: payment.max_ack_pending,
        policy: Policy::HOLD,
    }
}

/// The delay of payments where their [consumer](payment_simulator) has this `ack_wait`.
pub const fn payment_delay(ack_wait: Duration) -> Duration {
    ack_wait.saturating_sub(PAYMENT)
}

/// Every durable consumer of the pipeline.
pub const fn consumers(payment: &PaymentSettings) -> [Consumer; 4] {
    [
        WRITER_COMMANDS,
        WRITER_PAYMENTS,
        PROJECTOR,
        payment_simulator(payment),
    ]
}
