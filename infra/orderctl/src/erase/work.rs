//! Erasing what was found, and looking again.

use std::time::Duration;

use anyhow::Result;
use orders_contracts::{
    AuditEntry, AuditResult, Erasure, OrderId, Whose,
    streams::{ORDERS_COMMANDS, Stream},
};
use orders_uploads::StorageKey;
use tokio::time::{Instant, sleep};

use super::search::{Found, Search};
use crate::comparison::patiently;

/// How many documents or messages are erased together.
const BATCH: usize = 250;
/// How many orders an entry of the audit names.
const ENTRY: usize = 1_000;
/// How often to look whether daemons have settled what they had in hand.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The least time that daemons have for that.
const LEAST: Duration = Duration::from_secs(1);

/// What was erased, and what is left to do.
pub(super) struct Erased {
    pub(super) changed: Found,
    pub(super) left: Vec<String>,
}

/// The work of one run.
pub(super) struct Erasing<'a> {
    search: Search<'a>,
    /// The entry of the audit that began it.
    entry: AuditEntry,
    deadline: Instant,
    erased: Erased,
}

impl<'a> Erasing<'a> {
    pub(super) fn new(search: Search<'a>, entry: AuditEntry, wait: Duration) -> Self {
        Self {
            search,
            entry,
            deadline: Instant::now() + wait,
            erased: Erased {
                changed: Found::default(),
                left: Vec::new(),
            },
        }
    }

    pub(super) fn erased(self) -> Erased {
        self.erased
    }

    fn is_stopped(&self) -> bool {
        self.search.context.stop.is_cancelled()
    }

    /// Erases `found` and all that comes after it, until nothing is found or the time is up; false if Ctrl-C came first.
    pub(super) async fn run(&mut self, mut found: Found) -> Result<bool> {
        let (bus, whose) = (self.search.bus, self.search.whose);
        loop {
            let is_last = Instant::now() >= self.deadline;
            // A command that the writer has not handled is an order that somebody waits for, until the time is up.
            let is_queue_left = !is_last;
            let before = match is_last && found.has_commands() {
                // The server forgets that a message is in hand once it is gone.
                true => bus.still_in_hand(&bus.in_hand(whose).await?).await?,
                false => Vec::new(),
            };
            self.pass(&found, is_queue_left).await?;
            let in_hand = bus.in_hand(whose).await?;
            let until = self.deadline.max(Instant::now() + LEAST);
            self.erased.left = loop {
                let still = bus.still_in_hand(&in_hand).await?;
                if still.is_empty() || self.is_stopped() || Instant::now() >= until {
                    break still;
                }
                self.pause().await;
            };
            let new = before
                .into_iter()
                .filter(|name| !self.erased.left.contains(name));
            let new: Vec<String> = new.collect();
            self.erased.left.extend(new);
            let Some(again) = self.search.run().await? else {
                return Ok(false);
            };
            if again.is_empty() {
                return Ok(true);
            }
            if is_last {
                self.erased.left.push(again.to_string());
                return Ok(true);
            }
            if is_queue_left && again.is_queued() {
                self.pause().await;
            }
            found = again;
        }
    }

    async fn pause(&self) {
        let stop = &self.search.context.stop;
        stop.run_until_cancelled(sleep(LOOK_EVERY)).await;
    }

    /// Erases `found`, models first for a buyer, as far as Ctrl-C lets it.
    async fn pass(&mut self, found: &Found, is_queue_left: bool) -> Result<()> {
        match self.search.whose {
            Whose::Buyer(_) => {
                self.redact(found).await?;
                self.messages(found, is_queue_left).await
            }
            Whose::Tenant(_) => {
                self.messages(found, is_queue_left).await?;
                self.remove().await
            }
        }
    }

