use schemars::JsonSchema;
use serde::Serialize;

use super::{OrderPaid, Payment, PaymentFailed};
use crate::{
    Currency, Invalid, Money, OrderId, PaymentText, TenantId, Timestamp,
    input::{Fields, Node, read_open_object},
};

/// What whoever takes payments tells of one: the body of `POST /api/payments/webhook`. It may have more members, which are
/// ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PaymentWebhook {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: PaymentKind,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The payment.
    pub data: PaymentData,
}

/// What happened to a payment. Other types are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum PaymentKind {
    /// It went through.
    #[serde(rename = "payment.succeeded")]
    Succeeded,
    /// It did not.
    #[serde(rename = "payment.failed")]
    Failed,
}

/// A payment of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentData {
    /// Whose order it is.
    pub tenant_id: TenantId,
    /// Which order.
    pub order_id: OrderId,
    /// How much, in the unit of the order's prices.
    pub amount: Money,
    /// The currency of the amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// What the provider calls the payment.
    pub reference: PaymentText,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<PaymentText>,
}

impl PaymentWebhook {
    /// Reads the body of a webhook; `None` if it is of a type that says nothing of a payment here.
    pub fn parse(body: &[u8]) -> Result<Option<Self>, Invalid> {
        read_open_object(body, |fields| {
            let kind = match fields.take("type").string(255)?.as_str() {
                "payment.succeeded" => PaymentKind::Succeeded,
                "payment.failed" => PaymentKind::Failed,
                _ => return Some(None),
            };
            let timestamp = fields.take("timestamp").id();
            let data = fields.take("data").open_object(read_data);
            Some(Some(Self {
                kind,
                timestamp: timestamp?,
                data: data?,
            }))
        })
    }

    /// What it says.
    pub fn payment(self) -> Payment {
        let PaymentData {
            tenant_id,
            order_id,
            amount,
            currency,
            reference,
            reason,
        } = self.data;
        match self.kind {
            PaymentKind::Succeeded => Payment::Paid(OrderPaid {
                tenant_id,
                order_id,
                amount,
                paid_at: self.timestamp,
                currency,
                reference: Some(reference),
            }),
            PaymentKind::Failed => Payment::Failed(PaymentFailed {
                tenant_id,
                order_id,
                amount,
                currency,
                reference,
                failed_at: self.timestamp,
                reason,
            }),
        }
    }
}

fn read_data(data: &mut Fields<'_>) -> Option<PaymentData> {
    let tenant_id = data.take("tenantId").id();
    let order_id = data.take("orderId").id();
    let amount = data.take("amount").amount();
    let currency = optional(&data.take("currency"), Node::id);
    let reference = data.take("reference").id();
    let reason = optional(&data.take("reason"), Node::id);
    Some(PaymentData {
        tenant_id: tenant_id?,
        order_id: order_id?,
        amount: amount?,
        currency: currency?,
        reference: reference?,
        reason: reason?,
    })
}

/// Reads a member that may be missing.
fn optional<'a, T>(
    node: &Node<'a>,
    read: impl FnOnce(&Node<'a>) -> Option<T>,
) -> Option<Option<T>> {
    match node.is_absent() {
        true => Some(None),
        false => read(node).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn webhook(kind: &str) -> Value {
        json!({
            "type": kind,
            "timestamp": "2025-08-26T09:00:00Z",
            "data": {
                "tenantId": "t-1", "orderId": "ord_qz74bke6iblutmfkqfvmtezzkq",
                "amount": 99.98, "currency": "EUR", "reference": "pay_1",
            },
        })
    }

    fn parse(body: &Value) -> Result<Option<PaymentWebhook>, Invalid> {
        PaymentWebhook::parse(body.to_string().as_bytes())
    }

    /// The places of what is wrong.
    fn faults(body: &Value) -> Vec<String> {
        let Invalid(faults) = parse(body).unwrap_err();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn a_webhook_says_that_a_payment_went_through_or_failed() {
        let paid = parse(&webhook("payment.succeeded")).unwrap().unwrap();
        let Payment::Paid(paid) = paid.payment() else {
            panic!("it was paid")
        };
        assert_eq!(paid.amount.to_string(), "99.98");
        assert_eq!(paid.reference.unwrap().as_str(), "pay_1");
        assert_eq!(paid.paid_at.to_string(), "2025-08-26T09:00:00.000Z");

        let mut failed = webhook("payment.failed");
        failed["data"]["reason"] = json!("card declined");
        let Payment::Failed(failed) = parse(&failed).unwrap().unwrap().payment() else {
            panic!("it failed")
        };
        assert_eq!(failed.reason.unwrap().as_str(), "card declined");
    }

    #[test]
    fn what_a_sender_adds_is_ignored_and_so_are_other_types() {
        let mut more = webhook("payment.succeeded");
        more["version"] = json!(2);
        more["data"]["fee"] = json!({ "amount": 1 });
        more["data"]["currency"] = Value::Null;
        assert_eq!(parse(&more).unwrap().unwrap().data.currency, None);
        let other = json!({ "type": "payment.refunded", "data": [] });
        assert_eq!(parse(&other), Ok(None));
    }

    #[test]
    fn every_fault_is_named_by_its_path() {
        assert_eq!(faults(&json!([])), ["#"]);
        assert_eq!(faults(&json!({})), ["#/type"]);
        assert_eq!(faults(&json!({ "type": 1 })), ["#/type"]);
        let empty = json!({ "type": "payment.failed", "data": {} });
        let expected = [
            "#/timestamp",
            "#/data/tenantId",
            "#/data/orderId",
            "#/data/amount",
            "#/data/reference",
        ];
        assert_eq!(faults(&empty), expected);
        for (name, bad) in [
            ("tenantId", json!("a.b")),
            ("orderId", json!("ord_1")),
            ("amount", json!(-1)),
            ("amount", json!("1")),
            ("currency", json!("eur")),
            ("reference", json!("")),
            ("reason", json!("a\nb")),
        ] {
            let mut body = webhook("payment.succeeded");
            body["data"][name] = bad;
            assert_eq!(faults(&body), [format!("#/data/{name}")]);
        }
        assert!(PaymentWebhook::parse(b"no JSON").is_err());
    }

    proptest! {
        #[test]
        fn the_amount_keeps_its_digits(cents in 0u64..100_000_000_000_000) {
            let amount = format!("{}.{:02}", cents / 100, cents % 100);
            let body = webhook("payment.succeeded").to_string().replace("99.98", &amount);
            let read = PaymentWebhook::parse(body.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(read.data.amount, amount.parse::<Money>().unwrap());
        }

        #[test]
        fn no_body_makes_it_panic(body in ".{0,200}") {
            let _ = PaymentWebhook::parse(body.as_bytes());
        }
    }
}
