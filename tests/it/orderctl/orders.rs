//! One order, the wrong database, and what every command has.

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};

use super::{Said, orderctl, run};
use crate::pipeline::Pipeline;

#[tokio::test]
async fn an_order_is_shown_as_truth_and_list_have_it() {
    let pipeline = Pipeline::start("1h").await;
    let stack = &pipeline.stack;
    let id = pipeline.create("t-1", "r1").await;
    let said = run(stack, &["order", &id, "--json"]).await.expect(0);
    let shown = said.last();
    assert_eq!(shown["truth"], shown["list"]);
    assert_eq!(
        (&shown["truth"]["status"], &shown["difference"]),
        (&json!("PENDING"), &Value::Null)
    );
    let rows = stack.database().await.collection::<Document>("orders_read");
    let paid = doc! { "$set": { "status": "PAID", "version": 9 } };
    rows.update_one(doc! { "_id": &id }, paid).await.unwrap();
    let said = run(stack, &["order", &id]).await.expect(1).text;
    for part in [
        "TRUTH",
        "status       PENDING                           PAID",
        "--set-back",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(
        said.lines().take(9).all(|line| line.chars().count() <= 80),
        "{said}"
    );
    let ghost = format!("ord_{}", "z".repeat(26));
    let said = run(stack, &["order", &ghost, "--json"]).await.expect(1);
    let error: Value = serde_json::from_str(&said.errors).unwrap();
    assert_eq!(error, json!({ "error": format!("no order {ghost}") }));

    // The wrong database has no differences, and no orders.
    for args in [
        &["projection", "verify"][..],
        &["projection", "rebuild", "--yes"],
        &["order", &id],
    ] {
        let other = format!("{}_other", stack.mongo_url);
        let mut command = orderctl(stack, args);
        let said = Said::of(command.env("MONGO_URL", other).output().await.unwrap()).expect(1);
        assert!(
            said.errors.contains("no orders_write in database"),
            "{}",
            said.errors
        );
    }

    // Errors of usage are JSON as well, and every shell has completions.
    let said = run(stack, &["dlq", "list", "--reason", "foo", "--json"])
        .await
        .expect(2);
    let error: Value = serde_json::from_str(&said.errors).unwrap();
    assert!(
        error["error"].as_str().unwrap().contains("'foo'"),
        "{error}"
    );
    for shell in ["bash", "fish", "zsh"] {
        let said = run(stack, &["completions", shell]).await.expect(0).text;
        assert!(said.contains("reconcile"), "{said}");
    }
    pipeline.stack.clean_up().await;
}
