//! The properties of every decoder of outside input: it never panics, and a value that is written and read again is the
//! same value.
//!
//! `cargo xtask fuzz` feeds these functions for minutes; the test below feeds them `corpora`, the inputs that the fuzzer
//! kept.

use std::{
    fmt::{Debug, Display},
    str::FromStr,
};

use orders_contracts::{
    Answer, Body, CancelOrder, Channel, CommandId, CreateOrder, Envelope, FeedEntry, Invalid,
    Metadata, Offset, OrderEvent, OrderId, OrderPaid, Payment, PaymentFailed, PaymentWebhook,
    PresignUpload, ReplyTo, RequestId, Status, StripeEvent, TenantId, Timestamp, TraceContext,
    canonical_email, query,
};
use serde::{Serialize, de::DeserializeOwned};

#[cfg(test)]
mod releases;

/// A function that feeds a decoder.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: [(&str, Target); 7] = [
    ("create_command", create_command),
    ("cancel_command", cancel_command),
    ("event", event),
    ("payment_webhook", payment_webhook),
    ("list_query", list_query),
    ("subject", subject),
    ("offset", offset),
];

/// The bodies of `POST /api/orders` and of `POST /api/uploads/presign`.
pub fn create_command(body: &[u8]) {
    match CreateOrder::parse(body, None, None) {
        Ok(order) => {
            tenant(&order.tenant_id);
            read_again::<OrderId>(order.order_id().as_str());
            let text = serde_json::to_vec(&order).expect("a command can be written");
            assert_eq!(CreateOrder::parse(&text, None, None).as_ref(), Ok(&order));
            assert_eq!(
                CreateOrder::parse(&text, Some(&order.request_id), None).as_ref(),
                Ok(&order)
            );
            assert_eq!(CreateOrder::read(&text).as_ref(), Ok(&order));
            assert!(order.total().fits_a_double(), "{order:?}");
        }
        Err(invalid) => faults(&invalid),
    }
    if let Ok(upload) = PresignUpload::parse(body, None) {
        tenant(&upload.tenant_id);
        assert!(!upload.filename.contains(['/', '\\']), "{upload:?}");
    }
}

/// The bodies of `POST /api/orders/{orderId}/cancel` and of its command.
pub fn cancel_command(body: &[u8]) {
    match CancelOrder::parse(body) {
        Ok(cancel) => {
            tenant(&cancel.tenant_id);
            let text = serde_json::to_vec(&cancel).expect("a command can be written");
            assert_eq!(CancelOrder::parse(&text), Ok(cancel));
        }
        Err(invalid) => faults(&invalid),
    }
    if let Ok(tenant_id) = CancelOrder::parse_tenant(body, None) {
        tenant(&tenant_id);
    }
}

/// The messages of streams: lines of headers, an empty line, a body.
pub fn event(message: &[u8]) {
    let end = message.windows(2).position(|bytes| bytes == b"\n\n");
    let (headers, body) = end.map_or((message, message), |at| {
        (&message[..at], &message[at + 2..])
    });
    if let Ok(headers) = str::from_utf8(headers) {
        Channel::ALL
            .iter()
            .for_each(|channel| metadata(*channel, headers));
    }
    written_and_read::<OrderEvent>(body);
    written_and_read::<OrderPaid>(body);
    written_and_read::<PaymentFailed>(body);
    written_and_read::<FeedEntry>(body);
    written_and_read::<Vec<Answer>>(body);
}

/// The bodies of `POST /api/payments/webhook` and of `POST /api/payments/stripe`: the writer reads what becomes of them.
pub fn payment_webhook(body: &[u8]) {
    let webhook = PaymentWebhook::parse(body).map(|read| read.map(PaymentWebhook::payment));
    let event = StripeEvent::parse(body).map(|read| read.map(|event| event.payment));
    for read in [webhook, event] {
        match read {
            Ok(Some(payment)) => sent_and_read(&payment),
            Ok(None) => {}
            Err(invalid) => faults(&invalid),
        }
    }
}

fn sent_and_read(payment: &Payment) {
    tenant(payment.tenant_id());
    let (channel, text) = match payment {
        Payment::Paid(paid) => (Channel::OrderPaid, serde_json::to_vec(paid)),
        Payment::Failed(failed) => (Channel::PaymentFailed, serde_json::to_vec(failed)),
    };
    let metadata = Metadata {
        id: "id".to_owned(),
        source: "/orders/edge/webhook".to_owned(),
        order_id: payment.order_id().clone(),
        time: Timestamp::now(),
        trace: TraceContext::root(),
        reply_to: None,
    };
    let envelope = Envelope {
        channel,
        tenant: payment.tenant_id(),
        metadata: &metadata,
    };
    let text = text.expect("a message can be written");
    assert_eq!(Payment::read(&text, envelope).as_ref(), Ok(payment));
}

