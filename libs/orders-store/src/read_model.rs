use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use mongodb::{
    Collection,
    action::Action,
    bson::{Document, RawDocumentBuf, doc},
    options::Hint,
};
use orders_contracts::{
    OrderEvent, OrderId, OrderRow, TenantId,
    query::{ListFilter, ListOrders, ListPlace},
};
use orders_domain::projection::{Change, RowVersion, StoredRow};

use crate::{
    Error, IndexDifference,
    connection::Connection,
    count::{Counts, EXACT, MAX_AGE},
    document::{RowDocument, VersionDocument},
    index::Index,
    key::{OrderKey, any_of, by_id},
    list::{INDEXES, OrderPage, Total, document, index_of, is_deep, place, skip},
    migrate::{ensure_indexes, index_differences},
    operation::{DEADLINE, SERVER_MARGIN, insert_new, read, timed, within, write_all},
    reads::Reads,
    unreadable::Unreadable,
};

/// The collection `orders_read`: each order as the list shows it, at a version that only rises.
#[derive(Debug, Clone)]
pub struct ReadModel {
    pub(crate) connection: Connection,
    pub(crate) auto_migrate: bool,
    pub(crate) reads: Reads,
    pub(crate) counts: Counts,
    pub(crate) unreadable: Unreadable,
}

impl ReadModel {
    pub(crate) fn rows(&self) -> Collection<RowDocument> {
        self.connection.collection("orders_read")
    }

    /// Creates the indexes that are missing. Where the store was told not to
    /// [`auto_migrate`](crate::Store::auto_migrate), a difference is [`Error::Unmigrated`] instead.
    pub async fn ensure_indexes(&self) -> Result<(), Error> {
        ensure_indexes(&self.rows(), &INDEXES, self.auto_migrate).await
    }

    /// The indexes that the server does not have as they are declared.
    pub async fn index_differences(&self) -> Result<Vec<IndexDifference>, Error> {
        index_differences(&self.rows(), &INDEXES).await
    }

    /// Stores the row of each event whose order has none yet, at the event's version. In the order of the input: true
    /// for one that this call stored. On an error nothing may be concluded about any of them.
    pub async fn insert(&self, events: &[&OrderEvent]) -> Result<Vec<bool>, Error> {
        let rows = events
            .iter()
            .map(|event| RowDocument::from(*event))
            .collect();
        insert_new(&self.rows(), rows, |row| &row.id).await
    }

    /// Makes the row of each event that its tenant has at a lower version say what the event says; returns how many were.
    ///
    /// One statement for all events of a tenant that change their rows alike. A command that writes each row anew, with a
    /// statement for each, costs the database twice as much.
    pub async fn advance(&self, events: &[&OrderEvent]) -> Result<u64, Error> {
        let mut alike: BTreeMap<(&TenantId, Change), Vec<&str>> = BTreeMap::new();
        for event in events {
            let ids = alike.entry((&event.tenant_id, Change::of(event)));
            ids.or_default().push(event.order.order_id.as_str());
        }
        // Tenants and ids are in one order everywhere, so that two such commands do not wait for each other.
        let statement = |((tenant, change), mut ids): (_, Vec<&str>)| {
            ids.sort_unstable();
            advance_to(change, tenant, &ids)
        };
        let statements = alike.into_iter().map(statement).collect();
        write_all(&self.rows(), "update", "updates", statements).await
    }

