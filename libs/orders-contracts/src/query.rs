//! Query strings, read as strictly as bodies: nothing unknown, nothing twice, nothing that could become an operator.

mod beginning;

use std::{collections::BTreeMap, fmt::Display, str::FromStr};

use crate::{
    FieldError, Invalid, OrderId, RequestId, Status, TenantId, Timestamp, Unparsable,
    canonical_email, is_email, period::period,
};

pub use self::beginning::Beginning;

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
    /// Only this order.
    pub order_id: Option<OrderId>,
    /// Only orders whose id or whose buyer's address begins like this.
    pub begins: Option<Beginning>,
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
            order_id: None,
            begins: None,
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
    /// Whether rows tell more than [plain](crate::OrderRow::plain) ones.
    pub is_expanded: bool,
}

/// All rows of a list at once: the query of `GET /api/orders/export`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOrders {
    /// The rows.
    pub filter: ListFilter,
    /// How they are written.
    pub format: ExportFormat,
}

/// How an export writes its rows, one a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated values (RFC 4180), with a line of column names first.
    #[default]
    Csv,
    /// A JSON object a line.
    Ndjson,
}

impl ExportFormat {
    /// The format as clients write it, and the end of the file's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

impl FromStr for ExportFormat {
    type Err = Unparsable;
    fn from_str(text: &str) -> Result<Self, Unparsable> {
        [Self::Csv, Self::Ndjson]
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or(Unparsable(
                "must be one of the following values: csv, ndjson",
            ))
    }
}

/// Reads the query of a list; see [`tenant`].
pub fn list(query: &str, caller: Option<&TenantId>) -> Result<ListOrders, Invalid> {
    let mut parameters = Parameters::of(query);
    let filter = parameters.filter(caller);
    let page = parameters.optional("page", |text| integer(text, MAX_PAGE));
    let after = parameters.optional("cursor", place);
    let limit = parameters.optional("limit", |text| integer(text, MAX_LIMIT));
    let is_expanded = parameters.optional("expand", summary).is_some();
    Ok(ListOrders {
        filter: parameters.finish(filter)?,
        page: page.unwrap_or(1),
        after,
        limit: limit.unwrap_or(DEFAULT_LIMIT),
        is_expanded,
    })
}

/// Reads the query of an export; see [`tenant`].
pub fn export(query: &str, caller: Option<&TenantId>) -> Result<ExportOrders, Invalid> {
    let mut parameters = Parameters::of(query);
    let filter = parameters.filter(caller);
    let format = parameters.optional("format", parse);
    Ok(ExportOrders {
        filter: parameters.finish(filter)?,
        format: format.unwrap_or_default(),
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

/// Reads the query of one order: its tenant, which may be missing if the caller acts for one alone.
pub fn tenant(query: &str, caller: Option<&TenantId>) -> Result<TenantId, Invalid> {
    let mut parameters = Parameters::of(query);
    let tenant = parameters.tenant(caller);
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

    fn tenant(&mut self, caller: Option<&TenantId>) -> Option<TenantId> {
        const NAME: &str = "tenantId";
        if self.values.contains_key(NAME) {
            return self.optional(NAME, parse);
        }
        if caller.is_none() {
            self.errors
                .push(FieldError::new(&[NAME], "should not be empty"));
        }
        caller.cloned()
    }

    /// What lists and exports are narrowed by.
    fn filter(&mut self, caller: Option<&TenantId>) -> Option<ListFilter> {
        let tenant = self.tenant(caller);
        let status = self.optional("status", parse);
        let buyer_email = self.optional("buyerEmail", email);
        let request: Option<RequestId> = self.optional("requestId", parse);
        let begins = self.optional("q", parse);
        let from = self.optional("from", |text| days(text).map(|(first, _)| first));
        let until = self.optional("to", |text| days(text).map(|(_, end)| end));
        let tenant = tenant?;
        Some(ListFilter {
            order_id: request.map(|request| OrderId::derive(&tenant, &request)),
            tenant,
            status,
            buyer_email,
            begins,
            from,
            until,
        })
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

fn summary(text: &str) -> Result<(), String> {
    match text {
        "summary" => Ok(()),
        _ => Err("must be one of the following values: summary".to_owned()),
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
mod tests;
