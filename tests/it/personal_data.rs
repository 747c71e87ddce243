//! Personal data: none of it in logs, in the feed or in the audit; and none anywhere once it is erased.

mod erase;
mod logs;

use std::{fs, path::Path};

use async_nats::jetstream::{self, consumer::pull};
use futures_util::StreamExt;
use mongodb::bson::Document;
use orders_testkit::Stack;

/// Whether any file below `folder` has one of `needles` in it.
fn is_in_files(folder: &Path, needles: &[&str]) -> bool {
    let entries = fs::read_dir(folder)
        .map(Iterator::flatten)
        .into_iter()
        .flatten();
    entries.map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            return is_in_files(&path, needles);
        }
        // A file may be gone by now.
        let bytes = fs::read(&path).unwrap_or_default();
        needles.iter().any(|needle| {
            let mut windows = bytes.windows(needle.len());
            windows.any(|window| window.eq_ignore_ascii_case(needle.as_bytes()))
        })
    })
}

/// Every document of the database, as text.
async fn documents(stack: &Stack) -> String {
    let database = stack.database().await;
    let mut text = String::new();
    for name in database.list_collection_names().await.unwrap() {
        let collection = database.collection::<Document>(&name);
        let mut found = collection.find(Document::new()).await.unwrap();
        while let Some(document) = found.next().await {
            text += &format!("{name} {}\n", document.unwrap());
        }
    }
    text
}

/// The subjects, headers and bodies of every message of a stream of the log kind, as text.
async fn messages(jetstream: &jetstream::Context, stream: &str) -> String {
    let stream = jetstream.get_stream(stream).await.unwrap();
    let count = stream.cached_info().state.messages;
    let reader = stream.create_consumer(pull::OrderedConfig::default());
    let mut found = reader.await.unwrap().messages().await.unwrap();
    let mut text = String::new();
    for _ in 0..count {
        let message = found.next().await.unwrap().unwrap();
        let body = String::from_utf8_lossy(&message.payload);
        text += &format!("{} {:?} {body}\n", message.subject, message.headers);
    }
    text
}
