//! The page of the list.

use std::collections::BTreeMap;

use askama::Template;
use orders_contracts::{OrderId, ProblemDetails, Status, Timestamp};

use super::parameters::{FILTERS, Parameters, Place};
use crate::{
    edge::Listed,
    pages::{Frame, row::Row},
};

const DEFAULT_LIMIT: &str = "10";
const LIMITS: [&str; 4] = [DEFAULT_LIMIT, "25", "50", "100"];

#[derive(Template)]
#[template(path = "orders.html")]
pub(super) struct OrdersPage {
    frame: Frame,
    asked: Parameters,
    /// The fault of a filter, by its name.
    errors: BTreeMap<String, String>,
    /// All other faults.
    other_errors: Vec<String>,
    /// `None` if there is nothing to show; another field says why.
    orders: Option<Orders>,
    /// Whether the order just created is listed, and its id.
    created: Option<(bool, OrderId)>,
    /// Whether each order sent a moment ago is listed.
    sent: BTreeMap<OrderId, bool>,
    statuses: [&'static str; 3],
    blank: Row,
}

struct Orders {
    rows: Vec<Row>,
    page: u64,
    /// The number of pages and of orders; `None` while the orders are being counted.
    counts: Option<(u64, u64)>,
    newer: Option<String>,
    older: Option<String>,
}

impl Orders {
    /// The text of a page that has no orders but is not the first, and that of its link back.
    fn beyond(&self) -> (String, &'static str) {
        let text = match self.counts {
            Some((1, _)) => "There is only 1 page.".to_owned(),
            Some((pages, _)) if self.page > pages => format!("There are only {pages} pages."),
            _ => {
                return (
                    "There are no orders on this page.".to_owned(),
                    "Newer orders",
                );
            }
        };
        (text, "Go to the last page")
    }
}

impl OrdersPage {
    pub(super) fn new(
        frame: Frame,
        asked: Parameters,
        Listed { list, links }: Listed,
        sent: BTreeMap<OrderId, bool>,
    ) -> Self {
        let is_counted = list.total_relation.is_none();
        let pages = list.total.div_ceil(list.limit.max(1)).max(1);
        let link = |place| asked.link(&frame.tenant, Some(&place));
        let before = list.page.saturating_sub(1);
        let older = match links {
            Some(links) => Place::next(&links),
            None => (list.page < pages || !is_counted).then(|| Place::numbered(list.page + 1)),
        };
        let created = asked.get("created").and_then(|id| id.parse().ok());
        let orders = Orders {
            page: list.page,
            counts: is_counted.then_some((pages, list.total)),
            // From beyond the end, back to the last page.
            newer: (before > 0).then(|| {
                let known = if is_counted { pages } else { before };
                link(Place::numbered(known.min(before)))
            }),
            older: older.map(link),
            rows: list
                .items
                .into_iter()
                .map(|row| Row::new(row, &frame.tenant, &asked))
                .collect(),
        };
        Self {
            created: created.map(|id| (sent.get(&id) == Some(&true), id)),
            sent,
            orders: Some(orders),
            ..Self::without_orders(frame, asked, None)
        }
    }

    pub(super) fn without_orders(
        frame: Frame,
        asked: Parameters,
        problem: Option<ProblemDetails>,
    ) -> Self {
        let (mut errors, mut other_errors) = (BTreeMap::new(), Vec::new());
        for (fault, message) in problem
            .into_iter()
            .flat_map(|problem| problem.errors.into_iter().zip(problem.message))
        {
            let name = fault.pointer.trim_start_matches("#/");
            let text = match name {
                "buyerEmail" => "Enter an e-mail address".to_owned(),
                "from" | "to" => "Enter a date, such as 2025-08-26".to_owned(),
                _ => fault.detail,
            };
            match name {
                // They have no field.
                "page" | "cursor" => other_errors.push("There is no such page.".to_owned()),
                "limit" => other_errors.push(format!("The number of orders per page {text}.")),
                name if FILTERS.contains(&name) => drop(errors.insert(name.to_owned(), text)),
                _ => other_errors.push(message),
            }
        }
        other_errors.dedup();
        Self {
            frame,
            asked,
            errors,
            other_errors,
            orders: None,
            created: None,
            sent: BTreeMap::new(),
            statuses: [Status::Pending, Status::Paid, Status::Cancelled].map(Status::as_str),
            blank: Row::blank(),
        }
    }

    /// The URL of this very page, whichever tenant is chosen later.
    fn url(&self) -> String {
        let url = self.asked.link(&self.frame.tenant, None);
        match &self.created {
            Some((_, id)) => format!("{url}&created={id}"),
            None => url,
        }
    }

