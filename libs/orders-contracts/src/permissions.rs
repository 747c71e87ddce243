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
    /// A tenant, who hears of its own orders.
    Tap,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 10] = [
        Self::Edge,
        Self::Realtime,
        Self::PaymentSimulator,
        Self::Writer,
        Self::Projector,
        Self::Web,
        Self::Migrator,
        Self::Operator,
        Self::Erase,
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
                may.inspect(&[ORDERS_COMMANDS]);
                may.read(&[ORDERS_COMMANDS]);
                may.send(&[Channel::CreateOrder, Channel::CancelOrder]);
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
                may.send(&[Channel::OrderPaid]);
                may.give_up(role);
            }
            Role::Writer => {
                may.tell_health(role);
                may.inspect(&[ORDERS_COMMANDS, PAYMENTS, ORDERS_EVENTS]);
                may.inspect(&[ORDERS_DROPPED, ORDERS_AUDIT, REVOCATIONS]);
                may.durable(&WRITER_COMMANDS);
                may.durable(&WRITER_PAYMENTS);
                may.look_at(&payments());
                may.read(&[ORDERS_COMMANDS, ORDERS_EVENTS]);
                may.send(&[Channel::OrderCreated, Channel::OrderUpdated]);
                may.publish(&replies());
                may.give_up(role);
            }
            Role::Projector => {
                may.tell_health(role);
                may.inspect(&[ORDERS_EVENTS, ORDERS_FEED]);
                may.durable(&PROJECTOR);
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
mod tests {
    use super::*;

    /// Whether `subject`, which may have wildcards of its own, is below one of `allowed`.
    fn covers(allowed: &[String], subject: &str) -> bool {
        allowed.iter().any(|filter| {
            let (mut tokens, mut filters) = (subject.split('.'), filter.split('.'));
            loop {
                match (filters.next(), tokens.next()) {
                    (Some(">"), Some(_)) | (None, None) => return true,
                    (Some("*"), Some(token)) if token != ">" => {}
                    (Some(filter), Some(token)) if filter == token => {}
                    _ => return false,
                }
            }
        })
    }

    fn of(role: Role) -> Permissions {
        Permissions::of(role, &Deployment::default())
    }

    fn in_shop(role: Role) -> Permissions {
        let deployment = Deployment {
            namespace: "shop".to_owned().try_into().unwrap(),
            ..Deployment::default()
        };
        Permissions::of(role, &deployment)
    }

    /// The only roles that may publish to `subject`.
    fn publishers(subject: &str) -> Vec<&'static str> {
        let may = |role: &Role| covers(&of(*role).publish, subject);
        Role::ALL
            .into_iter()
            .filter(may)
            .map(Role::as_str)
            .collect()
    }

    #[test]
    fn each_subject_has_the_publishers_it_needs_and_no_others() {
        for (subject, expected) in [
            ("orders.cmd.t-1.create", vec!["edge", "operator"]),
            ("orders.cmd.t-1.other", vec![]),
            ("orders.evt.t-1.created", vec!["writer", "operator"]),
            (
                "payments.evt.t-1.paid",
                vec!["payment-simulator", "operator"],
            ),
            ("orders.feed.t-1.updated", vec!["projector"]),
            ("orders.dlq.writer.t-1", vec!["writer", "operator"]),
            ("orders.dlq.projector.~", vec!["projector", "operator"]),
            (
                "orders.audit.t-1.dropped",
                vec!["migrator", "operator", "erase"],
            ),
            ("orders.dropped.writer.t-1", vec!["operator"]),
            ("orders.auth.revoked.i.sub.v", vec!["web", "operator"]),
            ("_INBOX_edge.e.c", vec!["writer", "projector"]),
            ("_INBOX_edgeapi.e.c", vec![]),
            ("_INBOX_writer.x", vec![]),
            ("$JS.API.STREAM.CREATE.ORDERS_EVENTS", vec!["migrator"]),
            ("$JS.API.STREAM.UPDATE.REVOCATIONS", vec!["migrator"]),
            ("$JS.API.STREAM.DELETE.ORDERS_EVENTS", vec![]),
            ("$JS.API.STREAM.PURGE.ORDERS_EVENTS", vec!["erase"]),
            ("$JS.API.STREAM.PURGE.ORDERS_AUDIT", vec![]),
            ("$JS.API.STREAM.MSG.DELETE.ORDERS_EVENTS", vec!["erase"]),
            (
                "$JS.API.STREAM.MSG.DELETE.ORDERS_DLQ",
                vec!["operator", "erase"],
            ),
            ("$JS.API.STREAM.MSG.DELETE.ORDERS_AUDIT", vec![]),
            (
                "$JS.API.CONSUMER.MSG.NEXT.ORDERS_COMMANDS.writer",
                vec!["writer"],
            ),
            ("$JS.API.CONSUMER.CREATE.ORDERS_COMMANDS", vec!["migrator"]),
            (
                "$JS.API.CONSUMER.CREATE.ORDERS_FEED",
                vec!["realtime", "migrator", "operator", "erase"],
            ),
            (
                "$JS.ACK.ORDERS_EVENTS.projector.1.2.3.4.0",
                vec!["projector"],
            ),
            (
                "$JS.ACK.hub.h4sh.ORDERS_EVENTS.projector.1.2.3.4.0.t",
                vec!["projector"],
            ),
            ("$KV.x.y", vec![]),
            ("$SYS.REQ.CLAIMS.UPDATE", vec![]),
        ] {
            assert_eq!(publishers(subject), expected, "{subject}");
        }
    }

    #[test]
    fn nobody_hears_the_answers_to_another_or_messages_outside_a_stream() {
        for role in Role::ALL {
            let heard = of(role).subscribe;
            for other in Role::ALL.into_iter().filter(|other| *other != role) {
                let inbox = format!("{}.x", other.inbox());
                assert!(!covers(&heard, &inbox), "{role:?} hears {inbox}");
            }
            for subject in [
                ">",
                "_INBOX.x",
                "$JS.>",
                "orders.>",
                "orders.evt.t-1.created",
            ] {
                assert!(!covers(&heard, subject), "{role:?} hears {subject}");
            }
            let hears_replies = covers(&heard, "_INBOX_edge.e.c");
            assert_eq!(hears_replies, role == Role::Edge, "{role:?}");
        }
    }

    #[test]
    fn a_tap_publishes_nothing_and_hears_its_tenant() {
        let Permissions { publish, subscribe } = in_shop(Role::Tap);
        assert!(publish.is_empty());
        let expected = [
            "shop.orders.evt.{{name()}}.>",
            "shop.orders.feed.{{name()}}.>",
        ];
        assert_eq!(subscribe, expected);
    }

    #[test]
    fn an_installation_has_no_right_in_another() {
        let outside = ["$JS.API.INFO", "$SRV."];
        for role in Role::ALL {
            let Permissions { publish, subscribe } = in_shop(role);
            for line in publish.iter().chain(&subscribe) {
                let is_outside = outside.iter().any(|start| line.starts_with(start));
                let is_of_server = line.starts_with("$JS.") && line.contains(".shop_");
                let is_own = line.starts_with("shop.");
                assert!(is_outside || is_of_server || is_own, "{role:?}: {line}");
            }
        }
    }

    #[test]
    fn no_line_is_there_twice() {
        for role in Role::ALL {
            let Permissions { publish, subscribe } = of(role);
            for lines in [publish, subscribe] {
                let mut sorted = lines.clone();
                sorted.sort();
                sorted.dedup();
                assert_eq!(sorted.len(), lines.len(), "{role:?}: {lines:?}");
            }
        }
    }
}
