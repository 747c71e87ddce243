use std::{
    collections::HashSet,
    fmt,
    hash::{BuildHasher as _, RandomState},
    pin::pin,
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use orders_bus::{BECOMING_ORDERS, Operator};
use orders_contracts::{AuditAction, Timestamp};
use orders_store::Store;
use orders_uploads::{Entry, Storage, StorageKey};
use serde_json::{Value, json};

use crate::{
    Context, Verdict,
    comparison::patiently,
    confirm::Confirm,
    output::{counted, shown, size},
    record::Record,
};

/// How long a file is kept that no order names. An edge lets nobody order a file for the last hour of it, so what is swept
/// cannot be ordered meanwhile.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How many orders are read together.
const PAGE: u64 = 5_000;
/// How many files are removed at once.
const AT_ONCE: usize = 8;

/// Remove uploaded files that no order names
///
/// They are what is left when somebody uploads a file and orders nothing. A file is kept for a day, and as long as an order
/// names it, or a command or a dead letter that may still become one. Looks first, says what it found and asks.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    confirm: Confirm,
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let storage = context.storage()?;
    // Before anything is read, so that no file becomes an order's while this runs.
    let before = Timestamp::now()
        .earlier(KEPT)
        .unwrap_or_else(Timestamp::now);
    let (bus, store) = context.servers().await?;
    if !bus.has_audit().await? {
        bail!(
            "the stream ORDERS_AUDIT, which must record this, is missing; run `orderctl migrate`"
        );
    }
    let mut named = Named::default();
    let Some(found) = look(context, &bus, &store, &storage, before, &mut named).await? else {
        return Ok(Verdict::Interrupted);
    };
    context.output.line(
        format_args!(
            "found {found} that no order names, uploaded before {} UTC",
            shown(before)
        ),
        &json!({ "found": found.value(), "before": before }),
    );
    if found.files.is_empty() {
        return Ok(Verdict::Fine);
    }
    let question = format!("Remove for good {found}");
    if let Err(verdict) = options.confirm.ask(context, &question).await? {
        return Ok(verdict);
    }
    let target = "uploads that no order names";
    let record = Record::begin(context, Some(&bus), AuditAction::Swept, target, None).await?;
    let mut removed = Found::default();
    let outcome = remove(context, &storage, found, &mut removed).await;
    let verdict = match &outcome {
        Err(_) => None,
        Ok(true) => Some(Verdict::Fine),
        Ok(false) => Some(Verdict::Interrupted),
    };
    record.end(verdict, format!("removed {removed}")).await?;
    context.output.line(
        format_args!("removed {removed}"),
        &json!({ "removed": removed.value() }),
    );
    outcome?;
    Ok(verdict.unwrap_or(Verdict::Interrupted))
}

/// The files that orders name. They are many, so only a hash of each is kept; two that have the same are both kept.
#[derive(Default)]
struct Named {
    hasher: RandomState,
    keys: HashSet<u64>,
}

impl Named {
    fn add(&mut self, keys: &[String]) {
        let hashes = keys.iter().map(|key| self.hasher.hash_one(key.as_str()));
        self.keys.extend(hashes);
    }

    fn has(&self, key: &str) -> bool {
        self.keys.contains(&self.hasher.hash_one(key))
    }
}

/// A file with all its versions.
struct File {
    versions: Vec<Entry>,
}

impl File {
    fn key(&self) -> &str {
        self.versions.first().map_or("", |entry| entry.key.as_str())
    }

    fn bytes(&self) -> u64 {
        self.versions.iter().map(|entry| entry.size).sum()
    }

    /// Whether nobody needs it: it is an upload of ours, none of it is newer than `before`, and no order names it.
    fn is_left(&self, before: Timestamp, named: &Named) -> bool {
        self.versions.iter().all(|entry| entry.at < before)
            && StorageKey::parse(self.key()).is_some()
            && !named.has(self.key())
    }
}

#[derive(Default)]
struct Found {
    files: Vec<File>,
    count: u64,
    bytes: u64,
}

impl Found {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }

    fn value(&self) -> Value {
        json!({ "files": self.count, "bytes": self.bytes })
    }
}

/// `2 files (3.4 MiB)`.
impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", counted(self.count, "file"), size(self.bytes))
    }
}

