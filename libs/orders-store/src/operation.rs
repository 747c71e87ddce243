//! What both collections do: bounded calls, inserts that tell new from known, reads that name what is corrupt.

use std::time::Duration;

use mongodb::{
    Collection,
    action::Find,
    bson::{
        Bson, Document, RawDeserializer, RawDocument, deserialize_from_document, doc,
        serialize_to_bson,
    },
    error::{Error as DriverError, ErrorKind, InsertManyError},
};
use orders_contracts::OrderId;
use orders_service::metrics::{STORE_OPERATIONS, histogram};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout};

use crate::error::{Corrupt, DUPLICATE_KEY, Detail, Error};

/// How long a read or a write may take; after it the outcome is unknown.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
/// How much earlier the server gives up a read, so that it does not go on with what nobody waits for.
pub(crate) const SERVER_MARGIN: Duration = Duration::from_secs(1);
/// How long a page may take of which only a few documents fit the filter: it may read most of the collection.
pub(crate) const SCAN_DEADLINE: Duration = Duration::from_secs(60);

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
        Err(_) => Err(Error::unavailable(format!("no answer within {deadline:?}"))),
    }
}

/// The same for one of the operations that metrics tell of, by this name.
pub(crate) async fn timed<T, E>(
    name: &'static str,
    deadline: Duration,
    operation: impl IntoFuture<Output = Result<T, E>>,
) -> Result<T, Error>
where
    Error: From<E>,
{
    let began = Instant::now();
    let ended = within(deadline, operation).await;
    let outcome = match &ended {
        Ok(_) => "ok",
        Err(error) if error.is_transient() => "unavailable",
        Err(_) => "refused",
    };
    histogram!(STORE_OPERATIONS, "operation" => name, "outcome" => outcome).record(began.elapsed());
    ended
}

/// Inserts what is not there yet, in one unordered command; which of them this call stored, by position.
///
/// The command has the documents in the order of `id`: an engine that inserts a batch as one transaction makes two
/// batches with the same orders in another order wait for each other (FerretDB: one second per document).
pub(crate) async fn insert_new<T: Serialize + Send + Sync>(
    collection: &Collection<T>,
    documents: Vec<T>,
    id: impl Fn(&T) -> &OrderId,
) -> Result<Vec<bool>, Error> {
    if documents.is_empty() {
        return Ok(Vec::new());
    }
    let mut sorted: Vec<(usize, T)> = documents.into_iter().enumerate().collect();
    sorted.sort_by(|(_, one), (_, other)| id(one).cmp(id(other)));
    timed("insert", DEADLINE, async {
        let documents = sorted.iter().map(|(_, document)| document);
        let known = match collection.insert_many(documents).ordered(false).await {
            Ok(_) => Vec::new(),
            Err(error) => duplicates(error, sorted.len())?,
        };
        let mut stored = vec![true; sorted.len()];
        for known in known {
            stored[sorted[known].0] = false;
        }
        Ok::<_, Error>(stored)
    })
    .await
}

/// The positions of the documents whose key is taken, if that is all that went wrong.
fn duplicates(error: DriverError, count: usize) -> Result<Vec<usize>, Error> {
    match &*error.kind {
        ErrorKind::InsertMany(InsertManyError {
            write_errors: Some(errors),
            write_concern_error: None,
            ..
        }) if errors
            .iter()
            .all(|error| error.code == DUPLICATE_KEY && error.index < count) =>
        {
            Ok(errors.iter().map(|error| error.index).collect())
        }
        _ => Err(error.into()),
    }
}

/// Reads at most `limit` documents in one batch, for at most `deadline`.
pub(crate) async fn read<T: DeserializeOwned + Send + Sync>(
    deadline: Duration,
    find: Find<'_, T>,
    limit: u64,
) -> Result<Vec<T>, Error> {
    // A limit of 0 would mean none.
    if limit == 0 {
        return Ok(Vec::new());
    }
    timed("find", deadline, async {
        let mut cursor = find
            .max_time(deadline - SERVER_MARGIN)
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .batch_size(i32::try_from(limit).unwrap_or(i32::MAX).unsigned_abs())
            .await?;
        let mut found = Vec::new();
        while cursor.advance().await? {
            found.push(decode(cursor.current())?);
        }
        Ok::<_, Error>(found)
    })
    .await
}

/// Carries out `statements` with one unordered command of that `name`; how many documents they changed.
///
/// The driver's own bulk write is a command that compatible engines do not have.
pub(crate) async fn write_all<T: Send + Sync>(
    collection: &Collection<T>,
    name: &'static str,
    field: &str,
    statements: Vec<Document>,
) -> Result<u64, Error> {
    if statements.is_empty() {
        return Ok(0);
    }
    let mut command = doc! { name: collection.name(), field: statements, "ordered": false };
    // The driver adds none to a command that it does not know.
    if let Some(concern) = collection.write_concern() {
        let concern = serialize_to_bson(concern).map_err(Error::refused)?;
        command.insert("writeConcern", concern);
    }
    let database = collection.client().database(&collection.namespace().db);
    let answer = timed(name, DEADLINE, database.run_command(command)).await?;
    // The same shape as that of an insert: what failed, by statement.
    let failed: InsertManyError = deserialize_from_document(answer.clone())
        .map_err(|error| Error::unavailable(error).about("cannot read the answer"))?;
    if failed.write_errors.is_some() || failed.write_concern_error.is_some() {
        return Err(failed.into());
    }
    let changed = answer.get("n").and_then(|n| match n {
        Bson::Int32(n) => u64::try_from(*n).ok(),
        Bson::Int64(n) => u64::try_from(*n).ok(),
        _ => None,
    });
    changed.ok_or_else(|| Error::unavailable("the answer has no count"))
}

/// Reads one document; one that is not a `T` is an error that names the order and the field.
pub(crate) fn decode<T: DeserializeOwned>(raw: &RawDocument) -> Result<T, Error> {
    let corrupt = |field: String, source| {
        let id = raw.get_str("_id").unwrap_or("without a text as _id");
        let id = id.to_owned();
        let source = Detail::from(source);
        Error::refused(Corrupt { id, field, source })
    };
    let document = RawDeserializer::new(raw.as_bytes());
    let document = document.map_err(|error| corrupt("document".to_owned(), error))?;
    serde_path_to_error::deserialize(document)
        .map_err(|error| corrupt(error.path().to_string(), error.into_inner()))
}

/// Ids as a filter wants them.
pub(crate) fn texts(ids: &[OrderId]) -> Vec<&str> {
    ids.iter().map(OrderId::as_str).collect()
}
