//! Asking the server for messages, again and again.

use async_nats::jetstream::{
    self,
    consumer::{self, pull},
};
use backon::{BackoffBuilder, ExponentialBackoff};
use futures_util::FutureExt;
use orders_contracts::streams::Consumer;
use orders_service::{Seldom, chain};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::request::Request;
use crate::{ACK_DEADLINE, BACKOFF, Bus, Error, budget::Room};

/// Reads one durable consumer by requests that stand until they are fulfilled or expire. It waits for ever: an outage
/// of NATS, or even the loss of the consumer, only makes it wait.
pub(super) struct Puller {
    bus: Bus,
    declaration: Consumer,
    consumer: consumer::Consumer<pull::Config>,
    request: Option<Request>,
    failures: u32,
    lines: Seldom,
    backoff: ExponentialBackoff,
}

impl Puller {
    /// Opens the consumer that `declaration` names, creating or mending it first.
    pub(super) async fn open(bus: &Bus, declaration: &Consumer) -> Result<Self, Error> {
        Ok(Self {
            consumer: bus.declare_consumer(declaration).await?,
            bus: bus.clone(),
            declaration: *declaration,
            request: None,
            failures: 0,
            lines: Seldom::new(),
            backoff: BACKOFF.build(),
        })
    }

    pub(super) fn has_request(&self) -> bool {
        self.request.is_some()
    }

    /// Asks for as many messages as there is `room` for, and goes on until that works. Must not be dropped half-way
    /// unless the daemon stops: the server may send to nobody what was asked for.
    pub(super) async fn ask(&mut self, room: Room) {
        loop {
            match self.try_ask(room).await {
                Ok(request) => {
                    self.request = Some(request);
                    return;
                }
                Err(cause) => self.recover(&cause).await,
            }
        }
    }

    async fn try_ask(&self, room: Room) -> Result<Request, String> {
        let request = Request::send(&self.bus, &self.consumer, room);
        match timeout(ACK_DEADLINE, request).await {
            Ok(sent) => sent,
            Err(_) => Err("the connection takes nothing".to_owned()),
        }
    }

    /// The next message of the request; `None` when it has ended, or there is none. May be dropped at any time.
    pub(super) async fn next(&mut self) -> Result<Option<jetstream::Message>, String> {
        let Some(request) = &mut self.request else {
            return Ok(None);
        };
        let next = request.next().await;
        match &next {
            Ok(Some(_)) if self.failures > 0 => {
                self.failures = 0;
                self.backoff = BACKOFF.build();
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => self.request = None,
        }
        next
    }

    /// The next message of the request, if it is there already.
    pub(super) fn ready(&mut self) -> Option<jetstream::Message> {
        self.next().now_or_never()?.ok()?
    }

    /// After a failed request: waits, and makes sure that the consumer is still there.
    pub(super) async fn recover(&mut self, cause: &str) {
        self.failures += 1;
        let name = self.declaration.stream.name;
        if self.failures < 3 {
            debug!("cannot read {name}: {cause}");
        } else {
            let lines = &self.lines;
            lines.say(|_| {
                warn!(
                    failures = self.failures,
                    "cannot read {name}: {cause}; retrying"
                )
            });
        }
        tokio::time::sleep(self.backoff.next().unwrap_or(ACK_DEADLINE)).await;
        if self.bus.is_connected() {
            match self.bus.declare_consumer(&self.declaration).await {
                Ok(consumer) => self.consumer = consumer,
                Err(error) => debug!("{}", chain(&error)),
            }
        }
    }
}
