//! One order.

use std::sync::Arc;

use askama::Template;
use axum::{
    Extension, Form,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::CookieJar;
use orders_contracts::{OrderId, TenantId, TraceContext};
use serde::Deserialize;

use super::{Frame, Row, html, message, no_tenant};
use crate::{Web, edge::Failure, tenant};

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    frame: Frame,
    id: OrderId,
    /// None: the tenant has no such order.
    order: Option<Row>,
    /// Whether its cancellation was asked for and accepted.
    cancelling: bool,
    /// Why it was not cancelled.
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
    let query = query.unwrap_or_default();
    let asked = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let tenant = match tenant::chosen(asked("tenantId").as_deref(), &jar) {
        Ok(tenant) => tenant,
        Err(wrong) => return no_tenant(wrong),
    };
    let Ok(id) = id.parse() else {
        let text = "There is no such order.";
        return message(StatusCode::NOT_FOUND, Frame::of(&tenant), "Not found", text);
    };
    let cancelling = asked("cancel").is_some();
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
    let Ok(order) = web.edge.show(tenant, &id, trace).await else {
        return unavailable(tenant);
    };
    let (status, error) = match refused {
        Some((status, error)) => (status, Some(error)),
        None if order.is_none() => (StatusCode::NOT_FOUND, None),
        None => (StatusCode::OK, None),
    };
    let page = OrderPage {
        frame: Frame::of(tenant),
        id,
        order: order.map(Row::from),
        cancelling,
        error,
    };
    (status, html(&page)).into_response()
}

fn unavailable(tenant: &TenantId) -> Response {
    message(
        StatusCode::SERVICE_UNAVAILABLE,
        Frame::of(tenant),
        "Not available",
        "The order cannot be shown for a moment. Try again.",
    )
}

/// What the button sends.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Cancel {
    tenant_id: String,
}

/// `POST /orders/{orderId}/cancel`
pub(crate) async fn cancel(
    State(web): State<Arc<Web>>,
    Extension(trace): Extension<TraceContext>,
    Path(id): Path<String>,
    Form(form): Form<Cancel>,
) -> Response {
    let (Ok(tenant), Ok(id)) = (form.tenant_id.parse(), id.parse()) else {
        return super::not_found().await;
    };
    match web.edge.cancel(&tenant, &id, trace).await {
        Ok(()) => {
            let page = format!("/orders/{id}?tenantId={tenant}&cancel=accepted");
            Redirect::to(&page).into_response()
        }
        Err(Failure::Refused(status, problem)) => {
            let refused = Some((status, problem.detail));
            render(&web, &tenant, id, false, refused, trace).await
        }
        Err(Failure::Unavailable) => unavailable(&tenant),
    }
}
