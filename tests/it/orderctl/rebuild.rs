//! A rebuild says first what it would do, and afterwards what it did.

use mongodb::bson::{Document, doc};
use serde_json::json;

use super::run;
use crate::pipeline::Pipeline;

const ORDERS: usize = 12;

#[tokio::test]
async fn a_rebuild_empties_no_list_and_claims_nothing_it_did_not_do() {
    let pipeline = Pipeline::start("1h").await;
    let stack = &pipeline.stack;
    let mut ids = Vec::new();
    for n in 0..ORDERS {
        ids.push(pipeline.create("t-1", &format!("r{n}")).await);
    }
    let database = stack.database().await;
    let rows = database.collection::<Document>("orders_read");
    let orders = database.collection::<Document>("orders_write");
    let rebuild = async |more: &[&str], code: i32| {
        let args = [
            &["projection", "rebuild", "--lasting", "0s", "--json"],
            more,
        ]
        .concat();
        run(stack, &args).await.expect(code)
    };
    let verify = ["projection", "verify", "--lasting", "0s", "--json"];

    // A version beyond all versions, which the list cannot read; a row ahead of its order; a row with an empty id.
    let set = async |id: &str, fields: Document| {
        let outcome = rows
            .update_one(doc! { "_id": id }, doc! { "$set": fields })
            .await
            .unwrap();
        assert_eq!(outcome.modified_count, 1);
    };
    set(&ids[0], doc! { "version": 1_i64 << 32 }).await;
    set(&ids[1], doc! { "version": 9, "status": "PAID" }).await;
    let mut empty = rows
        .find_one(doc! { "_id": &ids[2] })
        .await
        .unwrap()
        .unwrap();
    empty.insert("_id", "");
    empty.insert("orderId", "");
    rows.insert_one(empty).await.unwrap();
    let said = run(stack, &verify).await.expect(1);
    let differences = json!({ "ahead": 1, "orphan": 1, "unreadableRow": 1 });
    assert_eq!(said.last()["differences"], differences);

    let said = rebuild(&["--dry-run"], 1).await;
    let plan = json!({
        "orders": ORDERS, "rows": ORDERS,
        "wouldWrite": { "unreadableRow": 1 }, "wouldSetBack": 0, "wouldRemove": 1, "ofRows": ORDERS + 1,
        "wouldLeave": { "ahead": 1 }, "onTheirWay": 0,
    });
    assert_eq!(said.last(), plan);
    assert_eq!(said.lines()[0]["orderId"], ids[1]);
    let said = rebuild(&[], 1).await;
    let question = "pass --yes to answer \\\"Write 1 row, remove 1 row?\\\"";
    assert!(said.errors.contains(question), "{}", said.errors);
    assert_eq!(stack.count("orders_read", doc! {}).await, ORDERS as u64 + 1);
    let said = rebuild(&["--yes"], 1).await;
    assert_eq!(
        said.last()["mended"],
        json!({ "orphan": 1, "unreadableRow": 1 })
    );
    assert_eq!(said.last()["left"], json!({ "ahead": 1 }));
    let said = rebuild(&["--set-back", "--yes"], 0).await;
    assert_eq!(said.last()["mended"], json!({ "ahead": 1 }));
    run(stack, &verify).await.expect(0);
    let list = pipeline
        .get_json("/api/orders?tenantId=t-1&limit=100")
        .await;
    assert_eq!(list["items"].as_array().unwrap().len(), ORDERS);

    // Half a restore: the truth is gone, and the list is all that is left.
    orders.delete_many(doc! {}).await.unwrap();
    let said = rebuild(&["--yes"], 1).await;
    let refusal = format!("this would remove {ORDERS} of {ORDERS} rows, more than a tenth");
    assert!(said.errors.contains(&refusal), "{}", said.errors);
    assert_eq!(stack.count("orders_read", doc! {}).await, ORDERS as u64);
    let said = rebuild(&["--remove-orphans", "--yes"], 0).await;
    assert_eq!(said.last()["mended"], json!({ "orphan": ORDERS }));
    assert_eq!(stack.count("orders_read", doc! {}).await, 0);
    pipeline.stack.clean_up().await;
}

/// What version 0.1 stored has neither notes nor a currency, and its rows have no summary.
#[tokio::test]
async fn a_rebuild_fills_the_rows_of_version_0_1() {
    let pipeline = Pipeline::start("200ms").await;
    let stack = &pipeline.stack;
    let id = pipeline.create("t-1", "r1").await;
    pipeline.until_status("t-1", &id, "PAID").await;
    let database = stack.database().await;
    let rows = database.collection::<Document>("orders_read");
    let old = doc! { "$unset": { "buyerName": "", "itemCount": "", "currency": "" } };
    let changed = rows.update_one(doc! { "_id": &id }, old).await.unwrap();
    assert_eq!(changed.modified_count, 1);

    let verify = ["projection", "verify", "--lasting", "0s", "--json"];
    let said = run(stack, &verify).await.expect(1);
    let fields = &said.lines()[0]["fields"];
    let names: Vec<_> = fields
        .as_array()
        .unwrap()
        .iter()
        .map(|field| &field["field"])
        .collect();
    assert_eq!(names, ["buyerName", "itemCount"]);
    let rebuild = [
        "projection",
        "rebuild",
        "--lasting",
        "0s",
        "--json",
        "--yes",
    ];
    let said = run(stack, &rebuild).await.expect(0);
    assert_eq!(said.last()["mended"], json!({ "values": 1 }));
    run(stack, &verify).await.expect(0);
    let list = pipeline
        .get_json("/api/orders?tenantId=t-1&expand=summary")
        .await;
    let row = &list["items"][0];
    assert_eq!(
        (&row["status"], &row["buyerName"]),
        (&json!("PAID"), &json!("Alice"))
    );
    pipeline.stack.clean_up().await;
}
