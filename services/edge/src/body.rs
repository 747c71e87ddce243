//! Request bodies of JSON, read as forgivingly as body-parser reads them where that is safe.

use std::{
    io::{self, Read},
    sync::Arc,
};

use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use orders_contracts::Invalid;
use orders_http::{Intake, Unread, Whole};

use crate::{problem::Problem, state::AppState};

/// NATS takes messages of up to 1 MiB, headers included.
pub(crate) const JSON_LIMIT: usize = 512 << 10;
/// The encodings that [`Coding::of`] knows, for a client that sent another.
const CODINGS: &str = "gzip, deflate";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A body that is labelled as JSON.
#[derive(Debug)]
pub(crate) struct JsonBody {
    whole: Whole,
    coding: Option<Coding>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
}

impl FromRequest<Arc<AppState>> for JsonBody {
    type Rejection = Response;

    async fn from_request(request: Request, edge: &Arc<AppState>) -> Result<Self, Response> {
        Self::receive(request, &edge.intake).await
    }
}

impl JsonBody {
    async fn receive(request: Request, intake: &Intake) -> Result<Self, Response> {
        check_type(request.headers()).map_err(IntoResponse::into_response)?;
        // Other refusals must not name the encodings (RFC 9110 section 12.5.3).
        let coding = Coding::of(request.headers())
            .map_err(|problem| ([(header::ACCEPT_ENCODING, CODINGS)], problem).into_response())?;
        let read = intake.read(request.into_body(), JSON_LIMIT).await;
        let whole = read.map_err(|unread| {
            let problem = match unread {
                Unread::TooLarge => too_large(),
                Unread::Late => Problem::new(
                    StatusCode::REQUEST_TIMEOUT,
                    "The body took longer than 10 s to arrive",
                ),
                Unread::Broken => Problem::bad_request("The body ended too early"),
                Unread::Busy => {
                    Problem::overloaded("Too many large bodies arrive at once, try again")
                }
            };
            problem.into_response()
        })?;
        Ok(Self { whole, coding })
    }

    /// The bytes that came, for whoever signed them.
    pub(crate) fn as_sent(&self) -> Result<&[u8], Problem> {
        match self.coding {
            None => Ok(&self.whole),
            Some(_) => Err(Problem::bad_request(
                "The body must not be compressed, because its signature is of what is sent",
            )),
        }
    }

    /// Parses the body, which is gone afterwards.
    pub(crate) fn parse<T>(
        self,
        parse: impl FnOnce(&[u8]) -> Result<T, Invalid>,
    ) -> Result<T, Problem> {
        let inflated = match self.coding {
            None => None,
            Some(coding) => Some(coding.inflate(&self.whole)?),
        };
        let bytes = inflated.as_deref().unwrap_or(&self.whole);
        if let Err(error) = str::from_utf8(bytes) {
            let position = error.valid_up_to();
            let detail = format!("The body must be UTF-8; byte {position} is not");
            return Err(Problem::bad_request(&detail));
        }
        Ok(parse(bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes))?)
    }
}

impl Coding {
    fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let sent = text(headers, header::CONTENT_ENCODING).unwrap_or_default();
        match sent.to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            other => {
                let other = shown(other);
                let detail = format!("The content encoding must be one of {CODINGS}, not {other}");
                Err(unsupported(detail))
            }
        }
    }

    /// Inflates to no more than the limit, whatever the sender made of it.
    fn inflate(self, bytes: &[u8]) -> Result<Vec<u8>, Problem> {
        let read = |inflated: &mut dyn Read| -> io::Result<Vec<u8>> {
            let mut plain = Vec::new();
            let bounded = &mut inflated.take(JSON_LIMIT as u64 + 1);
            bounded.read_to_end(&mut plain).map(|_| plain)
        };
        let (name, plain) = match self {
            Self::Gzip => ("gzip", read(&mut MultiGzDecoder::new(bytes))),
            Self::Deflate => ("deflate", read(&mut ZlibDecoder::new(bytes))),
        };
        match plain {
            Ok(plain) if plain.len() > JSON_LIMIT => Err(too_large()),
            Ok(plain) => Ok(plain),
            Err(_) => Err(Problem::bad_request(&format!("The body is not {name}"))),
        }
    }
}

