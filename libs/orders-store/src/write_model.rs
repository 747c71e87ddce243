use std::collections::HashMap;

use futures_util::FutureExt;
use mongodb::{
    Collection,
    bson::{DateTime, Document, RawDocumentBuf, doc},
    options::Hint,
};
use orders_contracts::{OrderDetails, OrderId, Status, TenantId, Timestamp};
use orders_domain::Order;

use crate::{
    Error, IndexDifference,
    connection::Connection,
    document::OrderDocument,
    index::Index,
    key::{OrderKey, any_of, by_id},
    migrate::{ensure_indexes, index_differences},
    operation::{DEADLINE, decode, insert_new, read, timed},
    reads::Reads,
    unreadable::Unreadable,
};

const INDEXES: [Index; 3] = [
    Index::unique_on(&[("tenantId", 1), ("requestId", 1)]),
    // The id follows from tenant and request.
    Index::unique_if_possible_on(&[("tenantId", 1), ("orderId", 1)]),
    PENDING,
];

/// Ends like the sort of [`WriteModel::pending_since`], so that a search reads only what it returns.
const PENDING: Index = Index::on(&[("status", 1), ("createdAt", 1), ("orderId", 1)]);

/// The collection `orders_write`: each order as it is.
#[derive(Debug, Clone)]
pub struct WriteModel {
    pub(crate) connection: Connection,
    pub(crate) auto_migrate: bool,
    pub(crate) reads: Reads,
    pub(crate) unreadable: Unreadable,
}

/// How far a search for pending orders has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingPlace {
    created_at: DateTime,
    id: String,
}

impl WriteModel {
    pub(crate) fn orders(&self) -> Collection<OrderDocument> {
        self.connection.collection("orders_write")
    }

    /// Creates the indexes that are missing. Where the store was told not to
    /// [`auto_migrate`](crate::Store::auto_migrate), a difference is [`Error::Unmigrated`] instead.
    pub async fn ensure_indexes(&self) -> Result<(), Error> {
        ensure_indexes(&self.orders(), &INDEXES, self.auto_migrate).await
    }

    /// The indexes that the server does not have as they are declared.
    pub async fn index_differences(&self) -> Result<Vec<IndexDifference>, Error> {
        index_differences(&self.orders(), &INDEXES).await
    }

    /// Stores the orders that are not there yet. In the order of the input: true for one that this call stored, false
    /// for one whose id, or whose request, an order has already.
    ///
    /// On an error nothing may be concluded about any of them. [`Error::Refused`] means that at least one can never be
    /// stored; single calls tell which.
    pub async fn insert(&self, orders: &[Order]) -> Result<Vec<bool>, Error> {
        let documents = orders.iter().map(OrderDocument::from).collect();
        insert_new(&self.orders(), documents, |document| &document.id).await
    }

    /// The orders with these keys, as far as they exist; `None` for one that this version cannot read, which the log names.
    pub async fn load(
        &self,
        keys: &[OrderKey<'_>],
    ) -> Result<HashMap<OrderId, Option<Order>>, Error> {
        let orders = self.orders().clone_with_type::<RawDocumentBuf>();
        let find = orders.find(any_of(keys)).hint(by_id());
        let found = read(DEADLINE, find, keys.len() as u64).await?;
        let order = |raw: &RawDocumentBuf| {
            let id = raw.get_str("_id").ok()?.parse().ok()?;
            let order = self.unreadable.unless::<OrderDocument>(&self.orders(), raw);
            Some((id, order.map(Order::from)))
        };
        Ok(found.iter().filter_map(order).collect())
    }

    /// Whether the tenant has such an order.
    pub async fn has(&self, tenant: &TenantId, id: &OrderId) -> Result<bool, Error> {
        let orders = self.orders().clone_with_type::<RawDocumentBuf>();
        let filter = doc! { "_id": id.as_str(), "tenantId": tenant.as_str() };
        let find = async move {
            let find = orders.find(filter).projection(doc! { "_id": 1 });
            read(DEADLINE, find, 1).await
        };
        Ok(!self.reads.run(find.boxed()).await?.is_empty())
    }

    /// All of an order that its page shows; `None` when the tenant has no such order. [`Error::Busy`] when all reads wait for
    /// 2 s.
    pub async fn details(
        &self,
        tenant: &TenantId,
        id: &OrderId,
    ) -> Result<Option<OrderDetails>, Error> {
        let orders = self.orders();
        let filter = doc! { "_id": id.as_str(), "tenantId": tenant.as_str() };
        let find = async move { read(DEADLINE, orders.find(filter), 1).await };
        let Some(order) = self.reads.run(find.boxed()).await?.pop() else {
            return Ok(None);
        };
        let details = Order::from(order).details();
        let damaged = || Error::refused(format!("corrupt order {id}: items"));
        Ok(Some(details.ok_or_else(damaged)?))
    }

    /// Moves those of the orders that are PENDING to the final status `to`, one version up; how many that were.
    pub async fn move_pending(
        &self,
        keys: &[OrderKey<'_>],
        to: Status,
        now: Timestamp,
    ) -> Result<u64, Error> {
        if keys.is_empty() {
            return Ok(0);
        }
        let moved = doc! {
            "$set": { "status": to.as_str(), "updatedAt": DateTime::from_millis(now.millis()) },
            "$inc": { "version": 1 },
        };
        let orders = self.orders();
        let update = orders.update_many(pending(keys), moved).hint(by_id());
        let changed = timed("update", DEADLINE, update).await?;
        Ok(changed.modified_count)
    }

    /// At most `limit` of the orders that are PENDING since before `before`, oldest first, behind the place `after`; and
    /// the place to go on from, `None` when there are no more.
    pub async fn pending_since(
        &self,
        before: Timestamp,
        after: Option<&PendingPlace>,
        limit: u64,
    ) -> Result<(Vec<Order>, Option<PendingPlace>), Error> {
        let orders = self.orders().clone_with_type::<RawDocumentBuf>();
        let mut created = doc! { "$lt": DateTime::from_millis(before.millis()) };
        let mut filter = doc! { "status": Status::Pending.as_str() };
        if let Some(PendingPlace { created_at, id }) = after {
            // The scan of the index begins here.
            created.insert("$gte", created_at);
            let later = doc! { "createdAt": { "$gt": created_at } };
            filter.insert("$or", [later, doc! { "orderId": { "$gt": id } }]);
        }
        filter.insert("createdAt", created);
        let find = orders
            .find(filter)
            .sort(doc! { "createdAt": 1, "orderId": 1 })
            .hint(Hint::Keys(PENDING.document()));
        let found = read(DEADLINE, find, limit).await?;
        let is_full = found.len() as u64 == limit;
        let place = found.last().filter(|_| is_full).and_then(|last| {
            Some(PendingPlace {
                created_at: last.get_datetime("createdAt").ok()?,
                id: last.get_str("orderId").ok()?.to_owned(),
            })
        });
        // One that this version cannot read must not hide the others.
        let readable = found
            .iter()
            .filter_map(|raw| decode::<OrderDocument>(raw).ok());
        Ok((readable.map(Order::from).collect(), place))
    }
}

/// The filter for those of a batch that are PENDING.
pub(crate) fn pending(keys: &[OrderKey<'_>]) -> Document {
    let mut pending = any_of(keys);
    pending.insert("status", Status::Pending.as_str());
    pending
}
