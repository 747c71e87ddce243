use std::fs;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "ok_robot_1_AAAAAAAAAAAAAAAA_-AAAAAAAAAAAAAAAAAAAAAAAAA";

fn sha256(key: &str) -> String {
    HEXLOWER.encode(digest(&SHA256, key.as_bytes()).as_ref())
}

fn entry() -> Value {
    json!({
        "id": "robot_1", "sha256": sha256(SECRET), "tenant": "t-1",
        "scopes": ["orders:read", "orders:create"], "expires": "2030-01-01T00:00:00Z",
    })
}

fn load(entries: &Value) -> Result<ApiKeys, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, entries.to_string()).unwrap();
    ApiKeys::new(Some(file)).map_err(|invalid| invalid.to_string())
}

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

fn find(keys: &ApiKeys, credential: &str) -> Option<Result<String, Refusal>> {
    let found = keys.find(credential, at("2029-12-31T23:59:59Z"))?;
    Some(found.map(|identity| identity.actor()))
}

#[test]
fn a_key_is_found_by_all_its_characters() {
    let keys = load(&json!([entry()])).unwrap();
    assert_eq!(find(&keys, SECRET), Some(Ok("api-key|robot_1".to_owned())));
    let identity = keys
        .find(SECRET, at("2029-01-01T00:00:00Z"))
        .unwrap()
        .unwrap();
    assert_eq!(identity.tenants, ["t-1".parse().unwrap()]);
    assert_eq!(identity.scopes, [Scope::OrdersRead, Scope::OrdersCreate]);
    assert!(!identity.operator);

    let unknown = Some(Err(Refusal::Invalid(Reason::ApiKey)));
    for other in [
        SECRET.replace("robot_1", "robot_2"),
        SECRET.replace("_-", "-_"),
        SECRET.replace("AAA_", "AAB_"),
        format!("{SECRET}A"),
        SECRET[..SECRET.len() - 1].to_owned(),
        SECRET.replacen("robot_1_", "robot_1", 1),
        "ok_".to_owned(),
        "ok_robot_1_".to_owned(),
        format!("ok_{}", "é".repeat(30)),
        format!("ok_robot_1_{}", "+".repeat(43)),
    ] {
        assert_eq!(find(&keys, &other), unknown, "{other}");
    }
    assert_eq!(find(&keys, "eyJ.a.b"), None);
}

#[test]
fn a_key_may_end() {
    let keys = load(&json!([entry()])).unwrap();
    let end = keys.find(SECRET, at("2030-01-01T00:00:00Z")).unwrap();
    assert_eq!(end, Err(Refusal::Expired));
    let mut endless = entry();
    endless.as_object_mut().unwrap().remove("expires");
    let keys = load(&json!([endless])).unwrap();
    assert!(
        keys.find(SECRET, at("2130-01-01T00:00:00Z"))
            .unwrap()
            .is_ok()
    );
}

#[test]
fn a_wrong_file_is_one_line_that_names_the_setting_and_no_secret() {
    let without = |name: &str| {
        let mut entry = entry();
        entry.as_object_mut().unwrap().remove(name);
        json!([entry])
    };
    let with = |name: &str, value: Value| {
        let mut entry = entry();
        entry[name] = value;
        json!([entry])
    };
    for (file, reason) in [
        (without("tenant"), "missing field `tenant`"),
        (without("scopes"), "missing field `scopes`"),
        (with("tenant", json!("*")), "must match"),
        (with("tenant", json!(null)), "expected a string"),
        (
            with("sha256", json!(SECRET)),
            "sha256 must be 64 hexadecimal digits",
        ),
        (
            with("scopes", json!(["orders:operator"])),
            "a scope must be one of orders:read, ",
        ),
        (with("id", json!("a.b")), "an id must match"),
        (with("expires", json!("soon")), "at line 1"),
        (with("operator", json!(true)), "unknown field `operator`"),
        (json!([entry(), entry()]), "the id robot_1 appears twice"),
        (json!({}), "expected a sequence"),
    ] {
        let error = load(&file).unwrap_err();
        assert!(
            error.starts_with("ORDERS_AUTH__API_KEYS_FILE: /"),
            "{error}"
        );
        assert!(error.contains(reason) && !error.contains('\n'), "{error}");
        assert!(!error.contains(SECRET), "{error}");
    }
    let missing = ApiKeys::new(Some("/no/such/file".into()))
        .unwrap_err()
        .to_string();
    let expected =
        "ORDERS_AUTH__API_KEYS_FILE: /no/such/file: No such file or directory (os error 2)";
    assert_eq!(missing, expected);
}

#[tokio::test(start_paused = true)]
async fn the_file_is_read_again_and_a_wrong_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    fs::write(&file, "[]").unwrap();
    let keys = ApiKeys::new(Some(file.clone())).unwrap();
    let known = || find(&keys, SECRET).is_some_and(|found| found.is_ok());
    let steps = async {
        assert!(!known());
        fs::write(&file, json!([entry()]).to_string()).unwrap();
        sleep(REFRESH * 2).await;
        assert!(known());
        for wrong in ["", "[{}]", "{"] {
            fs::write(&file, wrong).unwrap();
            sleep(REFRESH * 2).await;
            assert!(known(), "{wrong:?}");
        }
        fs::remove_file(&file).unwrap();
        sleep(REFRESH * 2).await;
        assert!(known());
        fs::write(&file, "[]").unwrap();
        sleep(REFRESH * 2).await;
        assert!(!known());
    };
    tokio::select! {
        () = steps => {}
        () = keys.run() => unreachable!("it has no end"),
    }
}
