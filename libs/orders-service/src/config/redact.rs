//! Texts without credentials.

use std::fmt::Write as _;

/// Hides the credentials in every URL of a text: `mongodb://user:***@host/db`, `nats://***@host`.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut parts = text.split("://");
    let mut redacted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        redacted.push_str("://");
        let end = part
            .find(['/', '?', '#', '"', '\'', ' ', '\n'])
            .unwrap_or(part.len());
        let (authority, rest) = part.split_at(end);
        match authority.rsplit_once('@') {
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
            (
                "mongodb://u:p@h1:1,h2:2/db?x=a@b",
                "mongodb://u:***@h1:1,h2:2/db?x=a@b",
            ),
            ("mongodb://u:p@ss@h", "mongodb://u:***@h"),
            ("nats://token@h:4222", "nats://***@h:4222"),
            ("nats://a:b@h,nats://c:d@h", "nats://a:***@h,nats://c:***@h"),
            ("http://localhost:3000/@me", "http://localhost:3000/@me"),
            ("mail me@example.com", "mail me@example.com"),
        ] {
            assert_eq!(redact(text), redacted);
        }
    }
}