fn too_large() -> Problem {
    let detail = "The body must not exceed 512 KiB";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = text(headers, header::CONTENT_TYPE).unwrap_or_default();
    let (name, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !name.trim().eq_ignore_ascii_case("application/json") {
        return Err(unsupported("The content type must be application/json"));
    }
    let parameters = parameters.split(';').filter_map(|one| one.split_once('='));
    let charsets = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    for (_, label) in charsets {
        let label = label.trim().trim_matches('"');
        if !is_utf_8(label) {
            let label = shown(label);
            let detail = format!("The charset must be utf-8, not {label}");
            return Err(unsupported(detail));
        }
    }
    Ok(())
}

/// Whether a charset is UTF-8 by one of the names that clients use (WHATWG Encoding), or ASCII, which is a part of it.
fn is_utf_8(label: &str) -> bool {
    let known = [
        "",
        "utf-8",
        "utf8",
        "unicode-1-1-utf-8",
        "us-ascii",
        "ascii",
    ];
    known.iter().any(|name| label.eq_ignore_ascii_case(name))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::body::Body;
    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    /// What a handler gets of a body, or the status of the refusal.
    async fn read(headers: &[(&str, &str)], body: Vec<u8>) -> Result<Vec<u8>, StatusCode> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        match JsonBody::receive(request, &Intake::new()).await {
            Ok(body) => {
                let parsed = body.parse(|bytes| Ok(bytes.to_vec()));
                parsed.map_err(|problem| problem.into_response().status())
            }
            Err(refusal) => Err(refusal.status()),
        }
    }

    #[tokio::test]
    async fn json_is_read_under_any_name_of_utf_8() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; charset=utf8",
            "application/json; charset=UTF8",
            "application/json; charset=us-ascii",
            "application/json; charset=",
            "application/json;",
            "application/json; v=1; charset=utf-8",
        ] {
            let read = read(&[("content-type", good)], b"{}".to_vec()).await;
            assert_eq!(read, Ok(b"{}".to_vec()), "{good}");
        }
        let bad = [
            "text/plain",
            "application/jsonp",
            "application/json; charset=latin1",
            "application/json; charset=utf-16",
            "",
            "application/problem+json",
        ];
        let refused = Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        for bad in bad {
            assert_eq!(
                read(&[("content-type", bad)], Vec::new()).await,
                refused,
                "{bad}"
            );
        }
        assert_eq!(read(&[], Vec::new()).await, refused);
    }

    const JSON: (&str, &str) = ("content-type", "application/json");

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[tokio::test]
    async fn compressed_bodies_are_bounded_as_they_inflate() {
        for (coding, compress) in [
            ("gzip", gzip as fn(&[u8]) -> Vec<u8>),
            ("X-GZIP", gzip),
            ("deflate", deflate),
        ] {
            let headers = [JSON, ("content-encoding", coding)];
            let whole = compress(&vec![b' '; JSON_LIMIT]);
            assert_eq!(
                read(&headers, whole.clone()).await,
                Ok(vec![b' '; JSON_LIMIT])
            );
            let bomb = compress(&vec![b' '; 64 << 20]);
            assert_eq!(
                read(&headers, bomb).await,
                Err(StatusCode::PAYLOAD_TOO_LARGE)
            );
            let half = whole[..whole.len() / 2].to_vec();
            assert_eq!(read(&headers, half).await, Err(StatusCode::BAD_REQUEST));
            assert_eq!(
                read(&headers, b"{}".to_vec()).await,
                Err(StatusCode::BAD_REQUEST)
            );
        }
        let refused = Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        for coding in ["br", "zstd", "compress", "gzip, gzip"] {
            let headers = [JSON, ("content-encoding", coding)];
            assert_eq!(read(&headers, Vec::new()).await, refused, "{coding}");
        }
    }

    #[tokio::test]
    async fn a_byte_order_mark_is_no_part_of_the_body() {
        let read = async |body: &[u8]| read(&[JSON], body.to_vec()).await;
        assert_eq!(read(b"\xef\xbb\xbf{}").await, Ok(b"{}".to_vec()));
        for bad in [&b"\xff\xfe{\0}\0"[..], b"{\"a\":\"\xe9\"}", b"\xef\xbb"] {
            assert_eq!(read(bad).await, Err(StatusCode::BAD_REQUEST), "{bad:?}");
        }
    }
}
