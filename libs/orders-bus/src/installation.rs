//! The installation that the streams belong to: each has its id in its metadata.

use async_nats::jetstream::stream::Config;
use orders_contracts::{InstallationId, streams::Stream};

use crate::{Bus, Error};

/// The key of the id in the metadata of a stream.
pub(crate) const INSTALLATION: &str = "orders-installation";

impl Bus {
    /// The installation that `streams` belong to; `None` if none of them says. If they do not agree with one another, or
    /// with what this process [joined](Self::join), it is [`Error::Foreign`].
    pub async fn installation(&self, streams: &[Stream]) -> Result<Option<InstallationId>, Error> {
        for stream in streams {
            if let Some(info) = self.stream_info(stream).await? {
                self.recognise(&info.config)?;
            }
        }
        Ok(self.installation.get().cloned())
    }

    /// Makes this process part of `installation`, for good: it gives the id to streams that have none, and refuses
    /// streams that have another. A process that never joins goes by the first stream that has an id.
    pub fn join(&self, installation: InstallationId) {
        // One that is known already came from the streams, and whoever joins has compared it.
        let _ = self.installation.set(installation);
    }

    /// Fails unless the stream of `config` is of this installation, or of none yet.
    pub(crate) fn recognise(&self, config: &Config) -> Result<(), Error> {
        let Some(theirs) = config.metadata.get(INSTALLATION) else {
            return Ok(());
        };
        let ours = match theirs.parse() {
            Ok(id) => self.installation.get_or_init(|| id).as_str(),
            Err(_) => self.installation.get().map_or("", InstallationId::as_str),
        };
        if ours == theirs {
            return Ok(());
        }
        Err(Error::Foreign {
            name: config.name.clone(),
            theirs: theirs.clone(),
            ours: ours.to_owned(),
        })
    }
}
