//! Exports: all of a list.

use futures_util::{StreamExt, TryStreamExt};
use mongodb::bson::{Document, doc};

use super::{
    plans::{assert_read_off_an_index, watched},
    *,
};

async fn export(rows: &ReadModel, filter: &ListFilter) -> Vec<Vec<OrderRow>> {
    let batches = rows.export(filter).await.unwrap();
    batches.try_collect().await.unwrap()
}

#[tokio::test]
async fn an_export_has_every_row_once_and_is_sorted_like_the_list() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        // Many at the same moment, and more than a batch of each status.
        let events: Vec<OrderEvent> = (0..1_300)
            .map(|n| {
                let order = order(&format!("r{n}"), n / 700);
                match n % 2 {
                    0 => order.moved(Status::Paid, at(9_000)).latest_event(),
                    _ => order.created_event(),
                }
            })
            .collect();
        for some in events.chunks(500) {
            insert_rows(&rows, some).await;
        }
        let mut other = order("r1", 1);
        other.tenant_id = tenant("other");
        other.order_id = id("of another");
        insert_rows(&rows, &[other.created_event()]).await;
        let mut all: Vec<OrderRow> = events.into_iter().map(|event| event.order.into()).collect();
        all.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.order_id.clone())));

        let paid = ListFilter {
            status: Some(Status::Paid),
            ..filter()
        };
        let begins = ListFilter {
            begins: "a@b".parse().ok(),
            ..filter()
        };
        let nobody = ListFilter {
            begins: "x".parse().ok(),
            ..filter()
        };
        for filter in [filter(), paid, begins, nobody] {
            let batches = export(&rows, &filter).await;
            assert!(batches.iter().all(|batch| batch.len() <= 500));
            let wanted = |row: &&OrderRow| {
                filter.status.is_none_or(|status| row.status == status)
                    && filter.begins != "x".parse().ok()
            };
            let expected: Vec<_> = all.iter().filter(wanted).collect();
            assert_eq!(batches.iter().flatten().collect::<Vec<_>>(), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn an_export_leaves_out_what_comes_in_meanwhile_and_what_cannot_be_read() {
    on_a_database(|store| async move {
        let rows = store.read_model();
        let events: Vec<OrderEvent> = (0..1_001)
            .map(|n| order(&format!("r{n}"), n).created_event())
            .collect();
        for some in events.chunks(501) {
            insert_rows(&rows, some).await;
        }
        let raw = rows.rows().clone_with_type::<Document>();
        let damaged = doc! { "_id": events[100].order.order_id.as_str() };
        let damage = doc! { "$set": { "total": "a lot" } };
        raw.update_one(damaged, damage).await.unwrap();
        let mut batches = rows.export(&filter()).await.unwrap();
        let mut count = batches.next().await.unwrap().unwrap().len();
        insert_rows(&rows, &[order("new", 5_000).created_event()]).await;
        while let Some(batch) = batches.next().await {
            count += batch.unwrap().len();
        }
        assert_eq!(count, 1_000);
    })
    .await;
}

#[tokio::test]
async fn each_batch_is_read_off_an_index_within_a_time_of_its_own() {
    on_a_database(|store| async move {
        let events: Vec<OrderEvent> = (0..1_200)
            .map(|n| order(&format!("r{n}"), n).created_event())
            .collect();
        for some in events.chunks(600) {
            insert_rows(&store.read_model(), some).await;
        }
        let (watched, sent) = watched(&store).await;
        assert_eq!(export(&watched.read_model(), &filter()).await.len(), 3);
        let commands = std::mem::take(&mut *sent.lock().unwrap());
        assert_eq!(commands.len(), 3);
        for command in commands {
            assert_read_off_an_index(&store, command, true).await;
        }
    })
    .await;
}
