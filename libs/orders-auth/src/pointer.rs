//! Where a setting finds a claim: JSON pointers (RFC 6901).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A JSON pointer to a claim, such as `/org_id`; in a name, `~1` stands for `/` and `~0` for `~`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pointer(String);

impl Pointer {
    /// The claim, unless there is none; `null` counts as none.
    pub(crate) fn find<'a>(&self, claims: &'a Value) -> Option<&'a Value> {
        claims.pointer(&self.0).filter(|claim| !claim.is_null())
    }

    /// Whether it leads to or into the member `name` of the claims.
    pub(crate) fn is_below(&self, name: &str) -> bool {
        self.0.split('/').nth(1) == Some(name)
    }
}

impl TryFrom<String> for Pointer {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_pointer = text.len() > 1 && text.starts_with('/');
        match is_pointer {
            true => Ok(Self(text)),
            false => Err("must be a JSON pointer, such as /tenant"),
        }
    }
}

impl From<Pointer> for String {
    fn from(Pointer(text): Pointer) -> Self {
        text
    }
}

/// A claim with a value: `/roles=orders-operators`. The claim is the value, or an array or an object with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Match {
    pub(crate) pointer: Pointer,
    value: String,
}

impl Match {
    /// Whether the claims have it.
    pub(crate) fn is_in(&self, claims: &Value) -> bool {
        match self.pointer.find(claims) {
            Some(Value::String(text)) => *text == self.value,
            Some(Value::Array(items)) => items.iter().any(|item| *item == *self.value),
            Some(Value::Object(members)) => members.contains_key(&self.value),
            _ => false,
        }
    }
}

impl TryFrom<String> for Match {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let wrong = "must be a JSON pointer, = and a value, such as /roles=orders-operators";
        let (pointer, value) = text.rsplit_once('=').ok_or(wrong)?;
        if value.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            pointer: Pointer::try_from(pointer.to_owned()).map_err(|_| wrong)?,
            value: value.to_owned(),
        })
    }
}

impl From<Match> for String {
    fn from(claim: Match) -> Self {
        format!("{}={}", claim.pointer.0, claim.value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> Pointer {
        Pointer::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_pointer_leads_to_a_claim() {
        let claims = json!({"o": {"id": "t"}, "https://x/y": 1, "none": null});
        assert_eq!(pointer("/o/id").find(&claims), Some(&json!("t")));
        assert_eq!(pointer("/https:~1~1x~1y").find(&claims), Some(&json!(1)));
        assert_eq!(pointer("/none").find(&claims), None);
        assert_eq!(pointer("/o/id/x").find(&claims), None);
        for text in ["", "/", "tenant", "$.tenant"] {
            assert!(Pointer::try_from(text.to_owned()).is_err(), "{text:?}");
        }
        assert!(pointer("/user_metadata/t").is_below("user_metadata"));
        assert!(!pointer("/app_metadata/user_metadata").is_below("user_metadata"));
    }

    #[test]
    fn a_claim_is_the_value_or_has_it() {
        let operator = Match::try_from("/roles=ops".to_owned()).unwrap();
        for (roles, expected) in [
            (json!("ops"), true),
            (json!(["a", "ops"]), true),
            (json!({"ops": {}}), true),
            (json!("opsx"), false),
            (json!("a ops"), false),
            (json!([["ops"]]), false),
            (json!({"a": "ops"}), false),
            (json!(true), false),
        ] {
            assert_eq!(operator.is_in(&json!({ "roles": roles })), expected);
        }
        assert!(!operator.is_in(&json!({})));
        assert_eq!(String::from(operator), "/roles=ops");
        for text in ["", "/roles", "/roles=", "roles=x", "=x"] {
            assert!(Match::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }
}
