use std::time::Duration;

use anyhow::Result;
use clap::Args;
use orders_contracts::Timestamp;
use orders_uploads::{Clamd, Entry, Error, Scanned, Storage, StorageKey, Verdict as Says};
use serde_json::json;
use tokio::time::sleep;

use crate::{Context, Verdict, output::plain};

/// How old a file may be to be scanned: an older one cannot be ordered any more.
const OLDEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Scan the files of the last day that have not been scanned, and tag them with what was found
///
/// For storages without a scanner of their own: clamd, ClamAV's daemon, looks into each file. With
/// ORDERS_UPLOADS__SCAN=required an order may have only a file that is tagged as clean.
#[derive(Args)]
pub(crate) struct Options {
    /// Where clamd listens, its TCPSocket
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:3310")]
    clamd: String,
    /// Go on, and look for new files that often, until Ctrl-C
    #[arg(long, value_name = "PAUSE", value_parser = humantime::parse_duration)]
    every: Option<Duration>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Result<Verdict> {
    let storage = context.storage()?;
    loop {
        let is_clean = scan_new(context, &storage, &options.clamd).await?;
        if context.stop.is_cancelled() {
            return Ok(Verdict::Interrupted);
        }
        match options.every {
            Some(pause) => _ = context.stop.run_until_cancelled(sleep(pause)).await,
            None if is_clean => return Ok(Verdict::Fine),
            None => return Ok(Verdict::Found),
        }
    }
}

/// Scans what has not been scanned; false if something was found.
async fn scan_new(context: &Context, storage: &Storage, clamd: &str) -> Result<bool> {
    let oldest = Timestamp::now().earlier(OLDEST);
    let mut is_clean = true;
    let mut listing = storage.list(StorageKey::ALL);
    while let Some(page) = listing.next().await? {
        for entry in page {
            if context.stop.is_cancelled() {
                return Ok(is_clean);
            }
            // Other versions cannot be ordered any more.
            let is_newest = entry.is_file && entry.is_latest;
            let is_new = is_newest && oldest.is_none_or(|oldest| entry.at > oldest);
            let Some(key) = StorageKey::parse(&entry.key).filter(|_| is_new) else {
                continue;
            };
            if let Some(scanned) = scan(storage, &key, &entry, clamd).await? {
                is_clean &= scanned.verdict == Says::Clean;
                tell(context, &key, &scanned);
            }
        }
    }
    Ok(is_clean)
}

/// Scans one file and tags it, unless it is tagged or gone.
async fn scan(
    storage: &Storage,
    key: &StorageKey,
    entry: &Entry,
    clamd: &str,
) -> Result<Option<Scanned>, Error> {
    // Of a storage without versions the newest one is meant.
    let version = entry
        .version
        .as_deref()
        .filter(|version| *version != "null");
    match storage.verdict(key, version).await {
        Ok(Says::Pending) => {}
        Ok(_) => return Ok(None),
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut scanner = Clamd::connect(clamd).await?;
    let sent = storage
        .read(key, version, async |chunk| scanner.take(&chunk).await)
        .await;
    match sent {
        Ok(()) => {}
        Err(error) if error.is_missing() => return Ok(None),
        // Clamd hangs up on what is too large for it, and says so.
        Err(Error::Scanner(Some(_))) => {}
        Err(error) => return Err(error),
    }
    let scanned = scanner.end().await?;
    storage.tag(key, version, scanned.verdict).await?;
    Ok(Some(scanned))
}

fn tell(context: &Context, key: &StorageKey, scanned: &Scanned) {
    let verdict = match scanned.verdict {
        Says::Clean => "clean",
        Says::Infected => "infected",
        Says::Unscannable | Says::Pending => "not scanned",
    };
    let (words, key) = (plain(&scanned.words), plain(key.as_str()));
    context.output.line(
        format_args!("{verdict} ({words}): {key}"),
        &json!({ "key": key, "verdict": verdict, "said": words }),
    );
}
