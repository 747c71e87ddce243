use std::time::Duration;

use chrono::DateTime;
use data_encoding::BASE64;
use http::HeaderMap;
use orders_contracts::Timestamp;

use crate::Error;

/// How long after its upload a file can be ordered. Later it may be swept away at any moment.
const USABLE: Duration = Duration::from_secs(23 * 60 * 60);
/// The most bytes of a version; of S3 it has as many.
const MAX_VERSION: usize = 1024;
/// The most bytes of an entity tag.
const MAX_ETAG: usize = 255;
/// The header with the SHA-256 of a file, in base64.
pub(crate) const CHECKSUM: &str = "x-amz-checksum-sha256";
const VERSION: &str = "x-amz-version-id";

/// A file as the bucket has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its size in bytes.
    pub size: u64,
    /// Its media type.
    pub content_type: String,
    /// Its entity tag, without quotes: another content has another one.
    pub etag: String,
    /// Its version, if the bucket keeps versions.
    pub version: Option<String>,
    /// Its SHA-256, if the bucket knows it.
    pub sha256: Option<Vec<u8>>,
    /// When it was uploaded.
    pub at: Timestamp,
}

impl Stored {
    /// Whether it can still be ordered: whoever uploaded it has a day for that.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.since(self.at) < USABLE
    }
}

/// Reads the head of an answer about a file.
pub(crate) fn read_head(headers: &HeaderMap) -> Result<Stored, Error> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let size = text("content-length").and_then(|size| size.parse().ok());
    let size = size.ok_or(Error::Unreadable("it has no size"))?;
    let etag = text("etag").map(|etag| etag.trim_matches('"').to_owned());
    let at = text("last-modified").and_then(|at| DateTime::parse_from_rfc2822(at).ok());
    let at = at.and_then(|at| Timestamp::from_millis(at.timestamp_millis()));
    Ok(Stored {
        size,
        content_type: text("content-type").unwrap_or_default().to_owned(),
        etag: etag
            .filter(|etag| (1..=MAX_ETAG).contains(&etag.len()))
            .ok_or(Error::Unreadable("it has no ETag"))?,
        version: text(VERSION).and_then(known_version).map(str::to_owned),
        sha256: text(CHECKSUM).and_then(|sum| BASE64.decode(sum.as_bytes()).ok()),
        at: at.ok_or(Error::Unreadable("it has no Last-Modified"))?,
    })
}

/// A version, unless it is that of a bucket without versions, which says `null`.
fn known_version(version: &str) -> Option<&str> {
    Some(version).filter(|version| (1..=MAX_VERSION).contains(&version.len()) && *version != "null")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_to_head_is_read_as_it_is_meant() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                (
                    name.parse::<http::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                )
            });
            pairs.collect::<HeaderMap>()
        };
        let least = [
            ("content-length", "6"),
            ("etag", "\"abc\""),
            ("last-modified", "Mon, 30 Nov 2026 09:00:00 GMT"),
        ];
        let stored = read_head(&headers(&least)).unwrap();
        assert_eq!((stored.size, stored.etag.as_str()), (6, "abc"));
        assert_eq!(stored.at.to_string(), "2026-11-30T09:00:00.000Z");
        assert_eq!((stored.version, stored.sha256), (None, None));

        let more = [
            ("content-type", "application/pdf"),
            ("x-amz-version-id", "v1"),
            (
                "x-amz-checksum-sha256",
                "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            ),
        ];
        let all: Vec<_> = least.into_iter().chain(more).collect();
        let stored = read_head(&headers(&all)).unwrap();
        assert_eq!(stored.content_type, "application/pdf");
        assert_eq!(stored.version.as_deref(), Some("v1"));
        assert_eq!(stored.sha256, Some(vec![7; 32]));

        let null = [("x-amz-version-id", "null")];
        let all: Vec<_> = least.into_iter().chain(null).collect();
        assert_eq!(read_head(&headers(&all)).unwrap().version, None);
        for missing in 0..least.len() {
            let mut some = least.to_vec();
            some.remove(missing);
            assert!(read_head(&headers(&some)).is_err(), "{some:?}");
        }
    }

    #[test]
    fn an_upload_can_be_ordered_for_less_than_a_day() {
        let now = Timestamp::now();
        let hours = |hours: u64| Duration::from_secs(hours * 60 * 60);
        let stored = |age: Duration| Stored {
            size: 1,
            content_type: String::new(),
            etag: "e".to_owned(),
            version: None,
            sha256: None,
            at: now.earlier(age).unwrap(),
        };
        assert!(stored(hours(22)).is_fresh(now));
        assert!(!stored(hours(23)).is_fresh(now));
        // The clock of the storage may be ahead.
        assert!(stored(Duration::ZERO).is_fresh(now.earlier(hours(1)).unwrap()));
    }
}