/// Reads what names files, in the order in which it moves on, and then lists the bucket. `None` if Ctrl-C came first.
async fn look(
    context: &Context,
    bus: &Operator,
    store: &Store,
    storage: &Storage,
    before: Timestamp,
    named: &mut Named,
) -> Result<Option<Found>> {
    let bar = context.output.busy("looking");
    let looked = async {
        in_messages(context, bus, named).await?;
        in_orders(context, store, named).await?;
        in_bucket(context, storage, before, named).await
    };
    let found = looked.await;
    bar.finish_and_clear();
    Ok(Some(found?).filter(|_| !context.stop.is_cancelled()))
}

async fn in_messages(context: &Context, bus: &Operator, named: &mut Named) -> Result<()> {
    for stream in BECOMING_ORDERS {
        let Some(state) = bus.stream_state(&stream).await? else {
            continue;
        };
        let mut reached = 0;
        while reached < state.last && state.messages > 0 && !context.stop.is_cancelled() {
            let page = bus.files_named(&stream, reached, state.last).await?;
            named.add(&page.keys);
            reached = page.reached;
        }
    }
    Ok(())
}

async fn in_orders(context: &Context, store: &Store, named: &mut Named) -> Result<()> {
    let orders = store.write_model();
    let total = patiently(async || orders.count(None).await).await?;
    let bar = context.output.progress("orders", total);
    let mut after = Some(String::new());
    while let Some(behind) = after.filter(|_| !context.stop.is_cancelled()) {
        let page = patiently(async || orders.files_after(&behind, PAGE).await).await?;
        named.add(&page.keys);
        bar.inc(page.seen);
        after = page.after;
    }
    bar.finish_and_clear();
    Ok(())
}

async fn in_bucket(
    context: &Context,
    storage: &Storage,
    before: Timestamp,
    named: &Named,
) -> Result<Found> {
    let (mut found, mut versions) = (Found::default(), Vec::<Entry>::new());
    let mut keep = |versions: Vec<Entry>| {
        let file = File { versions };
        if file.is_left(before, named) {
            found.add(file.bytes());
            found.files.push(file);
        }
    };
    let mut listing = storage.list(StorageKey::ALL);
    while let Some(page) = listing.next().await? {
        for entry in page {
            // The versions of a file come one after the other.
            if versions.first().is_some_and(|first| first.key != entry.key) {
                keep(std::mem::take(&mut versions));
            }
            versions.push(entry);
        }
        if context.stop.is_cancelled() {
            break;
        }
    }
    keep(versions);
    Ok(found)
}

/// Removes the files; false if Ctrl-C came first.
async fn remove(
    context: &Context,
    storage: &Storage,
    found: Found,
    removed: &mut Found,
) -> Result<bool> {
    let bar = context.output.progress("files", found.count);
    let stop = &context.stop;
    let work = found.files.iter().map(|file| async move {
        for entry in &file.versions {
            storage.remove(&entry.key, entry.version.as_deref()).await?;
        }
        Ok::<_, orders_uploads::Error>(file.bytes())
    });
    let work = stream::iter(work).buffer_unordered(AT_ONCE);
    let mut work = pin!(work.take_until(stop.cancelled()));
    let outcome = loop {
        match work.try_next().await {
            Ok(Some(bytes)) => {
                removed.add(bytes);
                bar.inc(1);
            }
            Ok(None) => break Ok(!stop.is_cancelled()),
            Err(error) => break Err(error.into()),
        }
    };
    bar.finish_and_clear();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "tenants/t-1/uploads/6f2e7c1a-3b8e-4c55-9f0b-0d8f3a6b1c22/a.pdf";

    fn file(key: &str, ages: &[u64]) -> File {
        let entry = |hours: &u64| Entry {
            key: key.to_owned(),
            version: None,
            at: Timestamp::now()
                .earlier(Duration::from_secs(hours * 60 * 60))
                .unwrap(),
            size: 1,
            is_file: true,
            is_latest: true,
        };
        File {
            versions: ages.iter().map(entry).collect(),
        }
    }

    #[test]
    fn only_an_old_upload_that_nobody_names_is_left() {
        let before = Timestamp::now().earlier(KEPT).unwrap();
        let mut named = Named::default();
        assert!(file(KEY, &[25]).is_left(before, &named));
        assert!(file(KEY, &[30, 25]).is_left(before, &named));
        for (key, ages) in [
            (KEY, &[23][..]),
            (KEY, &[1, 30]),
            (KEY, &[30, 1]),
            ("tenants/t-1/orders/abcd1234/a.pdf", &[30]),
            ("tenants/t-1/notes.txt", &[30]),
        ] {
            assert!(!file(key, ages).is_left(before, &named), "{key} {ages:?}");
        }
        named.add(&[KEY.to_owned()]);
        assert!(!file(KEY, &[25]).is_left(before, &named));
    }
}
