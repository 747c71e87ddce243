//! What a newer version may write: during an upgrade an older daemon meets it.

use serde::Deserialize;

use crate::{CancelOrder, Channel, CreateOrder, FieldError, Invalid, Status, TenantId};

/// Whether a message that this version cannot read has the form of a message of this pipeline, with a kind, a type, a
/// status or, in a command, a member that this version does not know: a newer version may have written it.
///
/// `subject` is the message's, `message_type` its `ce-type`, `payload` its body.
pub fn may_be_newer(subject: &str, message_type: Option<&str>, payload: &[u8]) -> bool {
    match Channel::parse(subject) {
        None => is_kind(subject),
        Some((channel, _)) => {
            message_type.is_some_and(|name| is_later_type(name, channel.message_type()))
                || has_unknown_status(payload)
                || has_unknown_members(channel, payload)
        }
    }
}

/// Whether `subject` is like those of a channel, but for its last token.
fn is_kind(subject: &str) -> bool {
    let Some((rest, kind)) = subject.rsplit_once('.') else {
        return false;
    };
    let is_word =
        (1..=32).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let Some((prefix, tenant)) = rest.rsplit_once('.') else {
        return false;
    };
    is_word
        && tenant.parse::<TenantId>().is_ok()
        && Channel::ALL
            .iter()
            .any(|channel| channel.prefix().strip_suffix('.') == Some(prefix))
}

/// Whether `name` is a later version of the type `known`: the same, with a higher number behind `.v`.
fn is_later_type(name: &str, known: &str) -> bool {
    let version = |name: &str| {
        let (_, number) = name.rsplit_once(".v")?;
        number.parse::<u32>().ok()
    };
    version(name) > version(known)
}

/// Whether the order in `payload` has a status, and one that this version does not know.
fn has_unknown_status(payload: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Event {
        order: Order,
    }
    #[derive(Deserialize)]
    struct Order {
        status: String,
    }
    serde_json::from_slice(payload).is_ok_and(|event: Event| {
        let status = event.order.status;
        let is_word = (1..=32).contains(&status.len())
            && status.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        is_word && status.parse::<Status>().is_err()
    })
}

/// Whether `payload` is a command with nothing wrong but members that this version does not know. Ignoring them would lose
/// what a client asked for.
fn has_unknown_members(channel: Channel, payload: &[u8]) -> bool {
    let read = match channel {
        Channel::CreateOrder => CreateOrder::read(payload).map(drop),
        Channel::CancelOrder => CancelOrder::parse(payload).map(drop),
        _ => return false,
    };
    read.is_err_and(|Invalid(faults)| faults.iter().all(FieldError::is_unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: &str = "orders.evt.t.created";

    fn body(status: &str) -> Vec<u8> {
        format!(r#"{{"order":{{"status":"{status}"}},"more":1}}"#).into_bytes()
    }

    /// A command with one more member.
    fn create(member: &str) -> Vec<u8> {
        format!(
            r#"{{"requestId":"r","tenantId":"t","buyer":{{"email":"a@b.cc","name":"A"}},
                "items":[{{"sku":"S","qty":1,"price":1}}],{member}}}"#
        )
        .into_bytes()
    }

    /// The same.
    fn cancel(member: &str) -> Vec<u8> {
        format!(r#"{{"tenantId":"t","orderId":"ord_qz74bke6iblutmfkqfvmtezzkq",{member}}}"#)
            .into_bytes()
    }

    #[test]
    fn kinds_types_statuses_and_members_of_tomorrow_are_told_from_what_is_malformed() {
        let known = Channel::OrderCreated.message_type();
        let later = known.replace(".v1", ".v2");
        for (subject, message_type, body) in [
            ("orders.evt.t.shipped", None, body("PENDING")),
            ("orders.cmd.t.add_items", None, body("PENDING")),
            (CREATED, Some(later.as_str()), body("PENDING")),
            (CREATED, Some(known), body("SHIPPED")),
            (CREATED, Some(known), body("PARTLY_PAID")),
            ("orders.cmd.t.create", None, create(r#""gift":{"a":1}"#)),
            ("orders.cmd.t.cancel", None, cancel(r#""why":"late""#)),
        ] {
            assert!(may_be_newer(subject, message_type, &body), "{subject}");
        }
        for (subject, message_type, body) in [
            (CREATED, Some(known), body("PENDING")),
            (CREATED, Some(known), body("paid")),
            (CREATED, Some(known), body("")),
            (CREATED, Some(known), b"{}".to_vec()),
            (CREATED, Some("x.v1"), b"no JSON".to_vec()),
            (CREATED, None, b"[]".to_vec()),
            ("orders.evt.t.Shipped", None, body("PENDING")),
            ("orders.evt.t.u.shipped", None, body("PENDING")),
            ("orders.evt.$.shipped", None, body("PENDING")),
            ("other.evt.t.shipped", None, body("PENDING")),
            ("shipped", None, body("PENDING")),
            (
                "orders.cmd.t.create",
                None,
                create(r#""gift":1,"metadata":7"#),
            ),
            ("orders.cmd.t.cancel", None, create(r#""why":"late""#)),
            ("orders.cmd.t.create", None, br#"{"gift":1}"#.to_vec()),
        ] {
            assert!(!may_be_newer(subject, message_type, &body), "{subject}");
        }
    }
}