    /// The orders sent a moment ago that are `listed`, or are not.
    fn sent(&self, listed: bool) -> String {
        let ids = self
            .sent
            .iter()
            .filter(|(_, is_listed)| **is_listed == listed);
        ids.map(|(id, _)| id.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Whether an order created now would be on this page.
    fn shows_newest(&self) -> bool {
        !self.asked.has_filters() && matches!(self.asked.get("page"), None | Some("1"))
    }

    /// How many orders a page may have: that of this page, and others with where they lead to.
    fn limits(&self) -> Vec<(&str, Option<String>)> {
        let current = self.asked.get("limit").unwrap_or(DEFAULT_LIMIT);
        let unusual = Some(current).filter(|limit| !LIMITS.contains(limit));
        let limits = LIMITS.into_iter().chain(unusual);
        let link =
            |limit| (limit != current).then(|| self.asked.limited(&self.frame.tenant, limit));
        limits.map(|limit| (limit, link(limit))).collect()
    }

    /// Whether a filter that may be out of sight is faulty.
    fn has_faulty_filter(&self) -> bool {
        self.errors.keys().any(|name| name != "q")
    }

    fn error(&self, name: &str) -> &str {
        self.errors.get(name).map_or("", String::as_str)
    }

    /// A date field can show only dates; the API accepts times too.
    fn date_type(&self, name: &str) -> &'static str {
        let value = self.asked.value(name);
        let midnight = format!("{value}T00:00:00Z");
        if value.is_empty() || midnight.parse::<Timestamp>().is_ok() {
            "date"
        } else {
            "text"
        }
    }

    /// Whether the request is faulty, so that repeating it would not help.
    fn is_refused(&self) -> bool {
        !self.errors.is_empty() || !self.other_errors.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::json;

    use super::*;
    use crate::pages::tests::has_script_or_says_so;

    #[test]
    fn a_list_built_without_node_says_so() {
        has_script_or_says_so("Not live: built without Node", |frame| {
            let page = OrdersPage::without_orders(frame, Parameters::default(), None);
            page.render().unwrap()
        });
    }

    /// The page for `query` when the API answers `list` with these links.
    fn page(query: &str, list: serde_json::Value, links: Option<&'static str>) -> OrdersPage {
        let listed = Listed {
            list: serde_json::from_value(list).unwrap(),
            links: links.map(HeaderValue::from_static),
        };
        let asked = Parameters::of(query);
        OrdersPage::new(Frame::of("t"), asked, listed, BTreeMap::new())
    }

    fn row() -> serde_json::Value {
        json!({
            "orderId": "ord_qz74bke6iblutmfkqfvmtezzkq",
            "status": "PENDING",
            "createdAt": "2025-08-26T09:00:00Z",
            "buyerEmail": "a@xn--bcher-kva.example",
            "total": 1,
            "attachment": { "filename": "invoice\u{202e}fdp.exe", "storageKey": "k" },
        })
    }

    #[test]
    fn texts_of_clients_are_isolated() {
        let list = json!({ "items": [row()], "page": 1, "limit": 10, "total": 1 });
        let text = page("", list, None).render().unwrap();
        for shown in [
            "<bdi class=\"email\" data-field=\"buyerEmail\">a@bücher.example</bdi>",
            "<bdi data-field=\"filename\">invoice\u{fffd}fdp.exe</bdi>",
        ] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
    }

    #[test]
    fn a_page_without_orders_leads_to_one_that_has_some() {
        for (number, relation, text, back) in [
            (9, None, "only 3 pages. <a", "3\">Go to the last page<"),
            (2, None, "on this page. <a", "1\">Newer orders<"),
            (9, Some("gte"), "on this page. <a", "8\">Newer orders<"),
        ] {
            let list = json!({ "items": [], "page": number, "limit": 10, "total": 25, "totalRelation": relation });
            let page = page(&format!("page={number}"), list, None);
            let shown = page.render().unwrap();
            let text = format!("{text} href=\"/orders?tenantId=t&#38;page={back}/a>");
            assert!(shown.contains(&text), "{text} in {shown}");
            assert!(!shown.contains("Page "), "{shown}");
        }
    }

    /// What a page has of the other pages.
    fn pages(query: &str, list: serde_json::Value, links: Option<&'static str>) -> [String; 3] {
        let page = page(query, list, links);
        let text = page.render().unwrap();
        let (_, counts) = text.split_once("<span>Page").unwrap();
        let (counts, _) = counts.split_once("</span>").unwrap();
        let orders = page.orders.unwrap();
        let link = Option::unwrap_or_default;
        [counts.to_owned(), link(orders.newer), link(orders.older)]
    }

    #[test]
    fn the_next_page_is_where_the_api_says_and_by_number_when_it_does_not() {
        let list = json!({ "items": [row()], "page": 2, "limit": 10, "total": 25 });
        let links = "</api/orders?tenantId=t&page=3&limit=10&cursor=c%2C%3D>; rel=\"next\", </api/orders?tenantId=t>; rel=\"first\"";
        let page_of = |query: &str| format!("/orders?tenantId=t&{query}");
        assert_eq!(
            pages("page=2&cursor=b", list.clone(), Some(links)),
            [
                " 2 of 3, 25 orders".to_owned(),
                page_of("page=1"),
                page_of("page=3&cursor=c%2C%3D")
            ]
        );
        let last = Some("</api/orders?tenantId=t>; rel=\"first\"");
        assert_eq!(pages("page=2", list.clone(), last)[2], "");
        assert_eq!(pages("page=2", list, None)[2], page_of("page=3"));
    }

    #[test]
    fn what_is_not_counted_yet_has_no_last_page() {
        let list = |page, total, more: (&str, &str)| json!({ "items": [row()], "page": page, "limit": 10, "total": total, (more.0): more.1 });
        let counting = ("totalRelation", "gte");
        let counted = ("totalAsOf", "2025-08-26T09:00:00Z");
        let links = Some("</api/orders?tenantId=t>; rel=\"first\"");
        assert_eq!(
            pages("page=2000", list(2_000, 10_000, counting), links)[..2],
            [
                " 2000, more than 10,000 orders",
                "/orders?tenantId=t&page=1999"
            ]
        );
        assert_eq!(
            pages("page=2", list(2, 20_000, counted), links)[0],
            " 2 of 2000, 20000 orders"
        );
        // The API may know of a next page all the same, and is asked by number when it does not say.
        let next = "/orders?tenantId=t&page=2001";
        let list = list(2_000, 10_000, counting);
        assert_eq!(pages("page=2000", list.clone(), None)[2], next);
        let links = Some("</api/orders?tenantId=t&page=2001>; rel=\"next\"");
        assert_eq!(pages("page=2000", list, links)[2], next);
    }
}
