//! The claims of a token whose signature is verified, by type. A claim of another type refuses the token; it never
//! counts as absent.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::{Reason, Refusal};

/// The most characters of a subject or a client.
const LONGEST_NAME: usize = 255;

/// The claims that decide here.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: Audience,
    pub(crate) exp: NumericDate,
    pub(crate) iat: NumericDate,
    #[serde(default, deserialize_with = "present")]
    pub(crate) sub: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) client_id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) azp: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) sid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) jti: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) nonce: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) at_hash: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) cnf: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    pub(crate) events: Option<Value>,
}

/// One recipient or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Audience {
    One(String),
    Many(Vec<String>),
}

/// A time in seconds, perhaps with a fraction, which does not count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumericDate(pub(crate) DateTime<Utc>);

impl Claims {
    pub(crate) fn read(claims: &Value) -> Result<Self, Refusal> {
        Self::deserialize(claims).map_err(|_| Refusal::Invalid(Reason::Shape))
    }

    /// `sub`, of 1 to 255 characters.
    pub(crate) fn subject(&self) -> Result<String, Refusal> {
        let subject = self.sub.as_ref().filter(|subject| is_name(subject));
        subject.cloned().ok_or(Refusal::Invalid(Reason::Subject))
    }

    /// `client_id`, else `azp`.
    pub(crate) fn client(&self) -> Option<&str> {
        self.client_id.as_deref().or(self.azp.as_deref())
    }
}

impl Audience {
    pub(crate) fn contains(&self, recipient: &str) -> bool {
        match self {
            Self::One(one) => one == recipient,
            Self::Many(many) => many.iter().any(|one| one == recipient),
        }
    }

    /// Whether there are others than one.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Many(many) if many.len() != 1)
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = serde_json::Number::deserialize(deserializer)?;
        let whole = seconds.as_i64().or_else(|| {
            let fits = |seconds: &f64| seconds.abs() < 1e12;
            seconds
                .as_f64()
                .filter(fits)
                .map(|seconds| seconds.floor() as i64)
        });
        let time = whole.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        time.map(Self).ok_or_else(|| D::Error::custom("no time"))
    }
}

/// Whether `text` names somebody: 1 to 255 characters, none of which could break a line of a log.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// A member that is there, so `null` is not the same as none.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(name: &str, value: Value) -> Result<Claims, Refusal> {
        let mut claims = json!({"iss": "i", "aud": "a", "exp": 2, "iat": 1, "sub": "s"});
        claims[name] = value;
        Claims::read(&claims)
    }

    #[test]
    fn claims_are_read_by_type() {
        let claims = with("azp", json!("c")).unwrap();
        assert_eq!(claims.subject().as_deref(), Ok("s"));
        assert_eq!(claims.client(), Some("c"));
        assert!(with("exp", json!(1.9)).unwrap().exp.0.timestamp() == 1);
        assert!(with("aud", json!(["b", "a"])).unwrap().aud.contains("a"));
        assert!(with("aud", json!(["b", "a"])).unwrap().aud.is_shared());
        assert!(!with("aud", json!(["a"])).unwrap().aud.is_shared());
        assert!(with("aud", json!([])).unwrap().aud.is_shared());
    }

    #[test]
    fn a_claim_of_another_type_is_not_an_absent_one() {
        for (name, value) in [
            ("iss", json!(["i"])),
            ("iss", json!(null)),
            ("aud", json!(1)),
            ("aud", json!([1])),
            ("aud", json!({"a": 1})),
            ("exp", json!("2")),
            ("exp", json!(null)),
            ("exp", json!([2])),
            ("exp", json!(1e300)),
            ("iat", json!(true)),
            ("sub", json!(1)),
            ("sub", json!(null)),
            ("client_id", json!(null)),
            ("azp", json!([])),
            ("sid", json!(1)),
            ("jti", json!({})),
        ] {
            assert!(with(name, value.clone()).is_err(), "{name}: {value}");
        }
        assert!(with("cnf", json!(null)).unwrap().cnf.is_some());
    }

    #[test]
    fn names_have_1_to_255_characters_on_one_line() {
        assert!(is_name("auth0|a b") && is_name(&"é".repeat(255)));
        for text in ["", "a\nb", "a\u{7}", &"x".repeat(256)] {
            assert!(!is_name(text), "{text:?}");
        }
    }
}
