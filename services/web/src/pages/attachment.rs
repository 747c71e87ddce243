//! The file of an order.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use orders_contracts::TraceContext;

use super::{Frame, Link, MessagePage, denied, html, order::Asked};
use crate::{Web, edge::Failure};

/// `GET /orders/{orderId}/attachment`: leads to the file, or says why there is none in words instead of JSON.
pub(crate) async fn lead(
    State(web): State<Arc<Web>>,
    Extension(trace): Extension<TraceContext>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = Asked::of(query.as_deref());
    let Some((tenant, id)) = asked.order(&id) else {
        return super::not_found().await;
    };
    let (status, text) = match web.edge.attachment(&tenant, &id, trace).await {
        Ok(place) => return (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response(),
        Err(Failure::Denied(why)) => return denied(tenant.as_str(), &why),
        Err(Failure::Refused(status, problem)) => (status, problem.detail),
        Err(Failure::Unavailable) => {
            let text = "The attachment is temporarily unavailable. Try again.";
            (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
        }
    };
    let page = MessagePage {
        frame: Frame::of(&tenant),
        title: "No attachment",
        text: &text,
        link: Some(Link::here(
            "Back to the order",
            asked.list.order(&id, tenant.as_str()),
        )),
    };
    (status, html(&page)).into_response()
}
