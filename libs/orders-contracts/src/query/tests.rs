use super::*;

fn messages(query: &str) -> Vec<String> {
    let Invalid(errors) = list(query, None).expect_err(query);
    errors.into_iter().map(|error| error.message).collect()
}

#[test]
fn the_seeds_query_is_read() {
    let query = "tenantId=t-123&status=PENDING&buyerEmail=alice@example.com&from=2025-08-20&to=2025-08-28&page=2&limit=100";
    let expected = ListOrders {
        filter: ListFilter {
            tenant: "t-123".parse().unwrap(),
            status: Some(Status::Pending),
            buyer_email: Some("alice@example.com".to_owned()),
            order_id: None,
            begins: None,
            from: Some("2025-08-20T00:00:00Z".parse().unwrap()),
            until: Some("2025-08-29T00:00:00Z".parse().unwrap()),
        },
        page: 2,
        after: None,
        limit: 100,
        is_expanded: false,
    };
    assert_eq!(list(query, None), Ok(expected));
    let plain = ListOrders {
        filter: ListFilter::of("t".parse().unwrap()),
        page: 1,
        after: None,
        limit: 10,
        is_expanded: false,
    };
    assert_eq!(list("tenantId=t", None), Ok(plain));
}

#[test]
fn an_order_is_found_by_its_request_or_a_beginning_and_rows_may_tell_more() {
    let found = list("tenantId=t&requestId=r%2F1&q=Alice%40&expand=summary", None);
    let found = found.unwrap();
    let (tenant, request) = ("t".parse().unwrap(), "r/1".parse().unwrap());
    assert_eq!(
        found.filter.order_id,
        Some(OrderId::derive(&tenant, &request))
    );
    let begins = Beginning::Email("alice@".to_owned());
    assert_eq!(found.filter.begins, Some(begins));
    assert!(found.is_expanded);
    assert_eq!(
        messages("tenantId=t&requestId=&q=&expand=all"),
        [
            "requestId should not be empty",
            "q should not be empty",
            "expand must be one of the following values: summary",
        ]
    );
}

#[test]
fn links_keep_every_filter_and_begin_with_the_public_url() {
    let order_id: OrderId = "ord_qz74bke6iblutmfkqfvmtezzkq".parse().unwrap();
    let place = ListPlace {
        created_at: Timestamp::from_millis(1_756_198_800_123).unwrap(),
        order_id,
    };
    let query = "tenantId=t&buyerEmail=a%2Bb%26c@d.ee&page=3&limit=5&to=2025-08-28";
    let asked = list(query, None).unwrap();
    let rest = "tenantId=t&buyerEmail=a%2Bb%26c%40d.ee&limit=5&to=2025-08-28";
    let following = "page=4&cursor=1756198800123.ord_qz74bke6iblutmfkqfvmtezzkq";
    for base in ["", "https://shop.example/orders"] {
        let url = format!("{base}/api/orders?{rest}");
        let before = format!("<{url}&page=2>; rel=\"prev\", <{url}>; rel=\"first\"");
        assert_eq!(links(base, query, &asked, None), before);
        let next = format!("<{url}&{following}>; rel=\"next\", {before}");
        assert_eq!(links(base, query, &asked, Some(&place)), next);
    }
    let first = list("tenantId=t", None).unwrap();
    assert_eq!(
        links("", "tenantId=t", &first, None),
        "</api/orders?tenantId=t>; rel=\"first\""
    );
    let followed = list(&format!("{rest}&{following}"), None).unwrap();
    let expected = ListOrders {
        page: 4,
        after: Some(place),
        ..asked
    };
    assert_eq!(followed, expected);
}

#[test]
fn only_cursors_of_ours_are_read() {
    let id = "ord_qz74bke6iblutmfkqfvmtezzkq";
    for cursor in [
        String::new(),
        id.to_owned(),
        format!(".{id}"),
        format!("-1.{id}"),
        format!("%2B1.{id}"),
        format!("1e3.{id}"),
        format!("9999999999999999.{id}"),
        format!("1.{}", id.to_uppercase()),
        format!("1.{id}x"),
        format!("1.{id}.1"),
        "1.ord_".to_owned(),
    ] {
        assert_eq!(
            messages(&format!("tenantId=t&cursor={cursor}")),
            ["cursor must come from the Link header of an earlier page"],
            "{cursor}"
        );
    }
}

#[test]
fn an_instant_means_that_instant() {
    let list = list(
        "tenantId=t&from=2025-08-20T01:00:00%2B02:00&to=2025-08-20T12:00:00.5Z",
        None,
    )
    .unwrap();
    let list = list.filter;
    assert_eq!(list.from, Some("2025-08-19T23:00:00Z".parse().unwrap()));
    assert_eq!(
        list.until,
        Some("2025-08-20T12:00:00.501Z".parse().unwrap())
    );
}

