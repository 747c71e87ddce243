//! Erasing personal data: of a buyer, whose orders stay, and of a tenant, of whom nothing stays.

use mongodb::{
    Collection,
    bson::{Document, RawDocumentBuf, doc},
};
use orders_contracts::{OrderId, TenantId, canonical_email};

use crate::{
    Error, ReadModel, Store, WriteModel,
    key::by_id,
    operation::{DEADLINE, SCAN_DEADLINE, read, texts, within, write_all},
};

/// What stands where personal data was.
pub const ERASED: &str = "erased";

/// Orders of a tenant that match, and where the search goes on.
#[derive(Debug)]
pub struct Matches {
    /// Their ids.
    pub ids: Vec<OrderId>,
    /// How many documents were looked at.
    pub seen: u64,
    /// Behind which id the next page begins; `None` at the end.
    pub after: Option<String>,
}

impl WriteModel {
    /// Those of the next `limit` orders of `tenant` behind the id `after` (`""` is before all) whose buyer has an address
    /// with the [canonical form](canonical_email) `email`.
    pub async fn of_buyer(
        &self,
        tenant: &TenantId,
        email: &str,
        after: &str,
        limit: u64,
    ) -> Result<Matches, Error> {
        let address = |order: &RawDocumentBuf| {
            let buyer = order.get_document("buyer").ok()?;
            buyer.get_str("email").ok().map(str::to_owned)
        };
        matching(&self.orders(), tenant, email, after, limit, address).await
    }

    /// Erases from these orders of `tenant` who bought, the attached file, what the client noted, which may be anything, and the
    /// hash of the request, which has all of it in it. All else stays. How many orders there are of these.
    pub async fn erase(&self, tenant: &TenantId, ids: &[OrderId]) -> Result<u64, Error> {
        let found = doc! { "_id": { "$in": texts(ids) }, "tenantId": tenant.as_str() };
        let update = doc! {
            "$set": { "buyer.email": ERASED, "buyer.name": ERASED, "bodyHash": ERASED },
            "$unset": { "metadata": "" },
        };
        erase(&self.orders(), found, update).await
    }

    /// Removes the next `limit` orders of `tenant`; how many they were. The tenant has none left when they were fewer.
    pub async fn remove_of(&self, tenant: &TenantId, limit: u64) -> Result<u64, Error> {
        remove_of(&self.orders(), tenant, limit).await
    }
}

impl ReadModel {
    /// Those of the next `limit` rows of `tenant` behind the id `after` (`""` is before all) whose address has the
    /// [canonical form](canonical_email) `email`.
    pub async fn of_buyer(
        &self,
        tenant: &TenantId,
        email: &str,
        after: &str,
        limit: u64,
    ) -> Result<Matches, Error> {
        let address = |row: &RawDocumentBuf| row.get_str("buyerEmail").ok().map(str::to_owned);
        matching(&self.rows(), tenant, email, after, limit, address).await
    }

    /// Erases from the rows of these orders of `tenant` who bought and the attached file. How many rows there are of these.
    pub async fn erase(&self, tenant: &TenantId, ids: &[OrderId]) -> Result<u64, Error> {
        let found = doc! { "_id": { "$in": texts(ids) }, "tenantId": tenant.as_str() };
        let set = doc! { "buyerEmail": ERASED, "buyerName": ERASED };
        erase(&self.rows(), found, doc! { "$set": set }).await
    }

    /// How many rows `tenant` has.
    pub async fn count_of(&self, tenant: &TenantId) -> Result<u64, Error> {
        let of_tenant = doc! { "tenantId": tenant.as_str() };
        within(SCAN_DEADLINE, self.rows().count_documents(of_tenant)).await
    }

    /// Removes the next `limit` rows of `tenant`; how many they were. The tenant has none left when they were fewer.
    pub async fn remove_of(&self, tenant: &TenantId, limit: u64) -> Result<u64, Error> {
        remove_of(&self.rows(), tenant, limit).await
    }
}

