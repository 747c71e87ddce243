//! One order.

mod shown;

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::CookieJar;
use orders_contracts::{OrderId, TenantId, TraceContext};
use orders_http::{name_order, name_tenant};

use self::shown::Order;
use super::{Frame, denied, html, list::Parameters, missing, no_tenant, parameter};
use crate::{Web, edge::Failure, tenant};

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    frame: Frame,
    id: OrderId,
    /// The list that led here.
    list: Parameters,
    /// `None` if the tenant has no such order, or the edge cannot be asked.
    order: Option<Order>,
    is_unavailable: bool,
    /// Whether its cancellation was accepted.
    cancelling: bool,
    /// Why it could not be cancelled.
    error: Option<String>,
}

impl OrderPage {
    /// The URL of the list that led here.
    fn back(&self) -> String {
        self.list.link(&self.frame.tenant, None)
    }

    /// The URL of this very page, whichever tenant is chosen later.
    fn url(&self) -> String {
        let accepted = if self.cancelling {
            "&cancel=accepted"
        } else {
            ""
        };
        format!(
            "{}{accepted}",
            self.list.order(&self.id, &self.frame.tenant)
        )
    }

    /// The query of this page.
    fn query(&self) -> String {
        let url = self.list.order(&self.id, &self.frame.tenant);
        url.split_once('?')
            .map_or_else(String::new, |(_, query)| query.to_owned())
    }
}

/// `GET /orders/{orderId}`
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    Extension(trace): Extension<TraceContext>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    jar: CookieJar,
) -> Response {
    let asked = Asked::of(query.as_deref());
    let tenant = match tenant::chosen(asked.tenant.as_deref(), &jar) {
        Ok(tenant) => tenant,
        Err(wrong) => return no_tenant(&wrong),
    };
    let Ok(id) = id.parse() else {
        return missing(Frame::of(&tenant), "There is no such order.");
    };
    name_order(&id);
    let page = render(&web, &tenant, id, asked, None, trace).await;
    (tenant::remember(jar, &headers, &tenant), page).into_response()
}

/// What the URL of an order asks for, besides the order.
pub(super) struct Asked {
    tenant: Option<String>,
    /// The list that led to the order.
    pub(super) list: Parameters,
    /// Whether its cancellation was accepted.
    cancelling: bool,
}

impl Asked {
    /// The order and its tenant, where both have to be named, for the log lines of the request too.
    pub(super) fn order(&self, id: &str) -> Option<(TenantId, OrderId)> {
        let tenant = self.tenant.as_deref()?.parse().ok()?;
        let id = id.parse().ok()?;
        name_tenant(&tenant);
        name_order(&id);
        Some((tenant, id))
    }

    pub(super) fn of(query: Option<&str>) -> Self {
        let asked = |name| parameter(query, name);
        Self {
            tenant: asked("tenantId"),
            list: Parameters::of(&asked("list").unwrap_or_default()),
            cancelling: asked("cancel").as_deref() == Some("accepted"),
        }
    }
}

async fn render(
    web: &Web,
    tenant: &TenantId,
    id: OrderId,
    asked: Asked,
    refused: Option<(StatusCode, String)>,
    trace: TraceContext,
) -> Response {
    let shown = match web.edge.show(tenant, &id, trace).await {
        Err(Failure::Denied(why)) => return denied(tenant.as_str(), &why),
        shown => shown,
    };
    let is_unavailable = shown.is_err();
    let order = shown.ok().flatten();
    let (status, error) = match refused {
        Some((status, error)) => (status, Some(error)),
        None if is_unavailable => (StatusCode::SERVICE_UNAVAILABLE, None),
        None if order.is_none() => (StatusCode::NOT_FOUND, None),
        None => (StatusCode::OK, None),
    };
    let page = OrderPage {
        frame: Frame::of(tenant),
        id,
        list: asked.list,
        order: order.map(Order::from),
        is_unavailable,
        cancelling: asked.cancelling,
        error,
    };
    (status, html(&page)).into_response()
}

