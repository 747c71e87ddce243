//! The rule that tells a lost event from one that a daemon has not handled yet. The writer's healer and `orderctl
//! reconcile` both use it.

use std::time::Duration;

use orders_contracts::Timestamp;

/// An order's event is published this soon after the order is stored, even if the writer is killed in between.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);

/// If a daemon's oldest unsettled message was stored at `oldest`, the daemon has handled every event of orders stored
/// before the result, so anything that such an order lacks is lost. The event of a later order may still be in its
/// backlog.
pub fn lost_before(oldest: Timestamp) -> Option<Timestamp> {
    oldest.earlier(PUBLISHED_WITHIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_may_be_published_for_a_while_after_its_order_was_stored() {
        let oldest = Timestamp::from_millis(100_000).unwrap();
        assert_eq!(lost_before(oldest), Timestamp::from_millis(90_000));
    }
}
