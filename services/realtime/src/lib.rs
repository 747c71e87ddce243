//! realtime: bridges the feed to the rooms of the tenants, over Socket.IO and as Server-Sent Events.
//!
//! One ordered consumer reads the whole feed into the [`hub`], which keeps a mailbox for each client, and drops an entry
//! by its subject if no client follows its tenant. Each client has a [`session`] that replays the entries it missed, then
//! empties the mailbox. There are two transports, [`sockets`] and [`sse`]; all else is the same for both. Invariants:
//!
//! * a client gets each entry of its tenant once and in order, however often it reconnects;
//! * an entry that a client does not take ends its connection: nothing is skipped, the client resumes from its offset;
//! * a client that the [`door`] does not let in is refused for good; for any other the transport closes, also when its
//!   [`lease`] ends, and the client reconnects by itself;
//! * once the [`Departure`] of the daemon has begun, its clients leave one by one, and it takes no others.

mod archive;
mod bounds;
mod config;
mod door;
mod emission;
mod engine;
mod feed;
mod handshake;
mod hub;
mod lease;
mod members;
mod origin;
mod refusal;
mod session;
mod sockets;
mod sse;

use std::{future::ready, process::ExitCode, sync::Arc, time::Duration};

use axum::middleware::{from_fn, from_fn_with_state};
use orders_auth::{Mode, Verifier};
use orders_bus::{Bus, Error as BusError};
use orders_contracts::Role;
use orders_http::{Front, refuse_misdirected};
use orders_service::{About, BoxError, Daemon, Departure, retry, shutdown};
use tokio_util::task::TaskTracker;
use tracing::info;

pub use crate::config::Config;
use crate::{archive::StoredFeed, door::Door, feed::Reading, hub::Hub};

/// How long the sockets and streams may take to close on a shutdown.
const CLOSING_DEADLINE: Duration = Duration::from_secs(1);

/// The rooms of the tenants and the door to them: what both transports serve.
#[derive(Clone)]
struct Rooms {
    hub: Arc<Hub>,
    archive: StoredFeed,
    door: Door,
    /// Ends all sessions.
    departure: Departure,
    /// The sessions that have not ended.
    sessions: TaskTracker,
}

/// Runs the daemon from its command line to its exit code.
///
/// It stands here, not in the program, so that a new commit, which changes only `about`, does not compile it again.
pub fn main(about: About) -> ExitCode {
    orders_service::main(about, run)
}

/// Runs realtime until `daemon` is told to stop.
async fn run(config: Config, daemon: Daemon) -> Result<(), BoxError> {
    let bus = Bus::connect(&config.nats, Role::Realtime)
        .await?
        .deployed(&config.nats.deployment);
    let reading = Reading::default();
    daemon.health.probe("nats", bus.readiness());
    daemon
        .health
        .probe("streams", bus.needs(&feed::STREAMS, &[]));
    bus.answer_operators(&daemon);
    let report = bus.report(&feed::STREAMS, &[], daemon.shutdown.clone());
    daemon.spawn("report", report);
    daemon.health.probe("feed", {
        let reading = reading.clone();
        move || reading.clone().probe()
    });

    let open = retry("open the feed", BusError::may_pass, async || {
        feed::open(&bus, 0).await
    });
    let Some(bounds) = daemon.shutdown.run_until_cancelled(Box::pin(open)).await else {
        return Ok(());
    };
    let hub = Arc::new(Hub::new(bounds::head(&bounds?)));
    let door = door(&config, &daemon, &bus);
    let Some(door) = daemon.shutdown.run_until_cancelled(Box::pin(door)).await else {
        return Ok(());
    };
    let sessions = TaskTracker::new();
    let rooms = Rooms {
        hub: Arc::clone(&hub),
        archive: StoredFeed::new(bus.clone()),
        door: door?,
        departure: daemon.departure.clone(),
        sessions: sessions.clone(),
    };
    let front = Front::new(&config.access, daemon.port);
    let sockets = rooms.clone().sockets(config.access.cors_origin);
    let router = rooms.streams().merge(sockets);
    let router = match config.auth.mode {
        Mode::Off => router.layer(from_fn(refuse_misdirected)),
        Mode::Jwt => router,
    };
    // Until now requests waited or got 503, after which Socket.IO clients retry; a refusal would be final.
    daemon.mount(router.layer(from_fn_with_state(front, Front::receive)));
    daemon.health.ready();

    let keep = bus.keep(&feed::STREAMS, daemon.shutdown.clone());
    daemon.spawn("streams", keep);
    let read = Box::pin(feed::read(&bus, &hub, &reading));
    daemon.shutdown.run_until_cancelled(read).await;
    sessions.close();
    let _ = tokio::time::timeout(CLOSING_DEADLINE, sessions.wait()).await;
    bus.close(shutdown::FLUSH).await;
    Ok(())
}

/// Opens the door; one that asks for tokens opens when all revocations are known.
async fn door(config: &Config, daemon: &Daemon, bus: &Bus) -> Result<Door, BoxError> {
    let per_tenant = config.sockets_per_tenant();
    if config.auth.mode == Mode::Off {
        return Ok(Door::open(per_tenant));
    }
    let verifier = Verifier::new(&config.auth)?;
    daemon.health.probe("auth", {
        let verifier = verifier.clone();
        move || ready(verifier.ready())
    });
    let door = Door::guarded(verifier.clone(), config.auth.leeway, per_tenant);
    let fetch = daemon.shutdown.clone().run_until_cancelled_owned({
        let verifier = verifier.clone();
        async move { verifier.run().await }
    });
    daemon.spawn("auth", async { fetch.await.unwrap_or(()) });
    let revocations = bus.revocations();
    let learn = {
        let door = door.clone();
        move |what, revocation| {
            let cut = door.revoke(what, revocation);
            if cut > 0 {
                info!(cut, "a revocation cuts {cut} sockets");
            }
        }
    };
    let have_all = move || verifier.revocations().set_read();
    revocations.teach(daemon, learn, have_all);
    revocations.known().await;
    Ok(door)
}
