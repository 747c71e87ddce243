//! Both collections as an operator reads them, and the checkpoints.

use mongodb::bson::{Document, doc};

use super::*;

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
        let (orders, rows) = (store.write_model(), store.read_model());
        assert!(orders.page_after("", None, 5).await.unwrap().is_empty());
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
            let collection = store
                .connection
                .database()
                .collection::<Document>(collection);
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
        assert_eq!(orders.count(Some(&tenant("u"))).await.unwrap(), 8);

        let ids = [corrupt.as_str(), all[0].order_id.as_str(), "unknown"];
        let found = orders.look_up(&ids).await.unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[&corrupt].is_err());
        let found = found[all[0].order_id.as_str()].as_ref().unwrap();
        assert_eq!(found, &all[0]);
        assert_eq!(rows.look_up(&[]).await.unwrap().len(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_replaced_row_says_what_its_order_says_and_never_goes_back() {
    on_a_database(|store| async move {
        let (rows, raw) = (
            store.read_model(),
            store
                .connection
                .database()
                .collection::<Document>("orders_read"),
        );
        let paid = |name: &str| order(name, 1).moved(Status::Paid, at(2));
        let names = [
            "behind",
            "values",
            "unreadable",
            "versionless",
            "beyond",
            "newer",
            "missing",
        ];
        let all = names.map(paid);
        for order in &all[..6] {
            insert_rows(&rows, &[order.created_event()]).await;
        }
        for (order, damage) in all[1..].iter().zip([
            doc! { "$set": { "version": 2, "status": "CANCELLED", "total": 7, "buyerEmail": "x" } },
            doc! { "$set": { "total": "corrupt", "alien": 1 } },
            doc! { "$set": { "version": "two" } },
            doc! { "$set": { "version": 1_i64 << 32 } },
            doc! { "$set": { "version": 3 } },
        ]) {
            raw.update_one(doc! { "_id": order.order_id.as_str() }, damage)
                .await
                .unwrap();
        }
        let all: Vec<&Order> = all.iter().collect();
        assert_eq!(rows.replace(&[]).await.unwrap(), 0);
        assert_eq!(rows.replace(&all).await.unwrap(), 5);
        let ids: Vec<&str> = all.iter().map(|order| order.order_id.as_str()).collect();
        let stored = rows.look_up(&ids).await.unwrap();
        assert_eq!(stored.len(), 6, "what is missing stays so");
        for order in &all[..5] {
            let row = stored[order.order_id.as_str()].as_ref().unwrap();
            assert_eq!(row, &order.latest_event().into());
        }
        let newer = stored[ids[5]].as_ref().unwrap();
        assert_eq!((newer.version, newer.row.status), (3, Status::Pending));
        assert_eq!(raw.count_documents(doc! { "alien": 1 }).await.unwrap(), 0);
        assert_eq!(rows.set_back(&all[5..]).await.unwrap(), 1);
        let stored = rows.look_up(&ids).await.unwrap();
        let set_back = stored[ids[5]].as_ref().unwrap();
        assert_eq!(set_back, &all[5].latest_event().into());
    })
    .await;
}

#[tokio::test]
async fn only_an_orphan_that_stayed_as_it_was_is_removed() {
    on_a_database(|store| async move {
        let (rows, raw) = (
            store.read_model(),
            store
                .connection
                .database()
                .collection::<Document>("orders_read"),
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
        let moved = order("moved", 1).moved(Status::Paid, at(2)).latest_event();
        assert_eq!(rows.advance(&[&moved]).await.unwrap(), 1);
        let found = [orphan(0, Some(1)), orphan(1, Some(1)), orphan(2, None)];
        assert_eq!(rows.remove(&found).await.unwrap(), 2);
        assert_eq!(raw.count_documents(doc! {}).await.unwrap(), 1);

        raw.insert_one(doc! { "tenantId": "t" }).await.unwrap();
        raw.insert_one(doc! { "_id": 5 }).await.unwrap();
        assert_eq!(rows.strays(None, 10).await.unwrap().len(), 2);
        assert_eq!(rows.strays(None, 1).await.unwrap().len(), 1);
        assert_eq!(rows.page_after("", None, 10).await.unwrap().len(), 1);
        assert_eq!(rows.remove_strays(Some(&tenant("t"))).await.unwrap(), 1);
        assert_eq!(rows.strays(None, 10).await.unwrap(), ["5"]);
        assert_eq!(rows.remove_strays(None).await.unwrap(), 1);
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
        assert_eq!(checkpoints.load("rebuild").await.unwrap(), None);
        checkpoints.save(&reached("a")).await.unwrap();
        checkpoints.save(&reached("b")).await.unwrap();
        assert_eq!(
            checkpoints.load("rebuild").await.unwrap(),
            Some(reached("b"))
        );
        assert_eq!(checkpoints.load("rebuild t").await.unwrap(), None);
        checkpoints.remove("rebuild").await.unwrap();
        assert_eq!(checkpoints.load("rebuild").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn pages_by_id_are_read_off_the_index() {
    on_a_database(|store| async move {
        let all: Vec<Order> = (0..500).map(|n| order(&format!("r{n}"), n)).collect();
        store.write_model().insert(&all).await.unwrap();
        for filter in [doc! {}, doc! { "tenantId": "t" }] {
            let mut filter = filter;
            filter.insert("_id", doc! { "$gt": all[7].order_id.as_str() });
            let find = doc! {
                "find": "orders_write", "filter": filter, "sort": { "_id": 1 }, "hint": { "_id": 1 }, "limit": 100,
            };
            let explained = store.connection.database().run_command(doc! { "explain": find }).await.unwrap();
            let plan = explained.to_string();
            // As MongoDB says it, and as FerretDB does.
            assert!(plan.contains("IXSCAN") || plan.contains("Index Scan"), "{plan}");
            for slow in ["COLLSCAN", "Seq Scan", "Bitmap", "\"SORT\"", "\"Sort\""] {
                assert!(!plan.contains(slow), "{slow} in {plan}");
            }
        }
        // What was never written to is empty.
        store.connection.database().drop().await.unwrap();
        assert!(store.write_model().page_after("", None, 5).await.unwrap().is_empty());
        assert_eq!(store.write_model().count(None).await.unwrap(), 0);
        assert!(store.read_model().page_after("", Some(&tenant("t")), 5).await.unwrap().is_empty());
        assert!(store.read_model().strays(None, 5).await.unwrap().is_empty());
    })
    .await;
}
