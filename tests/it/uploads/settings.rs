//! Settings that make no sense end the edge, and say which one.

use orders_testkit::{Stack, eventually};
use reqwest::StatusCode;

use super::Bucket;

#[tokio::test]
async fn a_setting_that_makes_no_sense_is_named() {
    let stack = Stack::start().await;
    let key = stack.folder().join("key");
    std::fs::write(&key, "no colon").unwrap();
    let key = key.to_str().unwrap();
    let mode = ("ORDERS_UPLOADS__MODE", "s3");
    let endpoint = ("ORDERS_UPLOADS__ENDPOINT", "http://localhost:1");
    let bucket = ("ORDERS_UPLOADS__BUCKET", "orders");
    let region = ("ORDERS_UPLOADS__REGION", "us-east-1");
    let file = ("ORDERS_UPLOADS__ACCESS_KEY_FILE", key);
    let cases: [(&[(&str, &str)], &str); 6] = [
        (
            &[mode, endpoint, region, file],
            "ORDERS_UPLOADS__BUCKET: mode s3 needs it",
        ),
        (
            &[endpoint],
            "ORDERS_UPLOADS__ENDPOINT: needs ORDERS_UPLOADS__MODE=s3",
        ),
        (
            &[("ORDERS_UPLOADS__SCAN", "required")],
            "ORDERS_UPLOADS__SCAN: needs ORDERS_UPLOADS__MODE=s3",
        ),
        (
            &[
                mode,
                ("ORDERS_UPLOADS__ENDPOINT", "http://s3.example"),
                bucket,
                region,
                file,
            ],
            "ORDERS_UPLOADS__ENDPOINT: must be like https://s3.example; http only on this machine",
        ),
        (
            &[("ORDERS_UPLOADS__TTL", "2days")],
            "ORDERS_UPLOADS__TTL: \"2days\" is not from 1s to 1h",
        ),
        (&[mode, endpoint, bucket, region, file], "must be ID:SECRET"),
    ];
    for (settings, expected) in cases {
        let edge = settings
            .iter()
            .fold(stack.daemon("edge"), |edge, (name, value)| {
                edge.env(name, value)
            });
        let mut edge = edge.spawn();
        assert!(!edge.ended().await.success(), "{expected}");
        let log = edge.log();
        assert!(log.contains(expected), "{expected} in {log}");
        assert!(!log.contains("no colon"), "{log}");
    }
    stack.clean_up().await;
}

/// A key that was replaced counts without a restart.
#[tokio::test]
async fn a_new_key_counts_at_once() {
    let mut bucket = Bucket::start().await;
    bucket.upload("t-1", b"hello\n").await;
    bucket.s3.change_the_edges_key().await;
    eventually("uploads work with the new key", async || {
        let presigned = bucket.presign("t-1", 6).await;
        match bucket.put(&presigned, b"hello\n").await.status() {
            StatusCode::OK => Ok(()),
            other => Err(other),
        }
    })
    .await;
    bucket.clean_up().await;
}
