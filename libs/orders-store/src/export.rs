//! All rows of a list, batch by batch. Each batch is a read of its own from the place where the one before ended, so the
//! server keeps nothing for a slow reader, and a connection is taken for as long as a batch is read.

use std::time::Duration;

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use orders_contracts::{
    OrderRow,
    query::{ListFilter, ListOrders, ListPlace},
};
use orders_service::retry;
use tokio::time::timeout;

use crate::{
    Error, ReadModel,
    list::index_of,
    operation::{DEADLINE, within},
};

/// The rows of a batch.
const BATCH: u64 = 500;
/// How long an export that has begun waits for a database that is away or has too much to do.
const PATIENCE: Duration = Duration::from_secs(15);

/// Some rows, and where the next ones begin.
type Batch = (Vec<OrderRow>, Option<ListPlace>);

/// What is left of an export.
enum Rest {
    /// The rows behind this place.
    Behind(ListPlace),
    /// Nothing.
    Nothing,
}

impl ReadModel {
    /// All rows of a list, newest first, expanded, with no limit to their number; those that come in meanwhile are left out.
    /// An error ends them. Rows that cannot be read are left out, too; the log names them.
    ///
    /// The first rows are read before it returns, within the same limits as those of a list. Dropping the stream ends the
    /// reading.
    pub async fn export(
        &self,
        filter: &ListFilter,
    ) -> Result<BoxStream<'static, Result<Vec<OrderRow>, Error>>, Error> {
        let (rows, next) = self.batch(filter, None).await?;
        let first = stream::once(async { Ok(rows) });
        let (model, filter) = (self.clone(), filter.clone());
        let others = stream::try_unfold(Rest::of(next), move |rest| {
            let (model, filter) = (model.clone(), filter.clone());
            async move {
                let Rest::Behind(place) = rest else {
                    return Ok(None);
                };
                let (rows, next) = model.batch_at_last(&filter, &place).await?;
                Ok(Some((rows, Rest::of(next))))
            }
        });
        Ok(first.chain(others).boxed())
    }

    async fn batch_at_last(&self, filter: &ListFilter, after: &ListPlace) -> Result<Batch, Error> {
        let batch = retry("read rows of an export", Error::is_transient, || {
            self.batch(filter, Some(after))
        });
        let batch = timeout(PATIENCE, batch).await;
        batch.unwrap_or_else(|_| Err(Error::unavailable(format!("no answer within {PATIENCE:?}"))))
    }

    async fn batch(&self, filter: &ListFilter, after: Option<&ListPlace>) -> Result<Batch, Error> {
        let query = ListOrders {
            filter: filter.clone(),
            page: 1,
            after: after.cloned(),
            limit: BATCH,
            is_expanded: true,
        };
        // Engines without statistics sort all rows of the tenant unless they are told the index.
        let read = async {
            match self.part(&query, Some(index_of(filter))).await {
                Err(Error::Refused(_)) => self.part(&query, None).await, // the index is not there (yet)
                part => part,
            }
        };
        let (rows, next) = within(DEADLINE, read).await?;
        Ok((self.readable(&query, &rows), next))
    }
}

impl Rest {
    fn of(next: Option<ListPlace>) -> Self {
        next.map_or(Self::Nothing, Self::Behind)
    }
}