impl Store {
    /// The secret key with which the audit hashes the addresses of those who were erased. It is made when it is first asked
    /// for.
    pub async fn audit_key(&self) -> Result<[u8; 32], Error> {
        let keys = self.connection.collection::<Document>("orders_keys");
        let fresh = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(uuid::Uuid::into_bytes);
        let fresh = data_encoding::HEXLOWER.encode(fresh.as_flattened());
        let first = doc! { "$setOnInsert": { "key": fresh } };
        let make = keys.update_one(doc! { "_id": "audit" }, first).upsert(true);
        within(DEADLINE, make).await?;
        let found = within(DEADLINE, keys.find_one(doc! { "_id": "audit" })).await?;
        let text = found.as_ref().and_then(|key| key.get_str("key").ok());
        let bytes = text.and_then(|text| data_encoding::HEXLOWER.decode(text.as_bytes()).ok());
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| Error::refused("orders_keys has no key of the audit"))
    }
}

/// Searches without a decoder, because a document that cannot be read has a buyer all the same.
async fn matching<C: Send + Sync>(
    collection: &Collection<C>,
    tenant: &TenantId,
    email: &str,
    after: &str,
    limit: u64,
    address: impl Fn(&RawDocumentBuf) -> Option<String>,
) -> Result<Matches, Error> {
    let documents = collection.clone_with_type::<RawDocumentBuf>();
    let find = documents
        .find(doc! { "tenantId": tenant.as_str(), "_id": { "$gt": after } })
        .projection(doc! { "buyer.email": 1, "buyerEmail": 1 })
        .sort(doc! { "_id": 1 })
        .hint(by_id());
    let page = read(SCAN_DEADLINE, find, limit).await?;
    let is_full = page.len() as u64 == limit;
    let last = page.last().filter(|_| is_full);
    let ids = page.iter().filter_map(|document| {
        address(document).filter(|address| canonical_email(address) == email)?;
        document.get_str("_id").ok()?.parse().ok()
    });
    Ok(Matches {
        ids: ids.collect(),
        seen: page.len() as u64,
        after: last.and_then(|last| Some(last.get_str("_id").ok()?.to_owned())),
    })
}

/// Makes `update` in the documents `found`, and erases their attachment where they have one.
async fn erase<C: Send + Sync>(
    collection: &Collection<C>,
    found: Document,
    update: Document,
) -> Result<u64, Error> {
    let count = within(DEADLINE, collection.count_documents(found.clone())).await?;
    let mut with_file = found.clone();
    with_file.insert("attachment", doc! { "$exists": true });
    let no_file = doc! { "attachment.filename": ERASED, "attachment.storageKey": ERASED };
    let no_trace =
        doc! { "attachment.sha256": "", "attachment.etag": "", "attachment.version": "" };
    let statements = vec![
        doc! { "q": found, "u": update, "multi": true },
        doc! { "q": with_file, "u": { "$set": no_file, "$unset": no_trace }, "multi": true },
    ];
    write_all(collection, "update", "updates", statements).await?;
    Ok(count)
}

/// Page by page: a command that removes a million documents takes longer than it may.
async fn remove_of<C: Send + Sync>(
    collection: &Collection<C>,
    tenant: &TenantId,
    limit: u64,
) -> Result<u64, Error> {
    let documents = collection.clone_with_type::<Document>();
    let find = documents
        .find(doc! { "tenantId": tenant.as_str() })
        .projection(doc! { "_id": 1 });
    let page = read(SCAN_DEADLINE, find, limit).await?;
    let ids: Vec<_> = page.iter().filter_map(|one| one.get("_id")).collect();
    if ids.is_empty() {
        return Ok(0);
    }
    let these = doc! { "_id": { "$in": ids }, "tenantId": tenant.as_str() };
    within(SCAN_DEADLINE, collection.delete_many(these)).await?;
    Ok(page.len() as u64)
}
