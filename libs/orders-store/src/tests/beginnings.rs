//! Looking for orders, and what rows tell.

use super::{
    plans::{assert_read_off_an_index, watched},
    *,
};

/// What begins somehow is few or sorted by the server; an order has an index of its own.
#[tokio::test]
async fn what_is_looked_for_is_read_off_an_index() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let events: Vec<OrderEvent> = (0..300)
            .map(|n| order(&format!("r{n}"), n).created_event())
            .collect();
        insert_rows(&rows, &events).await;
        let whole = id("r200");
        let (watched, sent) = watched(&store).await;
        for (q, is_in_order) in [
            ("ord_", true),
            ("ord_a", true),
            (&whole.as_str()[..8], false),
            (whole.as_str(), false),
            ("a@", false),
        ] {
            for case in 0..16 {
                let has = |bit: u32| case & 1 << bit != 0;
                let query = ListOrders {
                    filter: ListFilter {
                        status: has(0).then_some(Status::Pending),
                        buyer_email: has(1).then(|| "a@b.cc".to_owned()),
                        order_id: has(2).then(|| whole.clone()),
                        from: has(3).then(|| at(10)),
                        begins: Some(q.parse().unwrap()),
                        ..filter()
                    },
                    ..list()
                };
                watched.read_model().list(&query).await.unwrap();
                let commands = std::mem::take(&mut *sent.lock().unwrap());
                for command in commands {
                    let is_page = command.contains_key("find");
                    let in_order = is_page && is_in_order && !has(2);
                    assert_read_off_an_index(&store, command, in_order).await;
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn orders_are_found_by_the_beginning_of_their_id_or_of_their_buyers_address() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let addresses = [
            "al@x.example",
            "Alice@x.example",
            "alice.b@y.example",
            "ord_er@x.example",
            "bob@b\u{fc}cher.example",
        ];
        let events: Vec<OrderEvent> = (0..)
            .zip(addresses)
            .map(|(n, email)| {
                let mut order = order(&format!("r{n}"), n);
                order.buyer.email = email.to_owned();
                order.created_event()
            })
            .collect();
        insert_rows(&rows, &events).await;
        let mut other = order("r9", 9);
        other.tenant_id = tenant("other");
        insert_rows(&rows, &[other.created_event()]).await;
        let found = async |filter: ListFilter| {
            let query = ListOrders { filter, ..list() };
            let page = rows.list(&query).await.unwrap();
            assert_eq!(page.total, Total::Exactly(page.items.len() as u64));
            let place = |row: &OrderRow| {
                let is_it = |event: &OrderEvent| event.order.order_id == row.order_id;
                events.iter().position(is_it).unwrap()
            };
            page.items.iter().map(place).collect::<Vec<_>>()
        };
        let begins = async |q: &str| {
            let begins = Some(q.parse().unwrap());
            found(ListFilter { begins, ..filter() }).await
        };
        for (q, expected) in [
            ("al", vec![2, 1, 0]),
            ("ALICE", vec![2, 1]),
            ("alice@", vec![1]),
            ("alice@x.example", vec![1]),
            ("alice@x.example.com", vec![]),
            ("bob@b\u{fc}cher.example", vec![4]),
            ("ord_er@", vec![3]),
            ("ord_", vec![4, 3, 2, 1, 0]),
            (".*", vec![]),
            ("$gt", vec![]),
        ] {
            assert_eq!(begins(q).await, expected, "{q}");
        }
        for (n, event) in events.iter().enumerate() {
            let id = &event.order.order_id;
            for length in 12..=id.as_str().len() {
                assert_eq!(begins(&id.as_str()[..length]).await, [n]);
            }
            let short = begins(&id.as_str()[..5]).await;
            assert!(short.contains(&n), "{short:?}");
            let only = ListFilter {
                order_id: Some(id.clone()),
                ..filter()
            };
            assert_eq!(found(only.clone()).await, [n]);
            // Together they narrow each other.
            let both = |q: &str| ListFilter {
                begins: Some(q.parse().unwrap()),
                ..only.clone()
            };
            assert_eq!(found(both(&id.as_str()[..12])).await, [n]);
            assert_eq!(found(both("nobody")).await, [0; 0]);
        }
        let buyer = |q: &str| ListFilter {
            buyer_email: Some("alice@x.example".to_owned()),
            begins: Some(q.parse().unwrap()),
            ..filter()
        };
        assert_eq!(found(buyer("al")).await, [1]);
        assert_eq!(found(buyer("b")).await, [0; 0]);
    })
    .await;
}

#[tokio::test]
async fn rows_tell_more_only_when_they_are_asked() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let mut order = order("r1", 1);
        order.currency = "EUR".parse().ok();
        let event = order.created_event();
        insert_rows(&rows, std::slice::from_ref(&event)).await;
        assert_eq!(rows.list(&list()).await.unwrap().items, [plain(&event)]);
        let expanded = ListOrders {
            is_expanded: true,
            ..list()
        };
        let row = rows.list(&expanded).await.unwrap().items.remove(0);
        assert_eq!(row, event.order.clone().into());
        assert_eq!(
            (row.buyer_name.as_deref(), row.item_count),
            (Some("A"), Some(1))
        );
        let (_, row) = rows
            .get(&tenant("t"), &event.order.order_id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(row, plain(&event));
    })
    .await;
}
