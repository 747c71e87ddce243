//! The write model.

use std::collections::HashMap;

use mongodb::{
    Collection,
    bson::{DateTime, Document, doc},
};
use orders_service::chain;

use super::{
    plans::{assert_read_off_an_index, watched},
    *,
};

#[tokio::test]
async fn an_insert_tells_new_orders_from_known_ones() {
    on_a_database(|store| async move {
        let orders = store.write_model();
        let (a, b, c) = (order("a", 1), order("b", 2), order("c", 3));
        assert!(orders.insert(&[]).await.unwrap().is_empty());
        assert_eq!(
            orders.insert(std::slice::from_ref(&b)).await.unwrap(),
            vec![true]
        );
        let again = Order {
            command_id: CommandId::fresh(),
            ..b.clone()
        };
        // Also twice in one batch: the first of them is stored.
        let batch = [a.clone(), again, c.clone(), a.clone()];
        assert_eq!(
            orders.insert(&batch).await.unwrap(),
            vec![true, false, true, false]
        );

        let wanted = [&a, &b, &c].map(|order| order.order_id.clone());
        let unknown = id("unknown");
        let loaded = load(&orders, &[&wanted[..], &[unknown]].concat()).await;
        let stored = [a, b, c].map(|order| (order.order_id.clone(), order));
        assert_eq!(loaded, HashMap::from(stored));
        assert_eq!(load(&orders, &[]).await, HashMap::new());
    })
    .await;
}

#[tokio::test]
async fn a_request_of_a_tenant_has_one_order_whatever_its_id() {
    on_a_database(|store| async move {
        let orders = store.write_model();
        let first = order("a", 1);
        let same_request = Order {
            order_id: id("other"),
            ..first.clone()
        };
        let other_tenant = Order {
            tenant_id: tenant("u"),
            ..same_request.clone()
        };
        assert_eq!(orders.insert(&[first]).await.unwrap(), vec![true]);
        let batch = [same_request, other_tenant];
        assert_eq!(orders.insert(&batch).await.unwrap(), vec![false, true]);
    })
    .await;
}

#[tokio::test]
async fn a_full_batch_is_stored_and_read_back() {
    on_a_database(|store| async move {
        let batch: Vec<Order> = (0..512).map(|n| order(&format!("r{n}"), n)).collect();
        let ids: Vec<OrderId> = batch.iter().map(|order| order.order_id.clone()).collect();
        assert_eq!(
            store.write_model().insert(&batch).await.unwrap(),
            vec![true; 512]
        );
        assert_eq!(
            store.write_model().insert(&batch).await.unwrap(),
            vec![false; 512]
        );
        assert_eq!(load(&store.write_model(), &ids).await.len(), 512);
        let moved = move_pending(&store.write_model(), &ids, Status::Paid, at(9)).await;
        assert_eq!(moved, 512);
    })
    .await;
}

#[tokio::test]
async fn of_two_writers_at_once_one_wins_each_order() {
    on_a_database(|store| async move {
        let orders = store.write_model();
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
                move_pending(&orders, there_ids, Status::Paid, at(1)),
                move_pending(&orders, &back_ids, Status::Cancelled, at(1)),
            );
            assert_eq!(paid + cancelled, 300);

            let stored = load(&orders, &ids).await;
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
        assert_eq!(store.write_model().insert(&orders).await.unwrap(), all);
        let ids: Vec<OrderId> = orders.iter().map(|order| order.order_id.clone()).collect();
        let loaded = load(&store.write_model(), &ids).await;
        for order in orders {
            assert_eq!(loaded.get(&order.order_id), Some(&order));
        }
    })
    .await;
}

#[tokio::test]
async fn only_pending_orders_move() {
    on_a_database(|store| async move {
        let orders = store.write_model();
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

        let moved = async |ids: &[OrderId], to, now| move_pending(&orders, ids, to, at(now)).await;
        assert_eq!(moved(&[], Status::Paid, 3).await, 0);
        assert_eq!(moved(&ids, Status::Paid, 3).await, 1);
        assert_eq!(moved(&ids, Status::Cancelled, 4).await, 0);

        let loaded = load(&orders, &ids).await;
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
        let orders = store.write_model();
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
        assert_eq!(rest.unwrap(), (vec![old.clone()], None));
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
        let raw = store
            .connection
            .database()
            .collection::<Document>("orders_write");
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
async fn pending_orders_are_read_off_the_index() {
    on_a_database(|store| async move {
        let all: Vec<Order> = (0..500).map(|n| order(&format!("r{n}"), n)).collect();
        store.write_model().insert(&all).await.unwrap();
        let (watched, sent) = watched(&store).await;
        let orders = watched.write_model();
        let (_, place) = orders.pending_since(at(400), None, 10).await.unwrap();
        orders
            .pending_since(at(400), place.as_ref(), 10)
            .await
            .unwrap();
        let commands = std::mem::take(&mut *sent.lock().unwrap());
        assert_eq!(commands.len(), 2);
        for command in commands {
            assert_read_off_an_index(&store, command, true).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_corrupt_document_is_named_with_its_field() {
    on_a_database(|store| async move {
        let orders: Collection<Document> = store.connection.collection("orders_write");
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
            store.write_model().insert(&[order]).await.unwrap();
            orders
                .update_one(doc! { "_id": id.as_str() }, damage)
                .await
                .unwrap();
            let orders = store.write_model();
            let (t, ids) = (tenant("t"), [id.clone()]);
            let loaded = orders.load(&keys(&t, &ids)).await.unwrap();
            assert_eq!(loaded[&id], None, "{field}");
            let mut found = orders.look_up(&[id.as_str()]).await.unwrap();
            let error = found.remove(id.as_str()).unwrap().unwrap_err();
            assert!(error.is_unreadable() && !error.is_transient(), "{error}");
            let text = chain(&error);
            assert!(text.contains(id.as_str()) && text.contains(field), "{text}");
        }
    })
    .await;
}
