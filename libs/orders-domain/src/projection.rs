//! The read model: each order has one row and a version, and only a higher version changes it.
//!
//! Events carry the whole row, so any interleaving of duplicates and reorderings ends in the same rows.

use std::collections::HashMap;

use orders_contracts::{OrderEvent, OrderId};

/// What an event is to the row as stored, of which only the version counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The event is newer: the row becomes the event's.
    Apply,
    /// The row is at this very version.
    AlreadyApplied,
    /// The row is at a higher version and stays as it is.
    Superseded,
}

/// What `event` is to a row at `stored` version, or to no row.
pub fn effect(stored: Option<u32>, event: &OrderEvent) -> Effect {
    match stored {
        Some(version) if version == event.version => Effect::AlreadyApplied,
        Some(version) if version > event.version => Effect::Superseded,
        _ => Effect::Apply,
    }
}

/// The newest event of each order in a batch: the only one that needs to be stored.
pub fn newest<'a>(
    batch: impl IntoIterator<Item = &'a OrderEvent>,
) -> HashMap<&'a OrderId, &'a OrderEvent> {
    let mut newest: HashMap<&OrderId, &OrderEvent> = HashMap::new();
    for event in batch {
        newest
            .entry(&event.order.order_id)
            .and_modify(|known| {
                if event.version > known.version {
                    *known = event;
                }
            })
            .or_insert(event);
    }
    newest
}

#[cfg(test)]
mod tests {
    use orders_contracts::{CreateOrder, OrderRow, Status, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::Order;

    /// The read model as a map, fed through the same two functions as the projector.
    #[derive(Default, Debug, PartialEq)]
    struct Rows(HashMap<OrderId, (u32, OrderRow)>);

    impl Rows {
        fn apply(&mut self, batch: &[OrderEvent]) {
            for (order_id, event) in newest(batch) {
                let stored = self.0.get(order_id).map(|(version, _)| *version);
                if effect(stored, event) == Effect::Apply {
                    self.0
                        .insert(order_id.clone(), (event.version, event.order.clone()));
                }
            }
        }
    }

    /// The history of `count` orders: each is created, and most move to a final status.
    fn histories(count: usize) -> Vec<OrderEvent> {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        (0..count)
            .flat_map(|n| {
                let body = format!(
                    r#"{{"requestId":"r{n}","tenantId":"t","buyer":{{"email":"a@b.cc","name":"A"}},"items":[{{"sku":"S","qty":1,"price":{n}.5}}]}}"#
                );
                let command = CreateOrder::parse(body.as_bytes(), None).unwrap();
                let order = Order::create(command, "c".parse().unwrap(), at(1_000));
                let created = order.created_event();
                match n % 3 {
                    0 => vec![created],
                    1 => vec![created, order.moved(Status::Paid, at(2_000)).latest_event()],
                    _ => vec![created, order.moved(Status::Cancelled, at(2_000)).latest_event()],
                }
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Any number of duplicates, any order, any cut into batches: the rows are those of the ordered stream.
        #[test]
        fn any_interleaving_ends_in_the_same_rows(
            count in 1usize..12,
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
            keys in proptest::collection::vec(any::<u32>(), 100),
            batch in 1usize..9,
        ) {
            let stream = histories(count);
            let mut expected = Rows::default();
            for event in &stream {
                expected.apply(std::slice::from_ref(event));
            }

            let mut delivered = stream.clone();
            delivered.extend(picks.iter().map(|pick| pick.get(&stream).clone()));
            let mut order: Vec<usize> = (0..delivered.len()).collect();
            order.sort_by_key(|&n| keys[n % keys.len()].rotate_left(u32::try_from(n % 32).unwrap()));
            let delivered: Vec<OrderEvent> = order.into_iter().map(|n| delivered[n].clone()).collect();

            let mut rows = Rows::default();
            for batch in delivered.chunks(batch) {
                rows.apply(batch);
            }
            prop_assert_eq!(rows, expected);
        }
    }
}
