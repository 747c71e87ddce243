//! The payment-simulator: pays every created order a few seconds after it was stored.
//!
//! The orders that wait are un-acked messages, so a crash or a restart loses none; the payment's id is derived from
//! the order, so paying twice changes nothing.

mod clock;
mod config;
mod pending;

use std::{process::ExitCode, time::Duration};

use orders_bus::{Bus, Delivery, Error as BusError, Message, release_all};
use orders_contracts::{Channel, Metadata, OrderEvent, OrderPaid, Role, Timestamp, streams};
use orders_service::{
    About, BoxError, Daemon, failpoint,
    metrics::{PAYMENTS_PENDING, PROCESS_DURATION, gauge, histogram},
    retry, shutdown,
};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

pub use crate::config::Config;
use crate::{clock::Clock, pending::Pending};

/// The streams the payment-simulator reads or writes.
const STREAMS: [streams::Stream; 3] = [
    streams::ORDERS_EVENTS,
    streams::PAYMENTS,
    streams::ORDERS_DLQ,
];

/// The most batches of payments that are published at once; payments due meanwhile form the next batch.
const MAX_IN_FLIGHT: usize = 4;

/// Runs the daemon from its command line to its exit code.
///
/// It stands here, not in the program, so that a new commit, which changes only `about`, does not compile it again.
pub fn main(about: About) -> ExitCode {
    orders_service::main(about, run)
}

/// Runs the payment-simulator until `daemon` is told to stop.
async fn run(config: Config, daemon: Daemon) -> Result<(), BoxError> {
    let bus = Bus::connect(&config.nats, Role::PaymentSimulator)
        .await?
        .deployed(&config.nats.deployment);
    let consumer = streams::payment_simulator(&config.payment);
    daemon.health.probe("nats", bus.readiness());
    daemon
        .health
        .probe("streams", bus.needs(&STREAMS, &[consumer]));
    bus.answer_operators(&daemon);
    let consumers = [consumer, streams::WRITER_PAYMENTS];
    let report = bus.report(&STREAMS, &consumers, daemon.shutdown.clone());
    daemon.spawn("report", report);

    let delay = config.payment.delay;
    let open = Box::pin(async {
        retry("declare streams", BusError::may_pass, || {
            bus.declare(&STREAMS)
        })
        .await?;
        let created = retry("open created orders", BusError::may_pass, || {
            bus.consume::<OrderEvent>(&consumer)
        })
        .await?;
        let clock = retry("compare the clocks", BusError::may_pass, || Clock::of(&bus)).await?;
        Ok::<_, BusError>((created, clock))
    });
    let Some(opened) = daemon.shutdown.run_until_cancelled(open).await else {
        return Ok(());
    };
    let (mut created, clock) = opened?;
    daemon.health.ready();

    daemon.spawn("streams", bus.keep(&STREAMS, daemon.shutdown.clone()));
    let (batches, received) = mpsc::channel(1);
    let receive = async {
        // A pull must not be cancelled half-way, so it runs beside the timers and not among them.
        while let Some(batch) = created.next_batch(&daemon.shutdown).await {
            if let Err(mpsc::error::SendError(batch)) = batches.send(batch).await {
                release_all(batch).await;
            }
        }
    };
    tokio::join!(
        receive,
        pay_when_due(&bus, &clock, delay, received, &daemon.shutdown),
        daemon.shutdown.run_until_cancelled(clock.follow(&bus)),
    );
    bus.close(shutdown::FLUSH).await;
    Ok(())
}

/// Holds orders until their payment is due, pays them, and releases the others on shutdown.
async fn pay_when_due(
    bus: &Bus,
    clock: &Clock,
    delay: Duration,
    mut received: mpsc::Receiver<Vec<Delivery<OrderEvent>>>,
    shutdown: &CancellationToken,
) {
    let mut pending = Pending::new();
    let mut in_flight = JoinSet::new();
    let waiting = gauge!(PAYMENTS_PENDING);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(batch) = received.recv() => {
                failpoint("payment-simulator.pulled").await;
                for delivery in batch {
                    let waited = clock.now().since(delivery.stored_at());
                    hold(&mut pending, delivery, delay.saturating_sub(waited)).await;
                }
            }
            payments = pending.due(), if in_flight.len() < MAX_IN_FLIGHT => {
                in_flight.spawn(pay(bus.clone(), payments, delay, clock.now()));
            }
            Some(_) = in_flight.join_next() => {}
        }
        waiting.set(pending.len() as f64);
    }
    let finish = async { while in_flight.join_next().await.is_some() {} };
    // Orders that are not paid in time are delivered again.
    let _ = tokio::time::timeout(shutdown::WORK, finish).await;
    received.close();
    while let Some(batch) = received.recv().await {
        release_all(batch).await;
    }
    release_all(pending.into_deliveries()).await;
}

async fn hold(pending: &mut Pending, created: Delivery<OrderEvent>, wait: Duration) {
    // Nothing is done for it until its payment is due.
    created.process().end();
    if let Some(replaced) = pending.add(created, wait) {
        // The event was published twice; one of the two messages is enough.
        replaced.ack().await;
    }
}

/// Publishes the payments that are due at the server's time `then`, and then acks the events of their orders.
async fn pay(bus: Bus, due: Vec<Delivery<OrderEvent>>, delay: Duration, then: Timestamp) {
    failpoint("payment-simulator.due").await;
    let began = Instant::now();
    let messages = due.iter().map(|created| {
        let held = i64::try_from(then.since(created.stored_at()).as_millis());
        let paid_at = created.stored_at().later(delay);
        payment(created, paid_at).noting("orders.payment.delay_ms", held.unwrap_or(i64::MAX))
    });
    bus.publish_until_stored(messages.collect()).await;
    failpoint("payment-simulator.paid").await;
    for created in &due {
        created.ack().await;
    }
    let stream = streams::ORDERS_EVENTS.name;
    histogram!(PROCESS_DURATION, "stream" => stream, "outcome" => "ok").record(began.elapsed());
}

/// The payment of an order, which was due at `paid_at`. However often it is published, and by whichever instance, it is the
/// same: two that differed would each be stored.
fn payment(created: &Delivery<OrderEvent>, paid_at: Timestamp) -> Message {
    let order_id = created.metadata.order_id.clone();
    let metadata = Metadata {
        // One id for each order, by which the writer recognises a second payment.
        id: format!("{order_id}:paid"),
        source: "/orders/payment-simulator".to_owned(),
        order_id: order_id.clone(),
        time: Timestamp::now(),
        trace: created.trace(),
        reply_to: None,
    };
    let paid = OrderPaid {
        tenant_id: created.tenant.clone(),
        order_id,
        amount: created.body.order.total,
        paid_at,
        currency: None,
        reference: None,
    };
    // One message id for each event: when the created event of an order whose payment was lost is published again, the
    // stream must not take the new payment for a duplicate.
    Message::new(Channel::OrderPaid, &created.tenant, metadata, &paid).on(created.occasion())
}
