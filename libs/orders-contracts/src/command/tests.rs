mod notes;

use std::time::Instant;

use serde_json::value::RawValue;

use super::*;
use crate::PresignUpload;

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
    let Invalid(errors) = CreateOrder::parse(body.as_bytes(), None, None).unwrap_err();
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
    let order = CreateOrder::parse(SEED.as_bytes(), None, None).unwrap();
    assert_eq!(order.total().to_string(), "99.98");
    let written = serde_json::to_vec(&order).unwrap();
    assert_eq!(CreateOrder::parse(&written, None, None).unwrap(), order);
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
            r#""price": 49.99"#,
            r#""price": 1000000000.000001"#,
            "items.0.price must not have more than 15 significant digits, the most that a JSON number holds exactly",
        ),
        (
            r#""price": 49.99"#,
            r#""price": 0.30000000000000004"#,
            "items.0.price must not have more than 6 decimal places",
        ),
        (
            r#""qty": 2, "price": 49.99"#,
            r#""qty": 999999, "price": 999999999999"#,
            "items must add up to at most 15 significant digits, the most that a JSON number holds exactly",
        ),
        (
            r#""filename": "invoice.pdf""#,
            r#""filename": "invoice\u202efdp.exe""#,
            "attachment.filename must not contain characters that change the direction of the text",
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
    assert!(CreateOrder::parse(with(1_000).as_bytes(), None, None).is_ok());
    assert_eq!(
        errors(&with(1_001)),
        ["#/items | items must contain no more than 1000 elements"]
    );
    assert_eq!(
        errors(&with(0)),
        ["#/items | items must contain at least 1 elements"]
    );
}

/// Half a megabyte of what no order has: it takes a few times as long as to see that it is JSON at all, not a hundred.
#[test]
fn a_flood_of_faults_is_not_read_to_its_end() {
    let many = |part: &str, count: usize| vec![part; count].join(",");
    let members: Vec<_> = (0..60_000).map(|n| format!(r#""{n}":0"#)).collect();
    let members = format!("{{{}}}", members.join(","));
    assert_eq!(
        errors(&members),
        ["# | body must not have more than 100 properties"]
    );
    let numbers = format!(r#"{{"items":[{}]}}"#, many("1", 250_000));
    assert!(
        errors(&numbers)
            .contains(&"#/items | items must contain no more than 1000 elements".to_owned())
    );
    let item = (0..50).map(|n| format!(r#""{n}":0"#));
    let item = format!("{{{}}}", item.collect::<Vec<_>>().join(","));
    let items = format!(r#"{{"items":[{}]}}"#, many(&item, 1_000));
    assert_eq!(errors(&items).len(), 50);

    for body in [members, numbers, items] {
        let fastest = |read: &dyn Fn()| {
            let times = (0..5).map(|_| {
                let began = Instant::now();
                read();
                began.elapsed()
            });
            times.min().unwrap_or_default()
        };
        let json = fastest(&|| drop(serde_json::from_str::<&RawValue>(&body)));
        let parsed = fastest(&|| drop(CreateOrder::parse(body.as_bytes(), None, None)));
        assert!(parsed < 10 * json, "{parsed:?}, {json:?} for JSON alone");
    }
}

#[test]
fn the_largest_order_still_has_an_exact_total() {
    let items =
        vec![r#"{"sku":"S","qty":1000000,"price":999999999998.999999}"#; MAX_ITEMS].join(",");
    let body = changed(r#"{ "sku": "SKU-1", "qty": 2, "price": 49.99 }"#, &items);
    let order = CreateOrder::read(body.as_bytes()).unwrap();
    assert_eq!(order.total().to_string(), "999999999998999999000");
}

#[test]
fn what_an_earlier_version_accepted_is_carried_out() {
    for (from, to) in [
        (r#""price": 49.99"#, r#""price": 1000000000.000001"#),
        (r#""price": 49.99"#, r#""price": 999999999999"#),
        ("invoice.pdf", r"invoice\u202efdp.exe"),
    ] {
        let body = changed(from, to).replace(r#""qty": 2"#, r#""qty": 999999"#);
        assert_ne!(errors(&body), [""; 0]);
        assert!(CreateOrder::read(body.as_bytes()).is_ok(), "{to}");
    }
    let without = changed(r#""requestId": "r1","#, "");
    assert!(CreateOrder::read(without.as_bytes()).is_err());
}

#[test]
fn a_key_like_ours_names_the_tenant_who_uploaded() {
    for (key, tenant) in [
        ("tenants/t-9/orders/abcd1234/invoice.pdf", Some("t-9")),
        ("tenants/t-9", None),
        ("invoice.pdf", None),
    ] {
        let body = changed("tenants/t-123/orders/001/invoice.pdf", key);
        let order = CreateOrder::parse(body.as_bytes(), None, None).unwrap();
        assert_eq!(order.attachment.unwrap().uploader(), tenant);
    }
}

#[test]
fn integers_may_be_written_as_javascript_writes_them() {
    let order = CreateOrder::parse(
        changed(r#""qty": 2"#, r#""qty": 2.0"#).as_bytes(),
        None,
        None,
    )
    .unwrap();
    assert_eq!(order.items[0].qty, 2);
}

#[test]
fn the_idempotency_key_stands_in_for_the_request_id() {
    let key: RequestId = "r1".parse().unwrap();
    let other: RequestId = "r2".parse().unwrap();
    let without = changed(r#""requestId": "r1","#, "");
    assert_eq!(
        CreateOrder::parse(without.as_bytes(), Some(&key), None)
            .unwrap()
            .request_id,
        key
    );
    assert!(CreateOrder::parse(SEED.as_bytes(), Some(&key), None).is_ok());
    let Invalid(found) = CreateOrder::parse(SEED.as_bytes(), Some(&other), None).unwrap_err();
    assert_eq!(found[0].pointer, "#/requestId");
}

#[test]
fn the_tenant_of_the_caller_stands_in_for_the_tenant_id() {
    let (own, other) = ("t-9".parse().unwrap(), "t-123".parse().unwrap());
    for (text, tenant) in [
        (changed(r#""tenantId": "t-123","#, ""), &own),
        (changed(r#""t-123","#, "null,"), &own),
        (SEED.to_owned(), &other),
    ] {
        let order = CreateOrder::parse(text.as_bytes(), None, Some(&own)).unwrap();
        assert_eq!(order.tenant_id, *tenant);
    }
    let wrong = changed(r#""t-123","#, r#""a.b","#);
    assert!(CreateOrder::parse(wrong.as_bytes(), None, Some(&own)).is_err());
    assert_eq!(
        CancelOrder::parse_tenant(b"{}", Some(&own)),
        Ok(own.clone())
    );
    assert!(CancelOrder::parse_tenant(b"{}", None).is_err());
    let file = br#"{"filename":"a.pdf","contentType":"application/pdf","size":1}"#;
    let upload = PresignUpload::parse(file, Some(&own)).unwrap();
    assert_eq!(upload.tenant_id, own);
    assert!(PresignUpload::parse(file, None).is_err());
}