#[test]
fn a_plus_that_was_not_encoded_is_one_all_the_same() {
    let list = list(
        "tenantId=t&from=2025-08-20T01:00:00+02:00&to=2025-08-20+09:00",
        None,
    )
    .unwrap();
    let list = list.filter;
    assert_eq!(list.from, Some("2025-08-19T23:00:00Z".parse().unwrap()));
    assert_eq!(
        list.until,
        Some("2025-08-20T09:00:00.001Z".parse().unwrap())
    );
}

#[test]
fn a_buyer_is_asked_for_by_any_spelling() {
    for spelling in ["Alice@B%C3%BCcher.Example", "alice@xn--bcher-kva.example"] {
        let list = list(&format!("tenantId=t&buyerEmail={spelling}"), None).unwrap();
        let email = list.filter.buyer_email;
        assert_eq!(email.as_deref(), Some("alice@xn--bcher-kva.example"));
    }
}

#[test]
fn what_is_unknown_or_comes_twice_is_refused() {
    assert_eq!(
        messages("tenantId=t&status[$ne]=PAID"),
        ["property status[$ne] should not exist"]
    );
    assert_eq!(
        messages("tenantId=t&status%5B%24ne%5D=PAID"),
        ["property status[$ne] should not exist"]
    );
    assert_eq!(
        messages("tenantId=t&tenantId=u"),
        ["tenantId must not be given more than once"]
    );
    assert_eq!(
        messages("tenantId[]=t"),
        [
            "tenantId should not be empty",
            "property tenantId[] should not exist"
        ]
    );
    let many: String = (0..1000).map(|i| format!("x{i}&")).collect();
    assert!(messages(&many).len() <= MAX_ERRORS + 1);
}

#[test]
fn values_are_checked() {
    for (query, message) in [
        ("", "tenantId should not be empty"),
        (
            "tenantId=a.b",
            "tenantId must match /^[A-Za-z0-9_-]{1,64}$/",
        ),
        (
            "tenantId=t&status=paid",
            "status must be one of the following values: PENDING, PAID, CANCELLED",
        ),
        ("tenantId=t&buyerEmail=alice", "buyerEmail must be an email"),
        ("tenantId=t&page=0", "page must not be less than 1"),
        ("tenantId=t&page=-1", "page must be an integer number"),
        ("tenantId=t&page=1e3", "page must be an integer number"),
        ("tenantId=t&page=%2B1", "page must be an integer number"),
        (
            "tenantId=t&page=99999999999999999999",
            "page must not be greater than 9007199254740991",
        ),
        ("tenantId=t&limit=101", "limit must not be greater than 100"),
        ("tenantId=t&limit=", "limit must be an integer number"),
        ("tenantId=t&limit=NaN", "limit must be an integer number"),
        (
            "tenantId=t&from=2025-02-30",
            "from must be a valid ISO 8601 date string",
        ),
        (
            "tenantId=t&from=yesterday",
            "from must be a valid ISO 8601 date string",
        ),
        (
            "tenantId=t&to=2025-08-20T25:00:00Z",
            "to must be a valid ISO 8601 date string",
        ),
    ] {
        assert_eq!(messages(query), [message], "{query}");
    }
}

#[test]
fn one_order_needs_its_tenant_and_nothing_else() {
    assert_eq!(tenant("tenantId=t-123", None), Ok("t-123".parse().unwrap()));
    assert!(tenant("tenantId=t-123&page=1", None).is_err());
    assert!(tenant("", None).is_err());
}

#[test]
fn the_tenant_of_the_caller_stands_in_for_the_parameter() {
    let own: TenantId = "t-9".parse().unwrap();
    assert_eq!(tenant("", Some(&own)), Ok(own.clone()));
    assert_eq!(tenant("tenantId=t", Some(&own)), Ok("t".parse().unwrap()));
    assert!(tenant("tenantId=", Some(&own)).is_err());
    assert!(tenant("tenantId=t&tenantId=t", Some(&own)).is_err());
    assert!(tenant("x=1", Some(&own)).is_err());
    let list = list("limit=5", Some(&own)).unwrap();
    assert_eq!(list.filter.tenant, own);
}

#[test]
fn an_export_has_the_filters_of_a_list_and_a_format() {
    let filters =
        "tenantId=t&status=PAID&buyerEmail=A@b.cc&requestId=r&q=a&from=2025-08-20&to=2025";
    for (query, format) in [
        (filters.to_owned(), ExportFormat::Csv),
        (format!("{filters}&format=csv"), ExportFormat::Csv),
        (format!("{filters}&format=ndjson"), ExportFormat::Ndjson),
    ] {
        let filter = list(filters, None).unwrap().filter;
        assert_eq!(export(&query, None), Ok(ExportOrders { filter, format }));
    }
    let own: TenantId = "t-9".parse().unwrap();
    assert_eq!(export("", Some(&own)).unwrap().filter.tenant, own);
    let Invalid(errors) = export("page=1&limit=5&cursor=x&format=xlsx", None).unwrap_err();
    let messages: Vec<_> = errors.into_iter().map(|error| error.message).collect();
    assert_eq!(
        messages,
        [
            "tenantId should not be empty",
            "format must be one of the following values: csv, ndjson",
            "property cursor should not exist",
            "property limit should not exist",
            "property page should not exist",
        ]
    );
}
