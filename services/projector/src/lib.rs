//! The projector: the only daemon that changes `orders_read`, the list.
//!
//! Events are applied by version, so duplicates and reorderings change nothing. The feed is written after the rows, so
//! a client that gets an event finds the change in the list.

mod config;
mod feed;
mod paid;
mod project;

use std::process::ExitCode;

use orders_bus::{Bus, Error as BusError};
use orders_contracts::{OrderEvent, Role, streams};
use orders_service::{
    About, BoxError, Daemon, chain,
    metrics::{Histogram, PROJECTION_LAG, histogram},
    retry, shutdown,
};
use orders_store::{Error as StoreError, ReadModel, Store};
use tracing::{info, warn};

use crate::{feed::Feed, paid::Paid};

pub use crate::config::Config;

/// The streams the projector reads or writes.
const STREAMS: [streams::Stream; 3] = [
    streams::ORDERS_EVENTS,
    streams::ORDERS_FEED,
    streams::ORDERS_DLQ,
];

/// Runs the daemon from its command line to its exit code.
///
/// It stands here, not in the program, so that a new commit, which changes only `about`, does not compile it again.
pub fn main(about: About) -> ExitCode {
    orders_service::main(about, run)
}

/// Runs the projector until `daemon` is told to stop.
async fn run(config: Config, daemon: Daemon) -> Result<(), BoxError> {
    let deployment = &config.nats.deployment;
    let bus = Bus::connect(&config.nats, Role::Projector)
        .await?
        .deployed(deployment);
    let find = retry("find the database", StoreError::is_transient, || {
        Store::open(&config.mongo, "projector")
    });
    let Some(store) = daemon.shutdown.run_until_cancelled(find).await else {
        return Ok(());
    };
    let store = store?.auto_migrate(deployment.auto_migrate);
    let rows = store.read_model();
    daemon.health.probe("nats", bus.readiness());
    let needs = bus.needs(&STREAMS, &[streams::PROJECTOR]);
    daemon.health.probe("streams", needs);
    bus.answer_operators(&daemon);
    let report = bus.report(&STREAMS, &[streams::PROJECTOR], daemon.shutdown.clone());
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
            rows.ensure_indexes()
        })
        .await?;
        Ok::<_, BoxError>(
            retry("open events", BusError::may_pass, || {
                bus.consume::<OrderEvent>(&streams::PROJECTOR)
            })
            .await?,
        )
    });
    let Some(events) = daemon.shutdown.run_until_cancelled(open).await else {
        return Ok(());
    };
    let events = events?;
    daemon.health.ready();

    daemon.spawn("streams", bus.keep(&STREAMS, daemon.shutdown.clone()));
    let window = deployment
        .streams
        .limit(&streams::ORDERS_FEED)
        .duplicate_window;
    let projector = Projector {
        bus,
        rows,
        feed: Feed::new(window),
        lag: histogram!(PROJECTION_LAG),
        paid: Paid::new(),
    };
    let stop = &daemon.shutdown;
    tokio::join!(
        events.for_each(stop, shutdown::WORK, &projector),
        stop.run_until_cancelled(projector.paid.follow(&projector.bus)),
        stop.run_until_cancelled(async {
            if config.nats.deployment.auto_migrate {
                migrate(&store).await;
            }
        }),
    );
    projector.bus.close(shutdown::FLUSH).await;
    Ok(())
}

/// Brings the rows of earlier versions into the form of this one, beside the work.
async fn migrate(store: &Store) {
    let migrated = retry("migrate rows", StoreError::is_transient, || {
        store.canonicalise_emails()
    });
    match migrated.await {
        Ok(0) => {}
        Ok(count) => info!("brought the e-mail addresses of {count} rows into canonical form"),
        Err(error) => warn!("cannot migrate rows: {}", chain(&error)),
    }
}

/// The state of the handler.
pub(crate) struct Projector {
    bus: Bus,
    rows: ReadModel,
    feed: Feed,
    lag: Histogram,
    paid: Paid,
}
