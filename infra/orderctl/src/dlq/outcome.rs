//! What becomes of messages that were sent again.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::Result;
use orders_bus::{DeadLetterFilter, Operator};
use orders_contracts::DeadLetter;
use tokio::time::{Instant, sleep};

use super::handle::Done;
use crate::Context;

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Outcome {
    /// The new dead letters of messages that were given up again.
    pub(super) came_back: Vec<DeadLetter>,
    /// The number of messages that no daemon has settled yet.
    pub(super) open: u64,
}

/// Waits until daemons have settled all messages of `done`, at most `wait`.
pub(super) async fn outcome(
    context: &Context,
    bus: &Operator,
    done: &Done,
    wait: Duration,
) -> Result<Outcome> {
    let deadline = Instant::now() + wait;
    let bar = context
        .output
        .progress("handled by daemons", done.sent.len() as u64);
    let mut outcome = Outcome {
        came_back: Vec::new(),
        open: done.sent.len() as u64,
    };
    let mut reached = done.up_to;
    let ours: HashSet<u64> = done.sent.iter().map(|sent| sent.letter).collect();
    while outcome.open > 0 {
        // A daemon stores a dead letter before it settles the message, so the settled come first.
        let settled = settled(bus, done).await?;
        let newest = bus.last_dead_letter().await?;
        while reached < newest {
            let page = bus
                .dead_letters(&DeadLetterFilter::default(), reached, newest)
                .await?;
            reached = page.reached;
            let is_ours =
                |letter: &DeadLetter| letter.redrive_of.is_some_and(|of| ours.contains(&of));
            outcome
                .came_back
                .extend(page.letters.into_iter().filter(is_ours));
        }
        let back: HashSet<u64> = outcome
            .came_back
            .iter()
            .filter_map(|letter| letter.redrive_of)
            .collect();
        let is_open = |place: usize| !settled[place] && !back.contains(&done.sent[place].letter);
        outcome.open = (0..done.sent.len()).filter(|&place| is_open(place)).count() as u64;
        bar.set_position(done.sent.len() as u64 - outcome.open);
        if outcome.open == 0 || context.stop.is_cancelled() || Instant::now() >= deadline {
            break;
        }
        context.stop.run_until_cancelled(sleep(LOOK_EVERY)).await;
    }
    bar.finish_and_clear();
    Ok(outcome)
}

/// Which of the messages are settled.
async fn settled(bus: &Operator, done: &Done) -> Result<Vec<bool>> {
    let mut up_to = HashMap::new();
    let mut settled = Vec::with_capacity(done.sent.len());
    for sent in &done.sent {
        let key = (sent.channel, sent.stream.as_str());
        let up_to = match up_to.get(&key) {
            Some(up_to) => *up_to,
            None => {
                let found = bus.settled_up_to(sent.channel, &sent.stream).await?;
                up_to.insert(key, found);
                found
            }
        };
        settled.push(sent.sequence <= up_to);
    }
    Ok(settled)
}
