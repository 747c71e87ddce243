//! One order.

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

use super::{Frame, Row, denied, html, message, no_tenant, parameter};
use crate::{Web, edge::Failure, tenant};

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    frame: Frame,
    id: OrderId,
    /// `None` if the tenant has no such order, or the edge cannot be asked.
    order: Option<Row>,
    is_unavailable: bool,
    /// Whether its cancellation was accepted.
    cancelling: bool,
    /// Why it could not be cancelled.
    error: Option<String>,
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
    let asked = |name| parameter(query.as_deref(), name);
    let tenant = match tenant::chosen(asked("tenantId").as_deref(), &jar) {
        Ok(tenant) => tenant,
        Err(wrong) => return no_tenant(&wrong),
    };
    let Ok(id) = id.parse() else {
        let text = "There is no such order.";
        return message(StatusCode::NOT_FOUND, Frame::of(&tenant), "Not found", text);
    };
    let cancelling = asked("cancel").as_deref() == Some("accepted");
    let page = render(&web, &tenant, id, cancelling, None, trace).await;
    (tenant::remember(jar, &headers, &tenant), page).into_response()
}

async fn render(
    web: &Web,
    tenant: &TenantId,
    id: OrderId,
    cancelling: bool,
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
        order: order.map(Row::from),
        is_unavailable,
        cancelling,
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
    let tenant = parameter(query.as_deref(), "tenantId").and_then(|tenant| tenant.parse().ok());
    let (Some(tenant), Ok(id)) = (tenant, id.parse()) else {
        return super::not_found().await;
    };
    let refused = match web.edge.cancel(&tenant, &id, trace).await {
        Ok(()) => {
            let page = format!("/orders/{id}?tenantId={tenant}&cancel=accepted");
            return Redirect::to(&page).into_response();
        }
        Err(Failure::Denied(why)) => return denied(tenant.as_str(), &why),
        Err(Failure::Refused(status, problem)) => (status, problem.detail),
        Err(Failure::Unavailable) => {
            let text = "The order cannot be cancelled right now. Try again.";
            (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
        }
    };
    render(&web, &tenant, id, false, Some(refused), trace).await
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
    use super::*;
    use crate::pages::tests::has_script_or_says_so;

    #[test]
    fn an_order_built_without_node_says_so() {
        has_script_or_says_so("Not live: built without Node", |frame| {
            let page = OrderPage {
                frame,
                id: "ord_qz74bke6iblutmfkqfvmtezzkq".parse().unwrap(),
                order: Some(Row::blank()),
                is_unavailable: false,
                cancelling: false,
                error: None,
            };
            page.render().unwrap()
        });
    }
}
