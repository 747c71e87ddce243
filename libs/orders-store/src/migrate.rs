//! Brings the server's indexes in line with their declarations, or says how they differ.

use std::{collections::HashMap, time::Duration};

use futures_util::TryStreamExt;
use mongodb::{
    Collection, IndexModel,
    error::{Error as DriverError, ErrorKind},
};

use crate::{
    Error, IndexDifference,
    index::Index,
    operation::{DEADLINE, within},
};

/// How long an index may take to build over what is stored.
const INDEX_DEADLINE: Duration = Duration::from_secs(300);
/// The code of a collection that does not exist.
const NAMESPACE_NOT_FOUND: i32 = 26;

/// Creates the indexes that are missing; where `may_create` is false, a difference is [`Error::Unmigrated`] instead.
pub(crate) async fn ensure_indexes<T: Send + Sync>(
    collection: &Collection<T>,
    indexes: &[Index],
    may_create: bool,
) -> Result<(), Error> {
    let mut differing = differing(collection, indexes).await?;
    if !may_create {
        let difference = differing.pop();
        return difference.map_or(Ok(()), |(_, difference)| Err(Error::Unmigrated(difference)));
    }
    // One by one, so that an error can name the one it is about.
    for (index, _) in differing {
        within(INDEX_DEADLINE, collection.create_index(index.model()))
            .await
            .map_err(|error| error.about(format!("index {index} of {}", collection.name())))?;
    }
    Ok(())
}

/// How the server's indexes differ from their declarations.
pub(crate) async fn index_differences<T: Send + Sync>(
    collection: &Collection<T>,
    indexes: &[Index],
) -> Result<Vec<IndexDifference>, Error> {
    let differing = differing(collection, indexes).await?.into_iter();
    Ok(differing.map(|(_, difference)| difference).collect())
}

/// The indexes that the server does not have as declared.
async fn differing<'i, T: Send + Sync>(
    collection: &Collection<T>,
    indexes: &'i [Index],
) -> Result<Vec<(&'i Index, IndexDifference)>, Error> {
    let current = within(DEADLINE, current_indexes(collection)).await?;
    let difference = |index: &'i Index| {
        let fields = match current.get(&index.to_string()) {
            None => None,
            Some(server) => Some(index.compare(server)?),
        };
        let difference = IndexDifference {
            collection: collection.name().to_owned(),
            index: index.to_string(),
            fields,
        };
        Some((index, difference))
    };
    Ok(indexes.iter().filter_map(difference).collect())
}

/// The server's indexes by name.
async fn current_indexes<T: Send + Sync>(
    collection: &Collection<T>,
) -> Result<HashMap<String, IndexModel>, DriverError> {
    let indexes = match collection.list_indexes().await {
        Ok(cursor) => cursor.try_collect::<Vec<_>>().await?,
        Err(error) if is_without_collection(&error) => Vec::new(),
        Err(error) => return Err(error),
    };
    let named = indexes.into_iter().filter_map(|index| {
        let name = index.options.as_ref()?.name.clone()?;
        Some((name, index))
    });
    Ok(named.collect())
}

fn is_without_collection(error: &DriverError) -> bool {
    matches!(&*error.kind, ErrorKind::Command(error) if error.code == NAMESPACE_NOT_FOUND)
}
