use super::{OrderPaid, Payment, PaymentFailed};
use crate::{
    Currency, Invalid, Money, OrderId, PaymentText, TenantId, Timestamp,
    input::{Fields, Node, read_open_object},
};

/// The largest integer that JSON carries safely. Stripe's own limit is far below.
const MAX_INTEGER: u64 = (1 << 53) - 1;
const MINOR_RULE: &str = "must be the ISO 4217 code of a currency";

/// An event of Stripe about a payment of an order: `payment_intent.succeeded` or `payment_intent.payment_failed`, with
/// `tenantId` and `orderId` in the metadata of the payment intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeEvent {
    /// The event's id, the same on every attempt to deliver it.
    pub id: PaymentText,
    /// What it says.
    pub payment: Payment,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Succeeded,
    Failed,
}

impl StripeEvent {
    /// Reads the body of an event; `None` if it is of another type, or of a payment intent of something else than an order.
    pub fn parse(body: &[u8]) -> Result<Option<Self>, Invalid> {
        read_open_object(body, |event| {
            let kind = match event.take("type").string(255)?.as_str() {
                "payment_intent.succeeded" => Kind::Succeeded,
                "payment_intent.payment_failed" => Kind::Failed,
                _ => return Some(None),
            };
            let id = event.take("id").id();
            let created = read_seconds(&event.take("created"));
            let intent = event
                .take("data")
                .open_object(|data| data.take("object").open_object(|i| read_intent(i, kind)))?;
            let Some(intent) = intent else {
                return Some(None);
            };
            Some(Some(Self {
                id: id?,
                payment: intent.payment(kind, created?),
            }))
        })
    }
}

/// What counts of a payment intent.
struct Intent {
    id: PaymentText,
    tenant_id: TenantId,
    order_id: OrderId,
    amount: Money,
    currency: Currency,
    reason: Option<PaymentText>,
}

/// Reads a payment intent; `Some(None)` if its metadata name no order.
fn read_intent(intent: &mut Fields<'_>, kind: Kind) -> Option<Option<Intent>> {
    let ids = intent.take("metadata").open_object(|metadata| {
        let (tenant, order) = (metadata.take("tenantId"), metadata.take("orderId"));
        if tenant.is_absent() && order.is_absent() {
            return Some(None);
        }
        let (tenant, order) = (tenant.id(), order.id());
        Some(Some((tenant?, order?)))
    });
    if let Some(None) = ids {
        return Some(None);
    }
    let id = intent.take("id").id();
    let currency = read_currency(&intent.take("currency"));
    // Of a payment that went through, the money that came.
    let amount = intent.take(match kind {
        Kind::Succeeded => "amount_received",
        Kind::Failed => "amount",
    });
    let minor = amount.integer(0..=MAX_INTEGER);
    let reason = intent.take("last_payment_error");
    let reason = match reason.is_absent() {
        true => Some(None),
        false => reason.open_object(|error| Some(error.take("message").some_text())),
    };
    let (tenant_id, order_id) = ids??;
    let (currency, decimals) = currency?;
    let Some(amount_in_units) = Money::from_minor(minor?, decimals) else {
        return amount.refuse("must be an amount");
    };
    Some(Some(Intent {
        id: id?,
        tenant_id,
        order_id,
        amount: amount_in_units,
        currency,
        reason: reason?.as_deref().and_then(PaymentText::cut),
    }))
}

impl Intent {
    fn payment(self, kind: Kind, at: Timestamp) -> Payment {
        let Self {
            id,
            tenant_id,
            order_id,
            amount,
            currency,
            reason,
        } = self;
        match kind {
            Kind::Succeeded => Payment::Paid(OrderPaid {
                tenant_id,
                order_id,
                amount,
                paid_at: at,
                currency: Some(currency),
                reference: Some(id),
            }),
            Kind::Failed => Payment::Failed(PaymentFailed {
                tenant_id,
                order_id,
                amount,
                currency: Some(currency),
                reference: id,
                failed_at: at,
                reason,
            }),
        }
    }
}

/// Reads a currency, which Stripe writes in small letters, and the decimals of its minor unit.
fn read_currency(node: &Node<'_>) -> Option<(Currency, u32)> {
    let code = node.string(3)?.to_ascii_uppercase();
    let currency: Option<Currency> = code.parse().ok();
    let read = currency.and_then(|currency| Some((currency, decimals(currency)?)));
    match read {
        Some(read) => Some(read),
        None => node.refuse(MINOR_RULE),
    }
}

/// The decimals of the minor unit in which Stripe counts: those of ISO 4217, except for three currencies that Stripe
/// still counts as it once did (docs.stripe.com/currencies).
fn decimals(currency: Currency) -> Option<u32> {
    match currency.as_str() {
        "ISK" | "UGX" => Some(2),
        "MGA" => Some(0),
        _ => currency.decimals(),
    }
}

