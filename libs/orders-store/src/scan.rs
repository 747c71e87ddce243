//! Both collections as an operator reads them: page by page in the order of `_id`, without a document that cannot be
//! read hiding the others; and rows brought in line with their orders without ever going back.

use std::collections::HashMap;

use mongodb::{
    Collection,
    bson::{Bson, Document, RawDocumentBuf, doc, serialize_to_bson},
};
use orders_contracts::TenantId;
use orders_domain::{Order, projection::StoredRow};
use serde::de::DeserializeOwned;

use crate::{
    Error, ReadModel, WriteModel,
    document::{OrderDocument, RowDocument},
    key::by_id,
    operation::{DEADLINE, SCAN_DEADLINE, decode, read, within, write_all},
};

/// A document and its `_id`.
#[derive(Debug)]
pub struct Found<T> {
    /// Its `_id`: the order's id, unless somebody else wrote it.
    pub id: String,
    /// What it says, or why it cannot be read.
    pub content: Result<T, Error>,
}

/// A row that no order has, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its `_id`.
    pub id: String,
    /// Its version; `None` when the row cannot be read.
    pub version: Option<u32>,
}

impl WriteModel {
    /// The next `limit` orders by id behind the id `after` (`""` is before all), of one tenant or of all.
    pub async fn page_after(
        &self,
        after: &str,
        tenant: Option<&TenantId>,
        limit: u64,
    ) -> Result<Vec<Found<Order>>, Error> {
        page_after::<_, OrderDocument, _>(&self.orders(), after, tenant, limit).await
    }

    /// The orders with these ids, as far as they exist, whosever they are.
    pub async fn look_up(
        &self,
        ids: &[&str],
    ) -> Result<HashMap<String, Result<Order, Error>>, Error> {
        look_up::<_, OrderDocument, _>(&self.orders(), ids).await
    }

    /// About how many orders there are; exactly, if they are of one tenant.
    pub async fn count(&self, tenant: Option<&TenantId>) -> Result<u64, Error> {
        match tenant {
            None => within(DEADLINE, self.orders().estimated_document_count()).await,
            Some(tenant) => {
                let of_tenant = doc! { "tenantId": tenant.as_str() };
                within(SCAN_DEADLINE, self.orders().count_documents(of_tenant)).await
            }
        }
    }

    /// The `_id`s, as text, of orders whose `_id` is no text, or an empty one, at most `limit`. Pages by id have none of
    /// them.
    pub async fn strays(
        &self,
        tenant: Option<&TenantId>,
        limit: u64,
    ) -> Result<Vec<String>, Error> {
        strays(&self.orders(), tenant, limit).await
    }
}

impl ReadModel {
    /// The next `limit` rows by id behind the id `after` (`""` is before all), of one tenant or of all.
    pub async fn page_after(
        &self,
        after: &str,
        tenant: Option<&TenantId>,
        limit: u64,
    ) -> Result<Vec<Found<StoredRow>>, Error> {
        page_after::<_, RowDocument, _>(&self.rows(), after, tenant, limit).await
    }

    /// The rows with these ids, as far as they exist, whosever they are.
    pub async fn look_up(
        &self,
        ids: &[&str],
    ) -> Result<HashMap<String, Result<StoredRow, Error>>, Error> {
        look_up::<_, RowDocument, _>(&self.rows(), ids).await
    }

    /// Makes the rows of `orders` say what their orders say, whatever they say now; but a row that is missing, or newer
    /// than the order is here, stays as it is. How many were written.
    pub async fn replace(&self, orders: &[&Order]) -> Result<u64, Error> {
        // Also true of what is no version at all, such as a text or a number beyond all versions.
        let not_newer =
            |row: &RowDocument| doc! { "$not": { "$gt": row.version, "$lte": u32::MAX } };
        self.rewrite(orders, |row| doc! { "version": not_newer(row) })
            .await
    }

    /// Makes the rows of `orders` say what their orders say, even if they are newer. How many were written.
    pub async fn set_back(&self, orders: &[&Order]) -> Result<u64, Error> {
        self.rewrite(orders, |_| Document::new()).await
    }

