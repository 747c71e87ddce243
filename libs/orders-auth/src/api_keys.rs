//! API keys, for machines that cannot ask the provider for tokens.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use orders_contracts::TenantId;
use orders_service::{
    Invalid, Seldom,
    config::{Secret, warn_if_public},
};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::{Identity, Reason, Refusal, Scope};

/// The setting that names the file.
const SETTING: &str = "auth.api_keys_file";
/// How often the file is read again.
const REFRESH: Duration = Duration::from_secs(5);
/// What every API key begins with, and no JWT.
const PREFIX: &str = "ok_";
/// The characters of 256 bits of base64url.
const SECRET_LENGTH: usize = 43;

/// The API keys of a file, or none.
#[derive(Debug, Default)]
pub(crate) struct ApiKeys {
    file: Option<PathBuf>,
    table: RwLock<Table>,
}

type Table = HashMap<String, ApiKey>;

#[derive(Debug)]
struct ApiKey {
    sha256: Sha256,
    identity: Arc<Identity>,
}

/// An entry of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: Id,
    sha256: Sha256,
    tenant: TenantId,
    scopes: Vec<Granted>,
    #[serde(default)]
    expires: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Id(String);

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let is_id = (1..=64).contains(&text.len()) && text.bytes().all(is_allowed);
        is_id
            .then_some(Self(text))
            .ok_or("an id must match /^[A-Za-z0-9_-]{1,64}$/")
    }
}

/// The digest of a whole key.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Sha256([u8; 32]);

impl TryFrom<String> for Sha256 {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let digest = bytes.and_then(|bytes| bytes.try_into().ok());
        digest
            .map(Self)
            .ok_or("sha256 must be 64 hexadecimal digits")
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Granted(Scope);

impl TryFrom<String> for Granted {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let all = Scope::ALL.map(Scope::as_str).join(", ");
        let scope = Scope::parse(&text);
        scope
            .map(Self)
            .ok_or_else(|| format!("a scope must be one of {all}"))
    }
}

impl ApiKeys {
    /// Reads the file, if there is one.
    pub(crate) fn new(file: Option<PathBuf>) -> Result<Self, Invalid> {
        let Some(path) = &file else {
            return Ok(Self::default());
        };
        warn_if_public(path);
        let text = read(path).map_err(|reason| Invalid::new(SETTING, reason))?;
        let table = parse(path, &text).map_err(|reason| Invalid::new(SETTING, reason))?;
        Ok(Self {
            file,
            table: RwLock::new(table),
        })
    }

    /// Reads the file again whenever it has changed, without end. One that is wrong changes nothing.
    pub(crate) async fn run(&self) {
        let Some(path) = &self.file else {
            return std::future::pending().await;
        };
        let lines = Seldom::new();
        let mut last = None;
        loop {
            // A small file on a local disk.
            let text = read(path);
            let changed = text.as_ref().is_ok_and(|text| last.as_ref() != Some(text));
            match text.and_then(|text| Ok((parse(path, &text)?, text))) {
                Ok((table, text)) if changed => {
                    if last.is_some() {
                        info!("{} API keys from {}", table.len(), path.display());
                    }
                    *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
                    last = Some(text);
                }
                Ok(_) => {}
                Err(reason) => lines.say(|_| {
                    warn!("ORDERS_AUTH__API_KEYS_FILE: {reason}; the API keys stay as they were");
                }),
            }
            sleep(REFRESH).await;
        }
    }

    /// Whose key `credential` is; `None` if it does not look like an API key.
    pub(crate) fn find(
        &self,
        credential: &str,
        now: DateTime<Utc>,
    ) -> Option<Result<Arc<Identity>, Refusal>> {
        let rest = credential.strip_prefix(PREFIX)?;
        Some(self.look_up(credential, rest, now))
    }

    fn look_up(
        &self,
        credential: &str,
        rest: &str,
        now: DateTime<Utc>,
    ) -> Result<Arc<Identity>, Refusal> {
        let unknown = Refusal::Invalid(Reason::ApiKey);
        let id = id(rest).ok_or(unknown)?;
        let sha256 = digest(&SHA256, credential.as_bytes());
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let key = table.get(id).ok_or(unknown)?;
        if !bool::from(key.sha256.0.ct_eq(sha256.as_ref())) {
            return Err(unknown);
        }
        let identity = Arc::clone(&key.identity);
        match identity.expires_at.is_some_and(|end| end <= now) {
            true => Err(Refusal::Expired),
            false => Ok(identity),
        }
    }
}

/// The id in `<id>_<secret>`.
fn id(rest: &str) -> Option<&str> {
    let end = rest.len().checked_sub(SECRET_LENGTH)?;
    let (id, secret) = (rest.get(..end)?, rest.get(end..)?);
    BASE64URL_NOPAD.decode(secret.as_bytes()).ok()?;
    id.strip_suffix('_')
}

fn read(path: &Path) -> Result<String, String> {
    let file = Secret::File(path.to_owned());
    file.read().map_err(|error| error.to_string())
}

fn parse(path: &Path, text: &str) -> Result<Table, String> {
    let wrong = |reason: String| format!("{}: {reason}", path.display());
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let mut table = Table::new();
    for Entry {
        id: Id(id),
        sha256,
        tenant,
        scopes,
        expires,
    } in entries
    {
        let identity = Identity {
            issuer: Identity::API_KEYS.to_owned(),
            subject: id.clone(),
            client: None,
            session: None,
            token_id: None,
            tenants: vec![tenant],
            scopes: scopes.into_iter().map(|Granted(scope)| scope).collect(),
            operator: false,
            issued_at: DateTime::UNIX_EPOCH,
            expires_at: expires,
        };
        let identity = Arc::new(identity);
        if table
            .insert(id.clone(), ApiKey { sha256, identity })
            .is_some()
        {
            return Err(wrong(format!("the id {id} appears twice")));
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests;
