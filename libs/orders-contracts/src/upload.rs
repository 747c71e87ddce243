//! Files: what a client says of one that it wants to upload, and of one that belongs to an order.

use schemars::JsonSchema;
use serde::Serialize;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::{
    Invalid, TenantId,
    command::{PRINTABLE, read_tenant},
    input::{Node, read_object},
};

/// Printable, and not [deceptive](is_deceptive).
const FILE_NAME: &str = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$";
/// The same, with more than dots after the last folder.
const FILE_PATH: &str = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*[^./\\\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069][^/\\\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$";

const SHA256: &str = "^[0-9A-Fa-f]{64}$";

/// The largest single PUT of the object stores that presigned URLs usually point at: 5 GiB.
const MAX_UPLOAD_BYTES: u64 = 5 << 30;

/// A file that belongs to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Attachment {
    /// The file's name, 1 to 255 characters, none of which changes the direction of the text.
    #[schemars(length(min = 1, max = 255), regex(pattern = FILE_NAME))]
    pub filename: String,
    /// The media type, such as `application/pdf`.
    #[schemars(
        length(max = 255),
        regex(pattern = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+ *(;[ -~]*)?$")
    )]
    pub content_type: String,
    /// The size in bytes, at most 5 GiB.
    #[schemars(range(max = 5_368_709_120_u64))]
    pub size: u64,
    /// The key that the presigned upload answered, 1 to 1,024 characters.
    #[schemars(length(min = 1, max = 1024), regex(pattern = PRINTABLE))]
    pub storage_key: String,
    /// SHA-256 of the file in hexadecimal. With it only a file that was uploaded with the same one is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = SHA256))]
    pub sha256: Option<String>,
    /// The entity tag of the file that the edge found in the bucket; no client says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255), regex(pattern = PRINTABLE))]
    pub etag: Option<String>,
    /// Its version, if the bucket keeps versions; no client says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = PRINTABLE))]
    pub version: Option<String>,
}

impl Attachment {
    /// It as its client said it: without what the edge found.
    #[must_use]
    pub fn as_sent(self) -> Self {
        Self {
            etag: None,
            version: None,
            ..self
        }
    }

    /// Whether it tells more than its client said.
    pub fn was_found(&self) -> bool {
        self.etag.is_some() || self.version.is_some()
    }

    /// The tenant to whose uploads the storage key leads, if it is like the keys that presigned uploads answer.
    pub fn uploader(&self) -> Option<&str> {
        let key = self.storage_key.strip_prefix("tenants/")?;
        key.split_once('/').map(|(tenant, _)| tenant)
    }
}

/// What a client says of a file it wants to upload: the body of `POST /api/uploads/presign`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PresignUpload {
    /// Whose file it is.
    pub tenant_id: TenantId,
    /// The file's name, 1 to 255 characters, none of which changes the direction of the text; folders before it are
    /// dropped.
    #[schemars(length(min = 1, max = 255), regex(pattern = FILE_PATH))]
    pub filename: String,
    /// The media type, such as `application/pdf`.
    #[schemars(
        length(max = 255),
        regex(pattern = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+ *(;[ -~]*)?$")
    )]
    pub content_type: String,
    /// The size in bytes, at most 5 GiB.
    #[schemars(range(max = 5_368_709_120_u64))]
    pub size: u64,
    /// SHA-256 of the file in hexadecimal, if the upload is to be checked against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = SHA256))]
    pub sha256: Option<String>,
}

impl PresignUpload {
    /// Reads and checks a body; [`filename`](Self::filename) is reduced to a safe last path segment or refused. A missing
    /// `tenantId` is `tenant`.
    pub fn parse(body: &[u8], tenant: Option<&TenantId>) -> Result<Self, Invalid> {
        read_object(body, |fields| {
            let tenant_id = read_tenant(fields, tenant);
            let filename = fields.take("filename");
            let safe_name = read_file_name(&filename).and_then(|name| {
                safe_last_segment(&name)
                    .map_or_else(|| filename.refuse("must be a file name"), Some)
            });
            let content_type = read_media_type(&fields.take("contentType"));
            let size = fields.take("size").integer(0..=MAX_UPLOAD_BYTES);
            let sha256 = read_sha256(&fields.take("sha256"));
            Some(Self {
                tenant_id: tenant_id?,
                filename: safe_name?,
                content_type: content_type?,
                size: size?,
                sha256: sha256?,
            })
        })
    }
}

