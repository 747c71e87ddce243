use super::*;

const SEED: &str = r#"{
  "requestId": "r1",
  "tenantId": "t-123",
  "buyer": { "email": "alice@example.com", "name": "Alice" },
  "items": [{ "sku": "SKU-1", "qty": 2, "price": 49.99 }],
  "attachment": {
    "filename": "invoice.pdf",
    "contentType": "application/pdf",
    "size": 123456,
    "storageKey": "tenants/t-123/orders/001/invoice.pdf"
  }
}"#;

fn errors(body: &str) -> Vec<String> {
    let Invalid(errors) = CreateOrder::parse(body.as_bytes(), None).unwrap_err();
    errors
        .into_iter()
        .map(|error| format!("{} | {}", error.pointer, error.message))
        .collect()
}

/// The seed's body with `from` replaced by `to`.
fn changed(from: &str, to: &str) -> String {
    assert!(SEED.contains(from), "{from}");
    SEED.replace(from, to)
}

#[test]
fn the_seed_body_is_read_whole_and_written_the_same() {
    let order = CreateOrder::parse(SEED.as_bytes(), None).unwrap();
    assert_eq!(order.total().to_string(), "99.98");
    let written = serde_json::to_vec(&order).unwrap();
    assert_eq!(CreateOrder::parse(&written, None).unwrap(), order);
    let as_value: serde_json::Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(
        as_value,
        serde_json::from_str::<serde_json::Value>(SEED).unwrap()
    );
}

#[test]
fn every_fault_is_told_with_its_path() {
    assert_eq!(
        errors(
            r#"{"tenantId":"a.b","buyer":{"email":"alice","nick":"A"},"items":[{"sku":"","qty":1.5,"price":"1"}],"x":1}"#
        ),
        [
            "#/requestId | requestId should not be empty",
            "#/tenantId | tenantId must match /^[A-Za-z0-9_-]{1,64}$/",
            "#/buyer/email | buyer.email must be an email",
            "#/buyer/name | buyer.name should not be empty",
            "#/buyer/nick | buyer.property nick should not exist",
            "#/items/0/sku | items.0.sku should not be empty",
            "#/items/0/qty | items.0.qty must be an integer number",
            "#/items/0/price | items.0.price must be a number",
            "#/x | property x should not exist",
        ]
    );
}

#[test]
fn wrong_values_are_refused() {
    for (from, to, want) in [
        (
            r#""qty": 2"#,
            r#""qty": 0"#,
            "items.0.qty must not be less than 1",
        ),
        (
            r#""qty": 2"#,
            r#""qty": -3"#,
            "items.0.qty must not be less than 1",
        ),
        (
            r#""qty": 2"#,
            r#""qty": 99999999999999999999"#,
            "items.0.qty must not be greater than 1000000",
        ),
        (
            r#""qty": 2"#,
            r#""qty": true"#,
            "items.0.qty must be an integer number",
        ),
        (
            r#""price": 49.99"#,
            r#""price": -0.01"#,
            "items.0.price must not be less than 0",
        ),
        (
            r#""price": 49.99"#,
            r#""price": null"#,
            "items.0.price must be a number",
        ),
        (
            r#""price": 49.99"#,
            r#""price": {"$gt":0}"#,
            "items.0.price must be a number",
        ),
        (
            r#""tenantId": "t-123""#,
            r#""tenantId": {"$ne":1}"#,
            "tenantId must be a string",
        ),
        (
            r#""tenantId": "t-123""#,
            r#""tenantId": "t.>""#,
            "tenantId must match /^[A-Za-z0-9_-]{1,64}$/",
        ),
        (
            r#""name": "Alice""#,
            r#""name": "A\u0000""#,
            "buyer.name must not contain control characters",
        ),
        (
            r#""name": "Alice""#,
            r#""name": "A", "name": "B""#,
            "buyer must not have the property name twice",
        ),
        (
            r#""size": 123456"#,
            r#""size": -1"#,
            "attachment.size must not be less than 0",
        ),
        (
            r#""application/pdf""#,
            r#""pdf""#,
            "attachment.contentType must be a MIME type format",
        ),
    ] {
        let found = errors(&changed(from, to));
        assert_eq!(found.len(), 1, "{to}: {found:?}");
        assert!(found[0].ends_with(want), "{to}: {found:?}");
    }
    for (body, want) in [
        ("[]", "# | body must be an object"),
        ("null", "# | body must be an object"),
        (
            r#"{"a":NaN}"#,
            "# | body must be valid JSON: expected value at line 1 column 6",
        ),
        (
            "",
            "# | body must be valid JSON: EOF while parsing a value at line 1 column 0",
        ),
    ] {
        assert_eq!(errors(body), [want]);
    }
}

