//! Telling a lost event from one that a daemon has not got to: the writer heals and operators reconcile by this rule.

use std::time::Duration;

use orders_contracts::Timestamp;

/// How long after an order is stored its event is published, even when the writer is killed in between.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);

/// A daemon whose oldest unsettled message was stored at `oldest` has been through everything about orders that were
/// stored before the result: what such an order still lacks is lost. The event of a later one may be in its backlog.
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
