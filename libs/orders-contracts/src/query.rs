//! Query strings, read as strictly as bodies: nothing unknown, nothing twice, nothing that could become an operator.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use crate::{
    FieldError, Invalid, OrderId, Status, TenantId, Timestamp, canonical_email, is_email,
    period::period,
};

/// The rows of a page unless the client says otherwise.
pub const DEFAULT_LIMIT: u64 = 10;
/// The most rows of a page.
pub const MAX_LIMIT: u64 = 100;
/// The largest integer that JavaScript represents exactly.
pub const MAX_PAGE: u64 = (1 << 53) - 1;
const MAX_ERRORS: usize = 50;

/// The rows of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListFilter {
    /// Whose orders.
    pub tenant: TenantId,
    /// Only orders in this status.
    pub status: Option<Status>,
    /// Only orders of this buyer, in the [canonical form](canonical_email) of the address.
    pub buyer_email: Option<String>,
    /// Only orders created at this moment or later.
    pub from: Option<Timestamp>,
    /// Only orders created before this moment.
    pub until: Option<Timestamp>,
}

impl ListFilter {
    /// All rows of a tenant.
    pub fn of(tenant: TenantId) -> Self {
        Self {
            tenant,
            status: None,
            buyer_email: None,
            from: None,
            until: None,
        }
    }
}

/// A place in a list: after this row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPlace {
    /// When the order was created.
    pub created_at: Timestamp,
    /// The order's id, which tells it from others created at the same moment.
    pub order_id: OrderId,
}

/// A part of a list, newest first: the query of `GET /api/orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOrders {
    /// The rows of the list.
    pub filter: ListFilter,
    /// The number of the page, from 1. It costs what all the pages before it cost.
    pub page: u64,
    /// Begins after this place instead of at the page, at the cost of the first page.
    pub after: Option<ListPlace>,
    /// The rows of a page.
    pub limit: u64,
}

/// Reads the query of a list.
pub fn list(query: &str) -> Result<ListOrders, Invalid> {
    let mut parameters = Parameters::of(query);
    let tenant = parameters.required("tenantId", parse);
    let status = parameters.optional("status", parse);
    let buyer_email = parameters.optional("buyerEmail", email);
    let from = parameters.optional("from", |text| days(text).map(|(first, _)| first));
    let until = parameters.optional("to", |text| days(text).map(|(_, end)| end));
    let page = parameters.optional("page", |text| integer(text, MAX_PAGE));
    let after = parameters.optional("cursor", place);
    let limit = parameters.optional("limit", |text| integer(text, MAX_LIMIT));
    Ok(ListOrders {
        filter: ListFilter {
            tenant: parameters.finish(tenant)?,
            status,
            buyer_email,
            from,
            until,
        },
        page: page.unwrap_or(1),
        after,
        limit: limit.unwrap_or(DEFAULT_LIMIT),
    })
}

/// The `Link` header (RFC 8288) of the page that `query` asks for, read as `list`: the next page, the one before it by
/// number, and the list's first page. Each URL begins with `base`, the API's public URL, or with its path.
pub fn links(base: &str, query: &str, list: &ListOrders, next: Option<&ListPlace>) -> String {
    let link = |relation: &str, page: Option<u64>, place: Option<&ListPlace>| {
        let asked = form_urlencoded::parse(query.as_bytes());
        let cursor =
            |place: &ListPlace| format!("{}.{}", place.created_at.millis(), place.order_id);
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(asked.filter(|(name, _)| name != "page" && name != "cursor"))
            .extend_pairs(page.map(|page| ("page", page.to_string())))
            .extend_pairs(place.map(|place| ("cursor", cursor(place))))
            .finish();
        format!("<{base}/api/orders?{query}>; rel=\"{relation}\"")
    };
    let following = list.page.saturating_add(1).min(MAX_PAGE);
    let next = next.map(|place| link("next", Some(following), Some(place)));
    let previous = (list.page > 1).then(|| link("prev", Some(list.page - 1), None));
    let links = next.into_iter().chain(previous);
    links
        .chain([link("first", None, None)])
        .collect::<Vec<_>>()
        .join(", ")
}

/// Reads the query of one order: its tenant.
pub fn tenant(query: &str) -> Result<TenantId, Invalid> {
    let mut parameters = Parameters::of(query);
    let tenant = parameters.required("tenantId", parse);
    parameters.finish(tenant)
}

/// The parameters that are not taken yet, and the faults so far.
struct Parameters {
    values: BTreeMap<String, Vec<String>>,
    errors: Vec<FieldError>,
}