    async fn rewrite(
        &self,
        orders: &[&Order],
        only: impl Fn(&RowDocument) -> Document,
    ) -> Result<u64, Error> {
        let mut statements = Vec::with_capacity(orders.len());
        for order in orders {
            let row = RowDocument::from(&order.latest_event());
            let mut stored = doc! { "_id": row.id.as_str() };
            stored.extend(only(&row));
            let row = serialize_to_bson(&row).map_err(Error::refused)?;
            statements.push(doc! { "q": stored, "u": row });
        }
        write_all(&self.rows(), "update", "updates", statements).await
    }

    /// Removes those of `orphans` that are still at the version they were found at; how many that were.
    pub async fn remove(&self, orphans: &[Orphan]) -> Result<u64, Error> {
        let statement = |orphan: &Orphan| {
            let mut found = doc! { "_id": &orphan.id };
            if let Some(version) = orphan.version {
                found.insert("version", version);
            }
            doc! { "q": found, "limit": 1 }
        };
        let statements = orphans.iter().map(statement).collect();
        write_all(&self.rows(), "delete", "deletes", statements).await
    }

    /// The `_id`s, as text, of rows whose `_id` is no text, or an empty one, at most `limit`. They are no order's and
    /// nothing of the pipeline writes them; pages by id have none of them.
    pub async fn strays(
        &self,
        tenant: Option<&TenantId>,
        limit: u64,
    ) -> Result<Vec<String>, Error> {
        strays(&self.rows(), tenant, limit).await
    }

    /// Removes all that [`strays`](Self::strays) would find without a limit; how many they were.
    pub async fn remove_strays(&self, tenant: Option<&TenantId>) -> Result<u64, Error> {
        let outcome = within(SCAN_DEADLINE, self.rows().delete_many(stray(tenant))).await?;
        Ok(outcome.deleted_count)
    }
}

async fn strays<C: Send + Sync>(
    collection: &Collection<C>,
    tenant: Option<&TenantId>,
    limit: u64,
) -> Result<Vec<String>, Error> {
    let documents = collection.clone_with_type::<Document>();
    let find = documents.find(stray(tenant)).projection(doc! { "_id": 1 });
    let found = read(SCAN_DEADLINE, find, limit).await?;
    let id = |document: &Document| {
        document
            .get("_id")
            .map_or_else(String::new, Bson::to_string)
    };
    Ok(found.iter().map(id).collect())
}

fn stray(tenant: Option<&TenantId>) -> Document {
    let stray = doc! { "$or": [{ "_id": { "$not": { "$type": "string" } } }, { "_id": "" }] };
    of_tenant(tenant, stray)
}

/// Narrows `filter` to the documents of one tenant, or of all.
fn of_tenant(tenant: Option<&TenantId>, mut filter: Document) -> Document {
    if let Some(tenant) = tenant {
        filter.insert("tenantId", tenant.as_str());
    }
    filter
}

async fn page_after<C, D, T>(
    collection: &Collection<C>,
    after: &str,
    tenant: Option<&TenantId>,
    limit: u64,
) -> Result<Vec<Found<T>>, Error>
where
    C: Send + Sync,
    D: DeserializeOwned + Into<T>,
{
    let filter = of_tenant(tenant, doc! { "_id": { "$gt": after } });
    let documents = collection.clone_with_type::<RawDocumentBuf>();
    // Without the hint an engine may take the tenant's index and sort all that it finds there, for every page.
    let find = documents.find(filter).sort(doc! { "_id": 1 }).hint(by_id());
    let found = read(SCAN_DEADLINE, find, limit).await?;
    found.iter().map(|raw| examine::<D, T>(raw)).collect()
}

async fn look_up<C, D, T>(
    collection: &Collection<C>,
    ids: &[&str],
) -> Result<HashMap<String, Result<T, Error>>, Error>
where
    C: Send + Sync,
    D: DeserializeOwned + Into<T>,
{
    let documents = collection.clone_with_type::<RawDocumentBuf>();
    let find = documents.find(doc! { "_id": { "$in": ids } });
    let found = read(DEADLINE, find, ids.len() as u64).await?;
    found
        .iter()
        .map(|raw| examine::<D, T>(raw).map(|Found { id, content }| (id, content)))
        .collect()
}

fn examine<D: DeserializeOwned + Into<T>, T>(raw: &RawDocumentBuf) -> Result<Found<T>, Error> {
    let id = raw.get_str("_id").map_err(Error::refused)?;
    Ok(Found {
        id: id.to_owned(),
        content: decode::<D>(raw).map(Into::into),
    })
}
