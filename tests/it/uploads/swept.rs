//! `orderctl uploads sweep` removes what nobody ordered, and nothing else.

use std::{
    fs::File,
    time::{Duration, SystemTime},
};

use orders_testkit::eventually;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Bucket, attachment, problem};

const HOUR: Duration = Duration::from_secs(60 * 60);

impl Bucket {
    /// Makes an upload as old as that.
    fn age(&self, attachment: &Value, age: Duration) {
        let file = File::open(self.s3.file(key(attachment))).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn has(&self, attachment: &Value) -> bool {
        self.s3.file(key(attachment)).exists()
    }
}

fn key(attachment: &Value) -> &str {
    attachment["storageKey"].as_str().unwrap()
}

#[tokio::test]
async fn what_nobody_ordered_for_a_day_is_removed_and_nothing_else() {
    let mut bucket = Bucket::start().await;
    let ordered = bucket.upload("t-1", b"ordered\n").await;
    let id = bucket.ordered("t-1", "r1", &ordered).await;
    let left = bucket.upload("t-2", b"left over\n").await;
    let young = bucket.upload("t-1", b"young\n").await;
    for old in [&ordered, &left] {
        bucket.age(old, 25 * HOUR);
    }
    bucket.age(&young, 23 * HOUR);

    // One that a command names which the writer has not handled, and one of a dead letter.
    let waiting = bucket.upload("t-1", b"waiting\n").await;
    bucket.pipeline.writer.kill().await;
    let accepted = bucket.order("t-1", "r2", &waiting).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    bucket.age(&waiting, 25 * HOUR);
    let found = bucket
        .orderctl(&["uploads", "sweep", "--dry-run", "--json"])
        .await;
    let expected = json!({ "files": 1, "bytes": 10 });
    assert_eq!(found.expect(1).last()["found"], expected);
    bucket.pipeline.writer.restart(|writer| writer).await;
    let given_up = bucket.upload("t-1", b"given up\n").await;
    let jetstream = bucket.pipeline.stack.jetstream().await;
    let letter = json!({ "attachment": { "storageKey": key(&given_up) } }).to_string();
    let sent = jetstream.publish("orders.cmd.t-1.create", letter.into());
    sent.await.unwrap().await.unwrap();
    eventually("it is a dead letter", async || {
        let stream = jetstream.get_stream("ORDERS_DLQ").await.unwrap();
        match stream.cached_info().state.messages {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    bucket.age(&given_up, 25 * HOUR);

    let unasked = bucket.orderctl(&["uploads", "sweep"]).await.expect(1);
    assert!(unasked.errors.contains("--yes"), "{}", unasked.errors);
    assert!(bucket.has(&left));
    let swept = bucket
        .orderctl(&["uploads", "sweep", "--yes", "--json"])
        .await;
    assert_eq!(swept.expect(0).last()["removed"], expected);
    assert!(!bucket.has(&left));
    for kept in [&ordered, &young, &waiting, &given_up] {
        assert!(bucket.has(kept), "{kept}");
    }
    let file = bucket.download("t-1", &id).await;
    assert_eq!(file.text().await.unwrap(), "ordered\n");
    let again = bucket
        .orderctl(&["uploads", "sweep", "--yes", "--json"])
        .await;
    let nothing = json!({ "files": 0, "bytes": 0 });
    assert_eq!(again.expect(0).last()["found"], nothing);

    let audit = bucket
        .orderctl(&["audit", "--json", "--action", "swept"])
        .await;
    let entry = audit.expect(0).last();
    assert_eq!(entry["result"], "done");
    assert_eq!(entry["detail"], "removed 1 file (10 bytes)");
    bucket.clean_up().await;
}

/// What may be swept at any moment cannot be ordered any more, so no order loses its file.
#[tokio::test]
async fn an_old_upload_cannot_be_ordered() {
    let bucket = Bucket::start().await;
    let old = bucket.upload("t-1", b"hello\n").await;
    bucket.age(&old, 22 * HOUR);
    bucket.ordered("t-1", "r1", &old).await;
    bucket.age(&old, 23 * HOUR + Duration::from_secs(60));
    let answer = bucket.order("t-1", "r2", &old).await;
    let missing = vec!["#/attachment/storageKey".to_owned()];
    let expected = (422, "attachment-missing".to_owned(), missing);
    assert_eq!(problem(answer).await, expected);
    // It is the first one's all the same.
    let replay = bucket.order("t-1", "r1", &old).await;
    assert_eq!(replay.status(), StatusCode::OK);
    bucket.clean_up().await;
}

/// All versions of a file go, and a list of several pages is read to its end.
#[tokio::test]
async fn every_version_is_removed() {
    const FILES: usize = 6;
    const VERSIONS: usize = 170;
    const CONTENT: &str = "canary 9\n";
    let bucket = Bucket::start().await;
    let mut uploads = Vec::new();
    for _ in 0..FILES {
        let presigned = bucket.presign("t-1", CONTENT.len()).await;
        for _ in 0..VERSIONS {
            let put = bucket.put(&presigned, CONTENT.as_bytes()).await;
            assert_eq!(put.status(), StatusCode::OK);
        }
        uploads.push(attachment(&presigned, CONTENT.len()));
    }
    assert_eq!(bucket.s3.files_with(CONTENT).len(), FILES * VERSIONS);
    let id = bucket.ordered("t-1", "r1", &uploads[FILES / 2]).await;
    bucket.s3.age_everything(SystemTime::now() - 25 * HOUR);
    let swept = bucket
        .orderctl(&["uploads", "sweep", "--yes", "--json"])
        .await;
    let expected = json!({ "files": FILES - 1, "bytes": (FILES - 1) * VERSIONS * CONTENT.len() });
    assert_eq!(swept.expect(0).last()["removed"], expected);
    let file = bucket.download("t-1", &id).await;
    assert_eq!(file.text().await.unwrap(), CONTENT);
    assert_eq!(bucket.s3.files_with(CONTENT).len(), VERSIONS);
    bucket.clean_up().await;
}
