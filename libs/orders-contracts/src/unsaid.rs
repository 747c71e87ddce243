//! What logs leave out of the text of an error: what a sender wrote may be personal.

use crate::FieldError;

/// The rule about members that nothing reads, and the beginning of the one about members that come twice. Both go with
/// names that the sender chose.
pub(crate) const UNKNOWN: &str = "should not exist";
pub(crate) const TWICE: &str = "must not have the property ";

/// The text of a decoder's `error`, without the value that it repeats.
pub fn without_value(error: &str) -> String {
    for kind in ["invalid type", "invalid value", "unknown variant"] {
        let Some(rest) = error.strip_prefix(kind) else {
            continue;
        };
        // The value itself may have these words in it, but not behind them.
        let end = rest.rfind(", expected").unwrap_or(rest.len());
        let (found, expected) = rest.split_at(end);
        let what = found.split(['"', '`']).next().unwrap_or_default();
        return format!("{kind}{}{expected}", what.trim_end());
    }
    // bson says what it found in several ways.
    match error.split_once(" got ") {
        Some((expected, _)) if error.starts_with("expect") => expected
            .trim_end_matches(" instead")
            .trim_end_matches(" but")
            .trim_end_matches(',')
            .to_owned(),
        _ => error.to_owned(),
    }
}

impl FieldError {
    /// The message without names that the sender chose.
    pub fn for_log(&self) -> String {
        let place = |mark: &str| self.message.split(mark).next().unwrap_or_default();
        if self.pointer.starts_with("#/metadata/") {
            format!("metadata.a property {}", self.detail)
        } else if self.detail == UNKNOWN {
            format!("{}a property {UNKNOWN}", place("property "))
        } else if self.detail.starts_with(TWICE) {
            format!("{}must not have a property twice", place(TWICE))
        } else {
            self.message.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CreateOrder, OrderEvent};

    const CANARY: &str = "canary@example.com";

    #[test]
    fn an_error_of_a_decoder_repeats_no_value() {
        for (json, text) in [
            (
                r#"{"tenantId":7}"#,
                "invalid type: integer, expected a string at line 1 column 13",
            ),
            (
                r#"{"tenantId":"t","version":"canary@example.com, expected \" u8"}"#,
                "invalid type: string, expected u32 at line 1 column 63",
            ),
            (
                r#"{"tenantId":"t","version":1,"order":[]}"#,
                "invalid length 0, expected struct OrderSnapshot with 12 elements at line 1 column 38",
            ),
        ] {
            let error = serde_json::from_str::<OrderEvent>(json).unwrap_err();
            let said = without_value(&error.to_string());
            assert!(!said.contains("canary"), "{said}");
            let kind = |text: &str| text.split(" at line").next().unwrap().to_owned();
            assert_eq!(kind(&said), kind(text));
        }
        let variant = "unknown variant `canary@example.com`, expected `PENDING` or `PAID`";
        let said = "unknown variant, expected `PENDING` or `PAID`";
        assert_eq!(without_value(variant), said);
        for found in [", got X", ", instead got X", ", but got X instead"] {
            let error = format!("expecting Decimal128{}", found.replace('X', CANARY));
            assert_eq!(without_value(&error), "expecting Decimal128");
        }
        assert_eq!(
            without_value("invalid type: map, expected u8"),
            "invalid type: map, expected u8"
        );
    }

    #[test]
    fn a_fault_names_no_member_that_the_sender_named() {
        for (json, said) in [
            (r#"{"canary@example.com":1}"#, "a property should not exist"),
            (
                r#"{"buyer":{"canary@example.com":1}}"#,
                "buyer.a property should not exist",
            ),
            (
                r#"{"metadata":{"canary@example.com":1}}"#,
                "metadata.a property must be a string",
            ),
            (
                r#"{"buyer":{"canary@example.com":1,"canary@example.com":2}}"#,
                "buyer must not have a property twice",
            ),
        ] {
            let faults = CreateOrder::parse(json.as_bytes(), None, None)
                .unwrap_err()
                .0;
            assert!(faults.iter().any(|fault| fault.message.contains(CANARY)));
            let texts: Vec<String> = faults.iter().map(FieldError::for_log).collect();
            assert!(!texts.join(" ").contains("canary"), "{texts:?}");
            assert!(texts.iter().any(|text| text == said), "{texts:?}");
        }
    }
}
