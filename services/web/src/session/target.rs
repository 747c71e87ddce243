//! Where a visitor goes after the login.

/// Longer than any link of ours.
const LONGEST: usize = 2_000;

/// The path and query `text` if it leads to a page of ours, and else `/`.
///
/// Browsers drop tabs and line feeds from a URL, and take a backslash for a slash: `/\evil.example` is another site.
pub(crate) fn target(text: &str) -> &str {
    let mut bytes = text.bytes();
    let is_path = bytes.next() == Some(b'/') && bytes.next() != Some(b'/');
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    match is_path && is_plain && text.len() <= LONGEST {
        true => text,
        false => "/",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::Url;

    use super::*;

    #[test]
    fn pages_of_ours_are_kept() {
        for path in ["/", "/orders?tenantId=t-1&page=2", "/orders/ord_x", "/a//b"] {
            assert_eq!(target(path), path);
        }
    }

    #[test]
    fn other_sites_are_not() {
        let long = format!("/{}", "x".repeat(LONGEST));
        for text in [
            "",
            "orders",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "https://evil.example",
            "/x\r\nset-cookie: a=b",
            "/\u{e9}",
            &long,
        ] {
            assert_eq!(target(text), "/", "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_leads_to_this_site(text in "[/\\\\.:@?#a-z\\t\\n %]{0,12}") {
            let page = Url::parse("https://shop.example/login/callback").unwrap();
            // As a redirect has it, and as the page after a login has it.
            for reference in [target(&text).to_owned(), format!("..{}", target(&text))] {
                let led = page.join(&reference).unwrap();
                prop_assert_eq!(led.origin(), page.origin(), "{}", led);
            }
        }
    }
}
