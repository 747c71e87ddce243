//! What the daemons tell the edges, outside of streams.

use std::collections::BTreeMap;

use futures_util::{Stream, StreamExt};
use orders_contracts::{Answer, Reply, ReplyTo};
use tokio::time::timeout;
use tracing::debug;
use uuid::Uuid;

use crate::{Bus, Error, publish::BEST_EFFORT};

impl Bus {
    /// Sends the edges the results of their commands, in one message for each edge. Best effort: an edge that is gone has
    /// no client waiting.
    pub async fn reply<'a>(&self, replies: impl IntoIterator<Item = (&'a ReplyTo, Reply)>) {
        let mut by_edge: BTreeMap<&str, (&ReplyTo, Vec<Answer>)> = BTreeMap::new();
        for (to, reply) in replies {
            let (edge, command) = to.parts();
            let (_, answers) = by_edge.entry(edge).or_insert_with(|| (to, Vec::new()));
            answers.push(Answer { command, reply });
        }
        for (to, answers) in by_edge.into_values() {
            let body = serde_json::to_vec(&answers).expect("contracts have only string keys");
            let sent = self
                .client
                .publish(self.subject(to.to_string()), body.into());
            if !matches!(timeout(BEST_EFFORT, sent).await, Ok(Ok(()))) {
                debug!("{} replies could not be sent", answers.len());
            }
        }
    }

    /// All replies to the edge instance `edge`, for as long as the process lives.
    pub async fn replies(
        &self,
        edge: Uuid,
    ) -> Result<impl Stream<Item = Vec<Answer>> + use<>, Error> {
        let replies = self
            .client
            .subscribe(self.subject(ReplyTo::filter(edge)))
            .await
            .map_err(|error| Error::api("subscribe to replies", error))?;
        Ok(replies.map(|message| answers(&message.payload)))
    }
}

/// The answers in a reply, without those that this version does not know.
fn answers(payload: &[u8]) -> Vec<Answer> {
    serde_json::from_slice(payload).unwrap_or_else(|_| {
        let each: Vec<serde_json::Value> = serde_json::from_slice(payload).unwrap_or_default();
        let known = each.into_iter().map(serde_json::from_value);
        known.filter_map(Result::ok).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_answer_does_not_hide_the_others() {
        let payload = r#"[
            {"command":"a","reply":{"outcome":"created"}},
            {"command":"b","reply":{"outcome":"postponed","until":"noon"}},
            {"command":"c","reply":{"outcome":"refused","reason":"conflict","status":"SHIPPED"}},
            {"command":"d","reply":{"outcome":"cancelled"},"later":true}
        ]"#;
        let commands = answers(payload.as_bytes()).into_iter();
        let commands: Vec<String> = commands.map(|answer| answer.command.to_string()).collect();
        assert_eq!(commands, ["a", "d"]);
        assert_eq!(answers(b"no JSON"), []);
    }
}
