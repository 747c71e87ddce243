//! The changes of a tenant's orders, as Server-Sent Events.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use orders_contracts::query;

use crate::{guard::Caller, limits::Cost, problem::Problem, state::AppState};

/// `GET /api/orders/events`
pub(crate) async fn follow(
    State(edge): State<Arc<AppState>>,
    caller: Caller,
    cost: Cost,
    request: Request,
) -> Result<Response, Problem> {
    let query = request.uri().query().unwrap_or_default();
    let tenant = query::tenant(query, caller.only_tenant())?;
    caller.act_for(&tenant)?;
    cost.charge(&edge, &tenant).await?;
    edge.realtimes.follow(&tenant, request).await
}
