use std::{borrow::Cow, collections::BTreeMap};

use orders_contracts::{
    Attachment, Buyer, CommandId, CreateOrder, Currency, Item, Money, OrderBuyer, OrderEvent,
    OrderFile, OrderId, OrderItem, OrderSnapshot, RequestId, Status, TenantId, Timestamp,
    canonical_email,
};
use sha2::{Digest, Sha256};

/// An order as the write model keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its id, derived from tenant and request.
    pub order_id: OrderId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// The client's idempotency key.
    pub request_id: RequestId,
    /// The command that stored it.
    pub command_id: CommandId,
    /// SHA-256 of the body that created it, in hexadecimal.
    pub body_hash: String,
    /// Its status.
    pub status: Status,
    /// 1 when created, and one more after each change.
    pub version: u32,
    /// The buyer.
    pub buyer: Buyer,
    /// The items.
    pub items: Vec<Item>,
    /// The exact sum of the items.
    pub total: Money,
    /// The attached file.
    pub attachment: Option<Attachment>,
    /// What the client noted of it.
    pub metadata: BTreeMap<String, String>,
    /// The currency of its amounts, if the client named one.
    pub currency: Option<Currency>,
    /// When the writer stored it.
    pub created_at: Timestamp,
    /// When the writer stored its latest version.
    pub updated_at: Timestamp,
}

/// How a create command relates to the order that exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It is the command that stored the order, delivered again: the event may not have been published yet.
    SameCommand,
    /// It is another request of the client, which changes nothing.
    Replay {
        /// Whether it has the body that created the order.
        same_body: bool,
    },
}

impl Order {
    /// The order that `command` creates at `now`.
    pub fn create(command: CreateOrder, command_id: CommandId, now: Timestamp) -> Self {
        Self {
            order_id: command.order_id(),
            body_hash: body_hash(&command),
            total: command.total(),
            tenant_id: command.tenant_id,
            request_id: command.request_id,
            command_id,
            status: Status::Pending,
            version: 1,
            buyer: command.buyer,
            items: command.items,
            attachment: command.attachment,
            metadata: command.metadata,
            currency: command.currency,
            created_at: now,
            updated_at: now,
        }
    }

    /// How `attempt`, an order that was not stored because this one exists, relates to this one.
    pub fn repeat(&self, attempt: &Self) -> Repeat {
        if self.command_id == attempt.command_id {
            Repeat::SameCommand
        } else {
            Repeat::Replay {
                same_body: self.body_hash == attempt.body_hash,
            }
        }
    }

    /// The event of its creation: the same bytes, whatever has happened to the order since.
    pub fn created_event(&self) -> OrderEvent {
        let row = self.snapshot(Status::Pending);
        let items = self.items.iter().map(|item| OrderItem {
            sku: item.sku.clone(),
            qty: item.qty,
            price: item.price,
        });
        OrderEvent {
            tenant_id: self.tenant_id.clone(),
            version: 1,
            occurred_at: self.created_at,
            order: OrderSnapshot {
                request_id: Some(self.request_id.clone()),
                items: items.collect(),
                metadata: self.metadata.clone(),
                ..row
            },
        }
    }

    /// The event of its latest change, or of its creation. Of a change it tells what the row needs.
    pub fn latest_event(&self) -> OrderEvent {
        if self.version == 1 {
            return self.created_event();
        }
        OrderEvent {
            tenant_id: self.tenant_id.clone(),
            version: self.version,
            occurred_at: self.updated_at,
            order: self.snapshot(self.status),
        }
    }

    /// This order, moved to the final status `to` at `now`.
    #[must_use]
    pub fn moved(self, to: Status, now: Timestamp) -> Self {
        Self {
            status: to,
            version: self.version + 1,
            updated_at: now,
            ..self
        }
    }