    /// Erases what is personal in a buyer's orders and rows; the audit names them first. Before an order forgets its file,
    /// the file is gone.
    async fn redact(&mut self, found: &Found) -> Result<()> {
        let Search {
            context,
            bus,
            store,
            whose,
            ..
        } = self.search;
        let tenant = whose.tenant();
        let ids: Vec<OrderId> = found.ids.iter().cloned().collect();
        let bar = context.output.progress("orders", ids.len() as u64);
        for some in ids.chunks(ENTRY) {
            let mut entry = self.entry.clone();
            let erasure = entry.erasure.get_or_insert_with(Erasure::default);
            erasure.orders = some.to_vec();
            bus.record(&AuditEntry {
                result: AuditResult::Begun,
                ..entry
            })
            .await?;
            for batch in some.chunks(BATCH) {
                if self.is_stopped() {
                    bar.finish_and_clear();
                    return Ok(());
                }
                for key in self.search.files_of(batch).await? {
                    self.remove_files(key.as_str()).await?;
                }
                let (orders, rows) = (store.write_model(), store.read_model());
                let changed = &mut self.erased.changed;
                changed.orders += patiently(async || orders.erase(tenant, batch).await).await?;
                changed.rows += patiently(async || rows.erase(tenant, batch).await).await?;
                bar.inc(batch.len() as u64);
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Erases the messages one by one, because that overwrites them; those that hold nothing personal all together.
    async fn messages(&mut self, found: &Found, is_queue_left: bool) -> Result<()> {
        let Search {
            context,
            bus,
            whose,
            ..
        } = self.search;
        for (stream, sequences) in &found.messages {
            if is_queue_left && *stream == ORDERS_COMMANDS {
                continue;
            }
            let bar = context.output.progress("messages", sequences.len() as u64);
            for batch in sequences.chunks(BATCH) {
                if self.is_stopped() {
                    break;
                }
                let erased = bus.erase(stream, batch).await?;
                self.count(stream, erased);
                bar.inc(batch.len() as u64);
            }
            bar.finish_and_clear();
        }
        for (stream, _) in &found.others {
            if !self.is_stopped() {
                let purged = bus.purge(stream, whose.tenant()).await?;
                self.count(stream, purged);
            }
        }
        Ok(())
    }

    /// Removes a tenant's orders and rows.
    async fn remove(&mut self) -> Result<()> {
        let Search {
            context,
            store,
            whose,
            ..
        } = self.search;
        let (orders, rows) = (store.write_model(), store.read_model());
        let (tenant, limit) = (whose.tenant(), BATCH as u64);
        let bar = context.output.busy("removing");
        let changed = &mut self.erased.changed;
        while !context.stop.is_cancelled() {
            let some = patiently(async || orders.remove_of(tenant, limit).await).await?;
            changed.orders += some;
            if some < limit {
                break;
            }
        }
        while !context.stop.is_cancelled() {
            let some = patiently(async || rows.remove_of(tenant, limit).await).await?;
            changed.rows += some;
            if some < limit {
                break;
            }
        }
        let files = self.remove_files(&StorageKey::of_tenant(tenant)).await;
        bar.finish_and_clear();
        files
    }

    /// Removes the files whose keys begin with `prefix`, all their versions, as far as Ctrl-C lets it.
    async fn remove_files(&mut self, prefix: &str) -> Result<()> {
        let Some(storage) = self.search.storage else {
            return Ok(());
        };
        let (mut listing, mut last) = (storage.list(prefix), String::new());
        while let Some(page) = listing.next().await? {
            for entry in page {
                if self.is_stopped() {
                    return Ok(());
                }
                storage.remove(&entry.key, entry.version.as_deref()).await?;
                self.erased.changed.files += u64::from(entry.key != last);
                last = entry.key;
            }
        }
        Ok(())
    }

    fn count(&mut self, stream: &Stream, count: u64) {
        let others = &mut self.erased.changed.others;
        match others.iter_mut().find(|(known, _)| known == stream) {
            Some((_, sum)) => *sum += count,
            None => others.push((*stream, count)),
        }
    }
}
