//! Reading a durable consumer in natural batches.

mod bisect;
mod pull;
mod request;
mod schedule;

use std::{sync::Arc, time::Duration};

use async_nats::jetstream;
use futures_util::{StreamExt, stream};
use orders_contracts::{Body, streams::Consumer};
use orders_service::metrics::{BATCH_MESSAGES, Histogram, histogram};
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    bisect::Parts,
    pull::Puller,
    schedule::{Next, Schedule},
};
use crate::{
    Bus, Delivery, Error, Handler, Reason,
    budget::Share,
    delivery::{Origin, read, release_all},
    publish::BEST_EFFORT,
};

/// While fewer messages are in hand, the next ones are handled beside them: at low rates none waits for the round
/// trips of another. Behind more, they gather, because large batches cost less.
const BESIDE: usize = 8;

/// Reads one durable consumer in natural batches: whatever is there when a handler is free.
///
/// One request for up to 512 messages stands all the time, and what comes while a batch is handled is the next batch.
pub struct BatchConsumer<T> {
    declaration: Consumer,
    puller: Puller,
    schedule: Schedule<(Share, Delivery<T>)>,
    origin: Arc<Origin>,
    signs_of_progress: Interval,
    batch_messages: Histogram,
}

impl Bus {
    /// Opens the durable consumer, creating or mending it first.
    pub async fn consume<T: Body>(
        &self,
        declaration: &Consumer,
    ) -> Result<BatchConsumer<T>, Error> {
        let mut signs_of_progress = interval(declaration.ack_wait / 3);
        // It ticks only while messages wait; after a quiet night there is nothing to catch up on.
        signs_of_progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(BatchConsumer {
            declaration: *declaration,
            puller: Puller::open(self, declaration).await?,
            schedule: Schedule::new(declaration.policy.alone_from, BESIDE),
            origin: Arc::new(Origin::new(self, declaration)),
            signs_of_progress,
            batch_messages: histogram!(BATCH_MESSAGES, "stream" => declaration.stream.name),
        })
    }
}

impl<T: Body> BatchConsumer<T> {
    /// Lets `handler` handle every batch until `shutdown`. Then batches in hand have `work` to finish; everything else
    /// is given back to the server at once.
    pub async fn for_each(
        self,
        shutdown: &CancellationToken,
        work: Duration,
        handler: &impl Handler<T>,
    ) {
        let declaration = self.declaration;
        let in_hand = watch::Sender::new(0);
        let batches = stream::unfold(self, async |mut consumer| {
            let (batch, weight) = consumer.next(shutdown, in_hand.subscribe()).await?;
            in_hand.send_modify(|count| *count += weight);
            Some(((batch, weight), consumer))
        });
        let in_hand = &in_hand;
        let handle = |(batch, weight): (Vec<Delivery<T>>, usize)| async move {
            let mut parts = Parts::of(batch);
            let too_late = async {
                shutdown.cancelled().await;
                sleep(work).await;
            };
            tokio::select! {
                () = parts.handle(handler, &declaration) => {}
                () = too_late => {}
            }
            parts.release().await;
            in_hand.send_modify(|count| *count -= weight);
        };
        Box::pin(batches.for_each_concurrent(None, handle)).await;
    }

    /// The next messages: all that have come, or the next one to come; never none. `None` after `shutdown`.
    ///
    /// For messages that the daemon [holds](orders_contracts::streams::Policy::HOLD): nothing shows progress on them.
    pub async fn next_batch(&mut self, shutdown: &CancellationToken) -> Option<Vec<Delivery<T>>> {
        let idle = watch::Sender::new(0);
        let next = self.next(shutdown, idle.subscribe()).await;
        next.map(|(batch, _)| batch)
    }

    /// The next batch, as soon as what is `in_hand` leaves room for it, and how much of that room it takes.
    async fn next(
        &mut self,
        shutdown: &CancellationToken,
        mut in_hand: watch::Receiver<usize>,
    ) -> Option<(Vec<Delivery<T>>, usize)> {
        loop {
            if shutdown.is_cancelled() {
                self.release().await;
                return None;
            }
            let count = *in_hand.borrow_and_update();
            if let Some(next) = self.next_now(count).await {
                self.batch_messages.record(next.0.len() as f64);
                return Some(next);
            }
            if let Some(room) = self.origin.budget.room()
                && !self.puller.has_request()
            {
                shutdown.run_until_cancelled(self.puller.ask(room)).await;
            }
            let is_asking = self.puller.has_request();
            let turn = self.schedule.turn().filter(|_| count == 0);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                message = self.puller.next(), if is_asking => match message {
                    Ok(message) => message.into_iter().for_each(|message| self.received(message)),
                    Err(cause) => {
                        shutdown.run_until_cancelled(self.puller.recover(&cause)).await;
                    }
                },
                _ = self.signs_of_progress.tick(), if !self.schedule.is_empty() => {
                    // A connection that takes nothing must not keep this from hearing of a shutdown.
                    let shown = timeout(BEST_EFFORT, self.show_progress());
                    shutdown.run_until_cancelled(shown).await;
                }
                // After the messages, so that all that is there comes into the batch.
                Ok(()) = in_hand.changed() => {}
                () = self.origin.budget.has_room(), if !is_asking => {}
                () = sleep_until(turn.unwrap_or_else(Instant::now)), if turn.is_some() => {}
            }
        }
    }

    /// What may be handled now, beside what is `in_hand`.
    async fn next_now(&mut self, in_hand: usize) -> Option<(Vec<Delivery<T>>, usize)> {
        loop {
            match self.schedule.next(Instant::now(), in_hand)? {
                Next::Batch(batch) => {
                    let weight = batch.len();
                    let batch = batch.into_iter().map(|(_share, delivery)| delivery);
                    return Some((batch.collect(), weight));
                }
                Next::Alone((_share, suspect)) => {
                    if suspect.deliveries() >= self.declaration.policy.give_up_from
                        && self.origin.others_get_through()
                    {
                        suspect.dead_letter(
                            Reason::CrashLoop,
                            "delivered again and again, never settled",
                        );
                        continue;
                    }
                    // Should it kill this daemon, it comes again after all that waits here.
                    // The server has to know before that.
                    suspect.show_progress().await;
                    let flushed = timeout(BEST_EFFORT, self.origin.bus.client.flush());
                    let _ = flushed.await;
                    return Some((vec![suspect], BESIDE));
                }
            }
        }
    }

    /// Takes a message, and all that are there behind it.
    fn received(&mut self, message: jetstream::Message) {
        let now = Instant::now();
        let mut next = Some(message);
        while let Some(message) = next {
            let share = self.origin.budget.take(message.length);
            if let Some(delivery) = read(message, &self.origin) {
                let deliveries = delivery.deliveries();
                self.schedule.push((share, delivery), deliveries, now);
            }
            next = self.puller.ready();
        }
    }

    async fn show_progress(&self) {
        for (_, delivery) in self.schedule.iter() {
            delivery.show_progress().await;
        }
    }

    /// Gives everything back that waits.
    async fn release(&mut self) {
        while let Some(message) = self.puller.ready() {
            self.received(message);
        }
        release_all(self.schedule.drain().map(|(_, delivery)| delivery)).await;
    }
}
