//! How pages show what an order has.

use idna::uts46::{AsciiDenyList, Hyphens, Uts46};
use orders_contracts::{Currency, Money, Timestamp};

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
    up_to(moment, "2025-08-26T09:00".len())
}

/// `2025-08-26 09:00:59 UTC`.
pub(super) fn seconds(moment: Timestamp) -> String {
    let text = up_to(moment, "2025-08-26T09:00:59".len());
    format!("{text} UTC")
}

fn up_to(moment: Timestamp, length: usize) -> String {
    let text = moment.to_string();
    text.chars()
        .take(length)
        .collect::<String>()
        .replace('T', " ")
}

/// An amount with its currency: `99.80 EUR`, `1200 JPY`, `99.80`.
pub(super) fn amount(money: Money, currency: Option<Currency>) -> String {
    let digits = digits(money, currency);
    match currency {
        Some(currency) => format!("{digits} {currency}"),
        None => digits,
    }
}

/// All digits of an amount, with the decimals that its currency has or more; two without a currency.
pub(super) fn digits(money: Money, currency: Option<Currency>) -> String {
    let text = money.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let width = usize::from(decimals_of(currency));
    match (decimals, width) {
        ("", 0) => whole.to_owned(),
        _ => format!("{whole}.{decimals:0<width$}"),
    }
}

/// How many decimals amounts of a currency usually have, by ISO 4217.
fn decimals_of(currency: Option<Currency>) -> u16 {
    let listed = currency.and_then(|currency| iso_currency::Currency::from_code(currency.as_str()));
    listed
        .and_then(iso_currency::Currency::exponent)
        .unwrap_or(2)
}

/// `1 item`, `3 items`.
pub(super) fn items(number: u32) -> String {
    match number {
        1 => "1 item".to_owned(),
        number => format!("{number} items"),
    }
}

/// The size of a file: `6 bytes`, `12.3 kB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None if bytes == 1 => "1 byte".to_owned(),
        None => format!("{bytes} bytes"),
    }
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
    fn amounts_have_the_decimals_of_their_currency_or_more() {
        for (number, currency, shown) in [
            ("0", None, "0.00"),
            ("99.8", None, "99.80"),
            ("0.125", None, "0.125"),
            ("99.98", Some("EUR"), "99.98 EUR"),
            ("1200", Some("JPY"), "1200 JPY"),
            ("1200.5", Some("JPY"), "1200.5 JPY"),
            ("1.5", Some("KWD"), "1.500 KWD"),
            // Gold has no smallest unit, and who knows what that is.
            ("1", Some("XAU"), "1.00 XAU"),
            ("1", Some("ZZZ"), "1.00 ZZZ"),
        ] {
            let currency = currency.map(|code: &str| code.parse().unwrap());
            assert_eq!(amount(number.parse().unwrap(), currency), shown);
        }
    }

    #[test]
    fn moments_are_shown_to_the_minute_or_second() {
        let moment = "2025-08-26T09:01:59.999Z".parse().unwrap();
        assert_eq!(minutes(moment), "2025-08-26 09:01");
        assert_eq!(seconds(moment), "2025-08-26 09:01:59 UTC");
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (12_399, "12.3 kB"),
            (5 << 30, "5.3 GB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