/// `POST /orders/{orderId}/cancel`
pub(crate) async fn cancel(
    State(web): State<Arc<Web>>,
    Extension(trace): Extension<TraceContext>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = Asked::of(query.as_deref());
    let Some((tenant, id)) = asked.order(&id) else {
        return super::not_found().await;
    };
    let refused = match web.edge.cancel(&tenant, &id, trace).await {
        Ok(()) => {
            let page = asked.list.order(&id, tenant.as_str());
            return Redirect::to(&format!("{page}&cancel=accepted")).into_response();
        }
        Err(Failure::Denied(why)) => return denied(tenant.as_str(), &why),
        Err(Failure::Refused(status, problem)) => (status, problem.detail),
        Err(Failure::Unavailable) => {
            let text = "The order cannot be cancelled right now. Try again.";
            (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
        }
    };
    render(&web, &tenant, id, asked, Some(refused), trace).await
}

/// `GET /orders/{orderId}/cancel`: the address of the page above, reloaded.
pub(crate) async fn after_cancel(Path(id): Path<String>, RawQuery(query): RawQuery) -> Response {
    match id.parse::<OrderId>() {
        Ok(id) => {
            let page = format!("/orders/{id}?{}", query.unwrap_or_default());
            Redirect::to(&page).into_response()
        }
        Err(_) => super::not_found().await,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pages::tests::has_script_or_says_so;

    const ID: &str = "ord_qz74bke6iblutmfkqfvmtezzkq";

    fn page(order: serde_json::Value, list: &str, frame: Frame) -> String {
        let order: orders_contracts::OrderDetails = serde_json::from_value(order).unwrap();
        let page = OrderPage {
            frame,
            id: ID.parse().unwrap(),
            list: Parameters::of(list),
            order: Some(order.into()),
            is_unavailable: false,
            cancelling: false,
            error: None,
        };
        page.render().unwrap()
    }

    fn pending() -> serde_json::Value {
        json!({
            "orderId": ID,
            "status": "PENDING",
            "createdAt": "2025-08-26T09:00:00Z",
            "buyerEmail": "alice@example.com",
            "total": 12.5,
            "requestId": "r1",
            "buyer": { "email": "Alice@Example.com", "name": "<b>Alice" },
            "items": [{ "sku": "SKU-1", "qty": 5, "price": 2.5, "lineTotal": 12.5 }],
            "updatedAt": "2025-08-26T09:00:00Z",
            "version": 1,
            "history": [{ "status": "PENDING", "at": "2025-08-26T09:00:00Z" }],
        })
    }

    #[test]
    fn an_order_built_without_node_says_so() {
        has_script_or_says_so("Not live: built without Node", |frame| {
            let page = page(pending(), "", frame);
            // What it could not do is not offered.
            assert_eq!(page.contains("data-print"), page.contains("<script"));
            page
        });
    }

    #[test]
    fn an_order_shows_all_that_is_known_of_it() {
        let mut order = pending();
        let shown = page(order.clone(), "", Frame::of("t-1"));
        for part in [
            "&#60;b&#62;Alice",
            "<dd>12.50</dd>",
            "<td role=\"cell\" class=\"total\">2.50</td>",
            "<dd>None</dd>",
            "Yes, cancel it",
            "<li>Placed <time datetime=\"2025-08-26T09:00:00.000Z\">2025-08-26 09:00:00 UTC</time></li>",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains("Metadata"), "{shown}");

        for (name, value) in [
            ("status", json!("PAID")),
            ("currency", json!("EUR")),
            ("metadata", json!({ "channel": "shop <3>" })),
            (
                "attachment",
                json!({ "filename": "a.pdf", "storageKey": "k", "contentType": "application/pdf", "size": 1_234 }),
            ),
            (
                "history",
                json!([
                    { "status": "PENDING", "at": "2025-08-26T09:00:00Z" },
                    { "status": "PAID", "at": "2025-08-26T09:00:05Z" },
                ]),
            ),
        ] {
            order[name] = value;
        }
        let shown = page(order, "status=PAID&page=2", Frame::of("t-1"));
        for part in [
            "<dd>12.50 EUR</dd>",
            "<td role=\"cell\" class=\"total\">2.50</td>",
            "shop &#60;3&#62;",
            "<a href=\"/orders/ord_qz74bke6iblutmfkqfvmtezzkq/attachment?tenantId=t-1&#38;list=status%3DPAID%26page%3D2\"><bdi>a.pdf</bdi></a>",
            "application/pdf, 1.2 kB",
            "<li>Paid <time datetime=\"2025-08-26T09:00:05.000Z\">2025-08-26 09:00:05 UTC</time></li>",
            "<a href=\"/orders?tenantId=t-1&#38;status=PAID&#38;page=2\">All orders</a>",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        assert!(!shown.contains("Cancel the order"), "{shown}");
    }
}