    /// The versions of the rows with these keys, as far as they exist. A row is also found if it turns out to be another
    /// tenant's, but that takes a second look, into every shard.
    pub async fn versions(
        &self,
        keys: &[OrderKey<'_>],
    ) -> Result<HashMap<OrderId, RowVersion>, Error> {
        let mut versions = self.versions_of(any_of(keys), keys.len()).await?;
        let ids = keys.iter().map(|key| key.order_id);
        let missing = ids.filter(|id| !versions.contains_key(*id));
        let missing: Vec<&str> = missing.map(OrderId::as_str).collect();
        let others = self.versions_of(doc! { "_id": { "$in": &missing } }, missing.len());
        versions.extend(others.await?);
        Ok(versions)
    }

    async fn versions_of(
        &self,
        filter: Document,
        limit: usize,
    ) -> Result<HashMap<OrderId, RowVersion>, Error> {
        let rows = self.rows().clone_with_type::<VersionDocument>();
        let find = rows
            .find(filter)
            .projection(doc! { "tenantId": 1, "version": 1 })
            .hint(by_id());
        let found = read(DEADLINE, find, limit as u64).await?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    /// The [plain](OrderRow::plain) row of an order and its version; `None` when the tenant has no such order.
    /// [`Error::Busy`] when all reads wait for 2 s.
    pub async fn get(
        &self,
        tenant: &TenantId,
        id: &OrderId,
    ) -> Result<Option<(u32, OrderRow)>, Error> {
        let rows = self.rows();
        let filter = doc! { "_id": id.as_str(), "tenantId": tenant.as_str() };
        let find = async move { read(DEADLINE, rows.find(filter), 1).await }.boxed();
        let found = self.reads.run(find).await?.pop().map(StoredRow::from);
        Ok(found.map(|found| (found.version, found.row.plain())))
    }

    /// One page of the list, newest first, and how many rows there are in all. Rows that cannot be read are left out of the
    /// page; the log names them.
    ///
    /// [`Error::Busy`] when it waits for 2 s: because too many are reading, or because two others are reading pages that
    /// cost as much as this one does: those that end behind row 1,000, and those of buyers whose address begins somehow,
    /// which the server has to sort.
    pub async fn list(&self, query: &ListOrders) -> Result<OrderPage, Error> {
        within(DEADLINE, async {
            // Engines without statistics sort all rows of the tenant unless they are told the index.
            match self.page(query, Some(index_of(&query.filter))).await {
                Err(Error::Refused(_)) => self.page(query, None).await, // the index is not there (yet)
                page => page,
            }
        })
        .await
    }

    async fn page(&self, query: &ListOrders, index: Option<&Index>) -> Result<OrderPage, Error> {
        let (total, (rows, next)) =
            tokio::try_join!(self.total(&query.filter, index), self.part(query, index))?;
        Ok(OrderPage {
            items: self.readable(query, &rows),
            next,
            total,
        })
    }

    /// Those of `rows` that can be read, telling what `query` asks for.
    pub(crate) fn readable(&self, query: &ListOrders, rows: &[RawDocumentBuf]) -> Vec<OrderRow> {
        let read = |row: &RawDocumentBuf| {
            let row: RowDocument = self.unreadable.unless(&self.rows(), row)?;
            let StoredRow { row, .. } = row.into();
            Some(if query.is_expanded { row } else { row.plain() })
        };
        rows.iter().filter_map(read).collect()
    }

    /// The rows of a page, and where the next one begins.
    pub(crate) async fn part(
        &self,
        query: &ListOrders,
        index: Option<&Index>,
    ) -> Result<(Vec<RawDocumentBuf>, Option<ListPlace>), Error> {
        let mut behind = 0;
        loop {
            let mut rows = self.rows_of(query, behind, index).await?;
            let has_more = rows.len() as u64 > query.limit;
            if has_more {
                rows.pop();
            }
            let next = rows.iter().rev().find_map(|row| place(row));
            if next.is_some() || !has_more {
                return Ok((rows, next.filter(|_| has_more)));
            }
            // None of them can be read, and behind none of them a page can begin.
            behind += query.limit;
        }
    }

    /// The rows of a page that begins so many rows `behind` its usual place, and one more when there is one.
    async fn rows_of(
        &self,
        query: &ListOrders,
        behind: u64,
        index: Option<&Index>,
    ) -> Result<Vec<RawDocumentBuf>, Error> {
        let Some(skip) = skip(query).filter(|_| query.limit > 0) else {
            return Ok(Vec::new());
        };
        let skip = skip.saturating_add(behind);
        let rows = self.rows().clone_with_type::<RawDocumentBuf>();
        let hint = index.map(Index::document);
        let filter = document(&query.filter, query.after.as_ref());
        let limit = query.limit.saturating_add(1);
        let page = async move {
            let find = rows
                .find(filter)
                .sort(doc! { "createdAt": -1, "orderId": -1 })
                .skip(skip)
                .optional(hint, |find, keys| find.hint(Hint::Keys(keys)));
            read(DEADLINE, find, limit).await
        }
        .boxed();
        if is_deep(query) {
            self.reads.run_deep(page).await
        } else {
            self.reads.run(page).await
        }
    }

    /// How many rows there are: exactly if they are few, and else as they were counted for all who ask.
    async fn total(&self, filter: &ListFilter, index: Option<&Index>) -> Result<Total, Error> {
        if !self.counts.has(filter) {
            let few = self.count(filter, index, Some(EXACT + 1), DEADLINE);
            let few = self.counts.exact.count(filter, self.reads.run(few)).await?;
            if few <= EXACT {
                return Ok(Total::Exactly(few));
            }
        }
        let all = || {
            let all = self.count(filter, index, None, MAX_AGE);
            let reads = self.reads.clone();
            async move { reads.run(all).await }
        };
        Ok(self.counts.total(filter, all).await)
    }

    /// Counts the rows, at most up to `limit`.
    fn count(
        &self,
        filter: &ListFilter,
        index: Option<&Index>,
        limit: Option<u64>,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<u64, Error>> {
        let (rows, hint) = (self.rows(), index.map(Index::document));
        let filter = document(filter, None);
        async move {
            let count = rows
                .count_documents(filter)
                .max_time(deadline - SERVER_MARGIN)
                .optional(hint, |count, keys| count.hint(Hint::Keys(keys)))
                .optional(limit, |count, limit| count.limit(limit));
            timed("count", deadline, count).await
        }
        .boxed()
    }
}

/// The statement that makes `change` in those rows of `tenant` that are behind it.
pub(crate) fn advance_to(change: Change, tenant: &TenantId, ids: &[&str]) -> Document {
    let Change { version, status } = change;
    doc! {
        "q": { "_id": { "$in": ids }, "tenantId": tenant.as_str(), "version": { "$lt": version } },
        "u": { "$set": { "version": version, "status": status.as_str() } },
        "multi": true,
    }
}
