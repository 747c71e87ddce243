//! What both collections do: bounded calls, inserts that tell new from known, reads that name what is corrupt.

use std::{fmt, time::Duration};

use mongodb::{
    Collection, IndexModel,
    action::Find,
    bson::{Document, RawDeserializer, RawDocument},
    error::{ErrorKind, InsertManyError},
    options::IndexOptions,
};
use orders_contracts::OrderId;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::error::{DUPLICATE_KEY, Error};

/// How long a read or a write may take; after it the outcome is unknown.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// How long an index may take to build over what is stored.
const INDEX_DEADLINE: Duration = Duration::from_secs(300);

/// Runs `operation` for at most `deadline`. The driver itself has no limit for an answer that never comes.
pub(crate) async fn within<T, E>(
    deadline: Duration,
    operation: impl IntoFuture<Output = Result<T, E>>,
) -> Result<T, Error>
where
    Error: From<E>,
{
    match timeout(deadline, operation).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(Error::Unavailable(format!("no answer within {deadline:?}"))),
    }
}

/// Inserts what is not there yet, in one unordered command; which of them this call stored.
pub(crate) async fn insert_new<T: Serialize + Send + Sync>(
    collection: &Collection<T>,
    documents: Vec<T>,
) -> Result<Vec<bool>, Error> {
    let mut stored = vec![true; documents.len()];
    if documents.is_empty() {
        return Ok(stored);
    }
    let insert = async {
        match collection.insert_many(&documents).ordered(false).await {
            Ok(_) => Ok(()),
            Err(error) => {
                for known in duplicates(error, stored.len())? {
                    stored[known] = false;
                }
                Ok::<_, Error>(())
            }
        }
    };
    within(DEADLINE, insert).await?;
    Ok(stored)
}

/// The positions of the documents whose key is taken, if that is all that went wrong.
fn duplicates(error: mongodb::error::Error, count: usize) -> Result<Vec<usize>, Error> {
    match *error.kind {
        ErrorKind::InsertMany(InsertManyError {
            write_errors: Some(errors),
            write_concern_error: None,
            ..
        }) if errors
            .iter()
            .all(|error| error.code == DUPLICATE_KEY && error.index < count) =>
        {
            Ok(errors.into_iter().map(|error| error.index).collect())
        }
        kind => Err(mongodb::error::Error::from(kind).into()),
    }
}

/// Reads at most `limit` documents in one batch.
pub(crate) async fn read<T>(find: Find<'_, T>, limit: u64) -> Result<Vec<T>, Error>
where
    T: DeserializeOwned + Send + Sync,
{
    // A limit of 0 would mean none.
    if limit == 0 {
        return Ok(Vec::new());
    }
    within(DEADLINE, async {
        let mut cursor = find
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .batch_size(u32::try_from(limit).unwrap_or(u32::MAX))
            .await?;
        let mut found = Vec::new();
        while cursor.advance().await? {
            found.push(decode(cursor.current())?);
        }
        Ok::<_, Error>(found)
    })
    .await
}

fn decode<T: DeserializeOwned>(raw: &RawDocument) -> Result<T, Error> {
    let corrupt = |field: &dyn fmt::Display, why: &dyn fmt::Display| {
        let id = raw.get_str("_id").unwrap_or("without a text as _id");
        Error::Refused(format!("corrupt order {id}: {field}: {why}"))
    };
    let bytes = RawDeserializer::new(raw.as_bytes()).map_err(|e| corrupt(&"document", &e))?;
    serde_path_to_error::deserialize(bytes).map_err(|error| match &error.inner().message {
        Some(message) => corrupt(error.path(), message),
        None => corrupt(error.path(), error.inner()),
    })
}

/// Ids as a filter wants them.
pub(crate) fn texts(ids: &[OrderId]) -> Vec<&str> {
    ids.iter().map(OrderId::as_str).collect()
}

/// An index, named after its keys as MongoDB itself would.
pub(crate) struct Index {
    pub(crate) keys: &'static [(&'static str, i32)],
    pub(crate) unique: bool,
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (field, order)) in self.keys.iter().enumerate() {
            let separator = if n == 0 { "" } else { "_" };
            write!(f, "{separator}{field}_{order}")?;
        }
        Ok(())
    }
}

/// Creates the indexes that are missing, one by one so that an error can name the one it is about.
pub(crate) async fn ensure_indexes<T: Send + Sync>(
    collection: &Collection<T>,
    indexes: &[Index],
) -> Result<(), Error> {
    for index in indexes {
        let options = IndexOptions::builder()
            .name(index.to_string())
            .unique(index.unique.then_some(true))
            .build();
        let keys: Document = index
            .keys
            .iter()
            .map(|(field, order)| ((*field).to_owned(), (*order).into()))
            .collect();
        let model = IndexModel::builder().keys(keys).options(options).build();
        within(INDEX_DEADLINE, collection.create_index(model))
            .await
            .map_err(|error| error.about(&format!("index {index} of {}", collection.name())))?;
    }
    Ok(())
}
