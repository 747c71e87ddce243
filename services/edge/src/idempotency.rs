//! The header `Idempotency-Key`, which may stand in for `requestId`.

use axum::http::HeaderMap;
use orders_contracts::{RequestId, http_header::IDEMPOTENCY_KEY};

use crate::problem::Problem;

/// The values that [`key`] accepts, for the documentation.
pub(crate) const PATTERN: &str = r#"^([!#-+\--~]{1,255}|"([ !#-\[\]-~]|\\["\\]){1,255}")$"#;

/// The key, if the client sent one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<RequestId>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::bad_request(
            "Idempotency-Key must not be given more than once",
        ));
    }
    let key = value
        .to_str()
        .ok()
        .and_then(parse)
        .and_then(|key| key.try_into().ok());
    key.map(Some).ok_or_else(|| {
        Problem::bad_request("Idempotency-Key must be 1 to 255 visible ASCII characters")
    })
}

/// Reads a string as RFC 8941 quotes it, `"8e03978e"`, or without quotes, as most clients send it.
fn parse(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else {
        // A comma means that a proxy joined two of these headers.
        let is_one = value
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'"' && b != b',');
        return is_one.then(|| value.to_owned());
    };
    let mut key = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(key),
            '\\' => key.push(chars.next().filter(|c| matches!(c, '"' | '\\'))?),
            c if c.is_ascii_graphic() || c == ' ' => key.push(c),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>, Problem> {
        let headers = values.iter().map(|value| {
            (
                HeaderName::from_static(IDEMPOTENCY_KEY),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| _ = map.append(name, value));
        key(&map).map(|key| key.map(|key| key.to_string()))
    }

    #[test]
    fn a_key_comes_quoted_or_bare() {
        let longest = "k".repeat(255);
        for (value, key) in [
            ("\"8e03978e-40d5\"", "8e03978e-40d5"),
            ("8e03978e-40d5", "8e03978e-40d5"),
            (r#""a \"b\" \\ c""#, r#"a "b" \ c"#),
            (&longest, &longest),
        ] {
            assert_eq!(read(&[value]), Ok(Some(key.to_owned())), "{value}");
        }
        assert_eq!(read(&[]), Ok(None));
    }

    #[test]
    fn anything_else_is_refused() {
        let too_long = "k".repeat(256);
        for bad in [
            "",
            "\"\"",
            "\"open",
            "\"a\"b",
            "\"a\";p=1",
            "a b",
            "a,b",
            "a\"b",
            r#""\n""#,
            "é",
            &too_long,
        ] {
            assert!(read(&[bad]).is_err(), "{bad}");
        }
        assert!(read(&["a", "a"]).is_err());
    }
}
