//! Whether a daemon can do its work on the bus, and streams that are gone declared again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use orders_contracts::streams::{Consumer, Stream};
use orders_service::chain;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{Bus, Error, installation::INSTALLATION};

/// How often the streams are looked at.
const CHECK: Duration = Duration::from_secs(2);
/// How long a daemon is not ready after the server refused something.
const REFUSED: Duration = Duration::from_secs(10);

/// What the server refused last: to store a message, which a full disk or a full stream makes it do, or something that
/// the login does not permit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals(Arc<Mutex<Option<(Instant, String)>>>);

impl Refusals {
    pub(crate) fn note(&self, cause: String) {
        let now = Instant::now();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, cause));
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((at, cause)) if at.elapsed() < REFUSED => Err(cause.clone()),
            _ => Ok(()),
        }
    }
}

impl Bus {
    /// The probe of what a daemon needs for its work: `streams` exist and take messages, and `consumers` exist and are
    /// not paused.
    pub fn needs(
        &self,
        streams: &[Stream],
        consumers: &[Consumer],
    ) -> impl Fn() -> BoxFuture<'static, Result<(), String>> + use<> {
        let bus = self.clone();
        let (streams, consumers) = (streams.to_vec(), consumers.to_vec());
        move || {
            let (bus, streams, consumers) = (bus.clone(), streams.clone(), consumers.clone());
            async move { bus.can_work(&streams, &consumers).await }.boxed()
        }
    }

    /// Keeps `streams` until `shutdown`: declares again whichever is gone, and gives it the id of the installation if it
    /// has none. Fails only with [`Error::Foreign`], if one of them became another installation's.
    ///
    /// Consumers need no such care: whoever reads one declares it again.
    pub fn keep(
        &self,
        streams: &'static [Stream],
        shutdown: CancellationToken,
    ) -> impl Future<Output = Result<(), Error>> + use<> {
        let bus = self.clone();
        async move {
            let kept = shutdown.run_until_cancelled(bus.restore_for_ever(streams));
            Box::pin(kept).await.map_or(Ok(()), Err)
        }
    }

    async fn restore_for_ever(&self, streams: &[Stream]) -> Error {
        let mut is_failing = false;
        loop {
            sleep(CHECK).await;
            if !self.is_connected() {
                continue;
            }
            match self.restore(streams).await {
                Ok(()) => is_failing = false,
                Err(error @ Error::Foreign { .. }) => return error,
                Err(error) if is_failing => debug!("{}", chain(&error)),
                Err(error) => {
                    is_failing = true;
                    warn!("{}", chain(&error));
                }
            }
        }
    }

    async fn restore(&self, streams: &[Stream]) -> Result<(), Error> {
        for stream in streams {
            let current = self.stream_info(stream).await?.map(|info| info.config);
            if let Some(config) = &current {
                self.recognise(config)?;
            }
            let is_named = current
                .as_ref()
                .is_some_and(|config| config.metadata.contains_key(INSTALLATION));
            if current.is_none() || (!is_named && self.installation.get().is_some()) {
                self.mend_stream(stream, current).await?;
            }
        }
        Ok(())
    }

    async fn can_work(&self, streams: &[Stream], consumers: &[Consumer]) -> Result<(), String> {
        if !self.is_connected() {
            return Err("not connected".to_owned());
        }
        self.refusals.check()?;
        let text = |error: Error| chain(&error);
        for stream in streams {
            let name = self.name_of(stream);
            match self.stream_info(stream).await.map_err(text)? {
                None => return Err(format!("{name} is missing")),
                Some(info) if info.config.sealed => return Err(format!("{name} is sealed")),
                Some(info) if info.config.no_ack => {
                    return Err(format!("{name} acknowledges nothing"));
                }
                Some(_) => {}
            }
        }
        for consumer in consumers {
            let name = self.name_of_consumer(consumer);
            match self.consumer_info(consumer).await.map_err(text)? {
                None => return Err(format!("{name} is missing")),
                Some(info) if info.paused => return Err(format!("{name} is paused")),
                Some(_) => {}
            }
        }
        Ok(())
    }
}
