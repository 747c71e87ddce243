//! Orders: create, cancel, list, show.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use orders_contracts::{
    CancelOrder, Channel, CreateOrder, OrderId, OrderList, OrderRef, OrderRow, Refusal, Reply,
    Status, TenantId, TotalRelation, TraceContext,
};
use orders_store::{Error as StoreError, ReadModel, Total};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, warn};

use crate::{
    Edge,
    body::JsonBody,
    commands::{Command, Outcome},
    config::OnMismatch,
    idempotency,
    problem::{Kind, Problem},
    query,
    routes::Segment,
    waiters::LISTED_DEADLINE,
};

pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("x-idempotent-replayed");
pub(crate) const MISMATCH: HeaderName = HeaderName::from_static("x-idempotency-mismatch");
pub(crate) const PROJECTED: HeaderName = HeaderName::from_static("x-projected");

/// An order and what became of the request.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderState {
    order_id: OrderId,
    /// `CANCELLED`; or `ACCEPTED` when the request is stored and will be carried out later.
    status: &'static str,
}

/// `POST /api/orders`
pub(crate) async fn create(
    State(edge): State<Arc<Edge>>,
    Extension(trace): Extension<TraceContext>,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?;
    let order = CreateOrder::parse(&body, key.as_ref())?;
    let order_id = order.order_id();
    let command = Command {
        channel: Channel::CreateOrder,
        tenant: &order.tenant_id,
        order_id: &order_id,
        trace,
        body: &order,
    };
    let location = location(&order.tenant_id, &order_id);
    match edge.commands.send(command).await? {
        Outcome::Accepted => Ok((location, accepted(order_id)).into_response()),
        Outcome::Decided(Reply::Created, waiter) => {
            let headers = [(PROJECTED, flag(waiter.projected().await))];
            Ok((
                StatusCode::CREATED,
                location,
                headers,
                Json(OrderRef { order_id }),
            )
                .into_response())
        }
        Outcome::Decided(Reply::Replayed { same_body: false }, _)
            if edge.on_mismatch == OnMismatch::Reject =>
        {
            let detail = "requestId was used before for an order with another body";
            Err(Problem::new(Kind::IdempotencyMismatch, detail))
        }
        Outcome::Decided(Reply::Replayed { same_body }, _) => {
            let listed = is_listed(&edge.rows, &order.tenant_id, &order_id, 1).await;
            let headers = [(REPLAYED, flag(true)), (PROJECTED, flag(listed))];
            let mismatch = (!same_body).then(|| AppendHeaders([(MISMATCH, flag(true))]));
            Ok((headers, mismatch, Json(OrderRef { order_id })).into_response())
        }
        Outcome::Decided(other, _) => Err(refused(&order_id, other)),
    }
}

/// `POST /api/orders/{orderId}/cancel`
pub(crate) async fn cancel(
    State(edge): State<Arc<Edge>>,
    Extension(trace): Extension<TraceContext>,
    Segment(order_id): Segment,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let tenant_id = CancelOrder::parse_tenant(&body)?;
    let order_id = parse_order_id(&order_id)?;
    let cancel = CancelOrder {
        tenant_id,
        order_id,
    };
    let CancelOrder {
        tenant_id,
        order_id,
    } = &cancel;
    let command = Command {
        channel: Channel::CancelOrder,
        tenant: tenant_id,
        order_id,
        trace,
        body: &cancel,
    };
    let listed = match edge.commands.send(command).await? {
        Outcome::Accepted => {
            return Ok((location(tenant_id, order_id), accepted(order_id.clone())).into_response());
        }
        Outcome::Decided(Reply::Cancelled, waiter) => waiter.projected().await,
        Outcome::Decided(Reply::AlreadyCancelled, _) => {
            is_listed(&edge.rows, tenant_id, order_id, 2).await
        }
        Outcome::Decided(other, _) => return Err(refused(order_id, other)),
    };
    let state = OrderState {
        order_id: cancel.order_id,
        status: Status::Cancelled.as_str(),
    };
    Ok(([(PROJECTED, flag(listed))], Json(state)).into_response())
}

