//! What is uploaded is ordered, and can be downloaded as it was.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Bucket, attachment, problem};
use crate::readme::{example, shell};

#[tokio::test]
async fn a_file_is_uploaded_ordered_and_downloaded() {
    let bucket = Bucket::start().await;
    let presigned = bucket.presign("t-1", 6).await;
    let key = presigned["storageKey"].as_str().unwrap();
    let parts: Vec<&str> = key.split('/').collect();
    assert!(
        matches!(parts[..], ["tenants", "t-1", "uploads", id, "invoice.pdf"] if id.len() == 36),
        "{key}"
    );
    assert_eq!(presigned["expiresInSeconds"], 120);
    assert_eq!(
        presigned["headers"],
        json!({ "Content-Type": "application/pdf", "Content-Length": "6" })
    );
    let url = presigned["url"].as_str().unwrap();
    assert!(
        url.starts_with(&format!("{}/orders/", bucket.s3.url())),
        "{url}"
    );

    let put = bucket.put(&presigned, b"hello\n").await;
    assert_eq!(put.status(), StatusCode::OK);
    let id = bucket
        .ordered("t-1", "r1", &attachment(&presigned, 6))
        .await;
    let row = bucket.pipeline.get_json("/api/orders?tenantId=t-1").await["items"][0].clone();
    assert_eq!(
        row["attachment"],
        json!({ "filename": "Rechnung Mai.pdf", "storageKey": key }),
        "as the seed has it"
    );

    let leads = bucket.attachment("t-1", &id).await;
    assert_eq!(leads.status(), StatusCode::SEE_OTHER);
    assert_eq!(leads.headers()["cache-control"], "no-store");
    let file = bucket.download("t-1", &id).await;
    assert_eq!(file.headers()["content-type"], "application/pdf");
    assert_eq!(
        file.headers()["content-disposition"],
        "attachment; filename*=UTF-8''Rechnung%20Mai.pdf"
    );
    assert_eq!(file.text().await.unwrap(), "hello\n");
    bucket.clean_up().await;
}

/// The sequence of the seed's README, with its own curl.
#[tokio::test]
async fn the_seeds_commands_work_with_a_bucket() {
    let bucket = Bucket::start().await;
    let script = r#"
        set -e
        PRES=$(curl -s -XPOST $EDGE/api/uploads/presign \
          -H 'Content-Type: application/json' \
          -d '{"tenantId":"t-123","filename":"invoice.pdf","contentType":"application/pdf","size":6}')
        URL=$(echo "$PRES" | jq -r .url)
        SK=$(echo "$PRES" | jq -r .storageKey)
        echo "hello" > $FOLDER/invoice.pdf
        curl -s -f -T $FOLDER/invoice.pdf "$URL" -H 'Content-Type: application/pdf'
        curl -s -XPOST $EDGE/api/orders \
          -H 'Content-Type: application/json' \
          -d "{\"requestId\":\"r-upload-1\",\"tenantId\":\"t-123\",\"buyer\":{\"email\":\"alice@example.com\",\"name\":\"Alice\"},\"items\":[{\"sku\":\"SKU-1\",\"qty\":1,\"price\":9.99}],\"attachment\":{\"filename\":\"invoice.pdf\",\"contentType\":\"application/pdf\",\"size\":6,\"storageKey\":\"$SK\"}}"
    "#;
    let output = Command::new("bash")
        .args(["-c", script])
        .env("EDGE", bucket.pipeline.edge.url())
        .env("FOLDER", bucket.pipeline.stack.folder())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let created: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = created["orderId"].as_str().unwrap();
    let file = bucket.download("t-123", id).await;
    assert_eq!(file.text().await.unwrap(), "hello\n");
    bucket.clean_up().await;
}

#[tokio::test]
async fn the_readmes_commands_work_with_a_bucket() {
    let bucket = Bucket::start().await;
    let script = example("sh", "presign") + &example("sh", "/attachment?");
    let said = shell(&script, &bucket.pipeline.edge.url()).await;
    assert_eq!(said, "hello\n");
    bucket.clean_up().await;
}

/// The bucket keeps versions, so an order has the file that was checked, whatever comes later under its key.
#[tokio::test]
async fn an_order_keeps_the_version_that_was_checked() {
    let bucket = Bucket::start().await;
    let presigned = bucket.presign("t-1", 6).await;
    bucket.put(&presigned, b"first\n").await;
    let id = bucket
        .ordered("t-1", "r1", &attachment(&presigned, 6))
        .await;
    let again = bucket.put(&presigned, b"other\n").await;
    assert_eq!(again.status(), StatusCode::OK, "the URL is still valid");
    let file = bucket.download("t-1", &id).await;
    assert_eq!(file.text().await.unwrap(), "first\n");
    bucket.clean_up().await;
}

