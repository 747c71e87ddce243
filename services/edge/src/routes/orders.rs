//! Orders: create, cancel, list, show.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use metrics::counter;
use orders_contracts::{
    CancelOrder, Channel, CreateOrder, OrderId, OrderList, OrderRef, OrderRow, OrderState, Refusal,
    Reply, TenantId, TotalRelation, TraceContext, http_header, query,
};
use orders_service::{Seldom, chain};
use orders_store::{Error as StoreError, Total};
use tracing::{debug, error, warn};

use crate::{
    body::JsonBody,
    commands::{Command, Outcome},
    config::OnMismatch,
    guard::Caller,
    idempotency,
    limits::Cost,
    problem::Problem,
    segment::Segment,
    state::AppState,
};

/// `POST /api/orders`
pub(crate) async fn create(
    State(edge): State<Arc<AppState>>,
    Extension(trace): Extension<TraceContext>,
    caller: Caller,
    headers: HeaderMap,
    cost: Cost,
    body: JsonBody,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?;
    let order =
        body.parse(|bytes| CreateOrder::parse(bytes, key.as_ref(), caller.only_tenant()))?;
    caller.act_for(&order.tenant_id)?;
    cost.charge(&edge, &order.tenant_id).await?;
    check_attachment(&order, &caller)?;
    let order_id = order.order_id();
    let command = Command {
        channel: Channel::CreateOrder,
        tenant: &order.tenant_id,
        order_id: &order_id,
        trace,
        body: &order,
    };
    let location = location(&edge, command.tenant, command.order_id);
    match edge.commands.send(command).await? {
        Outcome::Accepted => Ok((location, accepted(order_id)).into_response()),
        Outcome::Decided(Reply::Created, listed) => {
            let answer = (location, projected(listed), Json(OrderRef { order_id }));
            Ok((StatusCode::CREATED, answer).into_response())
        }
        Outcome::Decided(Reply::Replayed { same_body: false }, _)
            if edge.on_mismatch == OnMismatch::Reject =>
        {
            let detail = "requestId was used before for an order with another body";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail))
        }
        Outcome::Decided(Reply::Replayed { same_body }, listed) => {
            let replayed = [flag(http_header::REPLAYED, true)];
            let mismatch = (!same_body).then(|| AppendHeaders([flag(http_header::MISMATCH, true)]));
            let answer = (location, projected(listed), Json(OrderRef { order_id }));
            Ok((replayed, mismatch, answer).into_response())
        }
        Outcome::Decided(reply, _) => Err(refused(&order_id, reply)),
    }
}

/// `POST /api/orders/{orderId}/cancel`
pub(crate) async fn cancel(
    State(edge): State<Arc<AppState>>,
    Extension(trace): Extension<TraceContext>,
    caller: Caller,
    Segment(order_id): Segment,
    cost: Cost,
    body: JsonBody,
) -> Result<Response, Problem> {
    let tenant_id = body.parse(|bytes| CancelOrder::parse_tenant(bytes, caller.only_tenant()))?;
    caller.act_for(&tenant_id)?;
    cost.charge(&edge, &tenant_id).await?;
    let cancel = CancelOrder {
        tenant_id,
        order_id: parse_order_id(&order_id)?,
    };
    let command = Command {
        channel: Channel::CancelOrder,
        tenant: &cancel.tenant_id,
        order_id: &cancel.order_id,
        trace,
        body: &cancel,
    };
    let location = location(&edge, command.tenant, command.order_id);
    match edge.commands.send(command).await? {
        Outcome::Accepted => Ok((location, accepted(cancel.order_id)).into_response()),
        Outcome::Decided(Reply::Cancelled | Reply::AlreadyCancelled, listed) => {
            let state = OrderState::cancelled(cancel.order_id);
            Ok((projected(listed), Json(state)).into_response())
        }
        Outcome::Decided(reply, _) => Err(refused(&cancel.order_id, reply)),
    }
}

