//! The file of an order.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use orders_contracts::query;

use super::orders::{no_such_order, parse_order_id, unreadable};
use crate::{
    attachments, guard::Caller, limits::Cost, problem::Problem, segment::Segment, state::AppState,
};

/// `GET /api/orders/{orderId}/attachment`: leads to where the file can be downloaded for a minute.
pub(crate) async fn download(
    State(edge): State<Arc<AppState>>,
    caller: Caller,
    Segment(order_id): Segment,
    cost: Cost,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let tenant = query::tenant(&query.unwrap_or_default(), caller.only_tenant())?;
    caller.act_for(&tenant)?;
    cost.charge(&edge, &tenant).await?;
    let order_id = parse_order_id(&order_id)?;
    let order = edge.orders.file_of(&tenant, &order_id).await;
    let file = match order.map_err(unreadable)? {
        Some(file) => file.ok_or_else(attachments::no_attachment)?,
        None if edge.unlisted.may_have(&tenant, &order_id).await => {
            return Err(Problem::not_yet());
        }
        None => return Err(no_such_order()),
    };
    let Some(attachments) = &edge.attachments else {
        return Err(attachments::not_stored());
    };
    let url = attachments.link(&tenant, &file).await?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, url)]).into_response())
}
