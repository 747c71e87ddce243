//! The parameters in the URL of the list, and the links to its other pages.

use std::collections::BTreeMap;

use axum::http::HeaderValue;

/// The API's filters as URL parameters, in the order in which links have them.
pub(super) const FILTERS: [&str; 7] = [
    "status",
    "buyerEmail",
    "from",
    "to",
    "page",
    "cursor",
    "limit",
];

/// The parameters of the URL. Unknown ones are ignored.
#[derive(Default)]
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(super) fn of(query: &str) -> Self {
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
        FILTERS[..4].iter().any(|name| self.get(name).is_some())
    }

    /// The query for the API and for this page: the tenant and every filter, at `place` if it is given.
    pub(super) fn query(&self, tenant: &str, place: Option<&Place>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("tenantId", tenant);
        for name in FILTERS {
            let value = match (name, place) {
                ("page", Some(place)) => Some(place.page.as_str()),
                ("cursor", Some(place)) => place.cursor.as_deref(),
                _ => self.get(name),
            };
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }

    pub(super) fn link(&self, tenant: &str, place: Option<&Place>) -> String {
        format!("/orders?{}", self.query(tenant, place))
    }
}

/// A page of the list: its number, and a cursor to where the page before it ends.
pub(super) struct Place {
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
        assert_eq!(
            asked.link("t-1", None),
            "/orders?tenantId=t-1&status=PAID&buyerEmail=a%26b%40c.de&page=3"
        );
        assert_eq!(
            asked.link("t-1", Some(&Place::numbered(4))),
            "/orders?tenantId=t-1&status=PAID&buyerEmail=a%26b%40c.de&page=4"
        );
    }
}
