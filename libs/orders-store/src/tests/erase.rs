//! Erasing buyers and tenants.

use std::collections::BTreeMap;

use mongodb::bson::{Document, doc};
use orders_contracts::Attachment;

use super::*;

async fn found(store: &Store, email: &str) -> (Vec<OrderId>, Vec<OrderId>) {
    let (mut orders, mut rows) = (Vec::new(), Vec::new());
    let mut after = Some(String::new());
    while let Some(behind) = after {
        let page = store
            .write_model()
            .of_buyer(&tenant("t"), email, &behind, 2)
            .await;
        let page = page.unwrap();
        orders.extend(page.ids);
        after = page.after;
    }
    let mut after = Some(String::new());
    while let Some(behind) = after {
        let page = store
            .read_model()
            .of_buyer(&tenant("t"), email, &behind, 2)
            .await;
        let page = page.unwrap();
        rows.extend(page.ids);
        after = page.after;
    }
    (orders, rows)
}

#[tokio::test]
async fn a_buyer_is_erased_and_all_else_stays() {
    on_a_database(|store| async move {
        let file = Attachment {
            filename: "a.pdf".to_owned(),
            content_type: "a/b".to_owned(),
            size: 1,
            storage_key: "k/a.pdf".to_owned(),
            sha256: Some("00".repeat(32)),
            etag: Some("e".to_owned()),
            version: Some("v".to_owned()),
        };
        let orders: Vec<Order> = (0..5)
            .map(|n| {
                let mut order = order(&format!("r{n}"), n);
                order.buyer.email = ["Alice@Bücher.example", "b@c.dd"][n as usize % 2].to_owned();
                order.attachment = (n == 0).then(|| file.clone());
                order.metadata = BTreeMap::from([("for".to_owned(), "Alice".to_owned())]);
                order
            })
            .collect();
        store.write_model().insert(&orders).await.unwrap();
        let events: Vec<_> = orders.iter().map(Order::latest_event).collect();
        insert_rows(&store.read_model(), &events).await;
        // One that no decoder reads has a buyer all the same.
        let raw = store.write_model().orders().clone_with_type::<Document>();
        let damage = doc! { "$set": { "total": "a lot" } };
        raw.update_one(doc! { "_id": orders[2].order_id.as_str() }, damage)
            .await
            .unwrap();

        let email = "alice@xn--bcher-kva.example";
        let (of_orders, of_rows) = found(&store, email).await;
        let mut expected: Vec<_> = [0, 2, 4].map(|n: usize| orders[n].order_id.clone()).into();
        expected.sort();
        assert_eq!((&of_orders, &of_rows), (&expected, &expected));
        let foreign = store
            .write_model()
            .erase(&tenant("other"), &of_orders)
            .await;
        assert_eq!(foreign.unwrap(), 0);
        for _ in 0..2 {
            assert_eq!(
                store
                    .write_model()
                    .erase(&tenant("t"), &of_orders)
                    .await
                    .unwrap(),
                3
            );
            assert_eq!(
                store
                    .read_model()
                    .erase(&tenant("t"), &of_rows)
                    .await
                    .unwrap(),
                3
            );
        }
        assert_eq!(found(&store, email).await, (Vec::new(), Vec::new()));

        let ids = [orders[0].order_id.clone(), orders[1].order_id.clone()];
        let now = load(&store.write_model(), &ids).await;
        let erased = &now[&ids[0]];
        let mut expected = orders[0].clone();
        expected.buyer.email = ERASED.to_owned();
        expected.buyer.name = ERASED.to_owned();
        expected.body_hash = ERASED.to_owned();
        expected.metadata = BTreeMap::new();
        expected.attachment = Some(Attachment {
            filename: ERASED.to_owned(),
            storage_key: ERASED.to_owned(),
            sha256: None,
            etag: None,
            version: None,
            ..file
        });
        assert_eq!(erased, &expected);
        assert_eq!(now[&ids[1]], orders[1]);
        let mut rows = store
            .read_model()
            .look_up(&[ids[0].as_str()])
            .await
            .unwrap();
        let row = rows.remove(ids[0].as_str()).unwrap().unwrap();
        assert_eq!(row, expected.latest_event().into());
        assert_eq!(row.row.buyer_name.as_deref(), Some(ERASED));
        // A replay of its event changes nothing.
        let event = orders[0].latest_event();
        assert_eq!(
            insert_rows(&store.read_model(), std::slice::from_ref(&event)).await,
            [false]
        );
        assert_eq!(store.read_model().advance(&[&event]).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_is_removed_page_by_page() {
    on_a_database(|store| async move {
        let orders: Vec<Order> = (0..5).map(|n| order(&format!("r{n}"), n)).collect();
        let mut other = order("r9", 9);
        other.tenant_id = tenant("other");
        let all = [&orders[..], &[other]].concat();
        store.write_model().insert(&all).await.unwrap();
        let events: Vec<_> = all.iter().map(Order::latest_event).collect();
        insert_rows(&store.read_model(), &events).await;
        assert_eq!(store.read_model().count_of(&tenant("t")).await.unwrap(), 5);
        for expected in [2, 2, 1, 0] {
            let removed = store.write_model().remove_of(&tenant("t"), 2).await;
            assert_eq!(removed.unwrap(), expected);
            let removed = store.read_model().remove_of(&tenant("t"), 2).await;
            assert_eq!(removed.unwrap(), expected);
        }
        assert_eq!(store.read_model().count_of(&tenant("t")).await.unwrap(), 0);
        assert_eq!(
            store
                .write_model()
                .count(Some(&tenant("other")))
                .await
                .unwrap(),
            1
        );
        assert_eq!(
            store.read_model().count_of(&tenant("other")).await.unwrap(),
            1
        );
    })
    .await;
}

#[tokio::test]
async fn the_key_of_the_audit_is_made_once() {
    on_a_database(|store| async move {
        let keys = futures_util::future::join_all((0..4).map(|_| store.audit_key())).await;
        let keys: Vec<_> = keys.into_iter().map(Result::unwrap).collect();
        assert!(keys.iter().all(|key| *key == keys[0] && *key != [0; 32]));
    })
    .await;
}
