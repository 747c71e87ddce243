use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::Unparsable;

/// A position in the feed, as Socket.IO clients keep it: `<feed's creation time>.<sequence>.<time>`, opaque to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// The feed's creation time, which tells one feed from another.
    pub epoch: u64,
    /// The last entry before the position.
    pub sequence: u64,
    /// When that entry was stored, in milliseconds, which tells it from another entry that took its sequence after the
    /// stream lost its end; 0 when nobody knows.
    pub time: u64,
}

impl Offset {
    /// The position in the same feed after the entry `sequence`, which was stored at `time`.
    #[must_use]
    pub const fn at(self, sequence: u64, time: u64) -> Self {
        Self {
            sequence,
            time,
            ..self
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)?;
        match self.time {
            0 => Ok(()),
            time => write!(f, ".{time}"),
        }
    }
}

impl FromStr for Offset {
    type Err = Unparsable;

    /// Reads only what `Display` writes: no sign, no leading zeros.
    fn from_str(text: &str) -> Result<Self, Unparsable> {
        let read = || {
            let (epoch, rest) = text.split_once('.')?;
            let (sequence, time) = rest.split_once('.').unwrap_or((rest, "0"));
            Some(Self {
                epoch: epoch.parse().ok()?,
                sequence: sequence.parse().ok()?,
                time: time.parse().ok()?,
            })
        };
        read()
            .filter(|offset| offset.to_string() == text)
            .ok_or(Unparsable("must be an offset"))
    }
}

impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Offset {
    fn schema_name() -> Cow<'static, str> {
        "Offset".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+[.][0-9]+([.][0-9]+)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let offset = Offset {
            epoch: 1_763_856_000_000,
            sequence: 42,
            time: 1_763_856_000_777,
        };
        let text = "1763856000000.42.1763856000777";
        assert_eq!(offset.to_string(), text);
        assert_eq!(text.parse(), Ok(offset));
        // Clients of version 0.1.0 have the short form.
        assert_eq!("1763856000000.42".parse(), Ok(offset.at(42, 0)));
        for text in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "1.2.3.4",
            "1.2.0",
            "1.2.03",
            "1.2.",
            "+1.2",
            "1.+2",
            "01.2",
            "1.02",
            " 1.2",
            "1.2 ",
            "1.-2",
            "a.b",
            "1.99999999999999999999",
        ] {
            assert!(text.parse::<Offset>().is_err(), "{text:?}");
        }
    }
}
