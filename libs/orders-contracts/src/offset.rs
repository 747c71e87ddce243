use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::Unparsable;

/// A position in the feed, as Socket.IO clients keep it: `<feed's creation time>.<sequence>`, opaque to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// The feed's creation time, which tells one feed from another.
    pub epoch: u64,
    /// The last entry before the position.
    pub sequence: u64,
}

impl Offset {
    /// The position after `sequence` in the same feed.
    #[must_use]
    pub const fn at(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

impl FromStr for Offset {
    type Err = Unparsable;

    /// Reads only what `Display` writes: no sign, no leading zeros.
    fn from_str(text: &str) -> Result<Self, Unparsable> {
        let read = || {
            let (epoch, sequence) = text.split_once('.')?;
            let (epoch, sequence) = (epoch.parse().ok()?, sequence.parse().ok()?);
            Some(Self { epoch, sequence })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_read() {
        let offset = Offset {
            epoch: 1_763_856_000_000,
            sequence: 42,
        };
        assert_eq!(offset.to_string(), "1763856000000.42");
        assert_eq!("1763856000000.42".parse(), Ok(offset));
        for text in [
            "",
            ".",
            "1",
            "1.",
            ".1",
            "1.2.3",
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
