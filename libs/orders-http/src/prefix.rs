use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};

pub(crate) const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The path that a proxy takes away from what clients ask for: `/shop`, or nothing.
///
/// [`Front`](crate::Front) leaves the header only if a trusted proxy sent it.
#[must_use]
pub fn prefix(headers: &HeaderMap) -> &str {
    let told = headers
        .get(FORWARDED_PREFIX)
        .and_then(|told| told.to_str().ok());
    told.unwrap_or_default().trim_end_matches('/')
}

/// Whether a path is a prefix as [`prefix`] gives them, and leads to no other host.
pub(crate) fn is_prefix(path: &HeaderValue) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let mut segments = path
        .to_str()
        .unwrap_or_default()
        .trim_end_matches('/')
        .split('/');
    segments.next() == Some("")
        && segments.all(|part| !part.is_empty() && part.chars().all(is_plain))
}

/// Makes the references in the heads of responses lead where clients find the daemon: below the prefix.
pub async fn below(request: Request, next: Next) -> Response {
    let base = prefix(request.headers()).to_owned();
    let mut response = next.run(request).await;
    if !base.is_empty() {
        move_references(response.headers_mut(), &base);
    }
    response
}

/// Moves the references of a header's value below a base.
type Move = fn(&str, &str) -> String;

fn move_references(headers: &mut HeaderMap, base: &str) {
    let moves: [(HeaderName, Move); 2] = [
        (header::LOCATION, |base, path| match path.starts_with('/') {
            true => format!("{base}{path}"),
            false => path.to_owned(),
        }),
        (header::LINK, |base, links| {
            links.replace("</", &format!("<{base}/"))
        }),
    ];
    for (name, moved) in moves {
        let value = headers.get(&name).and_then(|value| value.to_str().ok());
        if let Some(Ok(value)) = value.map(|value| HeaderValue::try_from(moved(base, value))) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_moved_below_a_base() {
        let moved = |base: &str| {
            let mut headers = HeaderMap::new();
            let location = HeaderValue::from_static("/api/orders/1?tenantId=t");
            headers.insert(header::LOCATION, location);
            let links = "</api/orders?page=2>; rel=\"next\", </api/orders>; rel=\"first\"";
            headers.insert(header::LINK, HeaderValue::from_static(links));
            move_references(&mut headers, base);
            let shown = |name| headers[name].to_str().unwrap().to_owned();
            [shown(header::LOCATION), shown(header::LINK)]
        };
        let below = |base: &str| {
            let links = format!(
                "<{base}/api/orders?page=2>; rel=\"next\", <{base}/api/orders>; rel=\"first\""
            );
            [format!("{base}/api/orders/1?tenantId=t"), links]
        };
        for base in ["/shop", "/a/b"] {
            assert_eq!(moved(base), below(base));
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::LOCATION, HeaderValue::from_static("https://h/"));
        move_references(&mut headers, "/shop");
        assert_eq!(headers[header::LOCATION], "https://h/");
    }

    #[test]
    fn a_prefix_leads_to_no_other_host() {
        let is_prefix = |path: &'static str| is_prefix(&HeaderValue::from_static(path));
        assert!(["/shop", "/shop/", "/a/b-c.d"].into_iter().all(is_prefix));
        assert!(
            ![
                "shop",
                "//evil.example",
                "/a//b",
                "/\"",
                "/%2F",
                "https://h"
            ]
            .into_iter()
            .any(is_prefix)
        );
    }
}