#[test]
fn five_thousand_levels_cost_no_stack() {
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(errors(&deep), ["# | body must be an object"]);
    let inside = changed(r#""qty": 2"#, &format!(r#""qty": {deep}"#));
    assert_eq!(
        errors(&inside),
        ["#/items/0/qty | items.0.qty must be an integer number"]
    );
}

#[test]
fn orders_have_1_to_1000_items() {
    let with = |count: usize| {
        let item = r#"{ "sku": "SKU-1", "qty": 2, "price": 49.99 }"#;
        changed(item, &vec![item; count].join(","))
    };
    assert!(CreateOrder::parse(with(1_000).as_bytes(), None).is_ok());
    assert_eq!(
        errors(&with(1_001)),
        ["#/items | items must contain no more than 1000 elements"]
    );
    assert_eq!(
        errors(&with(0)),
        ["#/items | items must contain at least 1 elements"]
    );
}

#[test]
fn the_largest_order_still_has_an_exact_total() {
    let items =
        vec![r#"{"sku":"S","qty":1000000,"price":999999999998.999999}"#; MAX_ITEMS].join(",");
    let body = changed(r#"{ "sku": "SKU-1", "qty": 2, "price": 49.99 }"#, &items);
    let order = CreateOrder::parse(body.as_bytes(), None).unwrap();
    assert_eq!(order.total().to_string(), "999999999998999999000");
}

#[test]
fn integers_may_be_written_as_javascript_writes_them() {
    let order =
        CreateOrder::parse(changed(r#""qty": 2"#, r#""qty": 2.0"#).as_bytes(), None).unwrap();
    assert_eq!(order.items[0].qty, 2);
}

#[test]
fn the_idempotency_key_stands_in_for_the_request_id() {
    let key: RequestId = "r1".parse().unwrap();
    let other: RequestId = "r2".parse().unwrap();
    let without = changed(r#""requestId": "r1","#, "");
    assert_eq!(
        CreateOrder::parse(without.as_bytes(), Some(&key))
            .unwrap()
            .request_id,
        key
    );
    assert!(CreateOrder::parse(SEED.as_bytes(), Some(&key)).is_ok());
    let Invalid(found) = CreateOrder::parse(SEED.as_bytes(), Some(&other)).unwrap_err();
    assert_eq!(found[0].pointer, "#/requestId");
}

#[test]
fn upload_names_become_one_safe_segment() {
    let safe = |name: &str| {
        let body =
            serde_json::json!({"tenantId":"t","filename":name,"contentType":"text/plain","size":1});
        PresignUpload::parse(body.to_string().as_bytes()).map(|upload| upload.filename)
    };
    assert_eq!(safe("invoice.pdf").unwrap(), "invoice.pdf");
    assert_eq!(safe("../../etc/passwd").unwrap(), "passwd");
    assert_eq!(
        safe(r"C:\Users\me\my file (1).pdf").unwrap(),
        "my_file__1_.pdf"
    );
    assert_eq!(safe("счёт.pdf").unwrap(), "счёт.pdf");
    for bad in ["", "..", "a/", ".", "///", "../.."] {
        assert!(safe(bad).is_err(), "{bad}");
    }
}
