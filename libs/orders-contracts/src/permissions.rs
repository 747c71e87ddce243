//! Who may do what on NATS: one list for each role. Creds, documents and tests are made from it.
//!
//! What is not listed is denied. A right to [pull](Grants::durable) is also a right to inject, because the server
//! delivers to whatever subject the request names; so only daemons and operators have it, never a tenant.

mod grants;

use serde::Serialize;

use self::grants::Grants;
pub use self::grants::HEALTH_INBOX;
use crate::{
    Channel, Deployment, PaymentSettings, ReplyTo,
    streams::{
        self, Consumer, ORDERS_AUDIT, ORDERS_COMMANDS, ORDERS_DLQ, ORDERS_DROPPED, ORDERS_EVENTS,
        ORDERS_FEED, PAYMENTS, PROJECTOR, REVOCATIONS, Retention, Stream, WRITER_COMMANDS,
        WRITER_PAYMENTS,
    },
};

/// Who connects to NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The edge.
    Edge,
    /// The realtime daemon.
    Realtime,
    /// The payment-simulator.
    PaymentSimulator,
    /// The writer.
    Writer,
    /// The projector.
    Projector,
    /// The daemon of the pages.
    Web,
    /// Whoever creates and updates streams and consumers: `orderctl migrate`.
    Migrator,
    /// Whoever looks at everything and handles dead letters: the other commands of `orderctl`.
    Operator,
    /// Whoever removes personal data: `orderctl erase`.
    Erase,
    /// Whoever copies the streams and puts the copies back: the `nats` tool.
    Backup,
    /// A tenant, who hears of its own orders.
    Tap,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 11] = [
        Self::Edge,
        Self::Realtime,
        Self::PaymentSimulator,
        Self::Writer,
        Self::Projector,
        Self::Web,
        Self::Migrator,
        Self::Operator,
        Self::Erase,
        Self::Backup,
        Self::Tap,
    ];

    /// Its name; a daemon's is the daemon's.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Realtime => "realtime",
            Self::PaymentSimulator => "payment-simulator",
            Self::Writer => "writer",
            Self::Projector => "projector",
            Self::Web => "web",
            Self::Migrator => "migrator",
            Self::Operator => "operator",
            Self::Erase => "erase",
            Self::Backup => "backup",
            Self::Tap => "tap",
        }
    }

    /// The prefix of the subjects at which it awaits answers: nobody else may hear them. A tap asks nothing.
    ///
    /// The edge's is not that of the [replies](ReplyTo::PREFIX) to it, to which the writer may publish: else a writer
    /// could forge what the server answers to the edge.
    pub const fn inbox(self) -> &'static str {
        match self {
            Self::Edge => "_INBOX_edgeapi",
            Self::Realtime => "_INBOX_realtime",
            Self::PaymentSimulator => "_INBOX_payment",
            Self::Writer => "_INBOX_writer",
            Self::Projector => "_INBOX_projector",
            Self::Web => "_INBOX_web",
            Self::Migrator => "_INBOX_migrator",
            Self::Operator => "_INBOX_operator",
            Self::Erase => "_INBOX_erase",
            Self::Backup => "_INBOX_backup",
            Self::Tap => "_INBOX_tap",
        }
    }
}

/// What a role may do, as subjects on the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Permissions {
    /// The subjects to which it may publish; none at all if it is empty.
    pub publish: Vec<String>,
    /// The subjects to which it may subscribe; none at all if it is empty.
    pub subscribe: Vec<String>,
}

/// The most subscriptions of a tap.
pub const TAP_SUBSCRIPTIONS: u32 = 10;

/// The streams that keep messages, so that a reader takes them from nobody.
fn kept() -> impl Iterator<Item = Stream> {
    let is_kept = |stream: &Stream| stream.retention != Retention::WorkQueue;
    streams::ALL.into_iter().filter(is_kept)
}

/// The consumer of the payment-simulator, whose settings do not matter here.
fn payments() -> Consumer {
    streams::payment_simulator(&PaymentSettings::default())
}

