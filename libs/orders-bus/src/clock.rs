//! Clocks of other machines: the server's, by which daemons on machines whose clocks differ measure the same time, and
//! those of the daemons.

use orders_contracts::{Timestamp, streams::Stream};
use serde::Deserialize;

use crate::{Bus, Error};

#[derive(Deserialize)]
struct StreamInfo {
    ts: Timestamp,
}

/// How far another clock is ahead of this machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// In milliseconds; negative if it is behind.
    pub ahead: i64,
    /// How many milliseconds more or less it may be: what was on its way, and which way, is not known.
    pub within: i64,
}

impl ClockOffset {
    /// By a question that this machine asked and whose answer it heard, and which came to the other and left it by the
    /// other's clock.
    pub fn between(asked: Timestamp, came: Timestamp, left: Timestamp, heard: Timestamp) -> Self {
        let [asked, came, left, heard] = [asked, came, left, heard].map(Timestamp::millis);
        let on_its_way = (heard - asked) - (left - came);
        Self {
            ahead: ((came - asked) + (left - heard)) / 2,
            // Each moment is cut to its millisecond.
            within: on_its_way.max(0) / 2 + 3,
        }
    }
}

impl Bus {
    /// The clock of the server, which tells the time with the state of `stream`.
    pub async fn clock_offset(&self, stream: &Stream) -> Result<ClockOffset, Error> {
        let asked = Timestamp::now();
        let subject = format!("STREAM.INFO.{}", self.name_of(stream));
        let info: StreamInfo = self
            .jetstream
            .request(subject, &())
            .await
            .map_err(|error| Error::api("ask for the time", error))?;
        let offset = ClockOffset::between(asked, info.ts, info.ts, Timestamp::now());
        Ok(offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Times in microseconds, of which the clocks show whole milliseconds.
        #[test]
        fn the_offset_is_known_to_within_half_of_the_way(
            ahead in -10_000_000_i64..10_000_000,
            asked in 1_700_000_000_000_000_i64..1_700_000_001_000_000,
            to in 0_i64..2_000_000,
            thinking in 0_i64..2_000_000,
            back in 0_i64..2_000_000,
        ) {
            let shown = |micros: i64| Timestamp::from_millis(micros.div_euclid(1_000)).unwrap();
            let came = asked + to;
            let left = came + thinking;
            let offset = ClockOffset::between(
                shown(asked), shown(came + ahead), shown(left + ahead), shown(left + back),
            );
            let off = (offset.ahead * 1_000 - ahead).abs();
            prop_assert!(off <= offset.within * 1_000, "{offset:?}");
            prop_assert!(offset.within <= (to + back) / 2_000 + 5, "{offset:?}");
        }
    }
}
