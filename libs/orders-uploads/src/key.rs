use std::fmt;

use orders_contracts::TenantId;
use uuid::{Uuid, fmt::Hyphenated};

/// The most bytes of a name in a key: S3's keys have at most 1,024, and file systems take names of 255.
const MAX_NAME: usize = 200;

/// Where an upload is in the bucket: `tenants/{tenant}/uploads/{uuid}/{filename}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageKey {
    tenant: TenantId,
    text: String,
}

impl StorageKey {
    /// Where all uploads are.
    pub const ALL: &'static str = "tenants/";

    /// A new one. `filename` is a single path segment, as `PresignUpload` has it; of a long one only the end is in the key.
    #[must_use]
    pub fn fresh(tenant: &TenantId, filename: &str) -> Self {
        let id = Uuid::new_v4();
        let name = end(filename);
        Self {
            tenant: tenant.clone(),
            text: format!("{}{id}/{name}", Self::of_tenant(tenant)),
        }
    }

    /// Where all uploads of `tenant` are.
    #[must_use]
    pub fn of_tenant(tenant: &TenantId) -> String {
        format!("{}{tenant}/uploads/", Self::ALL)
    }

    /// Reads a text that only [`fresh`](Self::fresh) could have made; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (tenant, rest) = text.strip_prefix(Self::ALL)?.split_once('/')?;
        let tenant: TenantId = tenant.parse().ok()?;
        let (id, filename) = rest.strip_prefix("uploads/")?.split_once('/')?;
        let mut buffer = Uuid::encode_buffer();
        // An id has other spellings, which are other keys.
        let is_spelt_so =
            |parsed: Uuid| Hyphenated::from_uuid(parsed).encode_lower(&mut buffer) == id;
        let is_id = Uuid::try_parse(id).is_ok_and(is_spelt_so);
        let is_name = !filename.chars().all(|c| c == '.')
            && !filename.contains(|c: char| c == '/' || c == '\\' || c.is_control());
        (is_id && is_name).then(|| Self {
            tenant,
            text: text.to_owned(),
        })
    }

    /// Whose upload it is.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// It as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The end of a name, with what its extension is, or another name if that is no name.
fn end(name: &str) -> &str {
    let from = name.len().saturating_sub(MAX_NAME);
    let from = (from..=name.len()).find(|at| name.is_char_boundary(*at));
    let end = &name[from.unwrap_or_default()..];
    match end.chars().all(|c| c == '.') {
        true => "file",
        false => end,
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_is_read_again_and_no_two_are_the_same() {
        let tenant: TenantId = "t-1".parse().unwrap();
        for name in ["invoice.pdf", "報告.pdf", ".env", "..a"] {
            let key = StorageKey::fresh(&tenant, name);
            assert!(key.as_str().starts_with("tenants/t-1/uploads/"), "{key}");
            assert!(key.as_str().ends_with(&format!("/{name}")), "{key}");
            assert_eq!(StorageKey::parse(key.as_str()), Some(key.clone()));
            assert_eq!(key.tenant(), &tenant);
            assert_ne!(key, StorageKey::fresh(&tenant, name));
        }
    }

    #[test]
    fn a_long_name_is_cut_before_its_extension() {
        let tenant: TenantId = "t".repeat(64).parse().unwrap();
        for (name, end) in [
            ("報".repeat(251) + ".pdf", "報.pdf"),
            ("a".to_owned() + &".".repeat(254), "/file"),
            ("a".repeat(200), "/aaa"),
        ] {
            let key = StorageKey::fresh(&tenant, &name);
            assert!(key.as_str().contains(end), "{key}");
            assert!(key.as_str().len() < 400, "{key}");
            assert_eq!(StorageKey::parse(key.as_str()), Some(key));
        }
    }

    #[test]
    fn nothing_else_is_a_key() {
        const ID: &str = "6f2e7c1a-3b8e-4c55-9f0b-0d8f3a6b1c22";
        let good = format!("tenants/t-1/uploads/{ID}/a.pdf");
        assert!(StorageKey::parse(&good).is_some());
        for bad in [
            "",
            "tenants/t-1",
            "erased",
            "/tenants/t-1/uploads/6f2e7c1a-3b8e-4c55-9f0b-0d8f3a6b1c22/a.pdf",
            "tenants/t-1/orders/abcd1234/a.pdf",
            "tenants/../uploads/6f2e7c1a-3b8e-4c55-9f0b-0d8f3a6b1c22/a.pdf",
            "tenants/t-1/uploads/6F2E7C1A-3b8e-4c55-9f0b-0d8f3a6b1c22/a.pdf",
            "tenants/t-1/uploads/6f2e7c1a3b8e4c559f0b0d8f3a6b1c22/a.pdf",
            "tenants/t-1/uploads/{6f2e7c1a-3b8e-4c55-9f0b-0d8f3a6b1c22}/a.pdf",
            "tenants/t-1/uploads/x/a.pdf",
        ] {
            assert_eq!(StorageKey::parse(bad), None, "{bad}");
        }
        for name in ["", ".", "..", "...", "../a", "a/b", "a\\b", "a\nb"] {
            let bad = format!("tenants/t-1/uploads/{ID}/{name}");
            assert_eq!(StorageKey::parse(&bad), None, "{bad:?}");
        }
    }
}
