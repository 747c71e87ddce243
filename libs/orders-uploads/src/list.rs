//! What the bucket has, page by page.

use bytes::Bytes;
use orders_contracts::Timestamp;
use percent_encoding::percent_decode_str;
use roxmltree::Node;
use rusty_s3::Method;

use crate::{
    Error, Storage,
    bucket::{Ask, LONG_DEADLINE},
    xml,
};

/// A version of a file, or a mark that it was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key, which others than this project may have chosen.
    pub key: String,
    /// Its version; `None` where the storage knows no versions.
    pub version: Option<String>,
    /// When it was stored.
    pub at: Timestamp,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is a file, and not such a mark.
    pub is_file: bool,
    /// Whether it is the newest of its key.
    pub is_latest: bool,
}

/// All versions of all files below a prefix, in the order of their keys.
#[derive(Debug)]
pub struct Listing<'a> {
    storage: &'a Storage,
    prefix: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Start,
    /// Behind this version of this key.
    Versions(String, String),
    /// Where this token says, in a storage that knows no versions.
    Keys(String),
    End,
}

impl Storage {
    /// Lists all versions of what is below `prefix`.
    #[must_use]
    pub fn list(&self, prefix: impl Into<String>) -> Listing<'_> {
        Listing {
            storage: self,
            prefix: prefix.into(),
            place: Place::Start,
        }
    }
}

impl Listing<'_> {
    /// The next entries, at most a thousand; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, Error> {
        let mut query = vec![("encoding-type", "url"), ("prefix", self.prefix.as_str())];
        match &self.place {
            Place::End => return Ok(None),
            Place::Start => query.push(("versions", "")),
            Place::Versions(key, version) => {
                query.extend([("versions", ""), ("key-marker", key)]);
                if !version.is_empty() {
                    query.push(("version-id-marker", version));
                }
            }
            Place::Keys(token) => {
                query.push(("list-type", "2"));
                if !token.is_empty() {
                    query.push(("continuation-token", token));
                }
            }
        }
        let ask = Ask {
            method: Method::Get,
            object: None,
            query: &query,
            body: Bytes::new(),
        };
        let answer = self.storage.send(ask, &[], LONG_DEADLINE).await?.accepted();
        let answer = match answer {
            // Some know no versions at all, such as Cloudflare R2.
            Err(error) if error.is_not_implemented() && matches!(self.place, Place::Start) => {
                self.place = Place::Keys(String::new());
                return Ok(Some(Vec::new()));
            }
            answer => answer?,
        };
        let (entries, next) = read(&answer.body, matches!(self.place, Place::Keys(_)))?;
        self.place = next;
        Ok(Some(entries))
    }
}

/// The entries of a page, and where the next one begins.
fn read(body: &[u8], is_of_keys: bool) -> Result<(Vec<Entry>, Place), Error> {
    let document = xml::parse(body)?;
    let root = document.root_element();
    let is_encoded = xml::text(root, "EncodingType") == Some("url");
    let decode = |text: &str| match is_encoded {
        true => decoded(text),
        false => Ok(text.to_owned()),
    };
    let entry = |node: Node<'_, '_>| {
        let is_file = match node.tag_name().name() {
            "Contents" | "Version" => true,
            "DeleteMarker" => false,
            _ => return None,
        };
        let field = |name| xml::text(node, name);
        let read = || -> Result<Entry, Error> {
            let at = field("LastModified").and_then(|at| at.parse().ok());
            let size = field("Size").and_then(|size| size.parse().ok());
            Ok(Entry {
                key: decode(field("Key").ok_or(Error::Unreadable("an entry has no key"))?)?,
                version: field("VersionId").map(str::to_owned),
                at: at.ok_or(Error::Unreadable("an entry has no time"))?,
                size: size.unwrap_or_default(),
                is_file,
                // A storage without versions has no other.
                is_latest: field("IsLatest").is_none_or(|is_latest| is_latest == "true"),
            })
        };
        Some(read())
    };
    let entries = root.children().filter_map(entry);
    let mut entries = entries.collect::<Result<Vec<_>, Error>>()?;
    // Some list all marks before all files.
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    if xml::text(root, "IsTruncated") != Some("true") {
        return Ok((entries, Place::End));
    }
    let marker = |name| xml::text(root, name).filter(|marker| !marker.is_empty());
    let lost = Error::Unreadable("it does not say where the next page begins");
    let next = match is_of_keys {
        true => Place::Keys(marker("NextContinuationToken").ok_or(lost)?.to_owned()),
        false => {
            let key = decode(marker("NextKeyMarker").ok_or(lost)?)?;
            let version = marker("NextVersionIdMarker").unwrap_or_default();
            Place::Versions(key, version.to_owned())
        }
    };
    Ok((entries, next))
}

