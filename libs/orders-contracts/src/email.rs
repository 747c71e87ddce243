//! E-mail addresses as lists hold them.

use unicode_normalization::UnicodeNormalization;

/// The canonical form of an e-mail address: lower case, with its domain in ASCII. `orders_read` holds it and filters look
/// for it, so that a buyer is found by any spelling: `A@Bücher.example` is `a@xn--bcher-kva.example`.
pub fn canonical_email(address: &str) -> String {
    let lower = |text: &str| text.to_lowercase().nfc().collect::<String>();
    let Some((name, domain)) = address.rsplit_once('@') else {
        return lower(address);
    };
    let domain = idna::domain_to_ascii(domain).unwrap_or_else(|_| lower(domain));
    format!("{}@{domain}", lower(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_address_have_one_canonical_form() {
        for (address, canonical) in [
            ("alice@example.com", "alice@example.com"),
            ("Alice+Shop@Example.COM", "alice+shop@example.com"),
            ("a@bücher.example", "a@xn--bcher-kva.example"),
            ("a@BÜCHER.example", "a@xn--bcher-kva.example"),
            ("a@bu\u{308}cher.example", "a@xn--bcher-kva.example"),
            ("a@XN--BCHER-KVA.example", "a@xn--bcher-kva.example"),
            ("a@例え.テスト", "a@xn--r8jz45g.xn--zckzah"),
            ("JOSE\u{301}@example.com", "josé@example.com"),
            ("\"A@b\"@Example.com", "\"a@b\"@example.com"),
            // No valid Punycode, and no address at all: rows may hold anything.
            ("a@xn--A.example", "a@xn--a.example"),
            ("Nobody", "nobody"),
        ] {
            assert_eq!(canonical_email(address), canonical);
        }
    }

    proptest! {
        #[test]
        fn a_canonical_form_is_its_own(address in "\\PC{0,20}@?\\PC{0,20}") {
            let canonical = canonical_email(&address);
            prop_assert_eq!(canonical_email(&canonical), canonical);
        }
    }
}