/// A time in seconds since the Unix epoch.
fn read_seconds(node: &Node<'_>) -> Option<Timestamp> {
    let seconds = node.integer(0..=MAX_INTEGER)?;
    let millis = i64::try_from(seconds)
        .ok()
        .and_then(|s| s.checked_mul(1_000));
    match millis.and_then(Timestamp::writable) {
        Some(time) => Some(time),
        None => node.refuse("must be a time in seconds"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn event(kind: &str) -> Value {
        json!({
            "id": "evt_1", "object": "event", "api_version": "2025-08-27.basil", "created": 1_756_198_800,
            "type": kind, "livemode": false,
            "data": { "object": {
                "id": "pi_1", "object": "payment_intent", "amount": 9998, "amount_received": 9998, "currency": "eur",
                "metadata": { "tenantId": "t-1", "orderId": "ord_qz74bke6iblutmfkqfvmtezzkq", "cart": "17" },
                "last_payment_error": null,
            } },
        })
    }

    const SUCCEEDED: &str = "payment_intent.succeeded";
    const FAILED: &str = "payment_intent.payment_failed";

    fn parse(event: &Value) -> Result<Option<StripeEvent>, Invalid> {
        StripeEvent::parse(event.to_string().as_bytes())
    }

    fn paid(event: &Value) -> OrderPaid {
        match parse(event).unwrap().unwrap().payment {
            Payment::Paid(paid) => paid,
            Payment::Failed(_) => panic!("it was paid"),
        }
    }

    fn faults(event: &Value) -> Vec<String> {
        let Invalid(faults) = parse(event).unwrap_err();
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn an_event_says_that_a_payment_went_through_or_failed() {
        let succeeded = event(SUCCEEDED);
        assert_eq!(parse(&succeeded).unwrap().unwrap().id.as_str(), "evt_1");
        let paid = paid(&succeeded);
        assert_eq!(paid.amount.to_string(), "99.98");
        assert_eq!(paid.currency.unwrap().as_str(), "EUR");
        assert_eq!(paid.reference.unwrap().as_str(), "pi_1");
        assert_eq!(paid.paid_at.to_string(), "2025-08-26T09:00:00.000Z");

        let mut failed = event(FAILED);
        let intent = &mut failed["data"]["object"];
        intent["amount_received"] = json!(0);
        let message = format!("Your card\nwas declined.{}", " ".repeat(300));
        intent["last_payment_error"] = json!({ "code": "card_declined", "message": message });
        let Payment::Failed(failed) = parse(&failed).unwrap().unwrap().payment else {
            panic!("it failed")
        };
        assert_eq!(failed.amount.to_string(), "99.98");
        let reason = failed.reason.unwrap();
        assert!(reason.as_str().starts_with("Your cardwas declined."));
        assert_eq!(reason.as_str().chars().count(), 255);
    }

    #[test]
    fn amounts_are_in_the_minor_unit_of_their_currency() {
        for (currency, minor, amount) in [
            ("usd", 1000, "10"),
            ("jpy", 500, "500"),
            ("krw", 1, "1"),
            ("kwd", 5120, "5.12"),
            ("bhd", 1, "0.001"),
            ("tnd", 10, "0.01"),
            ("isk", 500, "5"),
            ("ugx", 500, "5"),
            ("mga", 500, "500"),
            ("huf", 1000, "10"),
            ("twd", 80045, "800.45"),
            ("eur", 0, "0"),
        ] {
            let mut event = event(SUCCEEDED);
            let intent = &mut event["data"]["object"];
            intent["currency"] = json!(currency);
            intent["amount_received"] = json!(minor);
            assert_eq!(paid(&event).amount.to_string(), amount, "{currency}");
        }
    }

    #[test]
    fn what_is_not_about_an_order_is_ignored() {
        assert_eq!(parse(&json!({ "type": "customer.created" })), Ok(None));
        let mut other = event(SUCCEEDED);
        other["data"]["object"]["metadata"] = json!({ "invoice": "1" });
        assert_eq!(parse(&other), Ok(None));
    }

    #[test]
    fn every_fault_is_named_by_its_path() {
        assert_eq!(faults(&json!({})), ["#/type"]);
        let object = |name: &str, bad: Value| {
            let mut event = event(SUCCEEDED);
            event["data"]["object"][name] = bad;
            faults(&event)
        };
        for (name, bad) in [
            ("amount_received", json!(-1)),
            ("amount_received", json!("9998")),
            ("amount_received", json!(1.5)),
            ("amount_received", Value::Null),
            ("currency", json!("zzz")),
            ("currency", json!("euro")),
            ("currency", json!("xau")),
            ("id", json!("")),
            ("metadata", json!(7)),
        ] {
            assert_eq!(object(name, bad), [format!("#/data/object/{name}")]);
        }
        let half = object("metadata", json!({ "tenantId": "t-1" }));
        assert_eq!(half, ["#/data/object/metadata/orderId"]);
        let foreign = object("metadata", json!({ "tenantId": "a.b", "orderId": "1" }));
        let members = ["tenantId", "orderId"];
        assert_eq!(
            foreign,
            members.map(|name| format!("#/data/object/metadata/{name}"))
        );
        for name in ["id", "created", "data"] {
            let mut event = event(SUCCEEDED);
            event[name] = Value::Null;
            assert_eq!(faults(&event), [format!("#/{name}")]);
        }
    }

    proptest! {
        #[test]
        fn a_minor_amount_is_exact(minor in 0u64..1_000_000_000_000, decimals in 0u32..4) {
            let money = Money::from_minor(minor, decimals).unwrap();
            let digits = format!("{minor:0>width$}", width = decimals as usize + 1);
            let (whole, part) = digits.split_at(digits.len() - decimals as usize);
            prop_assert_eq!(money, format!("{whole}.{part}0").parse::<Money>().unwrap());
        }

        #[test]
        fn no_body_makes_it_panic(body in ".{0,200}") {
            let _ = StripeEvent::parse(body.as_bytes());
        }
    }
}
