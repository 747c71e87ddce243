use std::{collections::HashMap, time::Duration};

use mongodb::{
    Collection,
    bson::{DateTime, Document, doc},
    options::Hint,
};
use orders_contracts::{
    OrderEvent, OrderId, OrderRow, Status, TenantId, Timestamp,
    query::{ListFilter, ListOrders, ListPlace},
};
use tokio::time::Instant;

use crate::{
    Error, IndexDifference, POOL_SIZE,
    document::{RowDocument, VersionDocument},
    index::{Index, ensure_indexes, index_differences},
    operation::{DEADLINE, SCAN_DEADLINE, SERVER_MARGIN, insert_new, read, texts, within},
    slots::{PATIENCE, ShortSlots, Slots, hold},
    totals::{self, EXACT, Exact, Total, Totals},
};

/// Each index ends like the sort of the list, so that a page is read off it.
const BY_STATUS: Index = Index {
    keys: &[
        ("tenantId", 1),
        ("status", 1),
        ("createdAt", -1),
        ("orderId", -1),
    ],
    unique: false,
};
const BY_BUYER: Index = Index {
    keys: &[
        ("tenantId", 1),
        ("buyerEmail", 1),
        ("createdAt", -1),
        ("orderId", -1),
    ],
    unique: false,
};
const BY_TIME: Index = Index {
    keys: &[("tenantId", 1), ("createdAt", -1), ("orderId", -1)],
    unique: false,
};

/// A page is long if it ends behind so many rows.
const SHORT_PAGE: u64 = 1_000;
/// How many pages that are not long, and counts that stop at [`EXACT`], are in the database at once.
pub(crate) const SHORT_READS: usize = 6;
/// How many reads of one order are in the database at once. Lists do not hold them up.
const ORDERS: usize = 3;
/// How many long pages are in the database at once.
pub(crate) const LONG_PAGES: usize = 2;
/// How many more short reads there may be when those take long: together as many reads as there are connections.
pub(crate) const SPARE_READS: usize =
    POOL_SIZE as usize - SHORT_READS - ORDERS - LONG_PAGES - totals::AT_ONCE;

/// The collection `orders_read`: each order as the list shows it, at a version that only rises.
#[derive(Debug, Clone)]
pub struct ReadModel {
    pub(crate) rows: Collection<RowDocument>,
    auto_migrate: bool,
    exact: Exact,
    totals: Totals,
    pub(crate) short: ShortSlots,
    pub(crate) long: Slots,
    orders: Slots,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPage {
    /// The rows of the page.
    pub items: Vec<OrderRow>,
    /// Where the next page begins; `None` behind the last row.
    pub next: Option<ListPlace>,
    /// How many rows all pages have.
    pub total: Total,
}

impl ReadModel {
    pub(crate) fn new(rows: Collection<RowDocument>, auto_migrate: bool) -> Self {
        Self {
            rows,
            auto_migrate,
            exact: Exact::default(),
            totals: Totals::default(),
            short: ShortSlots::new(SHORT_READS, SPARE_READS),
            long: Slots::new(LONG_PAGES),
            orders: Slots::new(ORDERS),
        }
    }

    /// Creates the indexes that are missing. Where the store was told not to
    /// [`auto_migrate`](crate::Store::auto_migrate), a difference is [`Error::Unmigrated`] instead.
    pub async fn ensure_indexes(&self) -> Result<(), Error> {
        if self.auto_migrate {
            return ensure_indexes(&self.rows, &[BY_STATUS, BY_BUYER, BY_TIME]).await;
        }
        match self.index_differences().await?.pop() {
            None => Ok(()),
            Some(difference) => Err(Error::Unmigrated(difference)),
        }
    }

    /// The indexes that the server does not have as they are declared.
    pub async fn index_differences(&self) -> Result<Vec<IndexDifference>, Error> {
        index_differences(&self.rows, &[BY_STATUS, BY_BUYER, BY_TIME]).await
    }

    /// Stores the row of each event whose order has none yet, at the event's version. In the order of the input: true
    /// for one that this call stored. On an error nothing may be concluded about any of them.
    pub async fn insert(&self, events: &[&OrderEvent]) -> Result<Vec<bool>, Error> {
        let rows = events
            .iter()
            .map(|event| RowDocument::from(*event))
            .collect();
        insert_new(&self.rows, rows, |row| &row.id).await
    }

    /// Brings the rows that are below `version` to it, with `status`; how many that were.
    pub async fn advance(
        &self,
        ids: &[OrderId],
        status: Status,
        version: u32,
    ) -> Result<u64, Error> {
        if ids.is_empty() {
            return Ok(0);
        }
        let older = doc! { "_id": { "$in": texts(ids) }, "version": { "$lt": version } };
        let newer = doc! { "$set": { "status": status.as_str(), "version": version } };
        let outcome = within(DEADLINE, self.rows.update_many(older, newer)).await?;
        Ok(outcome.modified_count)
    }

    /// The versions of the rows with these ids, as far as they exist.
    pub async fn versions(&self, ids: &[OrderId]) -> Result<HashMap<OrderId, u32>, Error> {
        let rows = self.rows.clone_with_type::<VersionDocument>();
        let find = rows
            .find(doc! { "_id": { "$in": texts(ids) } })
            .projection(doc! { "version": 1 });
        let found = read(find, ids.len() as u64).await?;
        Ok(found.into_iter().map(|row| (row.id, row.version)).collect())
    }

