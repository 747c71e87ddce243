//! The files that orders name. Operators read them without a decoder, because a document that cannot be read has its file all
//! the same.

use futures_util::FutureExt;
use mongodb::bson::{RawDocumentBuf, doc};
use orders_contracts::{Attachment, OrderId, TenantId};
use orders_domain::Order;

use crate::{
    Error, WriteModel,
    document::OrderDocument,
    key::by_id,
    operation::{DEADLINE, SCAN_DEADLINE, decode, read, texts, within},
};

/// Files that some orders name, and where the search goes on.
#[derive(Debug)]
pub struct FilesOfOrders {
    /// Their storage keys.
    pub keys: Vec<String>,
    /// How many orders were looked at.
    pub seen: u64,
    /// Behind which id the next page begins; `None` at the end.
    pub after: Option<String>,
}

impl WriteModel {
    /// The file of an order of `tenant`; `None` if there is no such order.
    pub async fn file_of(
        &self,
        tenant: &TenantId,
        id: &OrderId,
    ) -> Result<Option<Option<Attachment>>, Error> {
        let orders = self.orders().clone_with_type::<RawDocumentBuf>();
        let wanted = doc! { "_id": id.as_str(), "tenantId": tenant.as_str() };
        let find = async move { read(DEADLINE, orders.find(wanted), 1).await };
        let found = self.reads.run(find.boxed()).await?;
        let order = found.first().map(|raw| decode::<OrderDocument>(raw));
        Ok(order
            .transpose()?
            .map(|order| Order::from(order).attachment))
    }

    /// The files of the next `limit` orders behind the id `after` (`""` is before all), whosever they are.
    pub async fn files_after(&self, after: &str, limit: u64) -> Result<FilesOfOrders, Error> {
        let orders = self.orders().clone_with_type::<RawDocumentBuf>();
        let find = orders
            .find(doc! { "_id": { "$gt": after } })
            .projection(doc! { "attachment.storageKey": 1 })
            .sort(doc! { "_id": 1 })
            .hint(by_id());
        let page = read(SCAN_DEADLINE, find, limit).await?;
        let last = page.last().filter(|_| page.len() as u64 == limit);
        Ok(FilesOfOrders {
            keys: page.iter().filter_map(key).collect(),
            seen: page.len() as u64,
            after: last.and_then(|last| Some(last.get_str("_id").ok()?.to_owned())),
        })
    }

    /// The files of these orders of `tenant`.
    pub async fn files_of(&self, tenant: &TenantId, ids: &[OrderId]) -> Result<Vec<String>, Error> {
        let orders = self.orders().clone_with_type::<RawDocumentBuf>();
        let find = orders
            .find(doc! { "_id": { "$in": texts(ids) }, "tenantId": tenant.as_str() })
            .projection(doc! { "attachment.storageKey": 1 });
        let found = read(DEADLINE, find, ids.len() as u64).await?;
        Ok(found.iter().filter_map(key).collect())
    }

    /// Whether an order of `tenant` has a file that an edge has found in a bucket.
    pub async fn has_files(&self, tenant: &TenantId) -> Result<bool, Error> {
        let stored = doc! { "tenantId": tenant.as_str(), "attachment.etag": { "$exists": true } };
        let orders = self.orders().clone_with_type::<RawDocumentBuf>();
        let find = orders.find_one(stored).projection(doc! { "_id": 1 });
        Ok(within(SCAN_DEADLINE, find).await?.is_some())
    }
}

fn key(order: &RawDocumentBuf) -> Option<String> {
    let file = order.get_document("attachment").ok()?;
    Some(file.get_str("storageKey").ok()?.to_owned())
}
