//! A signed token in its compact form, before anything of it is believed.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use crate::{Reason, Refusal, strict};

/// The most bytes of a token.
const LONGEST: usize = 16 << 10;

/// A token whose header is read and whose claims are not.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    /// The token.
    pub(crate) text: &'a str,
    /// `alg`.
    pub(crate) algorithm: String,
    /// `kid`.
    pub(crate) key_id: Option<String>,
    /// `typ`, in lower case and without `application/`.
    kind: Option<String>,
    payload: Vec<u8>,
}

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Access, as RFC 9068 has it.
    Access,
    /// Access, for providers whose tokens do not say so.
    PlainAccess,
    /// To say who has logged in.
    Id,
    /// To say who has logged out.
    Logout,
}

impl<'a> Jws<'a> {
    pub(crate) fn read(text: &'a str) -> Result<Self, Refusal> {
        let shape = Refusal::Invalid(Reason::Shape);
        if text.len() > LONGEST {
            return Err(shape);
        }
        let segments: Vec<_> = text.split('.').collect();
        let [header, payload, signature] = segments.as_slice() else {
            return Err(shape);
        };
        let decode = |segment: &str| BASE64URL_NOPAD.decode(segment.as_bytes()).ok();
        let header = decode(header).and_then(|json| strict::object(&json));
        let (Some(header), Some(payload), Some(_)) = (header, decode(payload), decode(signature))
        else {
            return Err(shape);
        };
        // We understand no extension, so none may be critical (RFC 7515 section 4.1.11).
        if header.contains_key("crit") {
            return Err(Refusal::Invalid(Reason::Critical));
        }
        let kind = text_of(&header, "typ")?.map(|kind| {
            let kind = kind.to_ascii_lowercase();
            kind.strip_prefix("application/")
                .map_or_else(|| kind.clone(), str::to_owned)
        });
        Ok(Self {
            text,
            algorithm: text_of(&header, "alg")?.ok_or(Refusal::Invalid(Reason::Algorithm))?,
            key_id: text_of(&header, "kid")?,
            kind,
            payload,
        })
    }

    /// Refuses a token of another type: one made for another use must not pass as this one.
    pub(crate) fn require(&self, purpose: Use) -> Result<(), Refusal> {
        let fits = match (purpose, self.kind.as_deref()) {
            (Use::Access, kind) => kind == Some("at+jwt"),
            (Use::PlainAccess, kind) => matches!(kind, None | Some("jwt" | "at+jwt")),
            (Use::Id, kind) => matches!(kind, None | Some("jwt")),
            (Use::Logout, kind) => kind == Some("logout+jwt"),
        };
        fits.then_some(()).ok_or(Refusal::Invalid(Reason::Type))
    }

    /// The claims. Whoever believes them has verified the signature.
    pub(crate) fn claims(&self) -> Result<Value, Refusal> {
        strict::object(&self.payload)
            .map(Value::Object)
            .ok_or(Refusal::Invalid(Reason::Shape))
    }
}

fn text_of(header: &Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::Invalid(Reason::Shape)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str) -> String {
        let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        format!("{}.{}.{}", encode(header), encode("{}"), encode("s"))
    }

    fn kind(header: &str, purpose: Use) -> bool {
        Jws::read(&token(header)).unwrap().require(purpose).is_ok()
    }

    #[test]
    fn a_header_is_read() {
        let token = token(r#"{"alg":"ES256","kid":"k1","typ":"Application/AT+JWT","x":[]}"#);
        let jws = Jws::read(&token).unwrap();
        assert_eq!(jws.algorithm, "ES256");
        assert_eq!(jws.key_id.as_deref(), Some("k1"));
        assert_eq!(jws.require(Use::Access), Ok(()));
        assert_eq!(jws.claims(), Ok(serde_json::json!({})));
    }

    #[test]
    fn a_token_is_good_for_one_use() {
        let uses = [Use::Access, Use::PlainAccess, Use::Id, Use::Logout];
        for (typ, good) in [
            (r#","typ":"at+jwt""#, [true, true, false, false]),
            (r#","typ":"JWT""#, [false, true, true, false]),
            ("", [false, true, true, false]),
            (r#","typ":"logout+jwt""#, [false, false, false, true]),
            (r#","typ":"dpop+jwt""#, [false; 4]),
            (r#","typ":"application/x/at+jwt""#, [false; 4]),
            (r#","typ":"at+jwt ""#, [false; 4]),
        ] {
            let header = format!(r#"{{"alg":"ES256"{typ}}}"#);
            assert_eq!(uses.map(|purpose| kind(&header, purpose)), good, "{header}");
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        let good = token(r#"{"alg":"ES256"}"#);
        assert!(Jws::read(&good).is_ok());
        let shape = Reason::Shape;
        for (text, reason) in [
            (String::new(), shape),
            ("..".to_owned(), shape),
            ("a.b".to_owned(), shape),
            (format!("{good}."), shape),
            (format!(".{good}"), shape),
            (format!("{good}="), shape),
            (format!("{good} "), shape),
            (format!("{good}\u{2003}"), shape),
            (good.replacen('.', "+.", 1), shape),
            (format!("{good}{}", "A".repeat(16 << 10)), shape),
            (token("[]"), shape),
            (token(r#"{"alg":"ES256","alg":"ES256"}"#), shape),
            (token(r#"{"alg":"ES256","kid":1}"#), shape),
            (token(r#"{"alg":"ES256","kid":null}"#), shape),
            (token(r#"{"alg":"ES256","typ":["at+jwt"]}"#), shape),
            (token(r#"{"alg":["ES256"]}"#), shape),
            (token(r#"{"kid":"a"}"#), Reason::Algorithm),
            (
                token(r#"{"alg":"ES256","crit":["b64"],"b64":true}"#),
                Reason::Critical,
            ),
            (token(r#"{"alg":"ES256","crit":[]}"#), Reason::Critical),
        ] {
            let refused = Jws::read(&text).unwrap_err();
            assert_eq!(refused, Refusal::Invalid(reason), "{text}");
        }
    }

    #[test]
    fn trailing_bits_make_another_text_of_the_same_bytes() {
        let good = token(r#"{"alg":"ES256"}"#);
        let (rest, signature) = good.rsplit_once('.').unwrap();
        assert_eq!(signature, "cw");
        assert!(Jws::read(&format!("{rest}.cx")).is_err());
    }

    proptest! {
        #[test]
        fn text_never_panics(text in "\\PC{0,64}", header in "\\PC{0,64}") {
            let _ = Jws::read(&text);
            let _ = Jws::read(&token(&header));
        }
    }
}
