//! The routes of the API.

pub(crate) mod attachments;
pub(crate) mod events;
pub(crate) mod exports;
pub(crate) mod metadata;
pub(crate) mod orders;
pub(crate) mod payments;
pub(crate) mod uploads;

use std::sync::Arc;

use axum::{
    http::header,
    routing::{MethodRouter, get, post, put},
};
use orders_auth::Scope;
use orders_contracts::sse;
use tower_http::{
    CompressionLevel,
    compression::{CompressionLayer, predicate::SizeAbove},
};

use crate::{
    guard::Guard,
    openapi,
    payments::{Payments, Way},
    state::AppState,
};

type Route = (&'static str, MethodRouter<Arc<AppState>>);

/// A shorter answer fits into one packet as it is.
const WORTH_COMPRESSING: SizeAbove = SizeAbove::new(1_200);

/// Every route that `openapi.json` describes, of the webhooks only those that somebody may sign. Whoever knows the URL of
/// an upload may use it once it was given out.
pub(crate) fn table(guard: &Guard, accepted: &Payments) -> Vec<Route> {
    let document = openapi::text(guard.resource().map(|resource| resource.issuer.as_str()));
    let document = async || ([(header::CONTENT_TYPE, "application/json")], document);
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(WORTH_COMPRESSING);
    let list = get(orders::list).layer(compression.clone());
    let export = get(exports::show).layer(compression);
    let [list, export, show, follow] = [list, export, get(orders::show), get(events::follow)]
        .map(|methods| guard.require(Scope::OrdersRead, methods));
    let create = guard.require(Scope::OrdersCreate, post(orders::create));
    let cancel = guard.require(Scope::OrdersCancel, post(orders::cancel));
    let download = guard.require(Scope::OrdersRead, get(attachments::download));
    let presign = guard.require(Scope::UploadsCreate, post(uploads::presign));
    let webhooks = [
        (Way::Standard, post(payments::standard)),
        (Way::Stripe, post(payments::stripe)),
    ];
    let webhooks = webhooks
        .into_iter()
        .filter(|(way, _)| accepted.takes(*way))
        .map(|(way, methods)| (way.path(), methods));
    let routes = [
        ("/api/orders", list.merge(create)),
        (sse::PATH, follow),
        ("/api/orders/export", export),
        ("/api/orders/{orderId}", show),
        ("/api/orders/{orderId}/cancel", cancel),
        ("/api/orders/{orderId}/attachment", download),
        ("/api/uploads/presign", presign),
        ("/mock-upload/{*key}", put(uploads::receive)),
        ("/openapi.json", get(document)),
    ];
    routes.into_iter().chain(webhooks).collect()
}
