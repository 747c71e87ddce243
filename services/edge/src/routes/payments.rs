//! Webhooks of whoever takes payments.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use orders_contracts::{PaymentAnswer, TraceContext};

use crate::{body::JsonBody, payments::Way, problem::Problem, state::AppState};

type Answer = Result<(StatusCode, Json<PaymentAnswer>), Problem>;

/// `POST /api/payments/webhook`
pub(crate) async fn standard(
    State(edge): State<Arc<AppState>>,
    Extension(trace): Extension<TraceContext>,
    headers: HeaderMap,
    body: JsonBody,
) -> Answer {
    receive(&edge, Way::Standard, trace, &headers, body).await
}

/// `POST /api/payments/stripe`
pub(crate) async fn stripe(
    State(edge): State<Arc<AppState>>,
    Extension(trace): Extension<TraceContext>,
    headers: HeaderMap,
    body: JsonBody,
) -> Answer {
    receive(&edge, Way::Stripe, trace, &headers, body).await
}

async fn receive(
    edge: &AppState,
    way: Way,
    trace: TraceContext,
    headers: &HeaderMap,
    body: JsonBody,
) -> Answer {
    let accepted = edge
        .payments
        .receive(way, trace, &edge.limits, headers, body)
        .await?;
    // Senders take any other status for a failure, and come again.
    Ok((StatusCode::ACCEPTED, Json(PaymentAnswer { accepted })))
}
