use std::fmt;

use crate::{
    Revocable, TenantId,
    streams::{ORDERS_COMMANDS, ORDERS_EVENTS, ORDERS_FEED, PAYMENTS, Stream},
};

const DEAD_LETTERS: &str = "orders.dlq.";
const REVOKED: &str = "orders.auth.revoked.";

/// A NATS subject of this pipeline. Only typed parts make one, so a client's text never becomes a subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject(pub(crate) String);

/// One kind of message: a subject without its tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// `orders.cmd.{tenant}.create`
    CreateOrder,
    /// `orders.cmd.{tenant}.cancel`
    CancelOrder,
    /// `orders.evt.{tenant}.created`
    OrderCreated,
    /// `orders.evt.{tenant}.updated`
    OrderUpdated,
    /// `payments.evt.{tenant}.paid`
    OrderPaid,
    /// `payments.evt.{tenant}.failed`
    PaymentFailed,
    /// `orders.feed.{tenant}.created`
    FeedCreated,
    /// `orders.feed.{tenant}.updated`
    FeedUpdated,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 8] = [
        Self::CreateOrder,
        Self::CancelOrder,
        Self::OrderCreated,
        Self::OrderUpdated,
        Self::OrderPaid,
        Self::PaymentFailed,
        Self::FeedCreated,
        Self::FeedUpdated,
    ];

    const fn affixes(self) -> (&'static str, &'static str) {
        match self {
            Self::CreateOrder => ("orders.cmd.", ".create"),
            Self::CancelOrder => ("orders.cmd.", ".cancel"),
            Self::OrderCreated => ("orders.evt.", ".created"),
            Self::OrderUpdated => ("orders.evt.", ".updated"),
            Self::OrderPaid => ("payments.evt.", ".paid"),
            Self::PaymentFailed => ("payments.evt.", ".failed"),
            Self::FeedCreated => ("orders.feed.", ".created"),
            Self::FeedUpdated => ("orders.feed.", ".updated"),
        }
    }

    pub(crate) const fn prefix(self) -> &'static str {
        self.affixes().0
    }

    /// The channel's subject, with `{tenant}` for the tenant: `orders.evt.{tenant}.created`.
    pub const fn template(self) -> &'static str {
        match self {
            Self::CreateOrder => "orders.cmd.{tenant}.create",
            Self::CancelOrder => "orders.cmd.{tenant}.cancel",
            Self::OrderCreated => "orders.evt.{tenant}.created",
            Self::OrderUpdated => "orders.evt.{tenant}.updated",
            Self::OrderPaid => "payments.evt.{tenant}.paid",
            Self::PaymentFailed => "payments.evt.{tenant}.failed",
            Self::FeedCreated => "orders.feed.{tenant}.created",
            Self::FeedUpdated => "orders.feed.{tenant}.updated",
        }
    }

    /// The stream that stores its messages.
    pub const fn stream(self) -> Stream {
        match self {
            Self::CreateOrder | Self::CancelOrder => ORDERS_COMMANDS,
            Self::OrderCreated | Self::OrderUpdated => ORDERS_EVENTS,
            Self::OrderPaid | Self::PaymentFailed => PAYMENTS,
            Self::FeedCreated | Self::FeedUpdated => ORDERS_FEED,
        }
    }

    /// The CloudEvents `type` of its messages; the version is part of the name.
    pub const fn message_type(self) -> &'static str {
        match self {
            Self::CreateOrder => "orders.order.create.v1",
            Self::CancelOrder => "orders.order.cancel.v1",
            Self::OrderCreated => "orders.order.created.v1",
            Self::OrderUpdated => "orders.order.updated.v1",
            Self::OrderPaid => "orders.order.paid.v1",
            Self::PaymentFailed => "orders.payment.failed.v1",
            Self::FeedCreated => "orders.feed.created.v1",
            Self::FeedUpdated => "orders.feed.updated.v1",
        }
    }

    /// Whether `name` is [`message_type`](Self::message_type), or what version 0.1 called it.
    pub fn has_type(self, name: &str) -> bool {
        name.strip_prefix("com.example.").unwrap_or(name) == self.message_type()
    }

    /// The channel's subject for one tenant.
    pub fn of(self, tenant: &TenantId) -> Subject {
        let (prefix, suffix) = self.affixes();
        Subject(format!("{prefix}{tenant}{suffix}"))
    }

    /// The filter for the channel's messages of all tenants.
    pub fn of_all_tenants(self) -> Subject {
        let (prefix, suffix) = self.affixes();
        Subject(format!("{prefix}*{suffix}"))
    }

    /// The channel and the tenant that `subject` names; `None` if it is not a subject of this pipeline.
    pub fn parse(subject: &str) -> Option<(Self, TenantId)> {
        Self::ALL.into_iter().find_map(|channel| {
            let (prefix, suffix) = channel.affixes();
            let tenant = subject.strip_prefix(prefix)?.strip_suffix(suffix)?;
            Some((channel, tenant.parse().ok()?))
        })
    }
}

