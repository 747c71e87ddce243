//! How the server's streams and consumers differ from their declarations. Pure.

use std::{collections::HashMap, fmt::Debug, time::Duration};

use async_nats::jetstream::{
    consumer::{self, AckPolicy, pull},
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
};
use orders_contracts::{
    InstallationId,
    streams::{Consumer, Retention, Stream},
};

use crate::installation::INSTALLATION;

/// The declaration of `stream` without its names on the server.
pub(super) fn stream_config(stream: &Stream, installation: Option<&InstallationId>) -> Config {
    let id = installation.map(|id| (INSTALLATION.to_owned(), id.to_string()));
    let declared = Config {
        max_bytes: match stream.max_bytes {
            0 => UNLIMITED,
            bytes => i64::try_from(bytes).unwrap_or(i64::MAX),
        },
        max_messages: UNLIMITED,
        max_messages_per_subject: stream.max_of_subject.map_or(UNLIMITED, i64::from),
        discard_new_per_subject: stream.max_of_subject.is_some(),
        max_message_size: -1,
        duplicate_window: stream.duplicate_window,
        storage: StorageType::File,
        deny_delete: stream.is_append_only,
        deny_purge: stream.is_append_only,
        metadata: id.into_iter().collect(),
        ..Config::default()
    };
    match stream.retention {
        Retention::WorkQueue => Config {
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            ..declared
        },
        Retention::Limits { max_age } => Config {
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            max_age,
            ..declared
        },
        // Without `discard_new_per_subject` the server replaces the message of a subject, even in a full stream.
        Retention::Latest {
            max_age,
            max_subjects,
        } => Config {
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            max_age,
            max_messages: max_subjects.into(),
            max_messages_per_subject: 1,
            ..declared
        },
    }
}

pub(super) fn consumer_config(consumer: &Consumer, filter_subject: String) -> pull::Config {
    pull::Config {
        durable_name: Some(consumer.durable.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: consumer.ack_wait,
        max_ack_pending: i64::from(consumer.max_ack_pending),
        max_deliver: -1,
        filter_subject,
        ..pull::Config::default()
    }
}

/// The server's stream as it should become: `declared`, but with the higher of both limits; what is not declared stays.
pub(super) fn mended(current: Config, declared: Config) -> Config {
    let discard_new_per_subject = discards_new(&current, &declared);
    let mut metadata: HashMap<_, _> = current.metadata;
    metadata.extend(declared.metadata);
    Config {
        subjects: declared.subjects,
        retention: declared.retention,
        discard: declared.discard,
        discard_new_per_subject,
        max_age: current.max_age.no_lower(declared.max_age),
        max_bytes: current.max_bytes.no_lower(declared.max_bytes),
        max_messages: declared.max_messages,
        max_messages_per_subject: current
            .max_messages_per_subject
            .no_lower(declared.max_messages_per_subject),
        max_message_size: declared.max_message_size,
        duplicate_window: current.duplicate_window.max(declared.duplicate_window),
        storage: declared.storage,
        num_replicas: current.num_replicas.max(declared.num_replicas),
        no_ack: declared.no_ack,
        sealed: declared.sealed,
        // The server takes neither back.
        deny_delete: current.deny_delete || declared.deny_delete,
        deny_purge: current.deny_purge || declared.deny_purge,
        subject_transform: declared.subject_transform,
        metadata,
        ..current
    }
}

/// Whether the stream should refuse more messages of a subject. The server takes that only with a limit, and a start sets
/// no limit where there was none: the server would remove what is above it.
fn discards_new(current: &Config, declared: &Config) -> bool {
    let limit = current.max_messages_per_subject;
    declared.discard_new_per_subject && limit.no_lower(declared.max_messages_per_subject) > 0
}

/// The server's consumer as it should become.
pub(super) fn mended_consumer(current: &consumer::Config, declared: pull::Config) -> pull::Config {
    pull::Config {
        max_ack_pending: current.max_ack_pending.no_lower(declared.max_ack_pending),
        ..declared
    }
}

pub(super) fn stream_drift(current: &Config, declared: &Config) -> Drift {
    let mut drift = Comparison::default();
    drift.field("subjects", &current.subjects, &declared.subjects);
    drift.field("retention", &current.retention, &declared.retention);
    drift.field("discard", &current.discard, &declared.discard);
    drift.field(
        "discard_new_per_subject",
        &current.discard_new_per_subject,
        &discards_new(current, declared),
    );
    drift.limit("max_age", current.max_age, declared.max_age);
    drift.limit("max_bytes", current.max_bytes, declared.max_bytes);
    // Undeclared, these limits drop messages that nobody has handled.
    drift.limit("max_msgs", current.max_messages, declared.max_messages);
    drift.limit(
        "max_msgs_per_subject",
        current.max_messages_per_subject,
        declared.max_messages_per_subject,
    );
    drift.limit(
        "max_msg_size",
        i64::from(current.max_message_size),
        i64::from(declared.max_message_size),
    );
    drift.limit(
        "duplicate_window",
        current.duplicate_window,
        declared.duplicate_window,
    );
    drift.field("storage", &current.storage, &declared.storage);
    drift.limit("num_replicas", current.num_replicas, declared.num_replicas);
    drift.field("no_ack", &current.no_ack, &declared.no_ack);
    drift.field("sealed", &current.sealed, &declared.sealed);
    drift.field(
        "deny_delete",
        &current.deny_delete,
        &(current.deny_delete || declared.deny_delete),
    );
    drift.field(
        "deny_purge",
        &current.deny_purge,
        &(current.deny_purge || declared.deny_purge),
    );
    drift.field(
        "subject_transform",
        &current.subject_transform,
        &declared.subject_transform,
    );
    let is_adopted = drift.fields.is_empty();
    if let Some(id) = declared.metadata.get(INSTALLATION) {
        let theirs = current.metadata.get(INSTALLATION);
        drift.field(
            "installation",
            &theirs.map_or("none", String::as_str),
            &id.as_str(),
        );
    }
    let is_adopted = is_adopted && !drift.fields.is_empty();
    Drift {
        is_adopted,
        ..drift.finish()
    }
}

pub(super) fn consumer_drift(current: &consumer::Config, declared: &pull::Config) -> Drift {
    let mut drift = Comparison::default();
    drift.field(
        "filter_subject",
        &current.filter_subject,
        &declared.filter_subject,
    );
    drift.field("ack_policy", &current.ack_policy, &declared.ack_policy);
    drift.field("ack_wait", &current.ack_wait, &declared.ack_wait);
    drift.limit(
        "max_ack_pending",
        current.max_ack_pending,
        declared.max_ack_pending,
    );
    drift.field("max_deliver", &current.max_deliver.max(-1), &-1);
    drift.field(
        "filter_subjects",
        &current.filter_subjects,
        &declared.filter_subjects,
    );
    drift.field(
        "headers_only",
        &current.headers_only,
        &declared.headers_only,
    );
    drift.field("max_batch", &current.max_batch, &declared.max_batch);
    drift.field("max_bytes", &current.max_bytes, &declared.max_bytes);
    drift.field("max_expires", &current.max_expires, &declared.max_expires);
    drift.field("backoff", &current.backoff, &declared.backoff);
    drift.finish()
}

/// The fields in which the server differs from the declaration, each with the server's value and the declared one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Drift {
    /// Fields that have to change.
    pub(super) fields: Option<String>,
    /// Limits that are higher than declared, which an operator may have wanted.
    pub(super) raised: Option<String>,
    /// Whether the stream only lacks the id of its installation.
    pub(super) is_adopted: bool,
}

