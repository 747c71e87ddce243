//! The writer: the only daemon that changes `orders_write`, the truth.
//!
//! It turns commands and payments into stored orders and events. It acks a message only after the order is stored
//! *and* JetStream has acknowledged the event, so the un-acked message is the outbox.

mod cancel;
mod config;
mod create;
mod heal;
mod pay;
mod retell;
mod transition;

use std::{collections::HashMap, process::ExitCode};

use orders_bus::{Bus, Delivery, Error as BusError, Failure, Handler, Message, Reason};
use orders_contracts::{
    CreateOrder, OrderCommand, OrderEvent, OrderId, OrderPaid, PaymentSettings, Refusal, Reply,
    Role, Timestamp, streams,
};
use orders_domain::Order;
use orders_service::{About, BoxError, Daemon, retry, shutdown};
use orders_store::{Error as StoreError, OrderKey, Store, WriteModel};

pub use crate::config::Config;

/// The streams the writer reads or writes, and those that must exist before an operator needs them.
const STREAMS: [streams::Stream; 7] = [
    streams::ORDERS_COMMANDS,
    streams::PAYMENTS,
    streams::ORDERS_EVENTS,
    streams::ORDERS_DLQ,
    streams::ORDERS_DROPPED,
    streams::ORDERS_AUDIT,
    streams::REVOCATIONS,
];

/// The consumers the writer reads.
const CONSUMERS: [streams::Consumer; 2] = [streams::WRITER_COMMANDS, streams::WRITER_PAYMENTS];

/// Runs the daemon from its command line to its exit code.
///
/// It stands here, not in the program, so that a new commit, which changes only `about`, does not compile it again.
pub fn main(about: About) -> ExitCode {
    orders_service::main(about, run)
}

/// Runs the writer until `daemon` is told to stop.
async fn run(config: Config, daemon: Daemon) -> Result<(), BoxError> {
    let deployment = &config.nats.deployment;
    let bus = Bus::connect(&config.nats, Role::Writer)
        .await?
        .deployed(deployment);
    let find = retry("find the database", StoreError::is_transient, || {
        Store::open(&config.mongo, "writer")
    });
    let Some(store) = daemon.shutdown.run_until_cancelled(find).await else {
        return Ok(());
    };
    let store = store?.auto_migrate(deployment.auto_migrate);
    let orders = store.write_model();
    daemon.health.probe("nats", bus.readiness());
    daemon
        .health
        .probe("streams", bus.needs(&STREAMS, &CONSUMERS));
    bus.answer_operators(&daemon);
    let consumers = streams::consumers(&PaymentSettings::default());
    let report = bus.report(&STREAMS, &consumers, daemon.shutdown.clone());
    daemon.spawn("report", report);
    daemon.health.probe("mongo", store.readiness());

    let open = Box::pin(async {
        let streams = retry("look for the installation", BusError::may_pass, || {
            bus.installation(&STREAMS)
        })
        .await?;
        let installation = retry("join the installation", StoreError::may_pass, || {
            store.join(&deployment.namespace, streams.as_ref())
        })
        .await?;
        bus.join(installation);
        retry("declare streams", BusError::may_pass, || {
            bus.declare(&STREAMS)
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
    let writer = Writer { bus, store, orders };
    daemon.spawn("streams", writer.bus.keep(&STREAMS, stop.clone()));
    tokio::join!(
        commands.for_each(stop, shutdown::WORK, &writer),
        payments.for_each(stop, shutdown::WORK, &writer),
        stop.run_until_cancelled(writer.heal(&config.heal)),
        stop.run_until_cancelled(writer.retell()),
    );
    writer.bus.close(shutdown::FLUSH).await;
    Ok(())
}

/// The state of the handlers.
pub(crate) struct Writer {
    bus: Bus,
    orders: WriteModel,
    store: Store,
}

impl Handler<OrderCommand> for Writer {
    /// Creates come before cancels, so that an order can be cancelled in the batch that creates it.
    async fn handle(&self, batch: &[Delivery<OrderCommand>]) -> Result<(), Failure> {
        let now = Timestamp::now();
        let (mut creates, mut cancels) = (Vec::new(), Vec::new());
        for delivery in batch {
            match &delivery.body {
                OrderCommand::Create { order, command_id } => {
                    let order = CreateOrder::clone(order);
                    let order = Order::create(order, command_id.clone(), now);
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
    /// Loads the orders among `keys` that exist; `None` for one that this version cannot read.
    async fn load(
        &self,
        keys: &[OrderKey<'_>],
    ) -> Result<HashMap<OrderId, Option<Order>>, Failure> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        retry("read orders", StoreError::is_transient, || {
            self.orders.load(keys)
        })
        .await
        .map_err(Failure::later)
    }
}

/// Gives a command up whose order cannot be read, and returns what to tell the edge.
fn give_up(command: &Delivery<OrderCommand>) -> Reply {
    let cause = "the stored order cannot be read; `orderctl projection verify` says why";
    command.dead_letter(Reason::Refused, cause);
    Reply::Refused(Refusal::Unreadable)
}

/// The message that announces `event`, caused by `cause`.
fn announce<T>(cause: &Delivery<T>, event: &OrderEvent) -> Message {
    Message::of_event(event, cause.trace(), cause.metadata.reply_to.clone())
}
