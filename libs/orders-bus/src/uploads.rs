//! The files that messages name whose orders are not stored yet.

use orders_contracts::{
    Subject,
    streams::{ORDERS_COMMANDS, ORDERS_DLQ, ORDERS_DROPPED, Retention, Stream},
};
use serde_json::Value;

use crate::{Error, Operator, history::Content};

/// The streams whose messages may still become orders, in the order in which they pass through them.
pub const BECOMING_ORDERS: [Stream; 3] = [ORDERS_COMMANDS, ORDERS_DLQ, ORDERS_DROPPED];

/// Files that messages name, and how far the stream was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesNamed {
    /// The storage keys, as their senders wrote them.
    pub keys: Vec<String>,
    /// The sequence up to which the stream was read; the next page starts after it.
    pub reached: u64,
}

impl Operator {
    /// The files that the next messages of `stream` name, after the sequence `after`, up to `up_to`.
    pub async fn files_named(
        &self,
        stream: &Stream,
        after: u64,
        up_to: u64,
    ) -> Result<FilesNamed, Error> {
        let filter = Subject::filter(stream, None);
        let page = match stream.retention {
            Retention::WorkQueue => self.queued(stream, &filter, after, up_to).await?,
            Retention::Limits { .. } | Retention::Latest { .. } => {
                let page = self.page(stream, &filter, Content::Whole, after, up_to);
                page.await?
            }
        };
        let keys = page.messages.iter().filter_map(|one| key_in(&one.payload));
        Ok(FilesNamed {
            keys: keys.collect(),
            reached: page.reached,
        })
    }
}

/// The storage key in a command or an event. Whoever wrote it may have written anything, so no decoder decides.
fn key_in(body: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(body).ok()?;
    let places = ["/attachment/storageKey", "/order/attachment/storageKey"];
    let mut keys = places
        .into_iter()
        .filter_map(|place| json.pointer(place)?.as_str());
    keys.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_events_name_their_file() {
        let key = |body: &str| key_in(body.as_bytes());
        let of = |key: &str| Some(key.to_owned());
        assert_eq!(key(r#"{"attachment":{"storageKey":"a"}}"#), of("a"));
        assert_eq!(
            key(r#"{"order":{"attachment":{"storageKey":"b"}}}"#),
            of("b")
        );
        for none in [
            "",
            "{",
            "[]",
            r#"{"attachment":null}"#,
            r#"{"attachment":{"storageKey":1}}"#,
        ] {
            assert_eq!(key(none), None, "{none}");
        }
    }
}
