use super::*;

#[test]
fn metadata_and_a_currency_are_read_and_written_the_same() {
    let plain = CreateOrder::parse(SEED.as_bytes(), None, None).unwrap();
    let more = changed(
        "\"requestId\"",
        r#""currency": "EUR", "metadata": { "size": "", "color": "ro\u0074" }, "requestId""#,
    );
    let order = CreateOrder::parse(more.as_bytes(), None, None).unwrap();
    assert_eq!(order.currency.unwrap().as_str(), "EUR");
    assert_eq!(order.metadata["color"], "rot");
    let written = serde_json::to_string(&order).unwrap();
    assert!(
        written.ends_with(r#","metadata":{"color":"rot","size":""},"currency":"EUR"}"#),
        "{written}"
    );
    assert_eq!(CreateOrder::read(written.as_bytes()).unwrap(), order);
    // One that notes nothing is written as before, and so has the same hash.
    let nothing = changed(
        "\"requestId\"",
        r#""metadata": {}, "currency": null, "requestId""#,
    );
    let nothing = CreateOrder::parse(nothing.as_bytes(), None, None).unwrap();
    assert_eq!(nothing, plain);
    assert!(!serde_json::to_string(&plain).unwrap().contains("metadata"));
}

#[test]
fn wrong_metadata_and_currencies_are_refused_with_their_path() {
    let with = |member: &str| {
        errors(&changed(
            "\"requestId\"",
            &format!("{member}, \"requestId\""),
        ))
    };
    let long = "x".repeat(501);
    let many: Vec<_> = (0..51).map(|n| format!(r#""k{n}":"v""#)).collect();
    for (member, want) in [
        (
            r#""metadata":[]"#.to_owned(),
            "#/metadata | metadata must be an object",
        ),
        (
            r#""metadata":{"color":1}"#.to_owned(),
            "#/metadata/color | metadata.color must be a string",
        ),
        (
            r#""metadata":{"color":null}"#.to_owned(),
            "#/metadata/color | metadata.color must be a string",
        ),
        (
            r#""metadata":{"a/b":{}}"#.to_owned(),
            "#/metadata/a~1b | metadata.a/b must be a string",
        ),
        (
            format!(r#""metadata":{{"color":"{long}"}}"#),
            "#/metadata/color | metadata.color must be shorter than or equal to 500 characters",
        ),
        (
            r#""metadata":{"color":"\n"}"#.to_owned(),
            "#/metadata/color | metadata.color must not contain control characters",
        ),
        (
            r#""metadata":{"":"x"}"#.to_owned(),
            "#/metadata | metadata must have names of 1 to 40 characters without control characters",
        ),
        (
            format!(r#""metadata":{{"{}":"x"}}"#, &long[..41]),
            "#/metadata | metadata must have names of 1 to 40 characters without control characters",
        ),
        (
            format!(r#""metadata":{{{}}}"#, many.join(",")),
            "#/metadata | metadata must not have more than 50 properties",
        ),
        (
            r#""metadata":{"a":"1","a":"2"}"#.to_owned(),
            "#/metadata | metadata must not have the property a twice",
        ),
        (
            r#""currency":"eur""#.to_owned(),
            "#/currency | currency must be an ISO 4217 currency code",
        ),
        (
            r#""currency":"ZZZ""#.to_owned(),
            "#/currency | currency must be an ISO 4217 currency code",
        ),
        (
            r#""currency":978"#.to_owned(),
            "#/currency | currency must be a string",
        ),
    ] {
        assert_eq!(with(&member), [want]);
    }
    let largest: Vec<_> = (10..60)
        .map(|n| format!(r#""{}{n}":"{}""#, "\u{e9}".repeat(38), "\u{e9}".repeat(500)))
        .collect();
    let largest = changed(
        "\"requestId\"",
        &format!("\"metadata\":{{{}}}, \"requestId\"", largest.join(",")),
    );
    let order = CreateOrder::parse(largest.as_bytes(), None, None).unwrap();
    assert_eq!(order.metadata.len(), 50);
    // A command may have a currency that an edge's list has, and this one's has not.
    let newer = changed("\"requestId\"", r#""currency":"ZZZ", "requestId""#);
    assert!(CreateOrder::read(newer.as_bytes()).is_ok());
}
