use std::fs;

use mongodb::bson::{
    Bson, Document, bson, deserialize_from_slice, doc, serialize_to_document, serialize_to_vec,
};
use orders_contracts::CreateOrder;
use proptest::prelude::*;

use super::*;
use crate::Installation;

fn order(body: &str) -> Order {
    let command = CreateOrder::read(body.as_bytes()).unwrap();
    let now = Timestamp::from_millis(1_756_198_800_123).unwrap();
    Order::create(command, "c-1".parse().unwrap(), now)
}

fn full_order() -> Order {
    order(
        r#"{"requestId":"r\u0000 \ud83d\ude00 {\"$ne\":1}","tenantId":"t","buyer":{"email":"a@b.cc","name":"Ä"},
            "items":[{"sku":"S","qty":1000000,"price":999999999999},{"sku":"T","qty":3,"price":0.000001}],
            "attachment":{"filename":"i.pdf","contentType":"application/pdf","size":5368709120,"storageKey":"k/i.pdf"},
            "metadata":{"$set":"a.b","a.b.$c":"","é":"\u20ac"},"currency":"EUR"}"#,
    )
}

#[test]
fn orders_and_rows_come_back_as_they_were() {
    let without_file = order(
        r#"{"requestId":"r","tenantId":"t","buyer":{"email":"a@b.cc","name":"A"},"items":[{"sku":"S","qty":2,"price":49.99}]}"#,
    );
    for pending in [full_order(), without_file] {
        let paid = pending.clone().moved(Status::Paid, Timestamp::now());
        for order in [pending, paid] {
            let bytes = serialize_to_vec(&OrderDocument::from(&order)).unwrap();
            let stored: OrderDocument = deserialize_from_slice(&bytes).unwrap();
            assert_eq!(Order::from(stored), order);

            let event = order.latest_event();
            let bytes = serialize_to_vec(&RowDocument::from(&event)).unwrap();
            let stored: RowDocument = deserialize_from_slice(&bytes).unwrap();
            assert_eq!(StoredRow::from(stored), event.into());
        }
    }
}

#[test]
fn values_have_the_types_of_the_database() {
    let order = full_order();
    let stored = serialize_to_document(&OrderDocument::from(&order)).unwrap();
    let id = order.order_id.as_str();
    assert_eq!(stored.get_str("_id").unwrap(), id);
    assert_eq!(stored.get_str("orderId").unwrap(), id);
    assert_eq!(
        stored.get("total"),
        Some(&Bson::Decimal128(
            "999999999999000000.000003".parse().unwrap()
        ))
    );
    let created = DateTime::from_millis(1_756_198_800_123);
    assert_eq!(stored.get_datetime("createdAt").unwrap(), &created);
    // What a client calls its notes is no field.
    let notes = stored.get_array("metadata").unwrap();
    assert_eq!(notes[0], bson!({ "name": "$set", "value": "a.b" }));
    assert_eq!(
        stored
            .get_document("attachment")
            .unwrap()
            .get_i64("size")
            .unwrap(),
        5_368_709_120
    );
}

#[test]
fn documents_of_version_0_1_are_read() {
    let without = |document: &Document, names: &[&str]| {
        let mut old = document.clone();
        names.iter().for_each(|name| drop(old.remove(name)));
        serialize_to_vec(&old).unwrap()
    };
    let order = full_order().moved(
        Status::Paid,
        Timestamp::from_millis(1_756_198_805_123).unwrap(),
    );
    let stored = serialize_to_document(&OrderDocument::from(&order)).unwrap();
    let old = without(&stored, &["metadata", "currency"]);
    let old: OrderDocument = deserialize_from_slice(&old).unwrap();
    let details = Order::from(old).details().unwrap();
    assert_eq!((details.metadata.len(), details.currency), (0, None));
    assert_eq!(details.paid_at, Some(order.updated_at));
    assert_eq!(details.history.len(), 2);

    let row = serialize_to_document(&RowDocument::from(&order.latest_event())).unwrap();
    let old = without(&row, &["buyerName", "itemCount", "currency"]);
    let old: RowDocument = deserialize_from_slice(&old).unwrap();
    let row = OrderRow::from(order.latest_event().order);
    assert_eq!(StoredRow::from(old).row, row.plain());
}

fn total(decimal: Decimal128) -> Result<Money, mongodb::bson::error::Error> {
    #[derive(Deserialize)]
    struct Total(#[serde(with = "Decimal")] Money);
    let document: Document = doc! { "total": decimal };
    let bytes = serialize_to_vec(&document).unwrap();
    let mut fields: std::collections::HashMap<String, Total> = deserialize_from_slice(&bytes)?;
    Ok(fields.remove("total").unwrap().0)
}

#[test]
fn any_spelling_of_an_amount_is_read_and_nothing_else() {
    for (spelling, amount) in [
        ("5E-7", "0.0000005"),
        ("1E+3", "1000"),
        ("1.5E+12", "1500000000000"),
        ("0E-8", "0"),
        ("-0", "0"),
        ("10.00", "10"),
    ] {
        let decimal = spelling.parse().unwrap();
        assert_eq!(
            total(decimal).unwrap(),
            amount.parse().unwrap(),
            "{spelling}"
        );
    }
    for wrong in ["NaN", "Infinity", "-1", "1E+6000"] {
        assert!(total(wrong.parse().unwrap()).is_err(), "{wrong}");
    }
}

/// See `tests/inputs/src/releases.rs`.
#[test]
fn documents_of_all_releases_are_read() {
    let releases = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/inputs/releases");
    let mut read = 0;
    for release in fs::read_dir(releases).unwrap() {
        let documents = release.unwrap().path().join("documents");
        for file in fs::read_dir(documents).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            let Bson::Document(mut document) = Bson::try_from(json).unwrap() else {
                panic!("{} is no document", path.display());
            };
            // A later release may have added a member.
            document.insert("ofTomorrow", doc! { "a": 1 });
            let bytes = serialize_to_vec(&document).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let fault = match name.split('.').next().unwrap() {
                "orders_write" => deserialize_from_slice::<OrderDocument>(&bytes).err(),
                "orders_read" => deserialize_from_slice::<RowDocument>(&bytes).err(),
                "orders_installation" => deserialize_from_slice::<Installation>(&bytes).err(),
                other => panic!("what is {other}?"),
            };
            assert!(fault.is_none(), "{}: {fault:?}", path.display());
            read += 1;
        }
    }
    assert!(read >= 5, "{read}");
}

proptest! {
    #[test]
    fn money_is_exact_both_ways(units in 0..=999_999_999_999_u64, micros in 0..1_000_000_u32, qty in 1..=1_000_000_u32) {
        let price = Money::parse_price(&format!("{}.{micros:06}", units.min(999_999_999_998))).unwrap();
        let money = price.times(qty).unwrap();
        prop_assert_eq!(total(money.to_string().parse().unwrap()).unwrap(), money);
    }
}
