//! Documents that cannot be read: somebody else wrote them, or another version of the pipeline. They must not hide the
//! others.

use moka::sync::Cache;
use mongodb::{Collection, bson::RawDocument};
use orders_service::{
    chain,
    metrics::{UNREADABLE_DOCUMENTS, counter},
};
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::operation::decode;

/// How many documents are remembered as named.
const NAMED: u64 = 1_000;

/// The documents that the log names already, shared by all clones.
#[derive(Debug, Clone)]
pub(crate) struct Unreadable(Cache<String, ()>);

impl Default for Unreadable {
    fn default() -> Self {
        Self(Cache::new(NAMED))
    }
}

impl Unreadable {
    /// The document, unless it cannot be read. That is counted each time, and logged once.
    pub(crate) fn unless<T: DeserializeOwned>(
        &self,
        collection: &Collection<impl Send + Sync>,
        document: &RawDocument,
    ) -> Option<T> {
        let error = match decode(document) {
            Ok(document) => return Some(document),
            Err(error) => chain(&error),
        };
        let collection = collection.name().to_owned();
        counter!(UNREADABLE_DOCUMENTS, "collection" => collection.clone()).increment(1);
        self.0.get_with(format!("{collection}: {error}"), || {
            warn!("left out of {collection}: {error}; `orderctl projection verify` finds all that cannot be read");
        });
        None
    }
}
