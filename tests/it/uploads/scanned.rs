//! With `ORDERS_UPLOADS__SCAN=required` an order has only a file that a scanner, a real clamd, has found clean.

use orders_testkit::Clamd;
use reqwest::StatusCode;

use super::{Bucket, problem};

async fn start() -> (Bucket, Clamd) {
    let bucket = Bucket::start_with(|edge| edge.env("ORDERS_UPLOADS__SCAN", "required")).await;
    let clamd = Clamd::start(bucket.pipeline.stack.folder()).await;
    (bucket, clamd)
}

#[tokio::test]
async fn only_a_file_that_was_found_clean_is_ordered() {
    let (bucket, clamd) = start().await;
    let clean = bucket.upload("t-1", b"hello\n").await;
    let infected = format!("beginning {} end\n", Clamd::INFECTED);
    let infected = bucket.upload("t-1", infected.as_bytes()).await;
    // More than clamd takes here.
    let large = bucket.upload("t-1", &vec![b'a'; 3 << 20]).await;

    let early = bucket.order("t-1", "r1", &clean).await;
    assert_eq!(early.headers()["retry-after"], "5");
    let not_scanned = (409, "attachment-not-scanned".to_owned(), vec![]);
    assert_eq!(problem(early).await, not_scanned);

    let address = clamd.address();
    let scan = ["uploads", "scan", "--clamd", &address, "--json"];
    let said = bucket.orderctl(&scan).await.expect(1);
    let mut verdicts: Vec<_> = said
        .lines()
        .iter()
        .map(|line| {
            (
                line["verdict"].as_str().unwrap().to_owned(),
                line["key"].clone(),
                line["said"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    verdicts.sort_by(|a, b| a.0.cmp(&b.0));
    let verdict = |verdict: &str, file: &serde_json::Value, words: &str| {
        (
            verdict.to_owned(),
            file["storageKey"].clone(),
            words.to_owned(),
        )
    };
    assert_eq!(
        verdicts,
        [
            verdict("clean", &clean, "OK"),
            verdict("infected", &infected, "Orders.Test.UNOFFICIAL"),
            verdict("not scanned", &large, "INSTREAM size limit exceeded. ERROR"),
        ]
    );

    let id = bucket.ordered("t-1", "r1", &clean).await;
    let file = bucket.download("t-1", &id).await;
    assert_eq!(file.text().await.unwrap(), "hello\n");
    for bad in [&infected, &large] {
        let refused = bucket.order("t-1", "r2", bad).await;
        let not_clean = (422, "attachment-not-clean".to_owned(), vec![]);
        assert_eq!(problem(refused).await, not_clean);
    }
    assert_eq!(bucket.count("t-1").await, 1);
    let again = bucket.orderctl(&scan).await.expect(0);
    assert!(
        again.text.is_empty(),
        "it scans a file once: {}",
        again.text
    );
    bucket.clean_up().await;
}

/// What comes later under the same key is another file, which has not been scanned.
#[tokio::test]
async fn a_verdict_is_of_one_version() {
    let (bucket, clamd) = start().await;
    let presigned = bucket.presign("t-1", 6).await;
    bucket.put(&presigned, b"first\n").await;
    let file = super::attachment(&presigned, 6);
    let address = clamd.address();
    let scan = ["uploads", "scan", "--clamd", &address];
    bucket.orderctl(&scan).await.expect(0);
    bucket.put(&presigned, b"other\n").await;
    let refused = bucket.order("t-1", "r1", &file).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    bucket.orderctl(&scan).await.expect(0);
    let id = bucket.ordered("t-1", "r1", &file).await;
    let file = bucket.download("t-1", &id).await;
    assert_eq!(file.text().await.unwrap(), "other\n");
    bucket.clean_up().await;
}
