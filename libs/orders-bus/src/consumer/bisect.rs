//! Handling a batch, and again its halves as long as they fail, until the message at fault is alone.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use orders_contracts::streams::Consumer;
use orders_service::{
    chain,
    metrics::{PROCESS_DURATION, histogram},
};
use tokio::time::{Instant, sleep};
use tracing::{Instrument as _, Span, debug, warn};

use crate::{Delivery, Failure, Handler, Reason, dead_letters::one_line, delivery::release_all};

/// From this delivery on, a message that makes its handler panic while it is alone is given up.
const LAST_PANIC: u64 = 3;

/// A batch in parts that are still to be handled; the last one is next.
#[derive(Debug)]
pub(super) struct Parts<T>(Vec<Vec<Delivery<T>>>);

impl<T: Send + Sync> Parts<T> {
    pub(super) fn of(batch: Vec<Delivery<T>>) -> Self {
        Self(vec![batch])
    }

    /// Lets `handler` handle every part, and again the halves of what a failed one left unsettled.
    pub(super) async fn handle(&mut self, handler: &impl Handler<T>, consumer: &Consumer) {
        let stream = consumer.stream.name;
        while let Some(part) = self.0.last() {
            let began = Instant::now();
            // What a panic leaves behind is what a crash leaves behind, and that is provided for.
            let work = AssertUnwindSafe(handler.handle(part)).catch_unwind();
            // Whatever is said while a message is handled alone is about it.
            let work = work.instrument(match &part[..] {
                [only] => only.span(),
                _ => Span::none(),
            });
            let failure = tokio::select! {
                biased;
                ended = work => match ended {
                    Ok(Ok(())) => None,
                    Ok(Err(failure)) => Some(failure),
                    Err(panic) => Some(Failure::Panicked(message(&*panic))),
                },
                never = show_progress(part, consumer.ack_wait / 3) => match never {},
            };
            let outcome = failure.as_ref().map_or("ok", Failure::as_str);
            histogram!(PROCESS_DURATION, "stream" => stream, "outcome" => outcome)
                .record(began.elapsed());
            let part = self.0.pop().unwrap_or_default();
            if let Some(failure) = failure {
                self.split(part, &failure);
            }
        }
    }

    fn split(&mut self, mut part: Vec<Delivery<T>>, failure: &Failure) {
        if let [delivery] = &part[..] {
            return give_up(delivery, failure);
        }
        part.retain(|delivery| !delivery.is_settled());
        let cause = one_line(&chain(failure));
        debug!("{} messages are left of a batch: {cause}", part.len());
        let half = part.split_off(part.len() / 2);
        self.0
            .extend([half, part].into_iter().filter(|part| !part.is_empty()));
    }

    /// Gives back what is not settled.
    pub(super) async fn release(self) {
        let left = self.0.into_iter().flatten();
        release_all(left.filter(|delivery| !delivery.is_settled())).await;
    }
}

/// Decides on a message that failed alone. One that is left unsettled comes again after the ack wait.
fn give_up<T>(delivery: &Delivery<T>, failure: &Failure) {
    let cause = one_line(&chain(failure));
    match failure {
        Failure::Refused(_) => delivery.dead_letter(Reason::Refused, &cause),
        Failure::Panicked(_) if delivery.deliveries() >= LAST_PANIC => {
            delivery.dead_letter(Reason::Panicked, &cause);
        }
        Failure::Panicked(_) | Failure::Later(_) => {
            let position = delivery.position();
            warn!(parent: &delivery.span(), "cannot handle {position} yet: {cause}");
        }
    }
}

/// Tells the server that `deliveries` are being worked on, for as long as it is polled.
async fn show_progress<T>(deliveries: &[Delivery<T>], every: Duration) -> std::convert::Infallible {
    loop {
        sleep(every).await;
        for delivery in deliveries {
            delivery.show_progress().await;
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panicked")
        .to_owned()
}
