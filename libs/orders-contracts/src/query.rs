//! Query strings, read as strictly as bodies: nothing unknown, nothing twice, nothing that could become an operator.

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use crate::{FieldError, Invalid, OrderId, Status, TenantId, Timestamp, is_email};

/// The rows of a page unless the client says otherwise.
pub const DEFAULT_LIMIT: u64 = 10;
/// The most rows of a page.
pub const MAX_LIMIT: u64 = 100;
/// The largest integer that JavaScript represents exactly.
pub const MAX_PAGE: u64 = (1 << 53) - 1;
const MAX_ERRORS: usize = 50;
const DAY_IN_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// The rows of a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListFilter {
    /// Whose orders.
    pub tenant: TenantId,
    /// Only orders in this status.
    pub status: Option<Status>,
    /// Only orders of exactly this buyer.
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
    let from = parameters.optional("from", |text| moments(text).map(|(first, _)| first));
    let until = parameters.optional("to", |text| moments(text).map(|(_, end)| end));
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

/// The `Link` header (RFC 8288) of the page that `query` asks for, read as `list`: the list's first page, and the page
/// that begins after `next`.
pub fn links(query: &str, list: &ListOrders, next: Option<&ListPlace>) -> String {
    let link = |relation: &str, place: &[(&str, String)]| {
        let asked = form_urlencoded::parse(query.as_bytes());
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(asked.filter(|(name, _)| name != "page" && name != "cursor"))
            .extend_pairs(place)
            .finish();
        format!("</api/orders?{query}>; rel=\"{relation}\"")
    };
    let mut links = link("first", &[]);
    if let Some(ListPlace {
        created_at,
        order_id,
    }) = next
    {
        let page = list.page.saturating_add(1).min(MAX_PAGE).to_string();
        let cursor = format!("{}.{order_id}", created_at.millis());
        links = format!(
            "{}, {links}",
            link("next", &[("page", page), ("cursor", cursor)])
        );
    }
    links
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
        Ok(text.to_owned())
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

/// The first moment of `text`, and the one after its last: a bare date is a whole day in UTC, a date with a time is one
/// millisecond.
fn moments(text: &str) -> Result<(Timestamp, Timestamp), String> {
    let (instant, millis) = match text.len() {
        10 => (format!("{text}T00:00:00Z"), DAY_IN_MILLIS),
        _ => (text.to_owned(), 1),
    };
    let first = instant.parse::<Timestamp>().ok();
    first
        .and_then(|first| Some((first, Timestamp::from_millis(first.millis() + millis)?)))
        .ok_or_else(|| "must be a valid ISO 8601 date string".to_owned())
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
    fn the_link_to_the_next_page_keeps_every_filter() {
        let order_id: OrderId = "ord_qz74bke6iblutmfkqfvmtezzkq".parse().unwrap();
        let next = ListPlace {
            created_at: Timestamp::from_millis(1_756_198_800_123).unwrap(),
            order_id,
        };
        let query = "tenantId=t&buyerEmail=a%2Bb%26c@d.ee&page=3&limit=5&to=2025-08-28";
        let asked = list(query).unwrap();
        let rest = "tenantId=t&buyerEmail=a%2Bb%26c%40d.ee&limit=5&to=2025-08-28";
        let first = format!("</api/orders?{rest}>; rel=\"first\"");
        assert_eq!(links(query, &asked, None), first);
        let place = "page=4&cursor=1756198800123.ord_qz74bke6iblutmfkqfvmtezzkq";
        assert_eq!(
            links(query, &asked, Some(&next)),
            format!("</api/orders?{rest}&{place}>; rel=\"next\", {first}")
        );
        let followed = list(&format!("{rest}&{place}")).unwrap();
        let expected = ListOrders {
            page: 4,
            after: Some(next),
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
            (
                "tenantId=t&to=2025-08-20T00:00:00",
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