/// Reads the file of an order; rules of today are for one that `is_new`.
pub(crate) fn read_attachment(node: &Node<'_>, is_new: bool) -> Option<Attachment> {
    node.object(|file| {
        let filename = file.take("filename");
        let filename = if is_new {
            read_file_name(&filename)
        } else {
            filename.string(255)
        };
        let content_type = read_media_type(&file.take("contentType"));
        let size = file.take("size").integer(0..=MAX_UPLOAD_BYTES);
        let storage_key = file.take("storageKey").string(1024);
        let sha256 = read_sha256(&file.take("sha256"));
        let mut found = |name, max| match is_new {
            true => Some(None),
            false => read_optional(&file.take(name), |node| node.string(max)),
        };
        let (etag, version) = (found("etag", 255), found("version", 1024));
        Some(Attachment {
            filename: filename?,
            content_type: content_type?,
            size: size?,
            storage_key: storage_key?,
            sha256: sha256?,
            etag: etag?,
            version: version?,
        })
    })
}

/// Reads a member that may be missing.
fn read_optional<T>(
    node: &Node<'_>,
    read: impl FnOnce(&Node<'_>) -> Option<T>,
) -> Option<Option<T>> {
    match node.is_absent() {
        true => Some(None),
        false => read(node).map(Some),
    }
}

/// Reads a SHA-256, which may be missing, in lower case.
fn read_sha256(node: &Node<'_>) -> Option<Option<String>> {
    read_optional(node, |node| {
        let text = node.string(64)?.to_ascii_lowercase();
        let is_hash = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match is_hash {
            true => Some(text),
            false => node.refuse("must be 64 hexadecimal digits"),
        }
    })
}

/// Reads a media type (RFC 9110 section 8.3.1), which clients get back as a header value.
fn read_media_type(node: &Node<'_>) -> Option<String> {
    let text = node.string(255)?;
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    let valid = essence
        .trim_end()
        .split_once('/')
        .is_some_and(|(kind, sub)| is_token(kind) && is_token(sub))
        && parameters
            .bytes()
            .all(|b| b == b' ' || b.is_ascii_graphic());
    if valid {
        Some(text)
    } else {
        node.refuse("must be a MIME type format")
    }
}

/// Reads the name of a file that is new.
fn read_file_name(node: &Node<'_>) -> Option<String> {
    let name = node.string(255)?;
    if name.contains(is_deceptive) {
        return node.refuse("must not contain characters that change the direction of the text");
    }
    Some(name)
}

/// Line separators, and what embeds, overrides or isolates a direction: with them `invoice\u{202e}fdp.exe` is shown as
/// `invoiceexe.pdf`.
fn is_deceptive(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The last segment of a client's file name, composed (NFC). It keeps `.`, `_`, `-` and the letters and digits of any
/// script with their marks; other characters become `_`. `None` if nothing but dots is left.
fn safe_last_segment(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    if last.chars().all(|c| c == '.') {
        return None;
    }
    let mut follows_letter = false;
    let safe = last.nfc().map(|c| {
        // Hindi and Persian join and separate letters by characters of their own.
        let belongs = is_combining_mark(c) || matches!(c, '\u{200c}' | '\u{200d}');
        follows_letter = c.is_alphanumeric() || follows_letter && belongs;
        if follows_letter || matches!(c, '.' | '_' | '-') {
            c
        } else {
            '_'
        }
    });
    Some(safe.collect())
}

#[cfg(test)]
mod tests;
