use crate::{Channel, FieldError, Invalid, OrderId, ReplyTo, Timestamp, TraceContext};

/// The names of the headers of messages.
pub mod header {
    /// CloudEvents: the version of the specification, `1.0`.
    pub const SPEC_VERSION: &str = "ce-specversion";
    /// CloudEvents: the message's id.
    pub const ID: &str = "ce-id";
    /// CloudEvents: the kind of the message, see [`Channel::message_type`](crate::Channel::message_type).
    pub const TYPE: &str = "ce-type";
    /// CloudEvents: the daemon that published it, such as `/orders/writer`.
    pub const SOURCE: &str = "ce-source";
    /// CloudEvents: the order's id.
    pub const SUBJECT: &str = "ce-subject";
    /// CloudEvents: the time of the change.
    pub const TIME: &str = "ce-time";
    /// CloudEvents: the media type of the body.
    pub const DATA_CONTENT_TYPE: &str = "ce-datacontenttype";
    /// CloudEvents, distributed tracing: the W3C trace context of the span that published it. nats-server does not look at
    /// this header; for a sampled `traceparent` it parses all others.
    pub const TRACEPARENT: &str = "ce-traceparent";
    /// What version 0.1 called it; still read.
    pub const OLD_TRACEPARENT: &str = "traceparent";
    /// The subject at which the edge awaits the reply, see [`ReplyTo`](crate::ReplyTo).
    pub const REPLY_TO: &str = "Orders-Reply-To";
    /// Dead letters: the reason, a stable word such as `invalid`.
    pub const REASON: &str = "Orders-Reason";
    /// Dead letters: the error, for people.
    pub const ERROR: &str = "Orders-Error";
    /// Dead letters: the subject of the message.
    pub const ORIGINAL_SUBJECT: &str = "Orders-Original-Subject";
    /// Dead letters: the stream of the message and its sequence there, `ORDERS_COMMANDS:17`.
    pub const ORIGINAL_POSITION: &str = "Orders-Original-Position";
    /// Dead letters: the number of deliveries of the message.
    pub const DELIVERIES: &str = "Orders-Deliveries";
    /// Dead letters: the parts of the message that did not fit; absent from a complete dead letter.
    pub const TRUNCATED: &str = "Orders-Truncated";
    /// A message that an operator sent again: the sequence of its dead letter. If it is given up again, the new dead letter
    /// has it too.
    pub const REDRIVE_OF: &str = "Orders-Redrive-Of";
}

/// The header part of a message: CloudEvents 1.0 context attributes in binary mode, trace context, and the reply
/// subject of the edge that waits for the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// `ce-id`: the command's id, or `<order id>:<version>` of an event. A message that is published again keeps its id.
    pub id: String,
    /// `ce-source`: `/orders/<daemon>`.
    pub source: String,
    /// `ce-subject`: the order's id.
    pub order_id: OrderId,
    /// `ce-time`: the time of the change.
    pub time: Timestamp,
    /// `ce-traceparent`: the span that published it.
    pub trace: TraceContext,
    /// The edge that waits for the outcome; travels from the command to the event.
    pub reply_to: Option<ReplyTo>,
}

