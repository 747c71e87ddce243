use std::str::FromStr;

use crate::{Unparsable, canonical_email};

/// The beginning of an order's id or of a buyer's e-mail address, in the form that rows have: what somebody types who
/// looks for an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Beginning {
    /// Of an id: `ord_`, and perhaps more of what ids have.
    OrderId(String),
    /// Of an address, in its [canonical form](canonical_email): any other text.
    Email(String),
}

impl Beginning {
    /// The first text that begins so, and the first one behind all that do, in the order of their bytes; `None` if there is
    /// nothing behind them.
    pub fn range(&self) -> (&str, Option<String>) {
        let (Self::OrderId(beginning) | Self::Email(beginning)) = self;
        (beginning, behind(beginning))
    }
}

/// The first text behind all that begin with `beginning`. The order of UTF-8 is that of the characters.
fn behind(beginning: &str) -> Option<String> {
    let mut kept = beginning.to_owned();
    while let Some(last) = kept.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            kept.push(next);
            return Some(kept);
        }
    }
    None
}

impl FromStr for Beginning {
    type Err = Unparsable;

    fn from_str(text: &str) -> Result<Self, Unparsable> {
        let id = text.to_ascii_lowercase();
        let is_of_id = |rest: &str| {
            rest.len() <= 26 && rest.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
        };
        match text.chars().count() {
            0 => Err(Unparsable("should not be empty")),
            1..=254 if id.strip_prefix("ord_").is_some_and(is_of_id) => Ok(Self::OrderId(id)),
            1..=254 => Ok(Self::Email(canonical_email(text))),
            _ => Err(Unparsable(
                "must be shorter than or equal to 254 characters",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_can_be_of_an_id_is_and_all_else_is_of_an_address() {
        let id = |text: &str| Beginning::OrderId(text.to_owned());
        let email = |text: &str| Beginning::Email(text.to_owned());
        for (text, expected) in [
            ("ord_", id("ord_")),
            ("ORD_qz7", id("ord_qz7")),
            ("ord", email("ord")),
            ("ord_1", email("ord_1")),
            ("ord_er@shop.example", email("ord_er@shop.example")),
            ("Alice", email("alice")),
            ("Alice@Ex", email("alice@ex")),
            ("a@B\u{fc}cher.example", email("a@xn--bcher-kva.example")),
            (".*", email(".*")),
            ("$ne", email("$ne")),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        assert!("".parse::<Beginning>().is_err());
        assert!("a".repeat(255).parse::<Beginning>().is_err());
    }

    proptest! {
        #[test]
        fn the_range_has_exactly_what_begins_so(
            beginning in "[ab\u{d7ff}\u{e000}\u{10ffff}]{1,3}",
            text in "[abc\u{d7ff}\u{e000}\u{10ffff}]{0,5}",
        ) {
            let range = Beginning::Email(beginning.clone());
            let (first, behind) = range.range();
            let is_within = first <= text.as_str() && behind.is_none_or(|behind| text < behind);
            prop_assert_eq!(is_within, text.starts_with(&beginning));
        }
    }
}
