//! Every command that changes something says in the audit who ran it.

use mongodb::bson::{Document, doc};
use serde_json::json;

use super::run;
use crate::pipeline::Pipeline;

#[tokio::test]
async fn every_change_is_recorded_with_its_actor() {
    let pipeline = Pipeline::open("1h").await;
    let stack = &pipeline.stack;
    let id = pipeline.create("t-1", "r1").await;
    let rows = stack.database().await.collection::<Document>("orders_read");
    let lose = async || {
        let lost = rows.delete_one(doc! { "_id": &id }).await.unwrap();
        assert_eq!(lost.deleted_count, 1);
    };
    lose().await;
    let rebuild = ["projection", "rebuild", "--lasting", "0s"];
    run(stack, &rebuild).await.expect(1);
    run(stack, &["audit"]).await.expect(0);
    run(stack, &[&rebuild[..], &["--yes"]].concat())
        .await
        .expect(0);
    lose().await;
    let reconcile = [
        "reconcile",
        "--lasting",
        "0s",
        "--yes",
        "--operator",
        "carol",
    ];
    run(stack, &[&reconcile[..], &["--tenant", "t-1"]].concat())
        .await
        .expect(0);
    pipeline.until_status("t-1", &id, "PENDING").await;

    let entries = run(stack, &["audit", "--json"]).await.expect(0).lines();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            json!([
                entry["action"],
                entry["result"],
                entry["target"],
                entry["tenant"]
            ])
        })
        .collect();
    let expected = json!([
        ["rebuilt", "begun", "the list", null],
        ["rebuilt", "done", "the list", null],
        ["reconciled", "begun", "1 order", "t-1"],
        ["reconciled", "done", "1 order", "t-1"],
    ]);
    assert_eq!(json!(told), expected);
    assert!(entries[0]["actor"].as_str().unwrap().starts_with("alice@"));
    assert_eq!(entries[1]["detail"], "repaired 1, left 0");
    assert_eq!(entries[2]["actor"], "carol");
    pipeline.stack.clean_up().await;
}
