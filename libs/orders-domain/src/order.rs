use orders_contracts::{
    Attachment, AttachmentRef, Buyer, CommandId, CreateOrder, Item, Money, OrderEvent, OrderId,
    OrderRow, RequestId, Status, TenantId, Timestamp, canonical_email,
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
        self.event(1, Status::Pending, self.created_at)
    }

    /// The event of its latest change, or of its creation.
    pub fn latest_event(&self) -> OrderEvent {
        self.event(self.version, self.status, self.updated_at)
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

    fn event(&self, version: u32, status: Status, occurred_at: Timestamp) -> OrderEvent {
        OrderEvent {
            tenant_id: self.tenant_id.clone(),
            version,
            occurred_at,
            order: OrderRow {
                order_id: self.order_id.clone(),
                status,
                created_at: self.created_at,
                buyer_email: canonical_email(&self.buyer.email),
                total: self.total,
                attachment: self.attachment.as_ref().map(|file| AttachmentRef {
                    filename: file.filename.clone(),
                    storage_key: file.storage_key.clone(),
                }),
            },
        }
    }
}

/// SHA-256 of the command as this project serialises it, so that white space and the order of members do not matter; without
/// what the edge found, which may differ from one time to the next.
fn body_hash(command: &CreateOrder) -> String {
    let mut sent = command.clone();
    sent.attachment = sent.attachment.map(Attachment::as_sent);
    let canonical = serde_json::to_vec(&sent).expect("a command has only string keys");
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
    fn an_order_keeps_the_address_as_sent_and_its_row_has_the_canonical_form() {
        let mut order = order("c1", 3);
        order.buyer.email = "A@Bücher.example".to_owned();
        let row = order.latest_event().order;
        assert_eq!(row.buyer_email, "a@xn--bcher-kva.example");
    }
}