/// `GET /api/orders`
pub(crate) async fn list(
    State(edge): State<Arc<Edge>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let list = query::list(&query)?;
    let page = edge.rows.list(&list).await.map_err(unreadable)?;
    let links = [(
        header::LINK,
        query::links(&query, &list, page.next.as_ref()),
    )];
    let (total, total_as_of, total_relation) = match page.total {
        Total::Exactly(count) => (count, None, None),
        Total::AsOf { count, at } => (count, Some(at), None),
        Total::AtLeast(count) => (count, None, Some(TotalRelation::Gte)),
    };
    let list = OrderList {
        items: page.items,
        page: list.page,
        limit: list.limit,
        total,
        total_as_of,
        total_relation,
    };
    Ok((links, Json(list)).into_response())
}

/// `GET /api/orders/{orderId}`
pub(crate) async fn show(
    State(edge): State<Arc<Edge>>,
    Segment(order_id): Segment,
    RawQuery(query): RawQuery,
) -> Result<Json<OrderRow>, Problem> {
    let tenant = query::tenant(&query.unwrap_or_default())?;
    let order_id = parse_order_id(&order_id)?;
    match edge
        .rows
        .get(&tenant, &order_id)
        .await
        .map_err(unreadable)?
    {
        Some((_, row)) => Ok(Json(row)),
        None => Err(no_such_order()),
    }
}

/// Whether the list comes to show the order at `version` within [`LISTED_DEADLINE`].
async fn is_listed(rows: &ReadModel, tenant: &TenantId, id: &OrderId, version: u32) -> bool {
    let polling = async {
        let mut pause = Duration::from_millis(5);
        while !matches!(rows.get(tenant, id).await, Ok(Some((shown, _))) if shown >= version) {
            sleep(pause).await;
            pause *= 2;
        }
    };
    timeout(LISTED_DEADLINE, polling).await.is_ok()
}

fn accepted(order_id: OrderId) -> impl IntoResponse {
    (
        StatusCode::ACCEPTED,
        Json(OrderState {
            order_id,
            status: "ACCEPTED",
        }),
    )
}

fn location(tenant: &TenantId, order_id: &OrderId) -> [(HeaderName, String); 1] {
    [(
        header::LOCATION,
        format!("/api/orders/{order_id}?tenantId={tenant}"),
    )]
}

fn flag(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "true" } else { "false" })
}

/// A malformed id is the id of no order.
fn parse_order_id(text: &str) -> Result<OrderId, Problem> {
    text.parse().map_err(|_| no_such_order())
}

fn no_such_order() -> Problem {
    Problem::new(Kind::NotFound, "Order not found")
}

fn refused(order_id: &OrderId, reply: Reply) -> Problem {
    match reply {
        Reply::Refused(Refusal::Invalid { errors }) => Problem::validation(errors),
        Reply::Refused(Refusal::NotFound) => no_such_order(),
        Reply::Refused(Refusal::Conflict { status }) => {
            let detail = format!(
                "Order {order_id} is {} and cannot be cancelled",
                status.as_str()
            );
            Problem::new(Kind::NotCancellable, detail)
        }
        reply => {
            error!(order.id = %order_id, "the writer answered {reply:?}, which does not fit the command");
            Problem::internal()
        }
    }
}

fn unreadable(error: StoreError) -> Problem {
    if error.is_transient() {
        if matches!(error, StoreError::Busy) {
            debug!("cannot read orders: {error}");
        } else {
            warn!("cannot read orders: {error}");
        }
        Problem::unavailable("Orders cannot be read for a moment, try again")
    } else {
        error!("cannot read orders: {error}");
        Problem::internal()
    }
}
