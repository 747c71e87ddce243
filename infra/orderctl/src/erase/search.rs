//! Finding what is to be erased.

use std::{collections::BTreeSet, fmt};

use anyhow::Result;
use orders_bus::{Operator, PERSONAL};
use orders_contracts::{
    OrderId, Person, Whose,
    streams::{ORDERS_COMMANDS, ORDERS_EVENTS, ORDERS_FEED, PAYMENTS, Stream},
};
use orders_store::{Matches, Store};
use orders_uploads::{Storage, StorageKey};
use serde_json::{Map, Value, json};

use crate::{Context, comparison::patiently, output::counted};

/// How many documents are looked at together.
const PAGE: u64 = 1_000;
/// The streams that have messages of a tenant, but nothing personal.
pub(super) const OTHERS: [Stream; 2] = [PAYMENTS, ORDERS_FEED];

/// What holds data of somebody.
#[derive(Default, Clone)]
pub(super) struct Found {
    /// How many orders there are.
    pub(super) orders: u64,
    /// How many rows there are.
    pub(super) rows: u64,
    /// How many uploaded files there are.
    pub(super) files: u64,
    /// The ids of a buyer's orders and rows.
    pub(super) ids: BTreeSet<OrderId>,
    /// The sequences of messages that may hold personal data, by stream.
    pub(super) messages: Vec<(Stream, Vec<u64>)>,
    /// How many messages of a tenant hold none, by stream.
    pub(super) others: Vec<(Stream, u64)>,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.orders + self.rows + self.files + self.count() == 0
    }

    /// Whether there are commands that the writer has not handled yet.
    pub(super) fn has_commands(&self) -> bool {
        self.messages.iter().any(is_of_commands)
    }

    /// Whether there is nothing else.
    pub(super) fn is_queued(&self) -> bool {
        self.orders + self.rows + self.files == 0
            && self.others.is_empty()
            && self.messages.iter().all(is_of_commands)
    }

    fn count(&self) -> u64 {
        self.by_stream().map(|(_, count)| count).sum()
    }

    fn by_stream(&self) -> impl Iterator<Item = (Stream, u64)> {
        let messages = self.messages.iter();
        let messages = messages.map(|(stream, sequences)| (*stream, sequences.len() as u64));
        messages.chain(self.others.iter().copied())
    }

    pub(super) fn value(&self) -> Value {
        let of = |(stream, count): (Stream, u64)| (stream.name.to_owned(), json!(count));
        let messages: Map<_, _> = self.by_stream().map(of).collect();
        json!({ "orders": self.orders, "rows": self.rows, "files": self.files, "messages": messages })
    }
}

fn is_of_commands((stream, _): &(Stream, Vec<u64>)) -> bool {
    *stream == ORDERS_COMMANDS
}

/// `2 orders, 2 rows, 1 file, 5 messages (4 ORDERS_EVENTS, 1 ORDERS_DLQ)`.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [orders, rows, messages] = [
            counted(self.orders, "order"),
            counted(self.rows, "row"),
            counted(self.count(), "message"),
        ];
        write!(f, "{orders}, {rows}, ")?;
        if self.files > 0 {
            write!(f, "{}, ", counted(self.files, "file"))?;
        }
        f.write_str(&messages)?;
        let streams = self
            .by_stream()
            .map(|(stream, count)| format!("{count} {}", stream.name));
        let streams: Vec<_> = streams.collect();
        match streams.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", streams.join(", ")),
        }
    }
}

/// Looks for the data of somebody.
#[derive(Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) context: &'a Context,
    pub(super) bus: &'a Operator,
    pub(super) store: &'a Store,
    /// The bucket of uploads, unless they are a mock.
    pub(super) storage: Option<&'a Storage>,
    pub(super) whose: &'a Whose,
}

