use crate::{Channel, OrderId, ReplyTo, Timestamp, TraceContext};

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
    /// W3C trace context of this hop.
    pub const TRACEPARENT: &str = "traceparent";
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
    /// `traceparent`: the hop that published it.
    pub trace: TraceContext,
    /// The edge that waits for the outcome; travels from the command to the event.
    pub reply_to: Option<ReplyTo>,
}

/// A header that is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("header {name} {rule}")]
pub struct MetadataError {
    /// The header's name.
    pub name: &'static str,
    /// The rule it breaks.
    pub rule: String,
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

    /// Reads the headers of a message on `channel`; `get` looks up a header by its name.
    ///
    /// A missing or malformed trace or reply subject is not an error: the message starts a new trace, and no edge gets
    /// a reply.
    pub fn parse<'a>(
        channel: Channel,
        get: impl Fn(&'static str) -> Option<&'a str>,
    ) -> Result<Self, MetadataError> {
        let required = |name| {
            get(name).ok_or_else(|| MetadataError {
                name,
                rule: "is missing".to_owned(),
            })
        };
        let exactly = |name, want: &str| match required(name)? {
            value if value == want => Ok(()),
            _ => Err(MetadataError {
                name,
                rule: format!("must be {want}"),
            }),
        };
        exactly(header::SPEC_VERSION, "1.0")?;
        exactly(header::TYPE, channel.message_type())?;
        let id = required(header::ID)?;
        if id.is_empty() || id.len() > 128 || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(MetadataError {
                name: header::ID,
                rule: "must be 1 to 128 visible characters".to_owned(),
            });
        }
        let order_id = required(header::SUBJECT)?
            .parse()
            .map_err(|error| MetadataError {
                name: header::SUBJECT,
                rule: format!("{error}"),
            })?;
        let time = required(header::TIME)?.parse().map_err(|_| MetadataError {
            name: header::TIME,
            rule: "must be an RFC 3339 date and time".to_owned(),
        })?;
        Ok(Self {
            id: id.to_owned(),
            source: required(header::SOURCE)?.to_owned(),
            order_id,
            time,
            trace: Self::trace_of(&get),
            reply_to: Self::reply_to_of(&get),
        })
    }

    /// Reads the reply subject alone, to reply to a message whose other headers are broken.
    pub fn reply_to_of<'a>(get: impl Fn(&'static str) -> Option<&'a str>) -> Option<ReplyTo> {
        get(header::REPLY_TO)?.parse().ok()
    }

    fn trace_of<'a>(get: impl Fn(&'static str) -> Option<&'a str>) -> TraceContext {
        get(header::TRACEPARENT)
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(TraceContext::root)
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
            "header ce-type must be com.example.orders.order.cancel.v1"
        );
        let without =
            |missing: &'static str| move |name: &'static str| get(name).filter(|_| name != missing);
        let error = Metadata::parse(Channel::CreateOrder, without(header::ID)).unwrap_err();
        assert_eq!(error.to_string(), "header ce-id is missing");
        assert!(Metadata::parse(Channel::CreateOrder, without(header::TRACEPARENT)).is_ok());
    }
}
