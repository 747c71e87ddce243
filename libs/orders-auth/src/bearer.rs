use http::HeaderValue;

use crate::Refusal;

/// The credential in the one `Authorization: Bearer` header of a request (RFC 6750), from all its `Authorization`
/// headers.
///
/// None, or one of another scheme, is [`Refusal::Missing`]; two, or one without a token, [`Refusal::Malformed`].
pub fn bearer<'a>(
    mut authorization: impl Iterator<Item = &'a HeaderValue>,
) -> Result<&'a str, Refusal> {
    let header = authorization.next().ok_or(Refusal::Missing)?;
    if authorization.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let text = header.to_str().map_err(|_| Refusal::Malformed)?;
    let (scheme, credential) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::Missing);
    }
    is_token68(credential)
        .then_some(credential)
        .ok_or(Refusal::Malformed)
}

/// Whether `text` is a `b64token` of RFC 6750.
fn is_token68(text: &str) -> bool {
    let bare = text.trim_end_matches('=');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !bare.is_empty() && bare.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[&[u8]]) -> Result<String, Refusal> {
        let headers: Vec<_> = headers
            .iter()
            .map(|bytes| HeaderValue::from_bytes(bytes).unwrap())
            .collect();
        bearer(headers.iter()).map(str::to_owned)
    }

    #[test]
    fn one_header_with_one_token_is_read() {
        for header in ["Bearer a.b-_c", "bearer a.b-_c", "BEARER a.b-_c"] {
            assert_eq!(read(&[header.as_bytes()]), Ok("a.b-_c".to_owned()));
        }
        assert_eq!(read(&[b"Bearer ok_a/b+c~=="]), Ok("ok_a/b+c~==".to_owned()));
    }

    #[test]
    fn other_headers_are_missing_or_malformed() {
        assert_eq!(read(&[]), Err(Refusal::Missing));
        assert_eq!(read(&[b"Basic dTpw"]), Err(Refusal::Missing));
        for headers in [
            &[&b"Bearer a"[..], b"Bearer a"][..],
            &[b"Bearer a", b"Basic dTpw"],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b"Bearer  a"],
            &[b"Bearer a b"],
            &[b"Bearer a,b"],
            &[b"Bearer =a"],
            &[b"Bearer a\tb"],
            &[b"Bearer \xc3\xa9"],
            &["Bearer a\u{2003}b".as_bytes()],
        ] {
            assert_eq!(read(headers), Err(Refusal::Malformed), "{headers:?}");
        }
    }
}