/// `GET /api/orders`
pub(crate) async fn list(
    State(edge): State<Arc<AppState>>,
    caller: Caller,
    cost: Cost,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let list = query::list(&query, caller.only_tenant())?;
    caller.act_for(&list.filter.tenant)?;
    cost.charge(&edge, &list.filter.tenant).await?;
    let page = edge.rows.list(&list).await.map_err(unreadable)?;
    let links = [(
        header::LINK,
        query::links(edge.place.reference(), &query, &list, page.next.as_ref()),
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
    State(edge): State<Arc<AppState>>,
    caller: Caller,
    Segment(order_id): Segment,
    cost: Cost,
    RawQuery(query): RawQuery,
) -> Result<Json<OrderRow>, Problem> {
    let tenant = query::tenant(&query.unwrap_or_default(), caller.only_tenant())?;
    caller.act_for(&tenant)?;
    cost.charge(&edge, &tenant).await?;
    let order_id = parse_order_id(&order_id)?;
    match edge
        .rows
        .get(&tenant, &order_id)
        .await
        .map_err(unreadable)?
    {
        Some((_, row)) => Ok(Json(row)),
        None if edge.unlisted.may_have(&tenant, &order_id).await => Err(Problem::not_yet()),
        None => Err(no_such_order()),
    }
}

fn accepted(order_id: OrderId) -> impl IntoResponse {
    (StatusCode::ACCEPTED, Json(OrderState::accepted(order_id)))
}

fn location(edge: &AppState, tenant: &TenantId, order_id: &OrderId) -> [(HeaderName, String); 1] {
    let base = edge.place.reference();
    let url = format!("{base}/api/orders/{order_id}?tenantId={tenant}");
    [(header::LOCATION, url)]
}

/// Refuses an order with a file that its tenant has not uploaded. Of anybody it is only noted, because the mock of uploads
/// stores nothing and takes any key.
fn check_attachment(order: &CreateOrder, caller: &Caller) -> Result<(), Problem> {
    let Some(attachment) = &order.attachment else {
        return Ok(());
    };
    let uploader = attachment.uploader();
    let is_foreign = match caller.is_known() {
        true => uploader != Some(order.tenant_id.as_str()),
        false => uploader.is_some_and(|uploader| uploader != order.tenant_id.as_str()),
    };
    if !is_foreign {
        return Ok(());
    }
    counter!("orders_foreign_attachments_total").increment(1);
    if caller.is_known() {
        return Err(Problem::foreign_attachment());
    }
    let (tenant, order_id) = (&order.tenant_id, order.order_id());
    warn!("the attachment of {order_id} of tenant {tenant} is another tenant's upload");
    Ok(())
}

fn projected(is_listed: bool) -> [(HeaderName, HeaderValue); 1] {
    [flag(http_header::PROJECTED, is_listed)]
}

fn flag(name: &'static str, value: bool) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_static(if value { "true" } else { "false" });
    (HeaderName::from_static(name), value)
}

/// A malformed id is the id of no order.
fn parse_order_id(text: &str) -> Result<OrderId, Problem> {
    text.parse().map_err(|_| no_such_order())
}

fn no_such_order() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Order not found")
}

fn refused(order_id: &OrderId, reply: Reply) -> Problem {
    match reply {
        Reply::Refused(Refusal::Invalid { errors }) => Problem::validation(errors),
        Reply::Refused(Refusal::NotFound) => no_such_order(),
        Reply::Refused(Refusal::Unreadable) => Problem::unreadable(),
        Reply::Refused(Refusal::Conflict { status }) => {
            let detail = format!(
                "Order {order_id} is {} and cannot be cancelled",
                status.as_str()
            );
            Problem::new(StatusCode::CONFLICT, detail)
        }
        reply => {
            error!(order.id = %order_id, "the writer answered {reply:?}, which does not fit the command");
            Problem::internal()
        }
    }
}

fn unreadable(error: StoreError) -> Problem {
    static LINES: Seldom = Seldom::new();
    let text = chain(&error);
    if matches!(error, StoreError::Busy) {
        debug!("cannot read orders: {text}");
        Problem::overloaded("Too many are reading orders, try again")
    } else if error.is_transient() {
        LINES.say(|unsaid| warn!(unsaid, "cannot read orders: {text}"));
        Problem::unavailable("Orders cannot be read for a moment, try again")
    } else {
        error!("cannot read orders: {text}");
        if error.is_unreadable() {
            Problem::unreadable()
        } else {
            Problem::internal()
        }
    }
}