#[tokio::test]
async fn without_versions_an_overwritten_file_is_gone() {
    let bucket = Bucket::without_versions().await;
    let presigned = bucket.presign("t-1", 6).await;
    bucket.put(&presigned, b"first\n").await;
    let id = bucket
        .ordered("t-1", "r1", &attachment(&presigned, 6))
        .await;
    let file = bucket.download("t-1", &id).await;
    assert_eq!(file.text().await.unwrap(), "first\n");
    bucket.put(&presigned, b"other\n").await;
    let answer = bucket.attachment("t-1", &id).await;
    let gone = (410, "attachment-gone".to_owned(), vec![]);
    assert_eq!(problem(answer).await, gone);
    // A repeated request is answered as ever.
    let again = bucket.order("t-1", "r1", &attachment(&presigned, 6)).await;
    assert_eq!(again.status(), StatusCode::OK);
    assert!(again.headers().get("x-idempotency-mismatch").is_none());
    bucket.clean_up().await;
}

#[tokio::test]
async fn a_file_that_was_removed_is_gone() {
    let bucket = Bucket::start().await;
    let file = bucket.upload("t-1", b"hello\n").await;
    let id = bucket.ordered("t-1", "r1", &file).await;
    let erase = [
        "erase",
        "--tenant",
        "t-1",
        "--buyer-email",
        "alice@example.com",
    ];
    bucket
        .orderctl(&[&erase[..], &["--yes"]].concat())
        .await
        .expect(0);
    let answer = bucket.attachment("t-1", &id).await;
    assert_eq!(
        answer.status(),
        StatusCode::NOT_FOUND,
        "the order knows of none"
    );
    bucket.clean_up().await;
}

/// Names and media types of every kind survive the way into a signature, a key, a file system and a header.
#[tokio::test]
async fn unusual_names_and_types_are_stored_too() {
    let bucket = Bucket::start().await;
    let long = "報".repeat(251) + ".pdf";
    for (n, name) in ["Ångström (1).tar.gz", "हिन्दी.pdf", &long, "a+b&c=d%.txt"]
        .into_iter()
        .enumerate()
    {
        let content_type = "text/plain;  charset=utf-8";
        let file =
            json!({ "tenantId": "t-1", "filename": name, "contentType": content_type, "size": 6 });
        let answer = bucket.pipeline.post("/api/uploads/presign", &file).await;
        let presigned: Value = answer.json().await.unwrap();
        let put = bucket.put(&presigned, b"hello\n").await;
        assert_eq!(
            put.status(),
            StatusCode::OK,
            "{name}: {:?}",
            put.text().await
        );
        let mut file = attachment(&presigned, 6);
        file["filename"] = json!(name);
        file["contentType"] = json!(content_type);
        let id = bucket.ordered("t-1", &format!("r{n}"), &file).await;
        let file = bucket.download("t-1", &id).await;
        let told = file.headers()["content-disposition"].to_str().unwrap();
        let encoded = told.strip_prefix("attachment; filename*=UTF-8''").unwrap();
        let query = format!(
            "http://a/?name={}",
            encoded.replace('+', "%2B").replace('&', "%26")
        );
        let url = reqwest::Url::parse(&query).unwrap();
        let (_, decoded) = url.query_pairs().next().unwrap();
        assert_eq!(decoded, name);
        assert_eq!(file.text().await.unwrap(), "hello\n");
    }
    bucket.clean_up().await;
}

/// Whoever may not see an order does not see its file, and there is no mock beside a bucket.
#[tokio::test]
async fn there_is_nothing_else() {
    let bucket = Bucket::start().await;
    let file = bucket.upload("t-1", b"hello\n").await;
    let with = bucket.ordered("t-1", "r1", &file).await;
    let without = bucket.pipeline.create("t-1", "r2").await;
    let missing = |kind: &str| (404, kind.to_owned(), vec![]);
    let none = bucket.attachment("t-1", &without).await;
    assert_eq!(problem(none).await, missing("attachment-missing"));
    for (tenant, id) in [
        ("t-2", with.as_str()),
        ("t-1", "ord_qz74bke6iblutmfkqfvmtezzkq"),
        ("t-1", "nonsense"),
    ] {
        let answer = bucket.attachment(tenant, id).await;
        assert_eq!(problem(answer).await, missing("blank"), "{tenant} {id}");
    }
    let url = format!("{}/mock-upload/tenants%2Ft-1", bucket.pipeline.edge.url());
    let put = bucket.pipeline.http.put(url).body("a");
    assert_eq!(put.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    // The bucket itself shows nothing to anybody.
    for path in [
        "/orders",
        "/orders/",
        &format!("/orders/{}", file["storageKey"].as_str().unwrap()),
    ] {
        let url = format!("{}{path}", bucket.s3.url());
        let request = bucket.pipeline.http.request(Method::GET, url);
        assert_eq!(
            request.send().await.unwrap().status(),
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    bucket.clean_up().await;
}
