//! The parameters in the URL of the list, and the links to its other pages.

use std::collections::BTreeMap;

use axum::http::HeaderValue;
use orders_contracts::OrderId;

/// The API's filters as URL parameters, in the order in which links have them: those that say which orders are listed,
/// and then those that say which part of the list is shown.
pub(super) const FILTERS: [&str; 9] = [
    "q",
    "status",
    "buyerEmail",
    "requestId",
    "from",
    "to",
    "page",
    "cursor",
    "limit",
];
/// How many of them say which orders are listed.
const NARROWING: usize = 6;

/// The parameters of the list, in its own URL or as the page of an order keeps them. Unknown ones are ignored.
#[derive(Default)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(crate) fn of(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self(pairs.into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Whether there are empty filters, as forms send them.
    pub(super) fn has_blanks(&self) -> bool {
        FILTERS.iter().any(|name| self.get(name) == Some(""))
    }

    pub(super) fn has_filters(&self) -> bool {
        let mut filters = FILTERS[..NARROWING].iter();
        filters.any(|name| !self.value(name).is_empty())
    }

    /// How many filters there are, apart from the search.
    pub(super) fn filters(&self) -> usize {
        let filters = FILTERS[1..NARROWING].iter();
        filters.filter(|name| !self.value(name).is_empty()).count()
    }

    /// The query for the API and for this page: the tenant and every filter, at `place` if it is given.
    pub(super) fn query(&self, tenant: &str, place: Option<&Place>) -> String {
        let changed = |name: &str| match (name, place) {
            ("page", Some(place)) => Some(Some(place.page.as_str())),
            ("cursor", Some(place)) => Some(place.cursor.as_deref()),
            _ => None,
        };
        self.encode(&[("tenantId", tenant)], changed)
    }

    /// The URL of the list, at `place` if it is given.
    pub(crate) fn link(&self, tenant: &str, place: Option<&Place>) -> String {
        format!("/orders?{}", self.query(tenant, place))
    }

    /// The URL of the list from its beginning, with so many orders on a page.
    pub(super) fn limited(&self, tenant: &str, limit: &str) -> String {
        let changed = |name: &str| match name {
            "limit" => Some(Some(limit)),
            "page" | "cursor" => Some(None),
            _ => None,
        };
        format!("/orders?{}", self.encode(&[("tenantId", tenant)], changed))
    }

    /// The URL of the file that has the whole list.
    pub(super) fn export(&self, tenant: &str) -> String {
        let leading = [("tenantId", tenant), ("format", "csv")];
        let is_part = |name: &str| FILTERS[NARROWING..].contains(&name);
        let query = self.encode(&leading, |name| is_part(name).then_some(None));
        format!("/api/orders/export?{query}")
    }

    /// The URL of the page of an order, which leads back to this list.
    pub(crate) fn order(&self, id: &OrderId, tenant: &str) -> String {
        let list = self.encode(&[], |_| None);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("tenantId", tenant);
        if !list.is_empty() {
            query.append_pair("list", &list);
        }
        format!("/orders/{id}?{}", query.finish())
    }

    /// The leading pairs, and then every filter, with another value or none where `changed` says so.
    fn encode<'a>(
        &'a self,
        leading: &[(&str, &str)],
        changed: impl Fn(&str) -> Option<Option<&'a str>>,
    ) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(leading);
        for name in FILTERS {
            let value = changed(name).unwrap_or_else(|| self.get(name));
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

/// A page of the list: its number, and a cursor to where the page before it ends.
pub(crate) struct Place {
    page: String,
    cursor: Option<String>,
}

impl Place {
    pub(super) fn numbered(page: u64) -> Self {
        Self {
            page: page.to_string(),
            cursor: None,
        }
    }

    /// The next page according to the API's links, if there is one.
    pub(super) fn next(links: &HeaderValue) -> Option<Self> {
        let mut links = links.to_str().ok()?.split(", ");
        let url = links.find_map(|link| {
            let (url, about) = link.strip_prefix('<')?.split_once('>')?;
            about.contains("rel=\"next\"").then_some(url)
        })?;
        let (_, query) = url.split_once('?')?;
        let mut asked = Parameters::of(query);
        Some(Self {
            page: asked.0.remove("page")?,
            cursor: asked.0.remove("cursor"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_every_filter_and_nothing_else() {
        let asked =
            Parameters::of("page=3&x=1&status=PAID&buyerEmail=a%26b%40c.de&from=&created=y");
        assert!(asked.has_blanks() && asked.has_filters());
        assert_eq!(asked.filters(), 2);
        let filters = "status=PAID&buyerEmail=a%26b%40c.de";
        let page = |page: u64| format!("/orders?tenantId=t-1&{filters}&page={page}");
        assert_eq!(asked.link("t-1", None), page(3));
        assert_eq!(asked.link("t-1", Some(&Place::numbered(4))), page(4));
        assert_eq!(
            asked.limited("t-1", "25"),
            format!("/orders?tenantId=t-1&{filters}&limit=25")
        );
        assert_eq!(
            asked.export("t-1"),
            format!("/api/orders/export?tenantId=t-1&format=csv&{filters}")
        );
    }

    #[test]
    fn an_order_leads_back_to_the_list_that_led_to_it() {
        let id = "ord_qz74bke6iblutmfkqfvmtezzkq".parse().unwrap();
        let plain = Parameters::of("tenantId=t-9&created=y").order(&id, "t-1");
        assert_eq!(plain, format!("/orders/{id}?tenantId=t-1"));
        let asked = Parameters::of("q=a%26b&page=2&cursor=c%2C%3D");
        let url = asked.order(&id, "t-1");
        let (_, query) = url.split_once('?').unwrap();
        let list = Parameters::of(query).value("list").to_owned();
        assert_eq!(list, "q=a%26b&page=2&cursor=c%2C%3D");
        assert_eq!(
            Parameters::of(&list).link("t-1", None),
            asked.link("t-1", None)
        );
        // Whatever somebody writes there leads to the list, and to no other place.
        let forged = Parameters::of("https://evil.example/?q=x&tenantId=t-2");
        assert_eq!(forged.link("t-1", None), "/orders?tenantId=t-1");
    }
}