    /// What every event tells of the order.
    fn snapshot(&self, status: Status) -> OrderSnapshot {
        OrderSnapshot {
            order_id: self.order_id.clone(),
            status,
            created_at: self.created_at,
            buyer_email: canonical_email(&self.buyer.email),
            total: self.total,
            attachment: self.attachment.as_ref().map(|file| OrderFile {
                filename: file.filename.clone(),
                storage_key: file.storage_key.clone(),
                content_type: Some(file.content_type.clone()),
                size: Some(file.size),
            }),
            buyer: Some(OrderBuyer {
                email: self.buyer.email.clone(),
                name: self.buyer.name.clone(),
            }),
            item_count: u32::try_from(self.items.len()).ok(),
            currency: self.currency,
            request_id: None,
            items: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }
}

/// SHA-256 of the command as this project serialises it, so that white space and the order of members do not matter; without
/// what the edge found, which may differ from one time to the next.
fn body_hash(command: &CreateOrder) -> String {
    let mut sent = Cow::Borrowed(command);
    if command
        .attachment
        .as_ref()
        .is_some_and(Attachment::was_found)
    {
        let attachment = &mut sent.to_mut().attachment;
        *attachment = attachment.take().map(Attachment::as_sent);
    }
    let canonical = serde_json::to_vec(&*sent).expect("a command has only string keys");
    data_encoding::HEXLOWER.encode(&Sha256::digest(canonical))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn order(command_id: &str, qty: u32) -> Order {
        let body = format!(
            r#"{{"requestId":"r1","tenantId":"t","buyer":{{"email":"a@b.cc","name":"A"}},"items":[{{"sku":"S","qty":{qty},"price":0.10}}]}}"#
        );
        let command = CreateOrder::parse(body.as_bytes(), None, None).unwrap();
        Order::create(
            command,
            command_id.parse().unwrap(),
            Timestamp::from_millis(1_000).unwrap(),
        )
    }

    #[test]
    fn a_redelivery_is_told_from_a_replay_and_from_another_body() {
        let stored = order("c1", 3);
        assert_eq!(stored.repeat(&order("c1", 3)), Repeat::SameCommand);
        assert_eq!(
            stored.repeat(&order("c2", 3)),
            Repeat::Replay { same_body: true }
        );
        assert_eq!(
            stored.repeat(&order("c2", 4)),
            Repeat::Replay { same_body: false }
        );
    }

    #[test]
    fn what_the_edge_found_of_a_file_makes_no_other_body() {
        let body = |found: &str| {
            let body = format!(
                r#"{{"requestId":"r1","tenantId":"t","buyer":{{"email":"a@b.cc","name":"A"}},"items":[{{"sku":"S","qty":1,"price":1}}],"attachment":{{"filename":"a","contentType":"a/b","size":1,"storageKey":"k"{found}}}}}"#
            );
            body_hash(&CreateOrder::read(body.as_bytes()).unwrap())
        };
        assert_eq!(body(""), body(r#","etag":"e","version":"v""#));
        let hash = "0".repeat(64);
        assert_ne!(body(""), body(&format!(r#","sha256":"{hash}""#)));
    }

    const SEED: &str = r#"{"requestId":"8e03978e-40d5-43e8-bc93-6894a57f9324","tenantId":"t-123","buyer":{"email":"alice@example.com","name":"Alice"},"items":[{"sku":"SKU-1","qty":2,"price":49.99},{"sku":"SKU-2","qty":1,"price":10}]}"#;

    fn created(body: &str) -> Order {
        let command = CreateOrder::parse(body.as_bytes(), None, None).unwrap();
        let now = Timestamp::from_millis(1_756_198_800_000).unwrap();
        Order::create(command, "c1".parse().unwrap(), now)
    }

    /// A client that sends an order again after an upgrade gets the first one.
    #[test]
    fn an_order_of_version_0_1_has_the_hash_that_it_had() {
        assert_eq!(
            created(SEED).body_hash,
            "3a53d2e9750ed0ac1d8a53fe8ef9a62aeb1786ea9be46511ef22447335db92f1"
        );
        let noted = |more: &str| created(&SEED.replacen('{', &format!("{{{more},"), 1)).body_hash;
        assert_eq!(created(SEED).body_hash, noted(r#""metadata":{}"#));
        let ordered = noted(r#""metadata":{"a":"1","b":"2"}"#);
        assert_eq!(ordered, noted(r#""metadata":{"b":"2","a":"1"}"#));
        assert_ne!(ordered, created(SEED).body_hash);
        assert_ne!(created(SEED).body_hash, noted(r#""currency":"EUR""#));
    }

    /// Streams keep as many bytes as they may, so the size of an event says for how long.
    #[test]
    fn events_have_the_size_that_is_said_of_them() {
        let pending = created(SEED);
        let size = |event: &OrderEvent| serde_json::to_vec(event).unwrap().len();
        let mut old = pending.created_event();
        old.order = OrderSnapshot {
            buyer: None,
            item_count: None,
            request_id: None,
            items: Vec::new(),
            ..old.order
        };
        assert_eq!((size(&old), size(&pending.created_event())), (231, 432));
        let paid = pending.moved(
            Status::Paid,
            Timestamp::from_millis(1_756_198_805_000).unwrap(),
        );
        assert_eq!(size(&paid.latest_event()), 295);
    }

    #[test]
    fn the_first_event_has_the_whole_order_and_others_what_its_row_has() {
        let more = SEED.replacen(
            '{',
            r#"{"metadata":{"color":"red"},"currency":"EUR","attachment":{"filename":"i.pdf","contentType":"application/pdf","size":6,"storageKey":"k/i.pdf"},"#,
            1,
        );
        let order = created(&more).moved(Status::Paid, Timestamp::from_millis(2_000).unwrap());
        let first = serde_json::to_string(&order.created_event().order).unwrap();
        let file = r#""attachment":{"filename":"i.pdf","storageKey":"k/i.pdf","contentType":"application/pdf","size":6}"#;
        let of_both = format!(
            r#"{file},"buyer":{{"email":"alice@example.com","name":"Alice"}},"itemCount":2,"currency":"EUR""#
        );
        let of_the_first = r#","requestId":"8e03978e-40d5-43e8-bc93-6894a57f9324","items":[{"sku":"SKU-1","qty":2,"price":49.99},{"sku":"SKU-2","qty":1,"price":10}],"metadata":{"color":"red"}}"#;
        assert!(
            first.ends_with(&format!("{of_both}{of_the_first}")),
            "{first}"
        );
        let second = serde_json::to_string(&order.latest_event().order).unwrap();
        assert!(second.ends_with(&format!("{of_both}}}")), "{second}");
    }

    #[test]
    fn the_created_event_stays_the_same_after_a_change() {
        let pending = order("c1", 3);
        let event = pending.created_event();
        assert_eq!(event, pending.latest_event());
        assert_eq!(event.order.total.to_string(), "0.3");
        let paid = pending.moved(Status::Paid, Timestamp::from_millis(2_000).unwrap());
        assert_eq!(paid.created_event(), event);
        assert_eq!(paid.latest_event().version, 2);
        assert_eq!(paid.latest_event().occurred_at.millis(), 2_000);
    }

    #[test]
    fn an_order_keeps_the_address_as_sent_and_lists_have_the_canonical_form() {
        let mut order = order("c1", 3);
        order.buyer.email = "A@Bücher.example".to_owned();
        let told = order.latest_event().order;
        assert_eq!(told.buyer_email, "a@xn--bcher-kva.example");
        assert_eq!(told.buyer.unwrap().email, "A@Bücher.example");
    }
}