#[derive(Default)]
struct Comparison {
    fields: Vec<String>,
    raised: Vec<String>,
}

impl Comparison {
    fn field<T: PartialEq + Debug>(&mut self, name: &str, server: &T, declared: &T) {
        if server != declared {
            self.fields.push(difference(name, server, declared));
        }
    }

    fn limit<T: Limit>(&mut self, name: &str, server: T, declared: T) {
        let (server, declared) = (server.normal(), declared.normal());
        let higher = server.no_lower(declared);
        if higher != server {
            self.fields.push(difference(name, &server, &declared));
        } else if higher != declared {
            self.raised.push(difference(name, &server, &declared));
        }
    }

    fn finish(self) -> Drift {
        let joined = |names: Vec<String>| (!names.is_empty()).then(|| names.join(", "));
        Drift {
            fields: joined(self.fields),
            raised: joined(self.raised),
            is_adopted: false,
        }
    }
}

fn difference<T: Debug>(name: &str, server: &T, declared: &T) -> String {
    format!("{name} (server {server:?}, declared {declared:?})")
}

const UNLIMITED: i64 = -1;

/// A limit of the server, for which it has a way to say "none".
trait Limit: Copy + PartialEq + Debug {
    /// The one way to say "none", if it is that.
    fn normal(self) -> Self;

    /// The higher of both.
    fn no_lower(self, other: Self) -> Self;
}

impl Limit for i64 {
    fn normal(self) -> Self {
        if self <= 0 { UNLIMITED } else { self }
    }

    fn no_lower(self, other: Self) -> Self {
        match (self.normal(), other.normal()) {
            (UNLIMITED, _) | (_, UNLIMITED) => UNLIMITED,
            (one, other) => one.max(other),
        }
    }
}

/// Copies count as a limit, because whoever lowers their number loses some.
impl Limit for usize {
    fn normal(self) -> Self {
        self.max(1)
    }

    fn no_lower(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Limit for Duration {
    fn normal(self) -> Self {
        self
    }

    fn no_lower(self, other: Self) -> Self {
        match (self, other) {
            (Self::ZERO, _) | (_, Self::ZERO) => Self::ZERO,
            (one, other) => one.max(other),
        }
    }
}

#[cfg(test)]
mod tests;
