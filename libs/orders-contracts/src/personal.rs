//! Whose data a message holds.

use serde_json::Value;

use crate::{OrderId, TenantId, canonical_email};

/// Whose data is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// That of a buyer.
    Buyer(Person),
    /// All of a tenant.
    Tenant(TenantId),
}

/// A buyer of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The tenant.
    pub tenant: TenantId,
    /// The [canonical form](canonical_email) of the buyer's address.
    pub email: String,
    /// The one order that counts; `None` if all do.
    pub order: Option<OrderId>,
}

/// A stored message, as far as it tells whose it is.
#[derive(Debug, Clone, Copy)]
pub struct StoredMessage<'a> {
    /// The tenant, if the subject names one.
    pub tenant: Option<&'a TenantId>,
    /// `ce-subject`.
    pub order: Option<&'a str>,
    /// The values of all headers, in lines.
    pub headers: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl Whose {
    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        match self {
            Self::Buyer(person) => &person.tenant,
            Self::Tenant(tenant) => tenant,
        }
    }

    /// Whether `message` holds such data. Whoever wrote it may have written anything, so no decoder decides.
    pub fn is_in(&self, message: StoredMessage<'_>) -> bool {
        let json = serde_json::from_slice::<Value>(message.body).ok();
        let named = || json.as_ref()?.get("tenantId")?.as_str();
        let tenant = message.tenant.map(TenantId::as_str).or_else(named);
        match self {
            Self::Tenant(wanted) => tenant == Some(wanted.as_str()),
            // Nobody else could tell whose a message without a tenant is.
            Self::Buyer(person) => {
                tenant.is_none_or(|tenant| tenant == person.tenant.as_str())
                    && person.means(message.order, json.as_ref())
                    && person.is_named_in(message, json.as_ref())
            }
        }
    }
}

impl Person {
    /// Whether a message of that order counts.
    fn means(&self, order: Option<&str>, json: Option<&Value>) -> bool {
        let Some(wanted) = &self.order else {
            return true;
        };
        let wanted = Some(wanted.as_str());
        let at = |pointer| json?.pointer(pointer)?.as_str();
        order == wanted || at("/orderId") == wanted || at("/order/orderId") == wanted
    }

    fn is_named_in(&self, message: StoredMessage<'_>, json: Option<&Value>) -> bool {
        let is_in_body = match json {
            Some(json) => self.is_in(json),
            None => self.is_in_text(&String::from_utf8_lossy(message.body)),
        };
        is_in_body || self.is_in_text(message.headers)
    }

    fn is_in(&self, json: &Value) -> bool {
        match json {
            Value::String(text) => self.is_in_text(text),
            Value::Array(elements) => elements.iter().any(|element| self.is_in(element)),
            Value::Object(members) => members
                .iter()
                .any(|(name, value)| self.is_in_text(name) || self.is_in(value)),
            _ => false,
        }
    }

    /// Whether `text` is the address in any spelling, or has it among other words.
    fn is_in_text(&self, text: &str) -> bool {
        if !text.contains('@') {
            return false;
        }
        let is_address = |text: &str| canonical_email(text) == self.email;
        let ends_word = |c: char| !c.is_alphanumeric() && !"@._%+-'".contains(c);
        let mut words = text.split(ends_word).filter(|word| word.contains('@'));
        words.any(|word| is_address(word) || is_address(word.trim_matches(['.', '\''])))
            || is_address(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "ord_qz74bke6iblutmfkqfvmtezzkq";
    const OTHER: &str = "ord_aaaabke6iblutmfkqfvmtezzka";

    fn buyer(order: Option<&str>) -> Whose {
        Whose::Buyer(Person {
            tenant: "t-1".parse().unwrap(),
            email: canonical_email("Alice@Bücher.example"),
            order: order.map(|order| order.parse().unwrap()),
        })
    }

    fn is_in(whose: &Whose, tenant: Option<&str>, order: Option<&str>, body: &str) -> bool {
        let tenant = tenant.map(|tenant| tenant.parse::<TenantId>().unwrap());
        whose.is_in(StoredMessage {
            tenant: tenant.as_ref(),
            order,
            headers: "writer\nORDERS_COMMANDS:1",
            body: body.as_bytes(),
        })
    }

    #[test]
    fn a_buyer_is_found_by_any_spelling_and_wherever_it_stands() {
        for body in [
            r#"{"buyer":{"email":"alice@xn--bcher-kva.example"}}"#,
            r#"{"order":{"buyerEmail":"ALICE@bücher.EXAMPLE"}}"#,
            r#"[["a",{"alice@xn--bcher-kva.example":1}]]"#,
            r#"{"note":"of <Alice@xn--bcher-kva.example>, by phone"}"#,
            "garbage;alice@xn--bcher-kva.example.",
            r#"{"buyer":{"email":"alice@xn--bcher-kva.example"#,
        ] {
            assert!(is_in(&buyer(None), Some("t-1"), None, body), "{body}");
            assert!(is_in(&buyer(None), None, None, body), "{body}");
            assert!(!is_in(&buyer(None), Some("t-2"), None, body), "{body}");
        }
        let headers = StoredMessage {
            tenant: None,
            order: None,
            headers: "invalid\nproperty alice@xn--bcher-kva.example should not exist",
            body: b"{}",
        };
        assert!(buyer(None).is_in(headers));
    }

    #[test]
    fn others_are_not_taken_for_the_buyer() {
        for body in [
            r#"{"buyer":{"email":"malice@xn--bcher-kva.example"}}"#,
            r#"{"buyer":{"email":"x.alice@xn--bcher-kva.example"}}"#,
            r#"{"buyer":{"email":"alice@xn--bcher-kva.example.com"}}"#,
            r#"{"orderId":"ord_qz74bke6iblutmfkqfvmtezzkq"}"#,
            "malice@xn--bcher-kva.example",
            "",
        ] {
            assert!(!is_in(&buyer(None), Some("t-1"), None, body), "{body}");
        }
        let foreign = r#"{"tenantId":"t-2","email":"alice@xn--bcher-kva.example"}"#;
        assert!(!is_in(&buyer(None), None, None, foreign));
    }

    #[test]
    fn one_order_is_told_from_the_others() {
        let whose = buyer(Some(ONE));
        let email = r#""buyerEmail":"alice@xn--bcher-kva.example""#;
        let body = |id: &str| format!(r#"{{"order":{{"orderId":"{id}",{email}}}}}"#);
        assert!(is_in(&whose, Some("t-1"), None, &body(ONE)));
        assert!(!is_in(&whose, Some("t-1"), None, &body(OTHER)));
        let create = format!("{{{email}}}");
        assert!(is_in(&whose, Some("t-1"), Some(ONE), &create));
        assert!(!is_in(&whose, Some("t-1"), Some(OTHER), &create));
    }

    #[test]
    fn all_of_a_tenant_is_what_names_it() {
        let whose = Whose::Tenant("t-1".parse().unwrap());
        assert!(is_in(&whose, Some("t-1"), None, "garbage"));
        assert!(is_in(&whose, None, None, r#"{"tenantId":"t-1"}"#));
        assert!(!is_in(&whose, None, None, "garbage"));
        assert!(!is_in(&whose, Some("t-2"), None, r#"{"tenantId":"t-1"}"#));
    }
}
