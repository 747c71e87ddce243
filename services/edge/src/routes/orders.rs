//! Orders: create, cancel, list, show.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use headers::ETag;
use orders_contracts::{
    CancelOrder, Channel, CreateOrder, OrderDetails, OrderId, OrderList, OrderRef, OrderState,
    Refusal, Reply, TenantId, TotalRelation, TraceContext, http_header, query,
};
use orders_http::{Arrived, name_order};
use orders_service::{
    Seldom, chain,
    metrics::{ACCEPTED, CREATE_TO_LISTED, counter, histogram},
};
use orders_store::{ERASED, Error as StoreError, Total};
use tracing::{debug, error, warn};

use crate::{
    attachments::check_uploader,
    body::JsonBody,
    commands::{Command, Outcome},
    conditional::unless_known,
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
    Extension(arrived): Extension<Arrived>,
    caller: Caller,
    headers: HeaderMap,
    cost: Cost,
    body: JsonBody,
) -> Result<Response, Problem> {
    let key = idempotency::key(&headers)?;
    let mut order =
        body.parse(|bytes| CreateOrder::parse(bytes, key.as_ref(), caller.only_tenant()))?;
    caller.act_for(&order.tenant_id)?;
    cost.charge(&edge, &order.tenant_id).await?;
    let order_id = order.order_id();
    name_order(&order_id);
    match &edge.attachments {
        None => check_uploader(&order, caller.is_known())?,
        Some(attachments) => {
            // A repeated request changes nothing, and is answered as ever, whatever has become of its file.
            if let Err(problem) = attachments.verify(&mut order).await
                && !is_there(&edge, &order.tenant_id, &order_id).await
            {
                return Err(problem);
            }
        }
    }
    let command = Command {
        channel: Channel::CreateOrder,
        tenant: &order.tenant_id,
        order_id: &order_id,
        trace,
        arrived,
        body: &order,
    };
    let location = location(&edge, command.tenant, command.order_id);
    match edge.commands.send(command).await? {
        Outcome::Accepted => Ok((location, accepted(order_id)).into_response()),
        Outcome::Decided(Reply::Created, listed) => {
            if listed {
                histogram!(CREATE_TO_LISTED).record(arrived.0.elapsed());
            }
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
    Extension(arrived): Extension<Arrived>,
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
        arrived,
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
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let tenant = query::tenant(&query.unwrap_or_default(), caller.only_tenant())?;
    caller.act_for(&tenant)?;
    cost.charge(&edge, &tenant).await?;
    let order_id = parse_order_id(&order_id)?;
    let order = edge.orders.details(&tenant, &order_id).await;
    match order.map_err(unreadable)? {
        Some(order) => Ok(unless_known(&headers, tag(&order), Json(order))),
        None if edge.unlisted.may_have(&tenant, &order_id).await => Err(Problem::not_yet()),
        None => Err(no_such_order()),
    }
}

/// The version of an order says all that it has, unless personal data was erased, which makes no version: whoever has that
/// data must not hear that it still holds.
fn tag(order: &OrderDetails) -> ETag {
    let erased = match order.buyer.email.as_str() {
        ERASED => "-erased",
        _ => "",
    };
    let tag = format!("\"{}{erased}\"", order.version);
    tag.parse().expect("it has no quotes inside")
}

fn accepted(order_id: OrderId) -> impl IntoResponse {
    counter!(ACCEPTED).increment(1);
    (StatusCode::ACCEPTED, Json(OrderState::accepted(order_id)))
}

fn location(edge: &AppState, tenant: &TenantId, order_id: &OrderId) -> [(HeaderName, String); 1] {
    let base = edge.place.reference();
    let url = format!("{base}/api/orders/{order_id}?tenantId={tenant}");
    [(header::LOCATION, url)]
}

/// Whether the order is stored already.
async fn is_there(edge: &AppState, tenant: &TenantId, order_id: &OrderId) -> bool {
    matches!(edge.orders.has(tenant, order_id).await, Ok(true))
}

fn projected(is_listed: bool) -> [(HeaderName, HeaderValue); 1] {
    [flag(http_header::PROJECTED, is_listed)]
}

fn flag(name: &'static str, value: bool) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_static(if value { "true" } else { "false" });
    (HeaderName::from_static(name), value)
}

/// The id of the order that a request names; a malformed one is that of no order.
pub(super) fn parse_order_id(text: &str) -> Result<OrderId, Problem> {
    let order_id: OrderId = text.parse().map_err(|_| no_such_order())?;
    name_order(&order_id);
    Ok(order_id)
}

pub(super) fn no_such_order() -> Problem {
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
            error!("the writer answered {reply:?}, which does not fit the command");
            Problem::internal()
        }
    }
}

pub(super) fn unreadable(error: StoreError) -> Problem {
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
