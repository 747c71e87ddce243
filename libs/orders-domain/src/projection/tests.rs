use orders_contracts::{CreateOrder, Status, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::Order;

/// The read model as a map, fed through the same two functions as the projector.
#[derive(Default, Debug, PartialEq)]
struct Rows(HashMap<OrderId, (u32, OrderRow)>);

impl Rows {
    fn apply(&mut self, batch: &[OrderEvent]) {
        for ((tenant_id, order_id), event) in newest(batch) {
            let stored = self.0.get(order_id).map(|(version, _)| RowVersion {
                tenant_id: tenant_id.clone(),
                version: *version,
            });
            assert!(is_possible(event));
            if effect(stored.as_ref(), event) == Effect::Apply {
                self.0.insert(
                    order_id.clone(),
                    (event.version, event.order.clone().into()),
                );
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
            let command = CreateOrder::parse(body.as_bytes(), None, None).unwrap();
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
fn paid() -> Order {
    let body = r#"{"requestId":"r","tenantId":"t","buyer":{"email":"a@b.cc","name":"A"},"items":[{"sku":"S","qty":1,"price":5}],
        "attachment":{"filename":"f.pdf","contentType":"application/pdf","size":1,"storageKey":"k/f.pdf"},"currency":"EUR"}"#;
    let at = |millis| Timestamp::from_millis(millis).unwrap();
    let command = CreateOrder::parse(body.as_bytes(), None, None).unwrap();
    Order::create(command, "c".parse().unwrap(), at(1_000)).moved(Status::Paid, at(2_000))
}

#[test]
fn an_event_changes_only_a_row_of_its_tenant_and_only_if_it_can_be() {
    let event = paid().latest_event();
    let forged = OrderEvent {
        tenant_id: "other".parse().unwrap(),
        ..event.clone()
    };
    let row = RowVersion {
        tenant_id: event.tenant_id.clone(),
        version: 1,
    };
    assert_eq!(effect(Some(&row), &event), Effect::Apply);
    assert_eq!(effect(Some(&row), &forged), Effect::Foreign);
    assert_eq!(
        newest([&event, &forged]).len(),
        2,
        "neither hides the other"
    );
    for version in [0, 1, 3, u32::MAX] {
        let version = OrderEvent {
            version,
            ..event.clone()
        };
        assert!(!is_possible(&version), "{version:?}");
    }
    assert!(is_possible(&event) && is_possible(&paid().created_event()));
}

#[test]
fn a_row_differs_by_presence_version_and_every_field() {
    let order = paid();
    let row = StoredRow::from(order.latest_event());
    assert_eq!(difference(Some(&row), &order), None);
    assert_eq!(difference(None, &order), Some(Difference::Missing));
    let at = |version| StoredRow {
        version,
        ..row.clone()
    };
    assert_eq!(
        difference(Some(&at(1)), &order),
        Some(Difference::Behind(1))
    );
    assert_eq!(difference(Some(&at(3)), &order), Some(Difference::Ahead(3)));

    type Damage = (&'static str, fn(&mut StoredRow));
    let damages: [Damage; 11] = [
        ("orderId", |stored| {
            stored.row.order_id = format!("ord_{}", "a".repeat(26)).parse().unwrap()
        }),
        ("tenantId", |stored| {
            stored.tenant_id = "other".parse().unwrap()
        }),
        ("status", |stored| stored.row.status = Status::Pending),
        ("createdAt", |stored| {
            stored.row.created_at = Timestamp::from_millis(1_001).unwrap()
        }),
        ("buyerEmail", |stored| stored.row.buyer_email.push('x')),
        ("total", |stored| stored.row.total = "5.01".parse().unwrap()),
        ("attachment", |stored| stored.row.attachment = None),
        ("attachment", |stored| {
            stored
                .row
                .attachment
                .as_mut()
                .unwrap()
                .storage_key
                .push('x')
        }),
        ("buyerName", |stored| stored.row.buyer_name = None),
        ("itemCount", |stored| stored.row.item_count = Some(2)),
        ("currency", |stored| stored.row.currency = None),
    ];
    for (name, damage) in damages {
        let mut damaged = row.clone();
        damage(&mut damaged);
        let Some(Difference::Values(fields)) = difference(Some(&damaged), &order) else {
            panic!("{name} is not seen");
        };
        assert_eq!(
            fields.iter().map(|field| field.field).collect::<Vec<_>>(),
            [name]
        );
    }
}

proptest! {
    /// Whatever the history: the rows that the projector makes of it are no difference, and any older one is.
    #[test]
    fn only_the_latest_event_is_no_difference(seen in 0u32..3, moved: bool) {
        let order = if moved { paid() } else { Order { status: Status::Pending, version: 1, ..paid() } };
        let row = match seen {
            0 => None,
            1 => Some(StoredRow::from(order.created_event())),
            _ => Some(StoredRow::from(order.latest_event())),
        };
        let reached = row.as_ref().map_or(0, |row| row.version);
        prop_assert_eq!(difference(row.as_ref(), &order).is_none(), reached == order.version);
    }
}