impl Permissions {
    /// What `role` may do in an installation.
    pub fn of(role: Role, deployment: &Deployment) -> Self {
        let mut may = Grants::new(&deployment.namespace);
        if role != Role::Tap {
            may.publish_raw("$JS.API.INFO");
            may.subscribe(&format!("{}.>", role.inbox()));
        }
        match role {
            Role::Edge => {
                may.tell_health(role);
                may.inspect(&[ORDERS_COMMANDS, PAYMENTS]);
                may.read(&[ORDERS_COMMANDS, PAYMENTS]);
                may.report(&[WRITER_COMMANDS, WRITER_PAYMENTS]);
                may.send(&[Channel::CreateOrder, Channel::CancelOrder]);
                may.send(&[Channel::OrderPaid, Channel::PaymentFailed]);
                may.subscribe(&replies());
                may.follow_revocations();
            }
            Role::Realtime => {
                may.tell_health(role);
                may.inspect(&[ORDERS_FEED]);
                may.read(&[ORDERS_FEED]);
                may.browse(&ORDERS_FEED);
                may.follow_revocations();
            }
            Role::PaymentSimulator => {
                may.tell_health(role);
                may.inspect(&[ORDERS_EVENTS, PAYMENTS]);
                may.durable(&payments());
                may.read(&[PAYMENTS]);
                may.report(&[payments(), WRITER_PAYMENTS]);
                may.send(&[Channel::OrderPaid]);
                may.give_up(role);
            }
            Role::Writer => {
                may.tell_health(role);
                may.inspect(&[ORDERS_COMMANDS, PAYMENTS, ORDERS_EVENTS]);
                may.inspect(&[ORDERS_DROPPED, ORDERS_AUDIT, REVOCATIONS]);
                may.durable(&WRITER_COMMANDS);
                may.durable(&WRITER_PAYMENTS);
                may.read(&[ORDERS_COMMANDS, ORDERS_EVENTS]);
                may.report(&[WRITER_COMMANDS, WRITER_PAYMENTS, PROJECTOR, payments()]);
                may.send(&[Channel::OrderCreated, Channel::OrderUpdated]);
                may.publish(&replies());
                may.give_up(role);
            }
            Role::Projector => {
                may.tell_health(role);
                may.inspect(&[ORDERS_EVENTS, ORDERS_FEED]);
                may.durable(&PROJECTOR);
                may.report(&[PROJECTOR]);
                may.look_at(&payments());
                may.read(&[ORDERS_FEED]);
                may.send(&[Channel::FeedCreated, Channel::FeedUpdated]);
                may.publish(&replies());
                may.give_up(role);
            }
            Role::Web => {
                may.tell_health(role);
                may.follow_revocations();
                may.revoke();
            }
            Role::Migrator => {
                for stream in streams::ALL {
                    may.declare(&stream);
                }
                may.publish(ORDERS_AUDIT.subjects);
            }
            Role::Operator => {
                may.ask_health();
                may.inspect(&streams::ALL);
                may.read(&streams::ALL);
                for stream in streams::ALL {
                    may.look_at_all(&stream);
                }
                kept().for_each(|stream| may.browse(&stream));
                may.ask_stream("MSG.DELETE", &ORDERS_DLQ);
                may.publish(ORDERS_AUDIT.subjects);
                may.publish(ORDERS_DROPPED.subjects);
                // Dead letters are sent to where they came from, and brought back.
                may.send(&[
                    Channel::CreateOrder,
                    Channel::CancelOrder,
                    Channel::OrderCreated,
                    Channel::OrderUpdated,
                    Channel::OrderPaid,
                    Channel::PaymentFailed,
                ]);
                may.publish(ORDERS_DLQ.subjects);
                // A command leaves its stream once it is handled, so new ones are overheard.
                may.subscribe(ORDERS_COMMANDS.subjects);
                may.follow_revocations();
                may.revoke();
            }
            Role::Erase => {
                may.inspect(&streams::ALL);
                may.read(&streams::ALL);
                kept().for_each(|stream| may.browse(&stream));
                for stream in streams::ALL {
                    may.look_at_all(&stream);
                    if stream != ORDERS_AUDIT {
                        may.ask_stream("PURGE", &stream);
                        may.ask_stream("MSG.DELETE", &stream);
                    }
                }
                may.publish(ORDERS_AUDIT.subjects);
            }
            Role::Backup => {
                may.inspect(&streams::ALL);
                streams::ALL.iter().for_each(|stream| may.copy(stream));
                // Sockets must not go on where a restored database cannot.
                may.ask_stream("DELETE", &ORDERS_FEED);
            }
            Role::Tap => {
                // The server puts the user's name there, which is its tenant.
                for prefix in ["orders.evt", "orders.feed"] {
                    may.subscribe(&format!("{prefix}.{{{{name()}}}}.>"));
                }
            }
        }
        may.into_permissions()
    }
}

/// The subjects of all replies to edges.
fn replies() -> String {
    format!("{}.*.*", ReplyTo::PREFIX)
}

#[cfg(test)]
mod tests;
