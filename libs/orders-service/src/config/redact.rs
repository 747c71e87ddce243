//! Texts without credentials.

use std::fmt::Write as _;

/// Hides the credentials in every URL of a text: `mongodb://user:***@host/db`, `nats://***@host`.
///
/// Except in URLs of the web, everything up to the last `@` counts as credentials, because people forget to encode `/`
/// and `?` in a password.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut parts = text.split("://");
    let mut redacted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_web = redacted.ends_with("http") || redacted.ends_with("https");
        redacted.push_str("://");
        let ends: &[char] = match is_web {
            true => &['/', '?', '#', '"', '\'', ' ', '\n'],
            false => &['"', '\'', ' ', '\n'],
        };
        let end = part.find(ends).unwrap_or(part.len());
        let (url, rest) = part.split_at(end);
        match url.rsplit_once('@') {
            Some((credentials, host)) => {
                let user = credentials
                    .split_once(':')
                    .map(|(user, _)| format!("{user}:"));
                let _ = write!(redacted, "{}***@{host}{rest}", user.unwrap_or_default());
            }
            None => redacted.push_str(part),
        }
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_and_nothing_else() {
        for (text, redacted) in [
            ("mongodb://u:p@h1:1,h2:2/db", "mongodb://u:***@h1:1,h2:2/db"),
            ("mongodb://u:p@ss@h", "mongodb://u:***@h"),
            ("mongodb://u:p/s?s#@h/db", "mongodb://u:***@h/db"),
            ("mongodb+srv://u:1/2@h", "mongodb+srv://u:***@h"),
            ("nats://token@h:4222", "nats://***@h:4222"),
            ("nats://t/ken@h:4222", "nats://***@h:4222"),
            ("nats://a:b@h,nats://c:d@h", "nats://a:***@h,nats://c:***@h"),
            (
                "nats_url = \"nats://a:b/c@h\" # @",
                "nats_url = \"nats://a:***@h\" # @",
            ),
            ("https://u:p@h/@me", "https://u:***@h/@me"),
            ("http://localhost:3000/@me", "http://localhost:3000/@me"),
            ("mail me@example.com", "mail me@example.com"),
        ] {
            assert_eq!(redact(text), redacted);
        }
    }
}
