//! One order whole.

use mongodb::bson::{Document, doc};

use super::{
    plans::{assert_read_off_an_index, watched},
    *,
};

#[tokio::test]
async fn an_order_is_read_whole_by_its_own_tenant() {
    on_a_database(|store| async move {
        let orders = store.write_model();
        let mut order = order("r1", 1_000);
        order.metadata = [("$set".to_owned(), "a.b".to_owned())].into();
        order.currency = "EUR".parse().ok();
        orders.insert(std::slice::from_ref(&order)).await.unwrap();
        let id = order.order_id.clone();
        let ids = std::slice::from_ref(&id);
        assert_eq!(move_pending(&orders, ids, Status::Paid, at(6_000)).await, 1);
        let read =
            async |tenant_name: &str| orders.details(&tenant(tenant_name), &id).await.unwrap();
        let details = read("t").await.unwrap();
        assert_eq!(
            Some(&details),
            order.moved(Status::Paid, at(6_000)).details().as_ref()
        );
        assert_eq!((details.version, details.paid_at), (2, Some(at(6_000))));
        assert_eq!(read("other").await, None);
        assert_eq!(
            orders
                .details(&tenant("t"), &super::id("unknown"))
                .await
                .unwrap(),
            None
        );
    })
    .await;
}

#[tokio::test]
async fn an_order_that_cannot_be_read_is_an_error_that_says_so() {
    on_a_database(|store| async move {
        let order = order("r1", 1_000);
        let orders = store.write_model();
        orders.insert(std::slice::from_ref(&order)).await.unwrap();
        let raw = orders.orders().clone_with_type::<Document>();
        let damage = doc! { "$set": { "items": "none" } };
        raw.update_one(doc! { "_id": order.order_id.as_str() }, damage)
            .await
            .unwrap();
        let error = orders
            .details(&tenant("t"), &order.order_id)
            .await
            .unwrap_err();
        assert!(error.is_unreadable(), "{error}");
    })
    .await;
}

#[tokio::test]
async fn an_order_is_read_off_an_index_within_a_time() {
    on_a_database(|store| async move {
        let all: Vec<Order> = (0..300).map(|n| order(&format!("r{n}"), n)).collect();
        store.write_model().insert(&all).await.unwrap();
        let (watched, sent) = watched(&store).await;
        let found = watched
            .write_model()
            .details(&tenant("t"), &all[7].order_id)
            .await;
        assert!(found.unwrap().is_some());
        let commands = std::mem::take(&mut *sent.lock().unwrap());
        for command in commands {
            assert_read_off_an_index(&store, command, false).await;
        }
    })
    .await;
}