impl Subject {
    /// The filter for all feed entries of one tenant: `orders.feed.{tenant}.*`.
    pub fn feed_of(tenant: &TenantId) -> Self {
        Self(format!("orders.feed.{tenant}.*"))
    }

    /// The tenant that the subject of a feed entry names. Only [`Channel::parse`] says whether there can be such a tenant.
    pub fn tenant_of_feed(subject: &str) -> Option<&str> {
        let rest = subject.strip_prefix(Channel::FeedCreated.prefix())?;
        rest.split_once('.').map(|(tenant, _)| tenant)
    }

    /// The subject of a message that `daemon` gave up on: `orders.dlq.{daemon}.{tenant}`.
    ///
    /// Without a valid tenant the last token is `~`, which is not a tenant id.
    pub fn dead_letter(daemon: &'static str, tenant: Option<&TenantId>) -> Self {
        let tenant = tenant.map_or("~", TenantId::as_str);
        Self(format!("{DEAD_LETTERS}{daemon}.{tenant}"))
    }

    /// The filter for what `daemon` gave up on.
    pub(crate) fn dead_letters_of(daemon: &str) -> String {
        format!("{DEAD_LETTERS}{daemon}.*")
    }

    /// The daemon and the tenant that a dead letter's subject names. The tenant is `None` if the subject has none; the
    /// whole is `None` if the subject is not a dead letter's.
    pub fn parse_dead_letter(subject: &str) -> Option<(&str, Option<TenantId>)> {
        let rest = subject.strip_prefix(DEAD_LETTERS)?;
        let (daemon, tenant) = rest.split_once('.').unwrap_or((rest, ""));
        Some((daemon, tenant.parse().ok()))
    }

    /// The subject of a dead letter that an operator removed: `orders.dropped.{daemon}.{tenant}`, as
    /// [`dead_letter`](Self::dead_letter) has them.
    pub fn dropped(daemon: &'static str, tenant: Option<&TenantId>) -> Self {
        let tenant = tenant.map_or("~", TenantId::as_str);
        Self(format!("orders.dropped.{daemon}.{tenant}"))
    }

    /// The subject that records an operator's `action`: `orders.audit.{tenant}.{action}`.
    ///
    /// Without a valid tenant its token is `~`.
    pub fn audit(action: &'static str, tenant: Option<&TenantId>) -> Self {
        Self(format!(
            "orders.audit.{}.{action}",
            tenant.map_or("~", TenantId::as_str)
        ))
    }

    /// The subject of the revocation of `what`: `orders.auth.revoked.{issuer's hash}.{sub|sid|jti}.{value's hash}`.
    pub fn revocation(what: &Revocable) -> Self {
        Self(format!("{REVOKED}{what}"))
    }

    /// What the subject of a revocation names; `None` if it is not one.
    pub fn parse_revocation(subject: &str) -> Option<Revocable> {
        subject.strip_prefix(REVOKED)?.parse().ok()
    }

    /// The subject at which every daemon that is connected to NATS tells how it is.
    pub fn health() -> Self {
        Self("orders.health".to_owned())
    }

    /// The subject at which every daemon that is connected to NATS tells what it has counted and measured, as text for
    /// Prometheus.
    pub fn metrics() -> Self {
        Self("orders.metrics".to_owned())
    }

    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_a_dead_letter_names_daemon_and_tenant() {
        for tenant in ["t-1".parse().ok(), None] {
            let subject = Subject::dead_letter("writer", tenant.as_ref());
            let parsed = Subject::parse_dead_letter(subject.as_str());
            assert_eq!(parsed, Some(("writer", tenant)));
        }
        // Anything may be published to the stream.
        let stray = Subject::parse_dead_letter("orders.dlq.x");
        assert_eq!(stray, Some(("x", None)));
        assert_eq!(Subject::parse_dead_letter("orders.evt.t-1.created"), None);
    }

    #[test]
    fn subjects_name_their_channel_and_tenant_and_nothing_else_parses() {
        let tenant: TenantId = "t-123".parse().unwrap();
        for channel in Channel::ALL {
            assert_eq!(
                Channel::parse(channel.of(&tenant).as_str()),
                Some((channel, tenant.clone()))
            );
            assert_eq!(Channel::parse(channel.of_all_tenants().as_str()), None);
            let stored = channel.stream().subjects.trim_end_matches('>');
            assert!(channel.of(&tenant).as_str().starts_with(stored));
            let filled = channel.template().replace("{tenant}", "t-123");
            assert_eq!(filled, channel.of(&tenant).as_str());
            let of_feed = (channel.stream() == ORDERS_FEED).then_some("t-123");
            assert_eq!(Subject::tenant_of_feed(&filled), of_feed);
        }
        assert_eq!(Subject::tenant_of_feed("orders.feed.t"), None);
        for bad in [
            "orders.cmd.t.x.create",
            "orders.cmd..create",
            "orders.cmd.t",
            "orders.cmd.>.create",
            "x",
        ] {
            assert_eq!(Channel::parse(bad), None, "{bad}");
        }
    }
}
