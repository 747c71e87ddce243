use data_encoding::BASE32_NOPAD;
use orders_bus::Message;
use orders_contracts::{Channel, Metadata, OrderId, Payment, TenantId, Timestamp, TraceContext};
use uuid::Uuid;

use super::Way;

/// The namespace of what is derived from webhooks' ids; changing it would let each come a second time.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f72_6465_7273_4077_6562_686f_6f6b_7331);

/// The message of the webhook with the id `id`. A webhook that comes again becomes the same message.
pub(super) fn message(way: Way, id: &str, payment: Payment, trace: TraceContext) -> Message {
    let (tenant, order_id) = (payment.tenant_id().clone(), payment.order_id().clone());
    let metadata = Metadata {
        id: message_id(way, id, &tenant, &order_id),
        source: format!("/orders/edge/{}", way.name()),
        order_id,
        time: Timestamp::now(),
        trace,
        reply_to: None,
    };
    match payment {
        Payment::Paid(paid) => Message::new(Channel::OrderPaid, &tenant, metadata, &paid),
        Payment::Failed(failed) => Message::new(Channel::PaymentFailed, &tenant, metadata, &failed),
    }
}

/// The order's id and a hash: a sender's id may be any text, and another sender may have the same one.
fn message_id(way: Way, id: &str, tenant: &TenantId, order_id: &OrderId) -> String {
    let name = format!("{}/{tenant}/{id}", way.name());
    let hash = Uuid::new_v5(&NAMESPACE, name.as_bytes());
    let hash = BASE32_NOPAD.encode(hash.as_bytes()).to_ascii_lowercase();
    format!("{order_id}:{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_differ_by_way_tenant_order_and_webhook() {
        let of = |way, id, tenant: &str, order: &str| {
            message_id(way, id, &tenant.parse().unwrap(), &order.parse().unwrap())
        };
        let order = "ord_qz74bke6iblutmfkqfvmtezzkq";
        let other = "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa";
        let one = of(Way::Standard, "msg_1", "t-1", order);
        // Pinned: with another id, a webhook that comes again would be another payment.
        assert_eq!(
            one,
            "ord_qz74bke6iblutmfkqfvmtezzkq:hijyxidgarotlppjwruvvhmvvu"
        );
        for different in [
            of(Way::Stripe, "msg_1", "t-1", order),
            of(Way::Standard, "msg_2", "t-1", order),
            of(Way::Standard, "msg_1", "t-2", order),
            of(Way::Standard, "msg_1", "t-1", other),
        ] {
            assert_ne!(different, one);
        }
        let long = of(Way::Standard, &"é".repeat(255), &"t".repeat(64), order);
        assert_eq!(long.len(), one.len());
    }
}