impl Search<'_> {
    /// Looks everywhere, in the order in which data moves on: what moves on meanwhile is met later. `None` if Ctrl-C came
    /// first.
    pub(super) async fn run(&self) -> Result<Option<Found>> {
        let bar = self.context.output.busy("looking");
        let found = self.look().await;
        bar.finish_and_clear();
        Ok(Some(found?).filter(|_| !self.context.stop.is_cancelled()))
    }

    async fn look(&self) -> Result<Found> {
        let mut found = Found::default();
        for stream in PERSONAL {
            let sequences = self.messages(&stream).await?;
            if !sequences.is_empty() {
                found.messages.push((stream, sequences));
            }
            match stream {
                ORDERS_COMMANDS => {
                    self.orders(&mut found).await?;
                    found.files = self.files(&found).await?;
                }
                ORDERS_EVENTS => self.rows(&mut found).await?,
                _ => {}
            }
        }
        if let Whose::Tenant(tenant) = self.whose {
            for stream in OTHERS {
                let count = self.bus.count_of(&stream, tenant).await?;
                if count > 0 {
                    found.others.push((stream, count));
                }
            }
        }
        Ok(found)
    }

    async fn messages(&self, stream: &Stream) -> Result<Vec<u64>> {
        let Some(state) = self.bus.stream_state(stream).await? else {
            return Ok(Vec::new());
        };
        let (mut sequences, mut reached) = (Vec::new(), 0);
        while reached < state.last && state.messages > 0 && !self.context.stop.is_cancelled() {
            let page = self
                .bus
                .messages_of(stream, self.whose, reached, state.last)
                .await?;
            reached = page.reached;
            sequences.extend(page.sequences);
        }
        Ok(sequences)
    }

    async fn orders(&self, found: &mut Found) -> Result<()> {
        let orders = self.store.write_model();
        match self.whose {
            Whose::Tenant(tenant) => {
                found.orders = patiently(async || orders.count(Some(tenant)).await).await?;
            }
            Whose::Buyer(Person { tenant, email, .. }) => {
                let ids =
                    self.ids(async |after: &str| orders.of_buyer(tenant, email, after, PAGE).await);
                let ids = ids.await?;
                found.orders = ids.len() as u64;
                found.ids.extend(ids);
            }
        }
        Ok(())
    }

    /// How many files there are: those that a buyer's orders name, or all of a tenant.
    async fn files(&self, found: &Found) -> Result<u64> {
        let Some(storage) = self.storage else {
            return Ok(0);
        };
        let tenant = self.whose.tenant();
        if let Whose::Buyer(_) = self.whose {
            let ids: Vec<OrderId> = found.ids.iter().cloned().collect();
            let mut files = 0;
            for some in ids.chunks(PAGE as usize) {
                files += self.files_of(some).await?.len() as u64;
            }
            return Ok(files);
        }
        let mut listing = storage.list(StorageKey::of_tenant(tenant));
        let (mut files, mut last) = (0, String::new());
        while let Some(page) = listing
            .next()
            .await?
            .filter(|_| !self.context.stop.is_cancelled())
        {
            for entry in page {
                files += u64::from(entry.key != last);
                last = entry.key;
            }
        }
        Ok(files)
    }

    /// The files of these orders of a buyer. While uploads were a mock, an order could name anything: another tenant's file
    /// is not this buyer's.
    pub(super) async fn files_of(&self, ids: &[OrderId]) -> Result<Vec<StorageKey>> {
        let (orders, tenant) = (self.store.write_model(), self.whose.tenant());
        let named = patiently(async || orders.files_of(tenant, ids).await).await?;
        let keys = named.iter().filter_map(|key| StorageKey::parse(key));
        Ok(keys.filter(|key| key.tenant() == tenant).collect())
    }

    async fn rows(&self, found: &mut Found) -> Result<()> {
        let rows = self.store.read_model();
        match self.whose {
            Whose::Tenant(tenant) => {
                found.rows = patiently(async || rows.count_of(tenant).await).await?;
            }
            Whose::Buyer(Person { tenant, email, .. }) => {
                let ids =
                    self.ids(async |after: &str| rows.of_buyer(tenant, email, after, PAGE).await);
                let ids = ids.await?;
                found.rows = ids.len() as u64;
                found.ids.extend(ids);
            }
        }
        Ok(())
    }

    /// The ids that all pages have, of the order that counts if there is one.
    async fn ids(
        &self,
        page: impl AsyncFn(&str) -> Result<Matches, orders_store::Error>,
    ) -> Result<Vec<OrderId>> {
        let only = match self.whose {
            Whose::Buyer(person) => person.order.as_ref(),
            Whose::Tenant(_) => None,
        };
        let (mut ids, mut after) = (Vec::new(), Some(String::new()));
        while let Some(behind) = after.filter(|_| !self.context.stop.is_cancelled()) {
            let page = patiently(async || page(&behind).await).await?;
            let wanted = |id: &OrderId| only.is_none_or(|only| only == id);
            ids.extend(page.ids.into_iter().filter(wanted));
            after = page.after;
        }
        Ok(ids)
    }
}
