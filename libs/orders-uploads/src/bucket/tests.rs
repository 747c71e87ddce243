use std::fs;

use orders_contracts::TenantId;

use super::*;
use crate::Mode;

fn storage(endpoint: &str) -> Storage {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, "AKIA:secret").unwrap();
    let settings = UploadSettings {
        mode: Mode::S3,
        endpoint: Some(endpoint.to_owned().try_into().unwrap()),
        bucket: Some("orders".to_owned()),
        region: Some("eu-1".to_owned()),
        access_key_file: Some(file),
        ..UploadSettings::default()
    };
    Storage::open(&settings).unwrap().unwrap()
}

fn key(name: &str) -> StorageKey {
    let tenant: TenantId = "t-1".parse().unwrap();
    StorageKey::fresh(&tenant, name)
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).unwrap();
    let mut pairs = url.query_pairs();
    pairs
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
}

#[test]
fn an_upload_is_signed_with_its_size_type_and_host() {
    let storage = storage("https://s3.example");
    let mut file = ToSend {
        content_type: "application/pdf",
        size: 6,
        sha256: None,
    };
    let presigned = storage.presign_put(&key("a.pdf"), file);
    assert!(
        presigned
            .url
            .starts_with("https://s3.example/orders/tenants/t-1/uploads/")
    );
    let signed = |presigned: &Presigned| parameter(&presigned.url, "X-Amz-SignedHeaders").unwrap();
    assert_eq!(signed(&presigned), "content-length;content-type;host");
    let expires = parameter(&presigned.url, "X-Amz-Expires");
    assert_eq!(expires.as_deref(), Some("120"));
    let told: Vec<_> = presigned.headers.into_iter().collect();
    let size = ("Content-Length", "6".to_owned());
    let content_type = ("Content-Type", "application/pdf".to_owned());
    assert_eq!(told, [size, content_type]);

    file.sha256 = Some(&[7; 32]);
    let presigned = storage.presign_put(&key("a.pdf"), file);
    let all = "content-length;content-type;host;x-amz-checksum-sha256";
    assert_eq!(signed(&presigned), all);
    let sum = &presigned.headers["x-amz-checksum-sha256"];
    assert_eq!(*sum, BASE64.encode(&[7; 32]));
}

#[test]
fn a_download_is_a_file_with_its_name() {
    let storage = storage("https://s3.example");
    let key = key("a.pdf");
    let url = storage.presign_get(&key, Some("v/1"), "Rechnung \"ä\";.pdf", "text/html");
    let told = |name| parameter(&url, name).unwrap_or_default();
    assert_eq!(
        told("response-content-disposition"),
        "attachment; filename*=UTF-8''Rechnung%20%22%C3%A4%22%3B.pdf"
    );
    assert_eq!(told("response-content-type"), "text/html");
    assert_eq!(told("versionId"), "v/1");
    assert_eq!(told("X-Amz-Expires"), "60");
    let newest = storage.presign_get(&key, None, "a", "text/html");
    assert_eq!(parameter(&newest, "versionId"), None);
}

#[test]
fn a_bucket_may_have_a_host_of_its_own() {
    let base = |endpoint| storage(endpoint).bucket.base_url().to_string();
    assert_eq!(base("https://s3.example"), "https://s3.example/orders/");
    assert_eq!(
        base("http://localhost:9000"),
        "http://localhost:9000/orders/"
    );
    assert_eq!(
        base("https://orders.s3.example:8443"),
        "https://orders.s3.example:8443/"
    );
    assert_eq!(
        base("https://ordersx.s3.example"),
        "https://ordersx.s3.example/orders/"
    );
}
