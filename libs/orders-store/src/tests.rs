//! Against a real server: `cargo xtask test` starts one and names it in ORDERS_TEST_MONGO_URL.

use std::{
    collections::{BTreeSet, HashMap},
    env,
    panic::resume_unwind,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use mongodb::{
    IndexModel,
    bson::{DateTime, Document, doc},
    event::{EventHandler, command::CommandEvent},
    options::IndexOptions,
};
use orders_contracts::{
    CommandId, CreateOrder, OrderEvent, OrderId, OrderRow, Status, TenantId, Timestamp,
};
use orders_domain::Order;
use tokio::task::LocalSet;

use super::*;
use crate::{
    read_model::{LONG_PAGES, SHORT_READS, SPARE_READS},
    slots::USUAL,
};

/// Runs `test` on a database of its own, which is dropped afterwards.
async fn on_a_database<F>(test: impl FnOnce(Store) -> F)
where
    F: Future<Output = ()> + 'static,
{
    let Ok(server) = env::var("ORDERS_TEST_MONGO_URL") else {
        panic!("ORDERS_TEST_MONGO_URL is not set: run `cargo xtask test`");
    };
    let url = format!(
        "{}/store-{}",
        server.trim_end_matches('/'),
        CommandId::fresh()
    );
    let store = Store::connect(&url, "orders-store-tests").await.unwrap();
    store.orders().ensure_indexes().await.unwrap();
    store.rows().ensure_indexes().await.unwrap();
    let local = LocalSet::new();
    let task = local.spawn_local(test(store.clone()));
    let outcome = local.run_until(task).await;
    store.database.drop().await.unwrap();
    if let Err(failure) = outcome {
        resume_unwind(failure.into_panic());
    }
}

fn exactly(count: u64) -> Total {
    Total { count, as_of: None }
}

/// A page behind the end of a list of so many.
fn no_page_of(count: u64) -> OrderPage {
    OrderPage {
        items: Vec::new(),
        next: None,
        total: exactly(count),
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn id(text: &str) -> OrderId {
    OrderId::derive(&tenant("t"), &text.parse().unwrap())
}

/// The order that request `request` of tenant `t` creates at `millis`.
fn order(request: &str, millis: i64) -> Order {
    let mut order = Order::create(
        CreateOrder::parse(
            br#"{"requestId":"r","tenantId":"t","buyer":{"email":"a@b.cc","name":"A"},"items":[{"sku":"S","qty":2,"price":49.99}]}"#,
            None,
        )
        .unwrap(),
        CommandId::fresh(),
        at(millis),
    );
    order.request_id = request.parse().unwrap();
    order.order_id = id(request);
    order
}

fn filter() -> ListFilter {
    ListFilter::of(tenant("t"))
}

fn list() -> ListOrders {
    ListOrders {
        filter: filter(),
        page: 1,
        after: None,
        limit: 10,
    }
}

fn ids(rows: &[OrderRow]) -> Vec<&OrderId> {
    rows.iter().map(|row| &row.order_id).collect()
}

async fn insert_rows(rows: &ReadModel, events: &[OrderEvent]) -> Vec<bool> {
    rows.insert(&events.iter().collect::<Vec<_>>())
        .await
        .unwrap()
}

#[tokio::test]
async fn an_insert_tells_new_orders_from_known_ones() {
    on_a_database(|store| async move {
        let orders = store.orders();
        let (a, b, c) = (order("a", 1), order("b", 2), order("c", 3));
        assert_eq!(orders.insert(&[]).await, Ok(vec![]));
        assert_eq!(
            orders.insert(std::slice::from_ref(&b)).await,
            Ok(vec![true])
        );
        let again = Order {
            command_id: CommandId::fresh(),
            ..b.clone()
        };
        // Also twice in one batch: the first of them is stored.
        let batch = [a.clone(), again, c.clone(), a.clone()];
        assert_eq!(
            orders.insert(&batch).await,
            Ok(vec![true, false, true, false])
        );

        let wanted = [&a, &b, &c].map(|order| order.order_id.clone());
        let unknown = id("unknown");
        let loaded = orders
            .load(&[&wanted[..], &[unknown]].concat())
            .await
            .unwrap();
        let stored = [a, b, c].map(|order| (order.order_id.clone(), order));
        assert_eq!(loaded, HashMap::from(stored));
        assert_eq!(orders.load(&[]).await, Ok(HashMap::new()));
    })
    .await;
}

#[tokio::test]
async fn a_request_of_a_tenant_has_one_order_whatever_its_id() {
    on_a_database(|store| async move {
        let orders = store.orders();
        let first = order("a", 1);
        let same_request = Order {
            order_id: id("other"),
            ..first.clone()
        };
        let other_tenant = Order {
            tenant_id: tenant("u"),
            ..same_request.clone()
        };
        assert_eq!(orders.insert(&[first]).await, Ok(vec![true]));
        let batch = [same_request, other_tenant];
        assert_eq!(orders.insert(&batch).await, Ok(vec![false, true]));
    })
    .await;
}

#[tokio::test]
async fn a_full_batch_is_stored_and_read_back() {
    on_a_database(|store| async move {
        let batch: Vec<Order> = (0..512).map(|n| order(&format!("r{n}"), n)).collect();
        let ids: Vec<OrderId> = batch.iter().map(|order| order.order_id.clone()).collect();
        assert_eq!(store.orders().insert(&batch).await, Ok(vec![true; 512]));
        assert_eq!(store.orders().insert(&batch).await, Ok(vec![false; 512]));
        assert_eq!(store.orders().load(&ids).await.unwrap().len(), 512);
        assert_eq!(
            store.orders().move_pending(&ids, Status::Paid, at(9)).await,
            Ok(512)
        );
    })
    .await;
}

#[tokio::test]
async fn of_two_writers_at_once_one_wins_each_order() {
    on_a_database(|store| async move {
        let orders = store.orders();
        for round in 0..5 {
            let all: Vec<Order> = (0..300)
                .map(|n| order(&format!("{round}-{n}"), n))
                .collect();
            let ids: Vec<OrderId> = all.iter().map(|order| order.order_id.clone()).collect();
            // Two batches that share a third of the orders, in opposite order.
            let (there, mut back) = (&all[..200], all[100..].to_vec());
            let (there_ids, mut back_ids) = (&ids[..200], ids[100..].to_vec());
            back.reverse();
            back_ids.reverse();

            let (one, other) = tokio::join!(orders.insert(there), orders.insert(&back));
            let stored = [one.unwrap(), other.unwrap()].concat();
            assert_eq!(stored.into_iter().filter(|stored| *stored).count(), 300);

            let (paid, cancelled) = tokio::join!(
                orders.move_pending(there_ids, Status::Paid, at(1)),
                orders.move_pending(&back_ids, Status::Cancelled, at(1)),
            );
            let paid = paid.unwrap();
            assert_eq!(paid + cancelled.unwrap(), 300);

            let stored = orders.load(&ids).await.unwrap();
            assert!(stored.values().all(|order| order.version == 2));
            let stored = stored.values().filter(|order| order.status == Status::Paid);
            assert_eq!(stored.count() as u64, paid);
        }
    })
    .await;
}

#[tokio::test]
async fn any_text_is_a_request_id() {
    on_a_database(|store| async move {
        let texts = [
            "nul \0 in it".to_owned(),
            "\0".to_owned(),
            "\u{1F600}".repeat(255),
            "x".repeat(255),
            r#"{"$ne": null}"#.to_owned(),
            "$where".to_owned(),
            "a.b".to_owned(),
            "' OR 1=1; --".to_owned(),
            "e\u{301}".to_owned(),
            "\u{e9}".to_owned(),
            " r".to_owned(),
            "r".to_owned(),
            "R".to_owned(),
        ];
        let orders: Vec<Order> = texts.iter().map(|text| order(text, 1)).collect();
        let all = vec![true; orders.len()];
        assert_eq!(store.orders().insert(&orders).await, Ok(all));
        let ids: Vec<OrderId> = orders.iter().map(|order| order.order_id.clone()).collect();
        let loaded = store.orders().load(&ids).await.unwrap();
        for order in orders {
            assert_eq!(loaded.get(&order.order_id), Some(&order));
        }
    })
    .await;
}

#[tokio::test]
async fn only_pending_orders_move() {
    on_a_database(|store| async move {
        let orders = store.orders();
        let cancelled = order("cancelled", 1).moved(Status::Cancelled, at(2));
        let pending = order("pending", 1);
        orders
            .insert(&[cancelled.clone(), pending.clone()])
            .await
            .unwrap();
        let ids = [
            cancelled.order_id.clone(),
            pending.order_id.clone(),
            id("unknown"),
        ];

        assert_eq!(orders.move_pending(&[], Status::Paid, at(3)).await, Ok(0));
        assert_eq!(orders.move_pending(&ids, Status::Paid, at(3)).await, Ok(1));
        assert_eq!(
            orders.move_pending(&ids, Status::Cancelled, at(4)).await,
            Ok(0)
        );

        let loaded = orders.load(&ids).await.unwrap();
        assert_eq!(loaded[&cancelled.order_id], cancelled);
        assert_eq!(
            loaded[&pending.order_id],
            pending.moved(Status::Paid, at(3))
        );
    })
    .await;
}

#[tokio::test]
async fn orders_left_pending_are_found_oldest_first() {
    on_a_database(|store| async move {
        let orders = store.orders();
        let (old, older, fresh) = (order("old", 20), order("older", 10), order("fresh", 30));
        let paid = order("paid", 5).moved(Status::Paid, at(6));
        orders
            .insert(&[old.clone(), older.clone(), fresh, paid])
            .await
            .unwrap();
        let pending =
            async |before, limit| orders.pending_since(at(before), None, limit).await.unwrap();
        assert_eq!(
            pending(30, 10).await,
            (vec![older.clone(), old.clone()], None)
        );
        assert_eq!(pending(10, 10).await, (vec![], None));
        assert_eq!(pending(30, 0).await, (vec![], None));
        let (first, place) = pending(30, 1).await;
        assert_eq!(first, std::slice::from_ref(&older));
        assert!(place.is_some());
        let rest = orders.pending_since(at(30), place.as_ref(), 10).await;
        assert_eq!(rest, Ok((vec![old.clone()], None)));
        // Among equal times by id, each once.
        let twins = ["x", "y", "z"].map(|name| order(name, 5));
        orders.insert(&twins).await.unwrap();
        let (mut seen, mut place) = (Vec::new(), None);
        loop {
            let (found, next) = orders
                .pending_since(at(30), place.as_ref(), 2)
                .await
                .unwrap();
            seen.extend(found);
            let Some(next) = next else { break };
            place = Some(next);
        }
        let mut expected = twins.to_vec();
        expected.sort_by(|one, other| one.order_id.cmp(&other.order_id));
        expected.extend([older.clone(), old]);
        assert_eq!(seen, expected);

        let corrupt = doc! { "$set": { "total": "corrupt" } };
        let raw = store.database.collection::<Document>("orders_write");
        raw.update_one(doc! { "requestId": "older" }, corrupt)
            .await
            .unwrap();
        let (found, _) = pending(30, 10).await;
        assert_eq!(found.len(), 4, "one that cannot be read hides no other");
        let (found, place) = orders.pending_since(at(11), None, 4).await.unwrap();
        assert_eq!(found.len(), 3);
        assert!(place.is_some(), "nor ends the search");
    })
    .await;
}

#[tokio::test]
async fn rows_only_go_forward() {
    on_a_database(|store| async move {
        let rows = store.rows();
        let created = order("a", 1);
        let paid = order("b", 1).moved(Status::Paid, at(2));
        let events = [created.latest_event(), paid.latest_event()];
        assert_eq!(insert_rows(&rows, &events).await, [true, true]);
        // The creation of an order whose payment came first changes nothing.
        assert_eq!(insert_rows(&rows, &[paid.created_event()]).await, [false]);

        let ids = [created.order_id, paid.order_id, id("unknown")];
        assert_eq!(rows.advance(&[], Status::Paid, 2).await, Ok(0));
        assert_eq!(rows.advance(&ids, Status::Cancelled, 2).await, Ok(1));
        assert_eq!(rows.advance(&ids, Status::Paid, 2).await, Ok(0));
        assert_eq!(rows.advance(&ids, Status::Pending, 1).await, Ok(0));

        let versions = rows.versions(&ids).await.unwrap();
        assert_eq!(
            versions,
            HashMap::from([(ids[0].clone(), 2), (ids[1].clone(), 2)])
        );
        let status = async |id| rows.get(&tenant("t"), id).await.unwrap().unwrap().1.status;
        assert_eq!(status(&ids[0]).await, Status::Cancelled);
        assert_eq!(status(&ids[1]).await, Status::Paid);
    })
    .await;
}

#[tokio::test]
async fn a_row_is_shown_to_its_tenant_only() {
    on_a_database(|store| async move {
        let rows = store.rows();
        let event = order("a", 1).created_event();
        insert_rows(&rows, std::slice::from_ref(&event)).await;
        let id = &event.order.order_id;
        let row = Some((1, event.order.clone()));
        assert_eq!(rows.get(&tenant("t"), id).await, Ok(row));
        assert_eq!(rows.get(&tenant("u"), id).await, Ok(None));
        let other = ListOrders {
            filter: ListFilter::of(tenant("u")),
            ..list()
        };
        assert_eq!(rows.list(&other).await, Ok(no_page_of(0)));
    })
    .await;
}

#[tokio::test]
async fn a_list_is_filtered_by_status_buyer_and_time() {
    on_a_database(|store| async move {
        let rows = store.rows();
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
                    buyer_email: email("Other+x@b.cc"),
                    ..filter()
                },
                vec![&third],
            ),
            (
                ListFilter {
                    buyer_email: email("other+x@b.cc"),
                    ..filter()
                },
                vec![],
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
            assert_eq!(page.total, exactly(expected.len() as u64), "{query:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn pages_have_every_row_once_even_among_equal_times() {
    on_a_database(|store| async move {
        let rows = store.rows();
        let events: Vec<OrderEvent> = (0..25)
            .map(|n| order(&format!("r{n}"), 1_000 + i64::from(n >= 20)).created_event())
            .collect();
        insert_rows(&rows, &events).await;
        let mut expected: Vec<_> = events.iter().map(|event| &event.order).collect();
        expected.sort_by_key(|row| std::cmp::Reverse((row.created_at, &row.order_id)));

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
            assert_eq!(page.total, exactly(25));
            seen.extend(page.items);
        }
        assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
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
async fn pages_far_behind_the_last_row_are_empty() {
    on_a_database(|store| async move {
        let rows = store.rows();
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
            assert_eq!(page, Ok(no_page_of(1)), "{limit}");
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
        let rows = store.rows();
        store
            .collection::<Document>("orders_read")
            .drop()
            .await
            .unwrap();
        assert_eq!(rows.list(&list()).await, Ok(no_page_of(0)));
        insert_rows(&rows, &[order("a", 1).created_event()]).await;
        assert_eq!(rows.list(&list()).await.unwrap().items.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn indexes_can_be_ensured_again_and_a_differing_one_is_named() {
    on_a_database(|store| async move {
        store.orders().ensure_indexes().await.unwrap();
        store.rows().ensure_indexes().await.unwrap();

        let orders: Collection<Document> = store.collection("orders_write");
        orders.drop().await.unwrap();
        let name = "tenantId_1_requestId_1".to_owned();
        let not_unique = IndexModel::builder()
            .keys(doc! { "tenantId": 1, "requestId": 1 })
            .options(IndexOptions::builder().name(name).build())
            .build();
        orders.create_index(not_unique).await.unwrap();
        let careful = store.clone().auto_migrate(false).orders();
        let error = careful.ensure_indexes().await.unwrap_err();
        assert!(!error.may_pass(), "{error}");
        let differences = careful.index_differences().await.unwrap();
        let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
        let expected = [
            "index tenantId_1_requestId_1 of orders_write differs in unique (server false, declared true)",
            "index tenantId_1_orderId_1 of orders_write is missing",
            "index status_1 of orders_write is missing",
        ];
        assert_eq!(told, expected);

        let error = store.orders().ensure_indexes().await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
        let named = "index tenantId_1_requestId_1 of orders_write";
        assert!(error.to_string().contains(named), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_corrupt_document_is_named_with_its_field() {
    on_a_database(|store| async move {
        let orders: Collection<Document> = store.collection("orders_write");
        for (field, damage) in [
            (
                "items[0].price",
                doc! { "$set": { "items.0.price": "49.99" } },
            ),
            ("total", doc! { "$set": { "total": -1.5 } }),
            ("createdAt", doc! { "$set": { "createdAt": DateTime::MAX } }),
            ("status", doc! { "$set": { "status": "LOST" } }),
            ("requestId", doc! { "$set": { "requestId": "" } }),
            ("bodyHash", doc! { "$unset": { "bodyHash": "" } }),
        ] {
            let order = order(field, 1);
            let id = order.order_id.clone();
            store.orders().insert(&[order]).await.unwrap();
            orders
                .update_one(doc! { "_id": id.as_str() }, damage)
                .await
                .unwrap();
            let error = store
                .orders()
                .load(std::slice::from_ref(&id))
                .await
                .unwrap_err();
            assert!(!error.is_transient(), "{error}");
            let text = error.to_string();
            assert!(text.contains(id.as_str()) && text.contains(field), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_url_cannot_weaken_what_a_write_promises() {
    let url = "mongodb://h/d?w=1&journal=false&readPreference=secondary&maxPoolSize=3";
    let store = Store::connect(url, "orders-store-tests").await.unwrap();
    let orders: Collection<Document> = store.collection("orders_write");
    assert_eq!(store.database.name(), "d");
    assert_eq!(orders.write_concern(), Some(&durable()));
    assert_eq!(orders.selection_criteria(), None);
}

#[tokio::test]
async fn an_absent_server_is_unavailable_and_a_wrong_url_is_refused() {
    // Nothing listens on port 1.
    let url = "mongodb://user:secret@127.0.0.1:1/?serverSelectionTimeoutMS=100";
    let store = Store::connect(url, "orders-store-tests").await.unwrap();
    assert_eq!(store.database.name(), "orders");
    let error = store.orders().load(&[id("a")]).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let unready = store.probe().await.unwrap_err();
    assert!(!unready.contains("secret"), "{unready}");

    for url in [
        "",
        "localhost",
        "mongodb://u:q?zq@h/",
        "mongodb://u:q/zq@h",
        "mongodb://h:x",
    ] {
        let error = Store::connect(url, "orders-store-tests").await.unwrap_err();
        assert!(!error.is_transient(), "{url}");
        assert!(!error.to_string().contains('q'), "{error}");
    }
}

/// Those of `found` that can be read, and the ids of the others.
fn sorted_out<T>(found: Vec<Found<T>>) -> (Vec<T>, Vec<String>) {
    let mut unreadable = Vec::new();
    let mut readable = Vec::new();
    for Found { id, content } in found {
        match content {
            Ok(content) => readable.push(content),
            Err(_) => unreadable.push(id),
        }
    }
    (readable, unreadable)
}

#[tokio::test]
async fn pages_by_id_have_every_document_once_and_name_the_corrupt() {
    on_a_database(|store| async move {
        let (orders, rows) = (store.orders(), store.rows());
        assert_eq!(orders.page_after("", None, 5).await, Ok(vec![]));
        let mut all: Vec<Order> = (0..23).map(|n| order(&format!("r{n}"), n)).collect();
        all.sort_by(|one, other| one.order_id.cmp(&other.order_id));
        for foreign in all.iter_mut().step_by(3) {
            foreign.tenant_id = tenant("u");
        }
        orders.insert(&all).await.unwrap();
        let events: Vec<OrderEvent> = all.iter().map(Order::latest_event).collect();
        insert_rows(&rows, &events).await;
        let corrupt = all[7].order_id.to_string();
        for collection in ["orders_write", "orders_read"] {
            let collection = store.database.collection::<Document>(collection);
            let damage = doc! { "$set": { "total": "corrupt" } };
            collection
                .update_one(doc! { "_id": &corrupt }, damage)
                .await
                .unwrap();
        }

        for of in [None, Some(tenant("t"))] {
            let is_wanted = |order: &&Order| {
                order.order_id.as_str() != corrupt
                    && of.as_ref().is_none_or(|of| *of == order.tenant_id)
            };
            let expected: Vec<Order> = all.iter().filter(is_wanted).cloned().collect();
            let (mut after, mut seen, mut pages) = (String::new(), Vec::new(), Vec::new());
            loop {
                let page = orders.page_after(&after, of.as_ref(), 5).await.unwrap();
                assert_eq!(
                    rows.page_after(&after, of.as_ref(), 5).await.unwrap().len(),
                    page.len()
                );
                let Some(last) = page.last() else { break };
                after.clone_from(&last.id);
                pages.push(page.len());
                seen.extend(page);
            }
            assert!(pages.len() >= 3 && pages.iter().all(|length| *length <= 5));
            assert_eq!(sorted_out(seen), (expected.clone(), vec![corrupt.clone()]));
            let (found, unreadable) =
                sorted_out(rows.page_after("", of.as_ref(), 100).await.unwrap());
            let wanted: Vec<_> = expected
                .iter()
                .map(|order| order.latest_event().into())
                .collect();
            assert_eq!((found, unreadable), (wanted, vec![corrupt.clone()]));
        }
        assert_eq!(orders.count(Some(&tenant("u"))).await, Ok(8));

        let ids = [corrupt.as_str(), all[0].order_id.as_str(), "unknown"];
        let found = orders.look_up(&ids).await.unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[&corrupt].is_err());
        assert_eq!(found[all[0].order_id.as_str()], Ok(all[0].clone()));
        assert_eq!(rows.look_up(&[]).await.unwrap().len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_replaced_row_says_what_its_order_says_and_never_goes_back() {
    on_a_database(|store| async move {
        let (rows, raw) = (
            store.rows(),
            store.database.collection::<Document>("orders_read"),
        );
        let paid = |name: &str| order(name, 1).moved(Status::Paid, at(2));
        let names = [
            "behind",
            "values",
            "unreadable",
            "versionless",
            "newer",
            "missing",
        ];
        let all = names.map(paid);
        for order in &all[..5] {
            insert_rows(&rows, &[order.created_event()]).await;
        }
        for (order, damage) in all[1..].iter().zip([
            doc! { "$set": { "version": 2, "status": "CANCELLED", "total": 7, "buyerEmail": "x" } },
            doc! { "$set": { "total": "corrupt", "alien": 1 } },
            doc! { "$set": { "version": "two" } },
            doc! { "$set": { "version": 3 } },
        ]) {
            raw.update_one(doc! { "_id": order.order_id.as_str() }, damage)
                .await
                .unwrap();
        }
        let all: Vec<&Order> = all.iter().collect();
        assert_eq!(rows.replace(&[]).await, Ok(0));
        assert_eq!(rows.replace(&all).await, Ok(4));
        let ids: Vec<&str> = all.iter().map(|order| order.order_id.as_str()).collect();
        let stored = rows.look_up(&ids).await.unwrap();
        assert_eq!(stored.len(), 5, "what is missing stays so");
        for order in &all[..4] {
            assert_eq!(
                stored[order.order_id.as_str()],
                Ok(order.latest_event().into())
            );
        }
        let newer = stored[ids[4]].as_ref().unwrap();
        assert_eq!((newer.version, newer.row.status), (3, Status::Pending));
        assert_eq!(raw.count_documents(doc! { "alien": 1 }).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn only_an_orphan_that_stayed_as_it_was_is_removed() {
    on_a_database(|store| async move {
        let (rows, raw) = (
            store.rows(),
            store.database.collection::<Document>("orders_read"),
        );
        let events = ["same", "moved", "unreadable"].map(|name| order(name, 1).created_event());
        insert_rows(&rows, &events).await;
        let ids = events.clone().map(|event| event.order.order_id.to_string());
        let unset = doc! { "$unset": { "version": 1 } };
        raw.update_one(doc! { "_id": &ids[2] }, unset)
            .await
            .unwrap();
        let orphan = |n: usize, version| Orphan {
            id: ids[n].clone(),
            version,
        };
        assert_eq!(
            rows.advance(&[events[1].order.order_id.clone()], Status::Paid, 2)
                .await,
            Ok(1)
        );
        let found = [orphan(0, Some(1)), orphan(1, Some(1)), orphan(2, None)];
        assert_eq!(rows.remove(&found).await, Ok(2));
        assert_eq!(raw.count_documents(doc! {}).await.unwrap(), 1);

        raw.insert_one(doc! { "tenantId": "t" }).await.unwrap();
        raw.insert_one(doc! { "_id": 5 }).await.unwrap();
        assert_eq!(rows.strays(None, 10).await.unwrap().len(), 2);
        assert_eq!(rows.strays(None, 1).await.unwrap().len(), 1);
        assert_eq!(rows.page_after("", None, 10).await.unwrap().len(), 1);
        assert_eq!(rows.remove_strays(Some(&tenant("t"))).await, Ok(1));
        assert_eq!(rows.strays(None, 10).await.unwrap(), ["5"]);
        assert_eq!(rows.remove_strays(None).await, Ok(1));
        assert_eq!(raw.count_documents(doc! {}).await.unwrap(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_stays_until_the_work_is_finished() {
    on_a_database(|store| async move {
        let checkpoints = store.checkpoints();
        let reached = |reached: &str| Checkpoint {
            work: "rebuild".to_owned(),
            reached: reached.to_owned(),
            at: at(5),
        };
        checkpoints.remove("rebuild").await.unwrap();
        assert_eq!(checkpoints.load("rebuild").await, Ok(None));
        checkpoints.save(&reached("a")).await.unwrap();
        checkpoints.save(&reached("b")).await.unwrap();
        assert_eq!(checkpoints.load("rebuild").await, Ok(Some(reached("b"))));
        assert_eq!(checkpoints.load("rebuild t").await, Ok(None));
        checkpoints.remove("rebuild").await.unwrap();
        assert_eq!(checkpoints.load("rebuild").await, Ok(None));
    })
    .await;
}

#[tokio::test]
async fn pages_by_id_are_read_off_the_index() {
    on_a_database(|store| async move {
        let all: Vec<Order> = (0..500).map(|n| order(&format!("r{n}"), n)).collect();
        store.orders().insert(&all).await.unwrap();
        for filter in [doc! {}, doc! { "tenantId": "t" }] {
            let mut filter = filter;
            filter.insert("_id", doc! { "$gt": all[7].order_id.as_str() });
            let find = doc! {
                "find": "orders_write", "filter": filter, "sort": { "_id": 1 }, "hint": { "_id": 1 }, "limit": 100,
            };
            let explained = store.database.run_command(doc! { "explain": find }).await.unwrap();
            let plan = explained.to_string();
            // As MongoDB says it, and as FerretDB does.
            assert!(plan.contains("IXSCAN") || plan.contains("Index Scan"), "{plan}");
            for slow in ["COLLSCAN", "Seq Scan", "Bitmap", "\"SORT\"", "\"Sort\""] {
                assert!(!plan.contains(slow), "{slow} in {plan}");
            }
        }
        // What was never written to is empty.
        store.database.drop().await.unwrap();
        assert_eq!(store.orders().page_after("", None, 5).await, Ok(vec![]));
        assert_eq!(store.orders().count(None).await, Ok(0));
        assert_eq!(store.rows().page_after("", Some(&tenant("t")), 5).await, Ok(vec![]));
        assert_eq!(store.rows().strays(None, 5).await, Ok(vec![]));
    })
    .await;
}

/// A store on the same database that keeps the commands it sends.
async fn watched(store: &Store) -> (Store, Arc<Mutex<Vec<Document>>>) {
    let url = env::var("ORDERS_TEST_MONGO_URL").unwrap();
    let mut options = ClientOptions::parse(url).await.unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&sent);
    let keep = move |event| {
        if let CommandEvent::Started(command) = event {
            keep.lock().unwrap().push(command.command);
        }
    };
    options.command_event_handler = Some(EventHandler::callback(keep));
    let client = Client::with_options(options).unwrap();
    let store = Store {
        database: client.database(store.database.name()),
        ..store.clone()
    };
    (store, sent)
}

#[tokio::test]
async fn pages_wait_for_slots() {
    on_a_database(|store| async move {
        let rows = store.rows();
        insert_rows(&rows, &[order("r1", 1).created_event()]).await;
        let on = |page| ListOrders { page, ..list() };
        let place = ListPlace {
            created_at: at(1),
            order_id: id("r1"),
        };
        let by_cursor = ListOrders {
            after: Some(place),
            ..on(101)
        };

        let held = join_all((0..LONG_PAGES).map(|_| rows.long.within(Duration::ZERO))).await;
        assert_eq!(rows.list(&on(101)).await, Err(Error::Busy));
        assert_eq!(rows.list(&on(100)).await, Ok(no_page_of(1)));
        assert_eq!(rows.list(&by_cursor).await, Ok(no_page_of(1)));
        drop(held);
        assert_eq!(rows.list(&on(101)).await, Ok(no_page_of(1)));

        // Whoever asked has gone, but the database goes on.
        assert!(rows.list(&on(101)).now_or_never().is_none());
        assert_eq!(rows.long.free(), LONG_PAGES - 1);
        let patience = Duration::from_secs(5);
        let all = join_all((0..LONG_PAGES).map(|_| rows.long.within(patience))).await;
        assert!(all.iter().all(Result::is_ok));

        let usual = join_all((0..SHORT_READS).map(|_| rows.short.usual.within(patience))).await;
        let asked = Instant::now();
        assert_eq!(rows.list(&on(1)).await.unwrap().items.len(), 1);
        assert!(asked.elapsed() >= USUAL);
        let spare = join_all((0..SPARE_READS).map(|_| rows.short.soon())).await;
        assert!(usual.iter().chain(&spare).all(Result::is_ok));
        assert_eq!(rows.list(&on(1)).await, Err(Error::Busy));
        let (tenant, id) = (filter().tenant, id("r1"));
        assert!(rows.get(&tenant, &id).await.unwrap().is_some());
        drop((usual, spare));
    })
    .await;
}

#[tokio::test]
async fn every_list_is_read_off_an_index() {
    on_a_database(|store| async move {
        let rows = store.rows();
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
            let page = watched.rows().list(&query).await.unwrap();
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
            for mut command in commands {
                // The server ends what nobody waits for any more.
                assert!(command.remove("maxTimeMS").is_some(), "{command}");
                let name = command.keys().next().unwrap().clone();
                for of_the_session in ["lsid", "$db", "$clusterTime"] {
                    command.remove(of_the_session);
                }
                let explained = store
                    .database
                    .run_command(doc! { "explain": &command })
                    .await
                    .unwrap();
                let plan = explained.to_string();
                // As MongoDB says it, and as FerretDB does.
                let scans = ["IXSCAN", "Index Scan", "Index Only Scan"];
                assert!(
                    scans.iter().any(|scan| plan.contains(scan)),
                    "{command}: {plan}"
                );
                for slow in ["COLLSCAN", "Seq Scan"] {
                    assert!(!plan.contains(slow), "{command}: {slow} in {plan}");
                }
                for sorting in ["\"SORT\"", "\"Sort\"", "Bitmap"] {
                    assert!(
                        name != "find" || !plan.contains(sorting),
                        "{command}: {sorting} in {plan}"
                    );
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_total_of_a_long_list_is_counted_for_all_who_ask() {
    on_a_database(|store| async move {
        let rows = store.rows();
        let raw: Collection<Document> = store.collection("orders_read");
        let row = |n: u64| {
            let id = format!("ord_{n:026}");
            doc! { "_id": &id, "orderId": id, "tenantId": "t", "status": if n == 0 { "PENDING" } else { "PAID" } }
        };
        let fill = async |range: std::ops::Range<u64>| {
            let rows: Vec<Document> = range.map(row).collect();
            for part in rows.chunks(1_000) {
                raw.insert_many(part).ordered(false).await.unwrap();
            }
        };
        // They lack what a row has, and none is shown.
        let query = ListOrders { page: 1_000_000, ..list() };
        fill(0..totals::EXACT).await;
        assert_eq!(rows.list(&query).await.unwrap().total, exactly(totals::EXACT));
        fill(totals::EXACT..totals::EXACT + 5).await;
        let before = Timestamp::now();
        let total = rows.list(&query).await.unwrap().total;
        assert!(total.count > totals::EXACT && total.as_of.unwrap() >= before, "{total:?}");
        // Nobody waited for long, but somebody counted.
        let counted = loop {
            let total = rows.list(&query).await.unwrap().total;
            if total.count == totals::EXACT + 5 {
                break total;
            }
            tokio::task::yield_now().await;
        };
        fill(totals::EXACT + 5..totals::EXACT + 6).await;
        assert_eq!(rows.list(&query).await.unwrap().total, counted);
        let pending = ListFilter { status: Some(Status::Pending), ..filter() };
        let pending = ListOrders { filter: pending, ..query };
        assert_eq!(rows.list(&pending).await.unwrap().total, exactly(1));
    })
    .await;
}