impl Parameters {
    fn of(query: &str) -> Self {
        let mut values = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            values
                .entry(name.into_owned())
                .or_default()
                .push(value.into_owned());
        }
        Self {
            values,
            errors: Vec::new(),
        }
    }

    fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        if !self.values.contains_key(name) {
            self.errors
                .push(FieldError::new(&[name], "should not be empty"));
        }
        self.optional(name, read)
    }

    fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let values = self.values.remove(name)?;
        let value = match values.as_slice() {
            [value] => read(value),
            _ => Err("must not be given more than once".to_owned()),
        };
        value
            .map_err(|rule| self.errors.push(FieldError::new(&[name], rule)))
            .ok()
    }

    /// `value`, if there was no fault and no parameter is left.
    fn finish<T>(mut self, value: Option<T>) -> Result<T, Invalid> {
        let surplus = self.values.keys().take(MAX_ERRORS).map(|name| {
            let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            FieldError::unknown(&shown)
        });
        self.errors.extend(surplus);
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(Invalid(self.errors)),
        }
    }
}

fn parse<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|rule: T::Err| rule.to_string())
}

fn integer(text: &str, max: u64) -> Result<u64, String> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(0) => Err("must not be less than 1".to_owned()),
        Ok(value) if is_number && value <= max => Ok(value),
        _ if is_number => Err(format!("must not be greater than {max}")),
        _ => Err("must be an integer number".to_owned()),
    }
}

/// The same rule as for the buyer of an order.
fn email(text: &str) -> Result<String, String> {
    if is_email(text) {
        Ok(canonical_email(text))
    } else {
        Err("must be an email".to_owned())
    }
}

/// Reads a cursor: `<milliseconds since 1970>.<order id>`, which only [`links`] makes.
fn place(text: &str) -> Result<ListPlace, String> {
    let read = || {
        let (millis, order_id) = text.split_once('.')?;
        let is_number =
            (1..=15).contains(&millis.len()) && millis.bytes().all(|b| b.is_ascii_digit());
        Some(ListPlace {
            created_at: Timestamp::from_millis(millis.parse().ok().filter(|_| is_number)?)?,
            order_id: order_id.parse().ok()?,
        })
    };
    read().ok_or_else(|| "must come from the Link header of an earlier page".to_owned())
}

fn days(text: &str) -> Result<(Timestamp, Timestamp), String> {
    period(text).ok_or_else(|| "must be a valid ISO 8601 date string".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(query: &str) -> Vec<String> {
        let Invalid(errors) = list(query).expect_err(query);
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
                from: Some("2025-08-20T00:00:00Z".parse().unwrap()),
                until: Some("2025-08-29T00:00:00Z".parse().unwrap()),
            },
            page: 2,
            after: None,
            limit: 100,
        };
        assert_eq!(list(query), Ok(expected));
        let plain = ListOrders {
            filter: ListFilter::of("t".parse().unwrap()),
            page: 1,
            after: None,
            limit: 10,
        };
        assert_eq!(list("tenantId=t"), Ok(plain));
    }

    #[test]
    fn links_keep_every_filter_and_begin_with_the_public_url() {
        let order_id: OrderId = "ord_qz74bke6iblutmfkqfvmtezzkq".parse().unwrap();
        let place = ListPlace {
            created_at: Timestamp::from_millis(1_756_198_800_123).unwrap(),
            order_id,
        };
        let query = "tenantId=t&buyerEmail=a%2Bb%26c@d.ee&page=3&limit=5&to=2025-08-28";
        let asked = list(query).unwrap();
        let rest = "tenantId=t&buyerEmail=a%2Bb%26c%40d.ee&limit=5&to=2025-08-28";
        let following = "page=4&cursor=1756198800123.ord_qz74bke6iblutmfkqfvmtezzkq";
        for base in ["", "https://shop.example/orders"] {
            let url = format!("{base}/api/orders?{rest}");
            let before = format!("<{url}&page=2>; rel=\"prev\", <{url}>; rel=\"first\"");
            assert_eq!(links(base, query, &asked, None), before);
            let next = format!("<{url}&{following}>; rel=\"next\", {before}");
            assert_eq!(links(base, query, &asked, Some(&place)), next);
        }
        let first = list("tenantId=t").unwrap();
        assert_eq!(
            links("", "tenantId=t", &first, None),
            "</api/orders?tenantId=t>; rel=\"first\""
        );
        let followed = list(&format!("{rest}&{following}")).unwrap();
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
        let list =
            list("tenantId=t&from=2025-08-20T01:00:00%2B02:00&to=2025-08-20T12:00:00.5Z").unwrap();
        let list = list.filter;
        assert_eq!(list.from, Some("2025-08-19T23:00:00Z".parse().unwrap()));
        assert_eq!(
            list.until,
            Some("2025-08-20T12:00:00.501Z".parse().unwrap())
        );
    }

    #[test]
    fn a_plus_that_was_not_encoded_is_one_all_the_same() {
        let list = list("tenantId=t&from=2025-08-20T01:00:00+02:00&to=2025-08-20+09:00").unwrap();
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
            let list = list(&format!("tenantId=t&buyerEmail={spelling}")).unwrap();
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
        assert_eq!(tenant("tenantId=t-123"), Ok("t-123".parse().unwrap()));
        assert!(tenant("tenantId=t-123&page=1").is_err());
        assert!(tenant("").is_err());
    }
}
