//! The totals of lists, and the limits on reads.

use std::time::Duration;

use mongodb::{
    Collection,
    bson::{Document, doc},
};
use tokio::time::sleep;

use super::*;
use crate::{connection::POOL_SIZE, count::EXACT, reads::DEEP_PAGES};

#[tokio::test]
async fn a_total_is_exact_up_to_ten_thousand_and_then_as_of_a_moment() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let raw: Collection<Document> = store.connection.collection("orders_read");
        let row = |n: u64| {
            let id = format!("ord_{n:026}");
            let status = if n == 0 { "PENDING" } else { "PAID" };
            doc! { "_id": &id, "orderId": id, "tenantId": "t", "status": status }
        };
        let fill = async |range: std::ops::Range<u64>| {
            let rows: Vec<Document> = range.map(row).collect();
            for part in rows.chunks(1_000) {
                raw.insert_many(part).ordered(false).await.unwrap();
            }
        };
        // They lack what a row has, and none is shown.
        let query = ListOrders {
            page: 1_000_000,
            ..list()
        };
        let total = async || rows.list(&query).await.unwrap().total;
        fill(0..EXACT).await;
        assert_eq!(total().await, Total::Exactly(EXACT));

        let before = Timestamp::now();
        fill(EXACT..EXACT + 1).await;
        let counted = loop {
            match total().await {
                Total::AtLeast(count) => assert_eq!(count, EXACT),
                counted => break counted,
            }
            sleep(Duration::from_millis(10)).await;
        };
        let Total::AsOf { count, at } = counted else {
            panic!("{counted:?}");
        };
        assert_eq!(count, EXACT + 1);
        assert!(at >= before, "{at} {before}");

        fill(EXACT + 1..EXACT + 2).await;
        assert_eq!(total().await, counted, "others share it");
        let other = store.read_model().list(&query).await.unwrap();
        assert_eq!(other.total, counted, "in all read models of the store");
        let pending = ListFilter {
            status: Some(Status::Pending),
            ..filter()
        };
        let pending = ListOrders {
            filter: pending,
            ..query.clone()
        };
        let pending = rows.list(&pending).await.unwrap();
        assert_eq!(pending.total, Total::Exactly(1));
    })
    .await;
}

#[tokio::test]
async fn a_deep_page_waits_for_others_like_it_and_all_reads_for_each_other() {
    on_a_database(|store| async move {
        let rows = store.read_model();
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

        let reads = &store.read_model().reads;
        let deep = reads.deep.acquire_many(DEEP_PAGES as u32).await.unwrap();
        assert!(matches!(rows.list(&on(101)).await, Err(Error::Busy)));
        assert_eq!(rows.list(&on(100)).await.unwrap(), no_page_of(1));
        assert_eq!(rows.list(&by_cursor).await.unwrap(), no_page_of(1));
        drop(deep);
        assert_eq!(rows.list(&on(101)).await.unwrap(), no_page_of(1));

        let all = reads.all.acquire_many(POOL_SIZE).await.unwrap();
        let (tenant, id) = (filter().tenant, id("r1"));
        let (page, row) = tokio::join!(rows.list(&by_cursor), rows.get(&tenant, &id));
        assert!(matches!(page, Err(Error::Busy)));
        assert!(matches!(row, Err(Error::Busy)));
        drop(all);
        assert!(rows.get(&tenant, &id).await.unwrap().is_some());
    })
    .await;
}
