//! What the bounds of the feed say about offsets.

use orders_bus::FeedBounds;
use orders_contracts::{Offset, socket::ResetReason};

/// The end of the feed.
pub(crate) const fn head(bounds: &FeedBounds) -> Offset {
    Offset {
        epoch: bounds.epoch,
        sequence: bounds.last,
    }
}

/// Whether the feed still holds every entry after `offset`.
pub(crate) const fn check(offset: Offset, bounds: &FeedBounds) -> Result<(), ResetReason> {
    if offset.epoch != bounds.epoch {
        Err(ResetReason::OtherFeed)
    } else if offset.sequence > bounds.last {
        Err(ResetReason::Future)
    } else if offset.sequence + 1 < bounds.first {
        Err(ResetReason::Expired)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_honours_an_offset_if_it_holds_all_later_entries() {
        let bounds = |first, last| FeedBounds {
            epoch: 7,
            first,
            last,
        };
        let check = |epoch, sequence| check(Offset { epoch, sequence }, &bounds(10, 20));
        assert_eq!(check(7, 9), Ok(()));
        assert_eq!(check(7, 20), Ok(()));
        assert_eq!(check(7, 8), Err(ResetReason::Expired));
        assert_eq!(check(7, 21), Err(ResetReason::Future));
        assert_eq!(check(7, u64::MAX), Err(ResetReason::Future));
        assert_eq!(check(6, 15), Err(ResetReason::OtherFeed));
        let empty = bounds(21, 20);
        assert_eq!(super::check(head(&empty), &empty), Ok(()));
    }
}
