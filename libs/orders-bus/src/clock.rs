//! The server's clock, by which daemons on machines whose clocks differ measure the same time.

use orders_contracts::{Timestamp, streams::Stream};
use serde::Deserialize;

use crate::{Bus, Error};

#[derive(Deserialize)]
struct StreamInfo {
    ts: Timestamp,
}

impl Bus {
    /// How many milliseconds the clock of the server is ahead of this machine's, to within a round trip; it tells the
    /// time with the state of `stream`.
    pub async fn clock_skew(&self, stream: &Stream) -> Result<i64, Error> {
        let asked = Timestamp::now();
        let subject = format!("STREAM.INFO.{}", self.name_of(stream));
        let info: StreamInfo = self
            .jetstream
            .request(subject, &())
            .await
            .map_err(|error| Error::api("ask for the time", error))?;
        let answered = Timestamp::now();
        let between = asked.millis().midpoint(answered.millis());
        Ok(info.ts.millis() - between)
    }
}
