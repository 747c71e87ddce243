//! The projector: the only daemon that changes `orders_read`, the list.
//!
//! Events are applied by version, so duplicates and reorderings change nothing. The feed is written after the rows, so
//! a client that gets an event finds the change in the list.

mod config;
mod project;

use orders_bus::{Bus, Error as BusError};
use orders_contracts::{OrderEvent, streams};
use orders_service::{BoxError, Daemon, retry, shutdown};
use orders_store::{Error as StoreError, ReadModel, Store};

pub use crate::config::Config;

/// The streams the projector reads or writes.
const STREAMS: [streams::Stream; 3] = [
    streams::ORDERS_EVENTS,
    streams::ORDERS_FEED,
    streams::ORDERS_DLQ,
];

/// Runs the projector until `daemon` is told to stop.
pub async fn run(config: Config, daemon: Daemon) -> Result<(), BoxError> {
    let bus = Bus::connect(&config.nats.url, "projector")
        .await?
        .auto_migrate(config.nats.auto_migrate);
    let store = Store::connect(&config.mongo.url, "projector")
        .await?
        .auto_migrate(config.nats.auto_migrate);
    let rows = store.read_model();
    daemon.health.probe("nats", bus.readiness());
    daemon.health.probe("mongo", store.readiness());

    let open = async {
        retry("declare streams", BusError::may_pass, || {
            bus.declare(&STREAMS, config.nats.streams.replicas)
        })
        .await?;
        retry("create indexes", StoreError::may_pass, || {
            rows.ensure_indexes()
        })
        .await?;
        Ok::<_, BoxError>(
            retry("open events", BusError::may_pass, || {
                bus.consume::<OrderEvent>(&streams::PROJECTOR)
            })
            .await?,
        )
    };
    let Some(events) = daemon.shutdown.run_until_cancelled(open).await else {
        return Ok(());
    };
    let events = events?;
    daemon.health.ready();

    let projector = Projector { bus, rows };
    events
        .for_each(&daemon.shutdown, shutdown::WORK, &projector)
        .await;
    projector.bus.close(shutdown::FLUSH).await;
    Ok(())
}

/// The state of the handler.
pub(crate) struct Projector {
    bus: Bus,
    rows: ReadModel,
}
