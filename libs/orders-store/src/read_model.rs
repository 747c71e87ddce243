use std::collections::HashMap;

use mongodb::{
    Collection,
    bson::{DateTime, Document, doc},
    options::Hint,
};
use orders_contracts::{OrderEvent, OrderId, OrderRow, Status, TenantId, Timestamp};

use crate::{
    Error, IndexDifference,
    document::{RowDocument, VersionDocument},
    index::{Index, ensure_indexes, index_differences},
    operation::{DEADLINE, insert_new, read, texts, within},
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

/// The collection `orders_read`: each order as the list shows it, at a version that only rises.
#[derive(Debug, Clone)]
pub struct ReadModel {
    pub(crate) rows: Collection<RowDocument>,
    auto_migrate: bool,
}

/// Which rows to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOrders {
    /// Whose orders.
    pub tenant: TenantId,
    /// Only those in this status.
    pub status: Option<Status>,
    /// Only those of exactly this buyer.
    pub buyer_email: Option<String>,
    /// Only those created at this moment or later.
    pub from: Option<Timestamp>,
    /// Only those created before this moment.
    pub until: Option<Timestamp>,
    /// Which page, from 1.
    pub page: u64,
    /// The rows of a page.
    pub limit: u64,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderPage {
    /// The rows of the page.
    pub items: Vec<OrderRow>,
    /// How many rows all pages have.
    pub total: u64,
}

impl ReadModel {
    pub(crate) fn new(rows: Collection<RowDocument>, auto_migrate: bool) -> Self {
        Self { rows, auto_migrate }
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

    /// The row of an order and its version; `None` when the tenant has no such order.
    pub async fn get(
        &self,
        tenant: &TenantId,
        id: &OrderId,
    ) -> Result<Option<(u32, OrderRow)>, Error> {
        let find = self
            .rows
            .find(doc! { "_id": id.as_str(), "tenantId": tenant.as_str() });
        Ok(read(find, 1).await?.pop().map(Into::into))
    }

    /// One page of the list, newest first, and how many rows there are in all.
    pub async fn list(&self, query: &ListOrders) -> Result<OrderPage, Error> {
        let total = within(DEADLINE, self.rows.count_documents(query.filter()));
        let items = async {
            // Engines without statistics sort all rows of the tenant unless they are told the index.
            match self.page(query, Some(query.index())).await {
                Err(Error::Refused(_)) => self.page(query, None).await, // the index is not there (yet)
                page => page,
            }
        };
        let (total, items) = tokio::try_join!(total, items)?;
        Ok(OrderPage { items, total })
    }

    async fn page(
        &self,
        query: &ListOrders,
        index: Option<&Index>,
    ) -> Result<Vec<OrderRow>, Error> {
        let Some(skip) = query.skip() else {
            return Ok(Vec::new());
        };
        let mut find = self
            .rows
            .find(query.filter())
            .sort(doc! { "createdAt": -1, "orderId": -1 })
            .skip(skip);
        if let Some(index) = index {
            find = find.hint(Hint::Keys(index.document()));
        }
        let found = read(find, query.limit).await?;
        Ok(found
            .into_iter()
            .map(|row| <(u32, OrderRow)>::from(row).1)
            .collect())
    }
}

impl ListOrders {
    /// Every value has a type of its own here, so nothing a client sends can become an operator.
    fn filter(&self) -> Document {
        let mut filter = doc! { "tenantId": self.tenant.as_str() };
        if let Some(status) = self.status {
            filter.insert("status", status.as_str());
        }
        if let Some(email) = &self.buyer_email {
            filter.insert("buyerEmail", email);
        }
        let mut created = Document::new();
        if let Some(from) = self.from {
            created.insert("$gte", DateTime::from_millis(from.millis()));
        }
        if let Some(until) = self.until {
            created.insert("$lt", DateTime::from_millis(until.millis()));
        }
        if !created.is_empty() {
            filter.insert("createdAt", created);
        }
        filter
    }

    /// The index that has the filter in front of the sort.
    fn index(&self) -> &'static Index {
        match (&self.buyer_email, self.status) {
            (Some(_), _) => &BY_BUYER,
            (None, Some(_)) => &BY_STATUS,
            (None, None) => &BY_TIME,
        }
    }

    /// The rows before the page; `None` for a page behind the last row that any collection can have, whose position
    /// the server could not count to.
    fn skip(&self) -> Option<u64> {
        let skip = self.page.saturating_sub(1).checked_mul(self.limit)?;
        let end = skip.checked_add(self.limit)?;
        i64::try_from(end).is_ok().then_some(skip)
    }
}
