//! What is said of payments: the bodies of the messages in PAYMENTS, and of the webhooks that become them.

mod stripe;
mod webhook;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    stripe::StripeEvent,
    webhook::{PaymentData, PaymentKind, PaymentWebhook},
};
use crate::{Currency, Money, OrderId, PaymentText, TenantId, Timestamp};

/// The payment of an order went through: the body of `payments.evt.{tenant}.paid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPaid {
    /// Whose order it is.
    pub tenant_id: TenantId,
    /// Which order was paid.
    pub order_id: OrderId,
    /// How much was paid.
    pub amount: Money,
    /// When the payment went through.
    pub paid_at: Timestamp,
    /// The currency of the amount, if whoever tells of the payment names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// What the provider or the bank calls the payment; nothing if it was simulated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<PaymentText>,
}

/// The payment of an order did not go through: the body of `payments.evt.{tenant}.failed`. Another one may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentFailed {
    /// Whose order it is.
    pub tenant_id: TenantId,
    /// Which order was not paid.
    pub order_id: OrderId,
    /// How much should have been paid.
    pub amount: Money,
    /// The currency of the amount, if whoever tells of the payment names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// What the provider calls the payment.
    pub reference: PaymentText,
    /// When the payment failed.
    pub failed_at: Timestamp,
    /// Why, as the provider words it, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<PaymentText>,
}

/// The body of a message on `payments.evt.{tenant}.paid` or `.failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// It went through.
    Paid(OrderPaid),
    /// It did not.
    Failed(PaymentFailed),
}

impl Payment {
    /// Whose order it is about.
    pub fn tenant_id(&self) -> &TenantId {
        match self {
            Self::Paid(paid) => &paid.tenant_id,
            Self::Failed(failed) => &failed.tenant_id,
        }
    }

    /// Which order it is about.
    pub fn order_id(&self) -> &OrderId {
        match self {
            Self::Paid(paid) => &paid.order_id,
            Self::Failed(failed) => &failed.order_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 0.1 wrote it, and as the payment-simulator still does.
    const OLD: &str = r#"{"tenantId":"t-1","orderId":"ord_qz74bke6iblutmfkqfvmtezzkq","amount":99.98,"paidAt":"2025-08-26T09:00:00.000Z"}"#;

    #[test]
    fn a_payment_of_version_0_1_is_read_and_written_the_same() {
        let paid: OrderPaid = serde_json::from_str(OLD).unwrap();
        assert_eq!(serde_json::to_string(&paid).unwrap(), OLD);
    }

    #[test]
    fn members_that_later_versions_add_are_tolerated() {
        let newer = OLD.replace(
            r#""paidAt""#,
            r#""currency":"EUR","reference":"pay_1","fee":1,"paidAt""#,
        );
        let paid: OrderPaid = serde_json::from_str(&newer).unwrap();
        assert_eq!(paid.currency.unwrap().as_str(), "EUR");
        assert_eq!(paid.reference.unwrap().as_str(), "pay_1");
        let newer = newer.replace("paidAt", "failedAt");
        let failed: PaymentFailed = serde_json::from_str(&newer).unwrap();
        assert_eq!(failed.reason, None);
    }

    #[test]
    fn what_a_provider_writes_is_bounded() {
        for bad in ["", "a\nb", &"x".repeat(256)] {
            assert!(bad.parse::<PaymentText>().is_err(), "{bad:?}");
            let json = OLD.replace('}', &format!(",\"reference\":{}}}", serde_json::json!(bad)));
            assert!(serde_json::from_str::<OrderPaid>(&json).is_err(), "{json}");
        }
        assert!("é".repeat(255).parse::<PaymentText>().is_ok());
    }
}
