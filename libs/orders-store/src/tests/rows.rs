//! The rows of the read model.

use mongodb::bson::{Document, doc};
use orders_domain::projection::RowVersion;

use super::*;

#[tokio::test]
async fn rows_only_go_forward() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let created = order("a", 1);
        let paid = order("b", 1).moved(Status::Paid, at(2));
        let events = [created.latest_event(), paid.latest_event()];
        assert_eq!(insert_rows(&rows, &events).await, [true, true]);
        // The creation of an order whose payment came first changes nothing.
        assert_eq!(insert_rows(&rows, &[paid.created_event()]).await, [false]);

        let unknown = order("unknown", 1);
        let moved = |order: &Order, to| order.clone().moved(to, at(3)).latest_event();
        let advance = async |events: &[OrderEvent]| {
            let events: Vec<_> = events.iter().collect();
            rows.advance(&events).await.unwrap()
        };
        assert_eq!(advance(&[]).await, 0);
        let cancelled = [&created, &unknown].map(|order| moved(order, Status::Cancelled));
        let all = [&cancelled[..], &[paid.latest_event()]].concat();
        assert_eq!(advance(&all).await, 1);
        assert_eq!(advance(&all).await, 0);
        assert_eq!(advance(&[moved(&created, Status::Paid)]).await, 0);
        assert_eq!(advance(&[created.created_event()]).await, 0);

        let ids = [created.order_id, paid.order_id, unknown.order_id];
        let t = tenant("t");
        let versions = rows.versions(&keys(&t, &ids)).await.unwrap();
        let second = RowVersion {
            tenant_id: tenant("t"),
            version: 2,
        };
        let second = |id: &OrderId| (id.clone(), second.clone());
        assert_eq!(versions, HashMap::from([second(&ids[0]), second(&ids[1])]));
        let status = async |id| rows.get(&tenant("t"), id).await.unwrap().unwrap().1.status;
        assert_eq!(status(&ids[0]).await, Status::Cancelled);
        assert_eq!(status(&ids[1]).await, Status::Paid);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_advances_says_all_that_its_event_says() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let orders: Vec<Order> = (0..512).map(|n| order(&format!("r{n}"), n)).collect();
        let created: Vec<OrderEvent> = orders.iter().map(Order::created_event).collect();
        insert_rows(&rows, &created).await;
        let later = created.iter().cloned().zip(0_u32..).map(|(mut event, n)| {
            event.version = 7 + n % 2;
            event.order.status = [Status::Cancelled, Status::Paid][n as usize % 2];
            event
        });
        let later: Vec<OrderEvent> = later.collect();
        let events: Vec<&OrderEvent> = later.iter().collect();
        assert_eq!(rows.advance(&events).await.unwrap(), 512);
        for event in [&later[0], &later[511]] {
            let row = rows.get(&tenant("t"), &event.order.order_id).await.unwrap();
            assert_eq!(row, Some((event.version, plain(event))));
        }
    })
    .await;
}

#[tokio::test]
async fn two_projectors_with_the_same_events_in_opposite_order_share_the_rows() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        for round in 0..5 {
            let orders: Vec<Order> = (0..300)
                .map(|n| order(&format!("{round}-{n}"), n))
                .collect();
            let created: Vec<OrderEvent> = orders.iter().map(Order::created_event).collect();
            insert_rows(&rows, &created).await;
            let paid = orders
                .into_iter()
                .map(|order| order.moved(Status::Paid, at(2)));
            let paid: Vec<OrderEvent> = paid.map(|order| order.latest_event()).collect();
            let there: Vec<&OrderEvent> = paid.iter().collect();
            let back: Vec<&OrderEvent> = paid.iter().rev().collect();
            let (one, other) = tokio::join!(rows.advance(&there), rows.advance(&back));
            assert_eq!(one.unwrap() + other.unwrap(), 300);
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_of_another_tenant_changes_no_row() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let [ours, theirs] = ["a", "b"].map(|request| order(request, 1));
        insert_rows(&rows, &[ours.latest_event(), theirs.latest_event()]).await;
        let paid = [&ours, &theirs].map(|order| order.clone().moved(Status::Paid, at(2)));
        let [ours, mut forged] = paid.map(|order| order.latest_event());
        forged.tenant_id = tenant("u");
        assert_eq!(rows.advance(&[&forged, &ours]).await.unwrap(), 1);
        let status = async |event: &OrderEvent| {
            let row = rows.get(&tenant("t"), &event.order.order_id).await;
            row.unwrap().unwrap().1.status
        };
        assert_eq!(status(&ours).await, Status::Paid);
        assert_eq!(status(&forged).await, Status::Pending);
    })
    .await;
}

#[tokio::test]
async fn rows_of_version_0_1_get_canonical_addresses_once() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let raw = store
            .connection
            .database()
            .collection::<Document>("orders_read");
        assert!(!store.has_canonical_emails().await.unwrap());
        let all: Vec<Order> = (0..2_500).map(|n| order(&format!("r{n}"), n)).collect();
        let events: Vec<OrderEvent> = all.iter().map(Order::latest_event).collect();
        insert_rows(&rows, &events).await;
        let old = doc! { "$set": { "buyerEmail": "A@B.cc" } };
        raw.update_many(doc! {}, old).await.unwrap();
        let wrong = doc! { "_id": all[7].order_id.as_str() };
        let without = doc! { "$set": { "buyerEmail": 7 } };
        raw.update_one(wrong, without).await.unwrap();
        raw.insert_one(doc! { "tenantId": "t", "buyerEmail": "A@B.cc" })
            .await
            .unwrap();

        // As if an earlier run had been interrupted after its first page.
        let mut ids: Vec<&str> = all.iter().map(|order| order.order_id.as_str()).collect();
        ids.sort_unstable();
        let checkpoint = Checkpoint {
            work: "canonical e-mail addresses".to_owned(),
            reached: ids[999].to_owned(),
            at: at(1),
        };
        store.checkpoints().save(&checkpoint).await.unwrap();
        let wrong_is_left = u64::from(
            ids[..1_000]
                .binary_search(&all[7].order_id.as_str())
                .is_err(),
        );
        let changed = store.canonicalise_emails().await.unwrap();
        assert_eq!(changed, 1_500 - wrong_is_left);
        assert!(store.has_canonical_emails().await.unwrap());
        let found = raw.count_documents(doc! { "buyerEmail": "a@b.cc" }).await;
        assert_eq!(found.unwrap(), changed);

        assert_eq!(store.canonicalise_emails().await.unwrap(), 0, "it is done");
        let mut event = order("new", 1).latest_event();
        event.order.buyer_email = "New@B.cc".to_owned();
        insert_rows(&rows, std::slice::from_ref(&event)).await;
        let row = rows.get(&tenant("t"), &event.order.order_id).await.unwrap();
        assert_eq!(
            row.unwrap().1.buyer_email,
            "new@b.cc",
            "an old writer's event"
        );
    })
    .await;
}

#[tokio::test]
async fn a_row_is_shown_to_its_tenant_only() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let event = order("a", 1).created_event();
        insert_rows(&rows, std::slice::from_ref(&event)).await;
        let id = &event.order.order_id;
        let row = Some((1, plain(&event)));
        assert_eq!(rows.get(&tenant("t"), id).await.unwrap(), row);
        assert_eq!(rows.get(&tenant("u"), id).await.unwrap(), None);
        let other = ListOrders {
            filter: ListFilter::of(tenant("u")),
            ..list()
        };
        assert_eq!(rows.list(&other).await.unwrap(), no_page_of(0));
    })
    .await;
}
