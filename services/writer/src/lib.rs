//! The writer: the only daemon that changes `orders_write`, the truth.
//!
//! It turns commands and payments into stored orders and events. It acks a message only after the order is stored
//! *and* JetStream has acknowledged the event, so the un-acked message is the outbox.

mod cancel;
mod config;
mod create;
mod heal;
mod pay;
mod transition;

use std::collections::HashMap;

use orders_bus::{Bus, Delivery, Error as BusError, Failure, Handler, Message};
use orders_contracts::{OrderCommand, OrderEvent, OrderId, OrderPaid, Timestamp, streams};
use orders_domain::Order;
use orders_service::{BoxError, Daemon, retry, shutdown};
use orders_store::{Error as StoreError, Store, WriteModel};

pub use crate::config::Config;

/// The streams the writer reads or writes, and the audit, which must exist before an operator needs it.
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
    let orders = store.write_model();
    daemon.health.probe("nats", bus.readiness());
    daemon.health.probe("mongo", store.readiness());

    let open = Box::pin(async {
        retry("declare streams", BusError::may_pass, || {
            bus.declare(&STREAMS, config.nats.streams.replicas)
        })
        .await?;
        retry("create indexes", StoreError::may_pass, || {
            orders.ensure_indexes()
        })
        .await?;
        let commands = retry("open commands", BusError::may_pass, || {
            bus.consume::<OrderCommand>(&streams::WRITER_COMMANDS)
        })
        .await?;
        let payments = retry("open payments", BusError::may_pass, || {
            bus.consume::<OrderPaid>(&streams::WRITER_PAYMENTS)
        })
        .await?;
        Ok::<_, BoxError>((commands, payments))
    });
    let Some(opened) = daemon.shutdown.run_until_cancelled(open).await else {
        return Ok(());
    };
    let (commands, payments) = opened?;
    daemon.health.ready();

    let stop = &daemon.shutdown;
    let writer = Writer { bus, orders };
    tokio::join!(
        commands.for_each(stop, shutdown::WORK, &writer),
        payments.for_each(stop, shutdown::WORK, &writer),
        stop.run_until_cancelled(writer.heal(&config.heal)),
    );
    writer.bus.close(shutdown::FLUSH).await;
    Ok(())
}

/// The state of the handlers.
pub(crate) struct Writer {
    bus: Bus,
    orders: WriteModel,
}

impl Handler<OrderCommand> for Writer {
    /// Creates come before cancels, so that an order can be cancelled in the batch that creates it.
    async fn handle(&self, batch: &[Delivery<OrderCommand>]) -> Result<(), Failure> {
        let now = Timestamp::now();
        let (mut creates, mut cancels) = (Vec::new(), Vec::new());
        for delivery in batch {
            match &delivery.body {
                OrderCommand::Create { order, command_id } => {
                    let order = Order::create(order.clone(), command_id.clone(), now);
                    creates.push((delivery, order));
                }
                OrderCommand::Cancel(cancel) => cancels.push((delivery, &cancel.order_id)),
            }
        }
        self.create(creates).await?;
        self.cancel(cancels).await
    }
}

impl Handler<OrderPaid> for Writer {
    async fn handle(&self, batch: &[Delivery<OrderPaid>]) -> Result<(), Failure> {
        self.pay(batch).await
    }
}

impl Writer {
    /// Loads the orders among `ids` that exist. An order that this version cannot read is a [`Failure::Later`], because
    /// another version may be able to read it.
    async fn load(&self, ids: &[OrderId]) -> Result<HashMap<OrderId, Order>, Failure> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        retry("read orders", StoreError::is_transient, || {
            self.orders.load(ids)
        })
        .await
        .map_err(Failure::later)
    }
}

/// The message that announces `event`, caused by `cause`.
fn announce<T>(cause: &Delivery<T>, event: &OrderEvent) -> Message {
    let metadata = &cause.metadata;
    Message::of_event(event, metadata.trace.child(), metadata.reply_to.clone())
}
