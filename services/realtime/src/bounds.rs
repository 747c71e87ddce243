//! What the bounds of the feed say about offsets.

use orders_bus::FeedBounds;
use orders_contracts::{Offset, socket::ResetReason};

/// The end of the feed.
pub(crate) const fn head(bounds: &FeedBounds) -> Offset {
    Offset {
        epoch: bounds.epoch,
        sequence: bounds.last,
        time: bounds.last_time,
    }
}

/// Whether the feed still holds every entry after `offset`, whose entry the bounds were asked about. Another entry at its
/// sequence means that the feed lost its end and went on from there.
pub(crate) const fn check(offset: Offset, bounds: &FeedBounds) -> Result<(), ResetReason> {
    if offset.epoch != bounds.epoch || is_other_entry(offset, bounds) {
        Err(ResetReason::OtherFeed)
    } else if offset.sequence > bounds.last {
        Err(ResetReason::Future)
    } else if offset.sequence + 1 < bounds.first {
        Err(ResetReason::Expired)
    } else {
        Ok(())
    }
}

const fn is_other_entry(offset: Offset, bounds: &FeedBounds) -> bool {
    matches!(bounds.asked, Some(time) if offset.time != 0 && offset.time != time)
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
            last_time: 99,
            asked: None,
        };
        let offset = |epoch, sequence| Offset {
            epoch,
            sequence,
            time: 77,
        };
        let check = |epoch, sequence| check(offset(epoch, sequence), &bounds(10, 20));
        assert_eq!(check(7, 9), Ok(()));
        assert_eq!(check(7, 20), Ok(()));
        assert_eq!(check(7, 8), Err(ResetReason::Expired));
        assert_eq!(check(7, 21), Err(ResetReason::Future));
        assert_eq!(check(7, u64::MAX), Err(ResetReason::Future));
        assert_eq!(check(6, 15), Err(ResetReason::OtherFeed));
        let asked = |time| FeedBounds {
            asked: Some(time),
            ..bounds(10, 20)
        };
        assert_eq!(super::check(offset(7, 15), &asked(77)), Ok(()));
        let other = super::check(offset(7, 15), &asked(78));
        assert_eq!(other, Err(ResetReason::OtherFeed));
        let unknown = offset(7, 15).at(15, 0);
        assert_eq!(super::check(unknown, &asked(78)), Ok(()));
        let empty = bounds(21, 20);
        assert_eq!(super::check(head(&empty), &empty), Ok(()));
    }
}