impl Metadata {
    /// The headers of a message on `channel`.
    pub fn headers(&self, channel: Channel) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (header::SPEC_VERSION, "1.0".to_owned()),
            (header::ID, self.id.clone()),
            (header::TYPE, channel.message_type().to_owned()),
            (header::SOURCE, self.source.clone()),
            (header::SUBJECT, self.order_id.to_string()),
            (header::TIME, self.time.to_string()),
            (header::DATA_CONTENT_TYPE, "application/json".to_owned()),
            (header::TRACEPARENT, self.trace.to_string()),
        ];
        if let Some(reply_to) = &self.reply_to {
            headers.push((header::REPLY_TO, reply_to.to_string()));
        }
        headers
    }

    /// Reads the headers of a message on `channel`; `get` looks up a header by its name. Names all that are missing or
    /// malformed.
    ///
    /// A missing or malformed trace or reply subject is not an error: the message starts a new trace, and no edge gets
    /// a reply.
    pub fn parse<'a>(
        channel: Channel,
        get: impl Fn(&'static str) -> Option<&'a str>,
    ) -> Result<Self, Invalid> {
        let mut faults = Vec::new();
        let mut required = |name: &'static str, is_valid: &dyn Fn(&str) -> bool, rule: &str| {
            let fault = match get(name) {
                Some(value) if is_valid(value) => return value,
                Some(_) => format!("header {name} {rule}"),
                None => format!("header {name} is missing"),
            };
            faults.push(FieldError::of_message(fault));
            ""
        };
        required(header::SPEC_VERSION, &|value| value == "1.0", "must be 1.0");
        let message_type = format!("must be {}", channel.message_type());
        required(
            header::TYPE,
            &|value| channel.has_type(value),
            &message_type,
        );
        let is_id = |value: &str| {
            (1..=128).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic())
        };
        let id = required(header::ID, &is_id, "must be 1 to 128 visible characters");
        let source = required(header::SOURCE, &|_| true, "");
        let is_order_id = |value: &str| value.parse::<OrderId>().is_ok();
        let order_id = required(header::SUBJECT, &is_order_id, "must be an order id");
        let is_time = |value: &str| value.parse::<Timestamp>().is_ok();
        let time = required(header::TIME, &is_time, "must be an RFC 3339 date and time");
        match (order_id.parse(), time.parse()) {
            (Ok(order_id), Ok(time)) if faults.is_empty() => Ok(Self {
                id: id.to_owned(),
                source: source.to_owned(),
                order_id,
                time,
                trace: TraceContext::of_message(&get).unwrap_or_else(TraceContext::root),
                reply_to: Self::reply_to_of(&get),
            }),
            _ => Err(Invalid(faults)),
        }
    }

    /// Reads the reply subject alone, to reply to a message whose other headers are broken.
    pub fn reply_to_of<'a>(get: impl Fn(&'static str) -> Option<&'a str>) -> Option<ReplyTo> {
        get(header::REPLY_TO)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_round_trip_and_the_type_must_fit_the_channel() {
        let metadata = Metadata {
            id: "c1".to_owned(),
            source: "/orders/edge".to_owned(),
            order_id: "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap(),
            time: "2025-08-26T09:00:00.000Z".parse().unwrap(),
            trace: TraceContext::root(),
            reply_to: Some("_INBOX_edge.a.b".parse().unwrap()),
        };
        let headers = metadata.headers(Channel::CreateOrder);
        let get = |name: &'static str| {
            headers
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.as_str())
        };
        assert_eq!(Metadata::parse(Channel::CreateOrder, get), Ok(metadata));
        let wrong = Metadata::parse(Channel::CancelOrder, get).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "header ce-type must be orders.order.cancel.v1"
        );
        let without =
            |missing: &'static str| move |name: &'static str| get(name).filter(|_| name != missing);
        let error = Metadata::parse(Channel::CreateOrder, without(header::ID)).unwrap_err();
        assert_eq!(error.to_string(), "header ce-id is missing");
        assert!(Metadata::parse(Channel::CreateOrder, without(header::TRACEPARENT)).is_ok());
    }

    #[test]
    fn all_that_is_missing_or_malformed_is_named_at_once() {
        let faults = |get: fn(&'static str) -> Option<&'static str>| {
            let Invalid(faults) = Metadata::parse(Channel::CancelOrder, get).unwrap_err();
            faults
                .into_iter()
                .map(|fault| fault.message)
                .collect::<Vec<_>>()
        };
        let missing = ["specversion", "type", "id", "source", "subject", "time"];
        let missing = missing.map(|name| format!("header ce-{name} is missing"));
        assert_eq!(faults(|_| None), missing);
        let malformed = [
            "header ce-specversion must be 1.0",
            "header ce-type must be orders.order.cancel.v1",
            "header ce-id must be 1 to 128 visible characters",
            "header ce-subject must be an order id",
            "header ce-time must be an RFC 3339 date and time",
        ];
        assert_eq!(faults(|_| Some("x y")), malformed);
    }

    #[test]
    fn types_of_version_0_1_are_read() {
        for channel in Channel::ALL {
            let name = channel.message_type();
            assert!(channel.has_type(name) && channel.has_type(&format!("com.example.{name}")));
            assert!(!channel.has_type("orders.order.what.v1"), "{name}");
        }
    }
}