/// The queries of `GET /api/orders`, of its export, and of `GET /api/orders/{orderId}`.
pub fn list_query(query: &[u8]) {
    let Ok(query) = str::from_utf8(query) else {
        return;
    };
    match query::list(query, None) {
        Ok(list) => {
            tenant(&list.filter.tenant);
            assert!((1..=query::MAX_LIMIT).contains(&list.limit), "{list:?}");
            assert!((1..=query::MAX_PAGE).contains(&list.page), "{list:?}");
            let buyer = list.filter.buyer_email.as_deref();
            assert!(
                buyer.is_none_or(|buyer| canonical_email(buyer) == buyer),
                "{list:?}"
            );
            if let Some(place) = &list.after {
                let links = query::links("", query, &list, Some(place));
                let (next, _) = links[1..].split_once('>').expect("a link");
                let next = query::list(&next["/api/orders?".len()..], None).expect(next);
                assert_eq!((next.filter, next.after), (list.filter, list.after));
            }
        }
        Err(invalid) => faults(&invalid),
    }
    match query::export(query, None) {
        Ok(export) => tenant(&export.filter.tenant),
        Err(invalid) => faults(&invalid),
    }
    if let Ok(tenant_id) = query::tenant(query, None) {
        tenant(&tenant_id);
    }
}

/// Subjects, ids and other short texts.
pub fn subject(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else {
        return;
    };
    if let Some((channel, tenant_id)) = Channel::parse(text) {
        tenant(&tenant_id);
        assert_eq!(channel.of(&tenant_id).as_str(), text);
    }
    for is_verbatim in [
        verbatim::<TenantId>,
        verbatim::<RequestId>,
        verbatim::<OrderId>,
        verbatim::<CommandId>,
        verbatim::<ReplyTo>,
    ] {
        is_verbatim(text);
    }
    if let Ok(tenant_id) = text.parse() {
        tenant(&tenant_id);
    }
    if let Ok(status) = text.parse::<Status>() {
        assert_eq!(status.as_str(), text);
    }
    read_again_if_read::<TraceContext>(text);
    read_again_if_read::<Timestamp>(text);
}

/// A Socket.IO client's position in the feed.
pub fn offset(text: &[u8]) {
    if let Ok(text) = str::from_utf8(text) {
        verbatim::<Offset>(text);
    }
}

/// A tenant becomes part of subjects, rooms and paths.
fn tenant(id: &TenantId) {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let text = id.as_str();
    assert!(
        (1..=64).contains(&text.len()) && text.bytes().all(is_safe),
        "{text:?}"
    );
}

/// A client is told of at least one fault, and of a bounded number.
fn faults(Invalid(errors): &Invalid) {
    assert!((1..=64).contains(&errors.len()), "{errors:?}");
    assert!(
        errors.iter().all(|error| error.pointer.starts_with('#')),
        "{errors:?}"
    );
}

fn metadata(channel: Channel, headers: &str) {
    let lines = headers.lines().filter_map(|line| line.split_once(": "));
    let get = |name: &str| lines.clone().find(|(known, _)| *known == name);
    let Ok(metadata) = Metadata::parse(channel, |name| get(name).map(|(_, value)| value)) else {
        return;
    };
    let written = metadata.headers(channel);
    let get = |name: &str| written.iter().find(|(known, _)| *known == name);
    let again = Metadata::parse(channel, |name| get(name).map(|(_, value)| value.as_str()));
    assert_eq!(again, Ok(metadata));
}

fn written_and_read<T: DeserializeOwned + Serialize + PartialEq + Debug>(body: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(body) {
        let text = serde_json::to_vec(&value).expect("a message can be written");
        let again: T = serde_json::from_slice(&text).expect("what was written can be read");
        assert_eq!(again, value);
    }
}

/// A text that parses as a `T` is the text that the `T` displays.
fn verbatim<T: FromStr + Display>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

fn read_again_if_read<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string().parse().ok(), Some(value));
    }
}

fn read_again<T: FromStr + Display>(text: &str) {
    assert!(text.parse::<T>().is_ok(), "{text:?}");
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn what_the_fuzzer_kept_is_read_as_it_should() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora");
        for (name, target) in TARGETS {
            let files: Vec<_> = fs::read_dir(corpora.join(name)).unwrap().collect();
            assert!(files.len() > 3, "{name} has no corpus");
            for file in files {
                let path = file.unwrap().path();
                eprintln!("{}", path.display());
                target(&fs::read(path).unwrap());
            }
        }
    }
}
