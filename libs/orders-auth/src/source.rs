//! Where the keys of the provider come from.

use bytes::Bytes;
use serde::Deserialize;

use crate::{ProviderClient, Unanswered, address::is_safe};

/// The key set of a provider, found by its discovery document unless its URL is set.
#[derive(Debug)]
pub(crate) struct Source {
    issuer: String,
    url: Option<String>,
    client: ProviderClient,
}

/// The members of a discovery document that count here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum NoKeySet {
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error("its discovery document is not one")]
    NoDocument,
    #[error("its discovery document is of another issuer")]
    OtherIssuer,
    #[error("its discovery document names a jwks_uri that is neither of HTTPS nor on this machine")]
    UnsafeUrl,
}

impl Source {
    pub(crate) fn new(issuer: String, url: Option<String>) -> Self {
        Self {
            issuer,
            url,
            client: ProviderClient::default(),
        }
    }

    /// The issuer that it belongs to.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key set as it is now.
    pub(crate) async fn fetch(&self) -> Result<Bytes, NoKeySet> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        Ok(self.client.get(&url).await?)
    }

    async fn discover(&self) -> Result<String, NoKeySet> {
        let base = self.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let document = self.client.get(&url).await?;
        let found: Discovery =
            serde_json::from_slice(&document).map_err(|_| NoKeySet::NoDocument)?;
        if found.issuer != self.issuer {
            return Err(NoKeySet::OtherIssuer);
        }
        match is_safe(&found.jwks_uri) {
            true => Ok(found.jwks_uri),
            false => Err(NoKeySet::UnsafeUrl),
        }
    }
}