    /// The row of an order and its version; `None` when the tenant has no such order. [`Error::Busy`] where other orders
    /// are being read for 2 s already.
    pub async fn get(
        &self,
        tenant: &TenantId,
        id: &OrderId,
    ) -> Result<Option<(u32, OrderRow)>, Error> {
        let slot = self.orders.within(PATIENCE).await?;
        let rows = self.rows.clone();
        let filter = doc! { "_id": id.as_str(), "tenantId": tenant.as_str() };
        let mut found = hold(slot, async move { read(rows.find(filter), 1).await }).await?;
        Ok(found.pop().map(Into::into))
    }

    /// One page of the list, newest first, and how many rows there are in all: exactly up to 10,000, and else as of a
    /// moment that is at most 30 s ago, as long as the database can count them in that time.
    ///
    /// [`Error::Busy`] where others are being read for 2 s already: too many in all, or others like it if the page ends
    /// behind row 1,000.
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
        let (total, rows) =
            tokio::try_join!(self.total(&query.filter, index), self.rows_of(query, index))?;
        let mut items: Vec<OrderRow> = rows
            .into_iter()
            .map(|row| <(u32, OrderRow)>::from(row).1)
            .collect();
        let has_more = items.len() as u64 > query.limit;
        if has_more {
            items.pop();
        }
        let last = items.last().filter(|_| has_more);
        let next = last.map(|row| ListPlace {
            created_at: row.created_at,
            order_id: row.order_id.clone(),
        });
        Ok(OrderPage { items, next, total })
    }

    /// The rows of a page, and one more when there is one.
    async fn rows_of(
        &self,
        query: &ListOrders,
        index: Option<&Index>,
    ) -> Result<Vec<RowDocument>, Error> {
        let skip = match (&query.after, skip(query)) {
            (Some(_), _) => 0,
            (None, Some(skip)) => skip,
            (None, None) => return Ok(Vec::new()),
        };
        if query.limit == 0 {
            return Ok(Vec::new());
        }
        let is_long = skip.saturating_add(query.limit) > SHORT_PAGE;
        let slot = if is_long {
            self.long.within(PATIENCE).await?
        } else {
            self.short.soon().await?
        };
        let (rows, hint) = (self.rows.clone(), index.map(Index::document));
        let filter = document(&query.filter, query.after.as_ref());
        let limit = query.limit.saturating_add(1);
        let page = async move {
            let mut find = rows
                .find(filter)
                .sort(doc! { "createdAt": -1, "orderId": -1 })
                .skip(skip);
            if let Some(keys) = hint {
                find = find.hint(Hint::Keys(keys));
            }
            read(find, limit).await
        };
        hold(slot, page).await
    }

    async fn total(&self, filter: &ListFilter, index: Option<&Index>) -> Result<Total, Error> {
        let scan = || self.count(filter, index, None, SCAN_DEADLINE);
        if let Some(total) = self.totals.known(filter, scan) {
            return Ok(total);
        }
        let count = async {
            let slot = self.short.soon().await?;
            let began = Instant::now();
            let count = self.count(filter, index, Some(EXACT + 1), DEADLINE);
            Ok((began, hold(slot, count).await?))
        };
        match self.exact.count(filter, count).await? {
            count @ ..=EXACT => Ok(Total { count, as_of: None }),
            _ => Ok(self.totals.shared(filter, scan).await),
        }
    }

    /// Counts the rows, at most up to `limit`.
    fn count(
        &self,
        filter: &ListFilter,
        index: Option<&Index>,
        limit: Option<u64>,
        deadline: Duration,
    ) -> impl Future<Output = Result<u64, Error>> + Send + use<> {
        let (rows, hint) = (self.rows.clone(), index.map(Index::document));
        let filter = document(filter, None);
        async move {
            let count = rows.count_documents(filter);
            let mut count = count.max_time(deadline - SERVER_MARGIN);
            if let Some(keys) = hint {
                count = count.hint(Hint::Keys(keys));
            }
            if let Some(limit) = limit {
                count = count.limit(limit);
            }
            within(deadline, count).await
        }
    }
}

/// Every value has a type of its own here, so nothing a client sends can become an operator.
fn document(list: &ListFilter, after: Option<&ListPlace>) -> Document {
    let mut filter = doc! { "tenantId": list.tenant.as_str() };
    if let Some(status) = list.status {
        filter.insert("status", status.as_str());
    }
    if let Some(email) = &list.buyer_email {
        filter.insert("buyerEmail", email);
    }
    let date = |moment: Timestamp| DateTime::from_millis(moment.millis());
    let mut created = Document::new();
    if let Some(from) = list.from {
        created.insert("$gte", date(from));
    }
    // One upper bound, so that the scan of the index begins at it.
    match (list.until, after) {
        (Some(until), Some(place)) if until <= place.created_at => {
            created.insert("$lt", date(until));
        }
        (_, Some(place)) => {
            let moment = date(place.created_at);
            created.insert("$lte", moment);
            let earlier = doc! { "createdAt": { "$lt": moment } };
            let lower = doc! { "orderId": { "$lt": place.order_id.as_str() } };
            filter.insert("$or", [earlier, lower]);
        }
        (Some(until), None) => {
            created.insert("$lt", date(until));
        }
        (None, None) => {}
    }
    if !created.is_empty() {
        filter.insert("createdAt", created);
    }
    filter
}

/// The index that has the filter in front of the sort.
fn index_of(filter: &ListFilter) -> &'static Index {
    match (&filter.buyer_email, filter.status) {
        (Some(_), _) => &BY_BUYER,
        (None, Some(_)) => &BY_STATUS,
        (None, None) => &BY_TIME,
    }
}

/// The rows before the page; `None` for a page behind the last row that any collection can have, whose position
/// the server could not count to.
fn skip(query: &ListOrders) -> Option<u64> {
    let skip = query.page.saturating_sub(1).checked_mul(query.limit)?;
    let end = skip.checked_add(query.limit)?;
    i64::try_from(end).is_ok().then_some(skip)
}
