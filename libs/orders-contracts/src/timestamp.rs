use std::{borrow::Cow, fmt, ops::RangeInclusive, str::FromStr, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Unparsable;

/// The years 0000 to 9999, which RFC 3339 can write. A text's offset may lead out of them.
const WRITABLE: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

/// A moment in UTC with millisecond precision, the precision of the store.
///
/// As text it is RFC 3339 with three decimals and `Z`: `2025-08-26T09:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The current time.
    pub fn now() -> Self {
        Self(Utc::now().timestamp_millis())
    }

    /// The moment `millis` after the Unix epoch; `None` outside the years that chrono can write.
    pub fn from_millis(millis: i64) -> Option<Self> {
        DateTime::from_timestamp_millis(millis).map(|_| Self(millis))
    }

    /// The same within the years 0000 to 9999.
    pub(crate) fn writable(millis: i64) -> Option<Self> {
        WRITABLE.contains(&millis).then_some(Self(millis))
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// The moment `pause` before this one; `None` before the calendar begins.
    pub fn earlier(self, pause: std::time::Duration) -> Option<Self> {
        let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.millis().saturating_sub(pause))
    }

    /// The moment `pause` after this one, or this one if that is beyond the calendar.
    #[must_use]
    pub fn later(self, pause: Duration) -> Self {
        let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.millis().saturating_add(pause)).unwrap_or(self)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        f.write_str(&moment.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl FromStr for Timestamp {
    type Err = Unparsable;
    fn from_str(text: &str) -> Result<Self, Unparsable> {
        let moment = DateTime::parse_from_rfc3339(text).ok();
        moment
            .and_then(|moment| Self::writable(moment.timestamp_millis()))
            .ok_or(Unparsable("must be an RFC 3339 date and time"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_milliseconds_and_z() {
        let moment: Timestamp = "2025-08-26T11:00:00.0009+02:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2025-08-26T09:00:00.000Z");
        assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
    }

    #[test]
    fn every_moment_that_is_read_can_be_written() {
        for edge in ["0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"] {
            assert_eq!(edge.parse::<Timestamp>().unwrap().to_string(), edge);
        }
        for beyond in [
            "0000-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "9999-12-31T23:59:60Z",
        ] {
            assert!(beyond.parse::<Timestamp>().is_err(), "{beyond}");
        }
    }
}