/// What S3 has encoded as forms are.
fn decoded(text: &str) -> Result<String, Error> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    let decoded = decoded.map_err(|_| Error::Unreadable("a key is not UTF-8"))?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_marks_are_read_in_their_order() {
        let page = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Name>orders</Name><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>
              <NextKeyMarker>tenants%2Ft-1%2Fb</NextKeyMarker><NextVersionIdMarker>v9</NextVersionIdMarker>
              <DeleteMarker><Key>tenants/t-1/b</Key><VersionId>v9</VersionId><IsLatest>true</IsLatest>
                <LastModified>2026-11-30T10:00:00.000Z</LastModified></DeleteMarker>
              <Version><Key>tenants/t-1/b</Key><VersionId>v8</VersionId><IsLatest>false</IsLatest>
                <LastModified>2026-11-30T09:00:00.577685386Z</LastModified><Size>5</Size></Version>
              <Version><Key>tenants%2Ft-1%2Fa%20+%C3%A4%2B</Key><VersionId>null</VersionId>
                <LastModified>2026-11-30T09:00:00Z</LastModified><Size>7</Size></Version>
            </ListVersionsResult>"#;
        let (entries, next) = read(page.as_bytes(), false).unwrap();
        let told: Vec<_> = entries
            .iter()
            .map(|entry| {
                (
                    entry.key.as_str(),
                    entry.version.as_deref(),
                    entry.size,
                    entry.is_file,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("tenants/t-1/a  ä+", Some("null"), 7, true),
                ("tenants/t-1/b", Some("v9"), 0, false),
                ("tenants/t-1/b", Some("v8"), 5, true),
            ]
        );
        let latest = entries.iter().map(|entry| entry.is_latest);
        assert_eq!(latest.collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(entries[0].at.to_string(), "2026-11-30T09:00:00.000Z");
        assert!(
            matches!(next, Place::Versions(key, version) if key == "tenants/t-1/b" && version == "v9")
        );
    }

    #[test]
    fn keys_without_versions_are_read_too() {
        let page = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a+b</Key>\
                    <LastModified>2026-11-30T09:00:00.000Z</LastModified><Size>1</Size></Contents></ListBucketResult>";
        let (entries, next) = read(page.as_bytes(), true).unwrap();
        assert_eq!(entries[0].key, "a+b");
        assert_eq!(entries[0].version, None);
        assert!(matches!(next, Place::End));
        let truncated = page.replace("false", "true");
        assert!(read(truncated.as_bytes(), true).is_err());
        let more = truncated.replace(
            "<Contents>",
            "<NextContinuationToken>t</NextContinuationToken><Contents>",
        );
        let (_, next) = read(more.as_bytes(), true).unwrap();
        assert!(matches!(next, Place::Keys(token) if token == "t"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bad in [
            "<ListVersionsResult><Version><VersionId>1</VersionId></Version></ListVersionsResult>",
            "<ListVersionsResult><Version><Key>a</Key></Version></ListVersionsResult>",
            "<html>",
            "",
        ] {
            assert!(read(bad.as_bytes(), false).is_err(), "{bad}");
        }
    }
}
