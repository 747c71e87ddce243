//! `orderctl erase` removes the files of a buyer, or of a tenant, in all their versions.

use reqwest::StatusCode;
use serde_json::json;

use super::{Bucket, attachment, problem};
use crate::{orderctl::run, pipeline::order};

const BUYER: [&str; 5] = [
    "erase",
    "--tenant",
    "t-1",
    "--buyer-email",
    "alice@example.com",
];

#[tokio::test]
async fn the_files_of_a_buyer_are_gone_in_all_their_versions() {
    let bucket = Bucket::start().await;
    let presigned = bucket.presign("t-1", 10).await;
    bucket.put(&presigned, b"canary 7a\n").await;
    let file = attachment(&presigned, 10);
    let id = bucket.ordered("t-1", "r1", &file).await;
    bucket.put(&presigned, b"canary 7b\n").await;
    let others_file = bucket.upload("t-1", b"canary 7c\n").await;
    let mut others = order("t-1", "r2");
    others["buyer"]["email"] = json!("bob@example.com");
    others["attachment"] = others_file;
    let other = bucket.pipeline.post("/api/orders", &others).await;
    assert_eq!(other.status(), StatusCode::CREATED);
    let other = crate::pipeline::order_id(other).await;
    assert_eq!(bucket.s3.files_with("canary 7").len(), 3);

    // Who does not know of the bucket would forget where the files are.
    let blind = run(&bucket.pipeline.stack, &[&BUYER[..], &["--yes"]].concat()).await;
    let blind = blind.expect(1);
    assert!(
        blind.errors.contains("ORDERS_UPLOADS__MODE=s3"),
        "{}",
        blind.errors
    );
    assert_eq!(bucket.s3.files_with("canary 7").len(), 3);

    let planned = bucket
        .orderctl(&[&BUYER[..], &["--dry-run"]].concat())
        .await;
    let planned = planned.expect(1);
    assert!(
        planned.text.contains("1 order, 1 row, 1 file, "),
        "{}",
        planned.text
    );
    let erased = bucket
        .orderctl(&[&BUYER[..], &["--yes", "--json"]].concat())
        .await;
    assert_eq!(erased.expect(0).last()["erased"]["files"], 1);
    let left = bucket.s3.files_with("canary 7");
    assert_eq!(left.len(), 1, "{left:?}");
    let gone = bucket.attachment("t-1", &id).await;
    assert_eq!(
        problem(gone).await,
        (404, "attachment-missing".to_owned(), vec![])
    );
    let kept = bucket.download("t-1", &other).await;
    assert_eq!(kept.text().await.unwrap(), "canary 7c\n");
    bucket.clean_up().await;
}

#[tokio::test]
async fn nothing_of_a_tenant_stays_in_the_bucket() {
    let bucket = Bucket::start().await;
    let file = bucket.upload("t-1", b"canary 8a\n").await;
    bucket.ordered("t-1", "r1", &file).await;
    // Nobody has ordered it.
    bucket.upload("t-1", b"canary 8b\n").await;
    let neighbour = bucket.upload("t-10", b"canary 8c\n").await;
    let id = bucket.ordered("t-10", "r1", &neighbour).await;
    let all = ["erase", "--tenant", "t-1", "--all", "--yes", "--json"];
    let erased = bucket.orderctl(&all).await;
    assert_eq!(erased.expect(0).last()["erased"]["files"], 2);
    assert_eq!(bucket.s3.files_with("canary 8").len(), 1);
    let kept = bucket.download("t-10", &id).await;
    assert_eq!(kept.text().await.unwrap(), "canary 8c\n");
    bucket.clean_up().await;
}
