//! The writer: the only daemon that changes `orders_write`, the truth.
//!
//! It turns commands and payments into stored orders and events. A message is acked only after its order is stored
//! *and* its event is acknowledged by JetStream, so the un-acked message is the outbox.

mod config;
mod create;
mod heal;
mod settle;

use std::collections::HashMap;

use orders_bus::{Batch, Bus, Delivery, Error as BusError, Message};
use orders_contracts::{Channel, FieldError, OrderEvent, OrderId, Timestamp, streams};
use orders_domain::Order;
use orders_service::{BoxError, Daemon, retry};
use orders_store::{Error as StoreError, Store, WriteModel};
use tokio::sync::RwLock;
use tracing::error;

pub use crate::config::Config;
use crate::{create::Create, settle::Settle};

/// The streams the writer reads or writes, and the audit, which an operator needs when something is broken already.
const STREAMS: [streams::Stream; 5] = [
    streams::ORDERS_COMMANDS,
    streams::PAYMENTS,
    streams::ORDERS_EVENTS,
    streams::ORDERS_DLQ,
    streams::ORDERS_AUDIT,
];

/// Runs the writer until `daemon` is told to stop.
pub async fn run(config: Config, daemon: Daemon) -> Result<(), BoxError> {
    let bus = Bus::connect(&config.nats.url, "writer")
        .await?
        .auto_migrate(config.nats.auto_migrate);
    let store = Store::connect(&config.mongo.url, "writer")
        .await?
        .auto_migrate(config.nats.auto_migrate);
    let orders = store.orders();
    daemon.health.probe("nats", bus.readiness());
    daemon.health.probe("mongo", store.readiness());

    let open = Box::pin(async {
        retry("declare streams", BusError::may_pass, || {
            bus.declare(&STREAMS, config.nats.streams.replicas)
        })
        .await?;
        retry("make indexes", StoreError::may_pass, || {
            orders.ensure_indexes()
        })
        .await?;
        let commands = retry("open commands", BusError::may_pass, || {
            bus.consume(&streams::WRITER_COMMANDS)
        })
        .await?;
        let payments = retry("open payments", BusError::may_pass, || {
            bus.consume(&streams::WRITER_PAYMENTS)
        })
        .await?;
        Ok::<_, BoxError>((commands, payments))
    });
    let Some(opened) = daemon.shutdown.run_until_cancelled(open).await else {
        return Ok(());
    };
    let (commands, payments) = opened?;
    daemon.health.ready();

    let writer = Writer {
        bus: bus.clone(),
        orders,
        turns: RwLock::default(),
    };
    let shutdown = &daemon.shutdown;
    let writer = &writer;
    let handle_commands = commands.for_each(shutdown, |batch| async move {
        writer.handle_commands(&batch).await;
    });
    let handle_payments = payments.for_each(shutdown, |batch| async move {
        writer.handle_payments(&batch).await;
    });
    let heal = shutdown.run_until_cancelled(writer.heal(&config.heal));
    tokio::join!(handle_commands, handle_payments, heal);
    bus.close().await;
    Ok(())
}

/// What the handlers work with.
pub(crate) struct Writer {
    bus: Bus,
    orders: WriteModel,
    /// Creates of several batches go side by side; cancels wait for all that were pulled before them, which spares most
    /// of them to come again.
    turns: RwLock<()>,
}

impl Writer {
    /// One batch of commands: creates before cancels, so that an order can be cancelled in the batch that creates it.
    async fn handle_commands(&self, batch: &Batch) {
        let now = Timestamp::now();
        let (mut creates, mut cancels) = (Vec::new(), Vec::new());
        for delivery in &batch.deliveries {
            let read = match delivery.channel {
                Channel::CreateOrder => {
                    Create::read(delivery, now).map(|command| creates.push(command))
                }
                _ => Settle::read_cancel(delivery).map(|command| cancels.push(command)),
            };
            self.refuse(delivery, read);
        }
        let turn = self.turns.read().await;
        self.create(creates).await;
        drop(turn);
        if !cancels.is_empty() {
            let _turn = self.turns.write().await;
            self.cancel(cancels).await;
        }
    }

    /// One batch of payments.
    async fn handle_payments(&self, batch: &Batch) {
        let mut payments = Vec::new();
        for delivery in &batch.deliveries {
            let read = Settle::read_payment(delivery).map(|payment| payments.push(payment));
            self.refuse(delivery, read);
        }
        self.pay(payments).await;
    }

    fn refuse(&self, delivery: &Delivery, read: Result<(), Vec<FieldError>>) {
        if let Err(errors) = read {
            delivery.refuse(&self.bus, errors);
        }
    }

    /// The orders among `ids` that exist. `None` when one is stored in a way that this version cannot read: the
    /// messages about it stay unsettled, and one that never gets through ends as a dead letter.
    async fn load(&self, ids: &[OrderId]) -> Option<HashMap<OrderId, Order>> {
        if ids.is_empty() {
            return Some(HashMap::new());
        }
        let loaded = retry("read orders", StoreError::is_transient, || {
            self.orders.load(ids)
        })
        .await;
        loaded
            .inspect_err(|error| error!("cannot read stored orders: {error}"))
            .ok()
    }

    /// The message that tells of `event`, caused by `cause`.
    fn event(cause: &Delivery, event: &OrderEvent) -> Message {
        let metadata = &cause.metadata;
        Message::of_event(event, metadata.trace.child(), metadata.reply_to.clone())
    }
}
