//! How pages show what an order has.

use idna::uts46::{AsciiDenyList, Hyphens, Uts46};
use orders_contracts::{Money, Timestamp};

/// A client's text without the characters by which it would be shown in another order than it is written.
///
/// Templates also put it into `<bdi>`, so that a text from right to left moves nothing beside it.
pub(super) fn plain(text: &str) -> String {
    text.replace(is_deceptive, "\u{fffd}")
}

/// Control characters, line separators, and what embeds, overrides or isolates a direction.
fn is_deceptive(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An e-mail address with its domain as people write it: `a@bücher.example`.
///
/// A domain that is not valid stays as it is, and a label that looks like another one stays in ASCII.
pub(super) fn email(address: &str) -> String {
    let readable = || {
        let (name, domain) = address.rsplit_once('@')?;
        let (domain, outcome) = Uts46::new().to_user_interface(
            domain.as_bytes(),
            AsciiDenyList::URL,
            Hyphens::Allow,
            |label, _, _| !mixes_latin(label),
        );
        outcome.ok().map(|()| format!("{name}@{domain}"))
    };
    plain(&readable().unwrap_or_else(|| address.to_owned()))
}

/// Whether Latin letters stand among those of another script, as in `apple` with a Cyrillic `a`.
fn mixes_latin(label: &[char]) -> bool {
    let is_latin = |c: &char| matches!(c, '\0'..='\u{24f}' | '\u{1e00}'..='\u{1eff}');
    label.iter().any(char::is_ascii_alphabetic) && !label.iter().all(is_latin)
}

/// `2025-08-26 09:00`, in UTC.
pub(super) fn minutes(moment: Timestamp) -> String {
    moment
        .to_string()
        .chars()
        .take(16)
        .collect::<String>()
        .replace('T', " ")
}

/// With at least two decimals: `99.80`.
pub(super) fn amount(money: Money) -> String {
    let text = money.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}.{decimals:0<2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_changes_the_order_in_which_a_text_is_read() {
        for (written, shown) in [
            ("invoice\u{202e}fdp.exe", "invoice\u{fffd}fdp.exe"),
            (
                "a\u{2066}b\u{2069}\u{2028}\r\nc",
                "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{fffd}c",
            ),
            // Persian needs the non-joiner, an emoji the joiner, and an Arabic text may carry its mark.
            ("می\u{200c}خواهم.pdf", "می\u{200c}خواهم.pdf"),
            ("👩\u{200d}💻 \u{200f}قائمة", "👩\u{200d}💻 \u{200f}قائمة"),
        ] {
            assert_eq!(plain(written), shown);
        }
    }

    #[test]
    fn domains_are_shown_as_people_write_them_unless_they_deceive() {
        for (stored, shown) in [
            ("alice@example.com", "alice@example.com"),
            ("a@xn--bcher-kva.example", "a@bücher.example"),
            ("\"x@y\"@xn--bcher-kva.example", "\"x@y\"@bücher.example"),
            ("a@xn--r8jz45g.xn--zckzah", "a@例え.テスト"),
            // A Cyrillic `a` before `pple`, sent in either form.
            ("a@xn--pple-43d.com", "a@xn--pple-43d.com"),
            ("a@\u{430}pple.com", "a@xn--pple-43d.com"),
            // No valid Punycode.
            ("a@xn--a.example", "a@xn--a.example"),
            ("a\u{202e}b@example.com", "a\u{fffd}b@example.com"),
            ("nobody", "nobody"),
        ] {
            assert_eq!(email(stored), shown);
        }
    }

    #[test]
    fn amounts_have_two_decimals_or_more() {
        for (number, shown) in [
            ("0", "0.00"),
            ("99.8", "99.80"),
            ("99.98", "99.98"),
            ("0.125", "0.125"),
        ] {
            assert_eq!(amount(number.parse().unwrap()), shown);
        }
    }

    #[test]
    fn moments_are_shown_to_the_minute() {
        let moment = "2025-08-26T09:01:59.999Z".parse().unwrap();
        assert_eq!(minutes(moment), "2025-08-26 09:01");
    }
}
