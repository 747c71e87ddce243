//! Lists: filters, pages, and the indexes they are read off.

use std::collections::BTreeSet;

use mongodb::bson::{DateTime, Document, doc};

use super::{
    plans::{assert_read_off_an_index, watched},
    *,
};

#[tokio::test]
async fn a_list_is_filtered_by_status_buyer_and_time() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let first = order("1", 1_000).created_event();
        let second = order("2", 2_000)
            .moved(Status::Paid, at(9_000))
            .latest_event();
        let mut third = order("3", 3_000).created_event();
        third.order.buyer_email = "Other+x@b.cc".to_owned();
        insert_rows(&rows, &[first.clone(), second.clone(), third.clone()]).await;
        let [first, second, third] = [first, second, third].map(|event| event.order.order_id);

        let email = |text: &str| Some(text.to_owned());
        for (filter, expected) in [
            (filter(), vec![&third, &second, &first]),
            (
                ListFilter {
                    status: Some(Status::Pending),
                    ..filter()
                },
                vec![&third, &first],
            ),
            (
                ListFilter {
                    status: Some(Status::Cancelled),
                    ..filter()
                },
                vec![],
            ),
            (
                ListFilter {
                    buyer_email: email("other+x@b.cc"),
                    ..filter()
                },
                vec![&third],
            ),
            (
                ListFilter {
                    buyer_email: email(r#"{"$ne":""}"#),
                    ..filter()
                },
                vec![],
            ),
            (
                ListFilter {
                    buyer_email: email("$regex"),
                    ..filter()
                },
                vec![],
            ),
            (
                ListFilter {
                    buyer_email: email(".*"),
                    ..filter()
                },
                vec![],
            ),
            (
                ListFilter {
                    from: Some(at(2_000)),
                    ..filter()
                },
                vec![&third, &second],
            ),
            (
                ListFilter {
                    from: Some(at(2_001)),
                    ..filter()
                },
                vec![&third],
            ),
            (
                ListFilter {
                    until: Some(at(2_000)),
                    ..filter()
                },
                vec![&first],
            ),
            (
                ListFilter {
                    until: Some(at(2_001)),
                    ..filter()
                },
                vec![&second, &first],
            ),
            (
                ListFilter {
                    from: Some(at(2_000)),
                    until: Some(at(3_000)),
                    ..filter()
                },
                vec![&second],
            ),
            (
                ListFilter {
                    from: Some(at(3_000)),
                    until: Some(at(2_000)),
                    ..filter()
                },
                vec![],
            ),
            (
                ListFilter {
                    status: Some(Status::Pending),
                    buyer_email: email("a@b.cc"),
                    from: Some(at(0)),
                    until: Some(at(i64::from(u32::MAX))),
                    ..filter()
                },
                vec![&first],
            ),
        ] {
            let query = ListOrders { filter, ..list() };
            let page = rows.list(&query).await.unwrap();
            assert_eq!(ids(&page.items), expected, "{query:?}");
            assert_eq!(
                page.total,
                Total::Exactly(expected.len() as u64),
                "{query:?}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn pages_have_every_row_once_even_among_equal_times() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let events: Vec<OrderEvent> = (0..25)
            .map(|n| order(&format!("r{n}"), 1_000 + i64::from(n >= 20)).created_event())
            .collect();
        insert_rows(&rows, &events).await;
        let mut expected: Vec<_> = events.iter().map(plain).collect();
        expected.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.order_id.clone())));

        let mut seen = Vec::new();
        for page in 1..=4 {
            let page = rows
                .list(&ListOrders {
                    page,
                    limit: 7,
                    ..list()
                })
                .await
                .unwrap();
            assert_eq!(page.total, Total::Exactly(25));
            seen.extend(page.items);
        }
        assert_eq!(seen, expected);
        let first = rows
            .list(&ListOrders {
                page: 0,
                limit: 7,
                ..list()
            })
            .await
            .unwrap();
        assert_eq!(first.items, seen[..7]);
        // And from place to place, with orders that come in between and are not to be seen.
        let (mut walked, mut place) = (Vec::new(), None);
        for page in 1.. {
            let query = ListOrders {
                page,
                after: place,
                limit: 6,
                ..list()
            };
            let OrderPage { items, next, .. } = rows.list(&query).await.unwrap();
            walked.extend(items);
            place = next;
            if place.is_none() {
                break;
            }
            let newer = order(&format!("n{page}"), 2_000).created_event();
            insert_rows(&rows, &[newer]).await;
        }
        assert_eq!(walked, seen);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hides_no_other() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let raw = store
            .connection
            .database()
            .collection::<Document>("orders_read");
        let events: Vec<OrderEvent> = (0..8)
            .map(|n| order(&format!("r{n}"), n).created_event())
            .collect();
        insert_rows(&rows, &events).await;
        // The newest and the oldest among them, and two beside each other.
        for (n, damage) in [
            (7, doc! { "status": "REFUNDED" }),
            (4, doc! { "total": 1.5 }),
            (3, doc! { "version": "1" }),
            (0, doc! { "attachment": "x" }),
        ] {
            let id = doc! { "_id": events[n].order.order_id.as_str() };
            raw.update_one(id, doc! { "$set": damage }).await.unwrap();
        }
        for millis in [9, 8, 5] {
            let created_at = DateTime::from_millis(millis);
            let stray = doc! { "tenantId": "t", "createdAt": created_at };
            raw.insert_one(stray).await.unwrap();
        }
        let readable: Vec<&OrderId> = [6, 5, 2, 1]
            .map(|n: usize| &events[n].order.order_id)
            .into();
        for limit in 1..10 {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let query = ListOrders {
                    after,
                    limit,
                    ..list()
                };
                let found = rows.list(&query).await.unwrap();
                assert_eq!(found.total, Total::Exactly(11));
                seen.extend(found.items);
                after = found.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(ids(&seen), readable, "{limit} a page");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_far_behind_the_last_row_are_empty() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        insert_rows(&rows, &[order("a", 1).created_event()]).await;
        let end = i64::MAX.unsigned_abs();
        for (page, limit) in [
            (2, 10),
            (u64::from(u32::MAX), 100),
            (end / 100, 100),
            (end / 100 + 1, 100),
            (end, 1),
            (end, 2),
            (u64::MAX, 1),
            (u64::MAX, 100),
            (2, u64::MAX),
            (1, 0),
            (u64::MAX, 0),
        ] {
            let page = rows
                .list(&ListOrders {
                    page,
                    limit,
                    ..list()
                })
                .await;
            assert_eq!(page.unwrap(), no_page_of(1), "{limit}");
        }
        let all = rows
            .list(&ListOrders {
                limit: end - 1,
                ..list()
            })
            .await
            .unwrap();
        assert_eq!(all.items.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_list_needs_neither_its_indexes_nor_its_collection() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        store
            .connection
            .collection::<Document>("orders_read")
            .drop()
            .await
            .unwrap();
        assert_eq!(rows.list(&list()).await.unwrap(), no_page_of(0));
        insert_rows(&rows, &[order("a", 1).created_event()]).await;
        assert_eq!(rows.list(&list()).await.unwrap().items.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn every_list_is_read_off_an_index() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let events: Vec<OrderEvent> = (0..300)
            .map(|n| order(&format!("r{n}"), n).created_event())
            .collect();
        insert_rows(&rows, &events).await;
        let place = ListPlace {
            created_at: at(200),
            order_id: id("r200"),
        };
        let (watched, sent) = watched(&store).await;
        for case in 0..64 {
            let has = |bit: u32| case & 1 << bit != 0;
            let query = ListOrders {
                filter: ListFilter {
                    status: has(0).then_some(Status::Pending),
                    buyer_email: has(1).then(|| "a@b.cc".to_owned()),
                    from: has(2).then(|| at(10)),
                    until: has(3).then(|| at(250)),
                    ..filter()
                },
                after: has(4).then(|| place.clone()),
                page: if has(5) { 3 } else { 1 },
                ..list()
            };
            let page = watched.read_model().list(&query).await.unwrap();
            assert_eq!(page.items.len(), 10, "{query:?}");
            let commands = std::mem::take(&mut *sent.lock().unwrap());
            let names: BTreeSet<_> = commands
                .iter()
                .filter_map(|command| command.keys().next())
                .collect();
            assert!(
                names
                    .iter()
                    .map(|name| name.as_str())
                    .eq(["aggregate", "find"]),
                "{names:?}"
            );
            for command in commands {
                let is_page = command.contains_key("find");
                assert_read_off_an_index(&store, command, is_page).await;
            }
        }
    })
    .await;
}
