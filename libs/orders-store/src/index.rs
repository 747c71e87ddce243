//! Indexes: what is declared, made, and compared with the server's.

use std::{collections::HashMap, fmt, time::Duration};

use futures_util::TryStreamExt;
use mongodb::{
    Collection, IndexModel,
    bson::Document,
    error::{Error as DriverError, ErrorKind},
    options::IndexOptions,
};

use crate::{
    Error,
    operation::{DEADLINE, within},
};

/// How long an index may take to build over what is stored.
const INDEX_DEADLINE: Duration = Duration::from_secs(300);
/// The code of a collection that does not exist.
const NAMESPACE_NOT_FOUND: i32 = 26;

/// An index, named after its keys as MongoDB itself would.
pub(crate) struct Index {
    pub(crate) keys: &'static [(&'static str, i32)],
    pub(crate) unique: bool,
}

/// How the server's index differs from its declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDifference {
    /// The collection it is of.
    pub collection: String,
    /// The index's name.
    pub index: String,
    /// The fields that differ, each with the server's value and the declared one; `None` when there is no such index.
    pub fields: Option<String>,
}

impl fmt::Display for IndexDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index {} of {} ", self.index, self.collection)?;
        match &self.fields {
            None => f.write_str("is missing"),
            Some(fields) => write!(f, "differs in {fields}"),
        }
    }
}

impl Index {
    /// The keys as the driver wants them.
    pub(crate) fn document(&self) -> Document {
        self.keys
            .iter()
            .map(|(field, order)| ((*field).to_owned(), (*order).into()))
            .collect()
    }

    /// The fields in which the server's index differs.
    fn compare(&self, server: &IndexModel) -> Option<String> {
        let is_unique = server
            .options
            .as_ref()
            .and_then(|options| options.unique)
            .unwrap_or(false);
        let mut fields = Vec::new();
        if !same_keys(&server.keys, self.keys) {
            let declared = self.document();
            fields.push(format!(
                "keys (server {}, declared {declared})",
                server.keys
            ));
        }
        if is_unique != self.unique {
            let declared = self.unique;
            fields.push(format!("unique (server {is_unique}, declared {declared})"));
        }
        (!fields.is_empty()).then(|| fields.join(", "))
    }
}

/// Whether the keys are the declared ones in the same order; a shell writes their directions as floats.
fn same_keys(server: &Document, declared: &[(&str, i32)]) -> bool {
    let direction = |value: &mongodb::bson::Bson| {
        value
            .as_i32()
            .map(f64::from)
            .or_else(|| value.as_i64().map(|n| n as f64))
            .or_else(|| value.as_f64())
    };
    server.len() == declared.len()
        && server
            .iter()
            .zip(declared)
            .all(|((field, value), (name, order))| {
                field == name && direction(value) == Some(f64::from(*order))
            })
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
        let model = IndexModel::builder()
            .keys(index.document())
            .options(options)
            .build();
        within(INDEX_DEADLINE, collection.create_index(model))
            .await
            .map_err(|error| error.about(&format!("index {index} of {}", collection.name())))?;
    }
    Ok(())
}

/// The indexes that the server does not have as declared.
pub(crate) async fn index_differences<T: Send + Sync>(
    collection: &Collection<T>,
    indexes: &[Index],
) -> Result<Vec<IndexDifference>, Error> {
    let current = within(DEADLINE, current_indexes(collection)).await?;
    let difference = |index: &Index| {
        let fields = match current.get(&index.to_string()) {
            None => None,
            Some(server) => Some(index.compare(server)?),
        };
        Some(IndexDifference {
            collection: collection.name().to_owned(),
            index: index.to_string(),
            fields,
        })
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
