use std::{fmt, str::FromStr};

use orders_bus::FeedBounds;
use serde::{Serialize, Serializer};

/// A place in the feed, as clients keep it: `<feed's creation time>.<sequence>`, opaque to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset {
    /// Which feed it is a place in.
    pub(crate) epoch: u64,
    /// The last entry before the place.
    pub(crate) sequence: u64,
}

/// A text that is no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Why the feed cannot go on from an offset; the client has to load its list anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reset {
    /// It is no offset at all.
    Malformed,
    /// It is of another feed: this one was created later.
    OtherFeed,
    /// The feed has not got that far.
    Future,
    /// The feed has dropped some of what came after it.
    Expired,
}

impl Reset {
    /// The word for it in the metrics, the same as clients get.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::OtherFeed => "other_feed",
            Self::Future => "future",
            Self::Expired => "expired",
        }
    }
}

impl Offset {
    /// Where the feed ends.
    pub(crate) const fn head(bounds: &FeedBounds) -> Self {
        Self {
            epoch: bounds.epoch,
            sequence: bounds.last,
        }
    }

    /// The same feed's place after `sequence`.
    pub(crate) const fn at(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }

    /// Whether a feed with these bounds still holds everything after this place.
    pub(crate) const fn check(self, bounds: &FeedBounds) -> Result<(), Reset> {
        if self.epoch != bounds.epoch {
            Err(Reset::OtherFeed)
        } else if self.sequence > bounds.last {
            Err(Reset::Future)
        } else if self.sequence + 1 < bounds.first {
            Err(Reset::Expired)
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

impl FromStr for Offset {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (epoch, sequence) = text.split_once('.').ok_or(Malformed)?;
        let offset = Self {
            epoch: epoch.parse().map_err(|_| Malformed)?,
            sequence: sequence.parse().map_err(|_| Malformed)?,
        };
        // Only what we write ourselves: no sign, no leading zeros.
        (offset.to_string() == text)
            .then_some(offset)
            .ok_or(Malformed)
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

    const BOUNDS: FeedBounds = FeedBounds {
        epoch: 7,
        first: 10,
        last: 20,
    };

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
            assert_eq!(text.parse::<Offset>(), Err(Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_feed_honours_what_it_holds_everything_after() {
        let check = |epoch, sequence| Offset { epoch, sequence }.check(&BOUNDS);
        assert_eq!(check(7, 9), Ok(()));
        assert_eq!(check(7, 20), Ok(()));
        assert_eq!(check(7, 8), Err(Reset::Expired));
        assert_eq!(check(7, 21), Err(Reset::Future));
        assert_eq!(check(7, u64::MAX), Err(Reset::Future));
        assert_eq!(check(6, 15), Err(Reset::OtherFeed));
        let empty = FeedBounds {
            epoch: 7,
            first: 21,
            last: 20,
        };
        assert_eq!(Offset::head(&empty).check(&empty), Ok(()));
    }
}
