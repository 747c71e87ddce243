//! The rights from which lists are put together, each with all the subjects that it takes.

use super::{Permissions, Role};
use crate::{
    Channel, Namespace, Subject,
    streams::{Consumer, ORDERS_DLQ, REVOCATIONS, Stream},
};

/// The prefix of the subjects at which an operator awaits what daemons tell of themselves. Apart from its other inbox:
/// daemons may publish to this one.
pub const HEALTH_INBOX: &str = "_INBOX_health";

/// A list of rights in the making.
pub(super) struct Grants<'a> {
    namespace: &'a Namespace,
    permissions: Permissions,
}

impl<'a> Grants<'a> {
    pub(super) fn new(namespace: &'a Namespace) -> Self {
        Self {
            namespace,
            permissions: Permissions::default(),
        }
    }

    pub(super) fn into_permissions(self) -> Permissions {
        self.permissions
    }

    /// To publish to a subject of the pipeline.
    pub(super) fn publish(&mut self, subject: &str) {
        let subject = self.namespace.subject(subject.to_owned());
        self.publish_raw(subject);
    }

    /// To publish to a subject of the server's.
    pub(super) fn publish_raw(&mut self, subject: impl Into<String>) {
        add(&mut self.permissions.publish, subject.into());
    }

    /// To subscribe to a subject of the pipeline.
    pub(super) fn subscribe(&mut self, subject: &str) {
        let subject = self.namespace.subject(subject.to_owned());
        add(&mut self.permissions.subscribe, subject);
    }

    /// To publish messages of these kinds, for any tenant.
    pub(super) fn send(&mut self, channels: &[Channel]) {
        for channel in channels {
            self.publish(channel.of_all_tenants().as_str());
        }
    }

    /// To ask the server `what` of a stream.
    pub(super) fn ask_stream(&mut self, what: &str, stream: &Stream) {
        let name = self.namespace.stream(stream);
        self.publish_raw(format!("$JS.API.STREAM.{what}.{name}"));
    }

    /// To ask the server `what` of a consumer, or of those that `consumer` stands for.
    fn ask_consumer(&mut self, what: &str, stream: &Stream, consumer: &str) {
        let name = self.namespace.stream(stream);
        self.publish_raw(format!("$JS.API.CONSUMER.{what}.{name}{consumer}"));
    }

    /// To see what the streams hold and how they are declared.
    pub(super) fn inspect(&mut self, streams: &[Stream]) {
        for stream in streams {
            self.ask_stream("INFO", stream);
        }
    }

    /// To read single messages.
    pub(super) fn read(&mut self, streams: &[Stream]) {
        for stream in streams {
            self.ask_stream("MSG.GET", stream);
        }
    }

    /// To see how far a durable consumer is.
    pub(super) fn look_at(&mut self, consumer: &Consumer) {
        let durable = format!(".{}", consumer.durable);
        self.ask_consumer("INFO", &consumer.stream, &durable);
    }

    /// To see how far durable consumers are, and how old the messages are that they have not acked.
    pub(super) fn report(&mut self, consumers: &[Consumer]) {
        for consumer in consumers {
            self.look_at(consumer);
            self.read(&[consumer.stream]);
        }
    }

    /// To see how far every consumer of a stream is.
    pub(super) fn look_at_all(&mut self, stream: &Stream) {
        self.ask_consumer("INFO", stream, ".*");
    }

    /// To pull from a durable consumer and settle its messages.
    pub(super) fn durable(&mut self, consumer: &Consumer) {
        let Consumer {
            stream, durable, ..
        } = consumer;
        self.look_at(consumer);
        self.ask_consumer("MSG.NEXT", stream, &format!(".{durable}"));
        let name = self.namespace.stream(stream);
        self.publish_raw(format!("$JS.ACK.{name}.{durable}.>"));
        // With the domain and the account before it: servers with the flag `js_ack_fc_v2`.
        self.publish_raw(format!("$JS.ACK.*.*.{name}.{durable}.>"));
    }

    /// To read a stream by consumers of its own, which settle nothing.
    pub(super) fn browse(&mut self, stream: &Stream) {
        // A client creates an ordered consumer without a name, and again with name and filter after a gap.
        self.ask_consumer("CREATE", stream, "");
        self.ask_consumer("CREATE", stream, ".>");
        for what in ["INFO", "MSG.NEXT", "DELETE"] {
            self.ask_consumer(what, stream, ".*");
        }
    }

    /// To create and update a stream and its durable consumers.
    pub(super) fn declare(&mut self, stream: &Stream) {
        for what in ["INFO", "CREATE", "UPDATE"] {
            self.ask_stream(what, stream);
        }
        self.ask_consumer("INFO", stream, ".*");
        self.ask_consumer("CREATE", stream, "");
        self.ask_consumer("CREATE", stream, ".>");
    }

    /// To copy a stream with its consumers, to make it from a copy, and to set its consumers back.
    pub(super) fn copy(&mut self, stream: &Stream) {
        for what in ["SNAPSHOT", "RESTORE"] {
            self.ask_stream(what, stream);
        }
        let name = self.namespace.stream(stream);
        for what in ["ACK", "RESTORE"] {
            self.publish_raw(format!("$JS.SNAPSHOT.{what}.{name}.>"));
        }
        self.look_at_all(stream);
        self.ask_consumer("RESET", stream, ".*");
    }

    /// To store dead letters.
    pub(super) fn give_up(&mut self, role: Role) {
        self.inspect(&[ORDERS_DLQ]);
        self.read(&[ORDERS_DLQ]);
        self.publish(&Subject::dead_letters_of(role.as_str()));
    }

    /// To hear whose tokens count no more.
    pub(super) fn follow_revocations(&mut self) {
        self.inspect(&[REVOCATIONS]);
        self.browse(&REVOCATIONS);
    }

    /// To say whose tokens count no more.
    pub(super) fn revoke(&mut self) {
        self.read(&[REVOCATIONS]);
        self.publish(REVOCATIONS.subjects);
    }

    /// To tell operators how it is and what it has counted, as a NATS service (ADR-32).
    pub(super) fn tell_health(&mut self, role: Role) {
        self.subscribe(Subject::health().as_str());
        self.subscribe(Subject::metrics().as_str());
        for verb in ["PING", "INFO", "STATS"] {
            for rest in ["", ".NAME", ".NAME.*"] {
                let rest = rest.replace("NAME", role.as_str());
                add(
                    &mut self.permissions.subscribe,
                    format!("$SRV.{verb}{rest}"),
                );
            }
        }
        self.publish(&format!("{HEALTH_INBOX}.>"));
    }

    /// To ask daemons how they are and what they have counted.
    pub(super) fn ask_health(&mut self) {
        self.publish(Subject::health().as_str());
        self.publish(Subject::metrics().as_str());
        self.publish_raw("$SRV.>");
        self.subscribe(&format!("{HEALTH_INBOX}.>"));
    }
}

fn add(lines: &mut Vec<String>, line: String) {
    if !lines.contains(&line) {
        lines.push(line);
    }
}
