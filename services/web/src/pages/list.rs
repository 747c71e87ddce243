//! The list of orders.

mod page;
mod parameters;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::CookieJar;
use futures_util::future::try_join_all;
use orders_contracts::{OrderId, TenantId, TraceContext};
use tokio::time::timeout;

use self::page::OrdersPage;
pub(super) use self::parameters::Parameters;
use super::{Frame, denied, html};
use crate::{
    Web,
    edge::{DEADLINE, Failure, Listed},
    tenant,
};

/// The most orders to look up for one page.
const MAX_SENT: usize = 20;

/// `GET /orders`
pub(crate) async fn list(
    State(web): State<Arc<Web>>,
    Extension(trace): Extension<TraceContext>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    jar: CookieJar,
) -> Response {
    let asked = Parameters::of(&query.unwrap_or_default());
    let tenant = match tenant::chosen(asked.get("tenantId"), &jar) {
        Ok(tenant) => tenant,
        Err(wrong) => {
            let page = OrdersPage::without_orders(Frame::of_none(&wrong), asked, None);
            return (wrong.status, html(&page)).into_response();
        }
    };
    if asked.has_blanks() {
        return Redirect::to(&asked.link(tenant.as_str(), None)).into_response();
    }
    let query = asked.query(tenant.as_str(), None);
    let frame = Frame::of(&tenant);
    let sent = sent(&headers, &asked);
    let loading = timeout(DEADLINE, load(&web, &tenant, sent, &query, trace));
    match loading.await.unwrap_or(Err(Failure::Unavailable)) {
        Ok((listed, sent)) => {
            let page = OrdersPage::new(frame, asked, listed, sent);
            (tenant::remember(jar, &headers, &tenant), html(&page)).into_response()
        }
        Err(Failure::Denied(why)) => denied(tenant.as_str(), &why),
        Err(Failure::Refused(_, problem)) => {
            let page = OrdersPage::without_orders(frame, asked, Some(*problem));
            (StatusCode::BAD_REQUEST, html(&page)).into_response()
        }
        Err(Failure::Unavailable) => {
            let page = OrdersPage::without_orders(frame, asked, None);
            (StatusCode::SERVICE_UNAVAILABLE, html(&page)).into_response()
        }
    }
}

/// The orders that were sent a moment ago: those that the page's script names, and the one that its form created.
fn sent(headers: &HeaderMap, asked: &Parameters) -> BTreeSet<OrderId> {
    let named = headers.get("x-sent").and_then(|ids| ids.to_str().ok());
    let ids = named.unwrap_or_default().split(' ').take(MAX_SENT);
    let ids = ids.chain(asked.get("created"));
    ids.filter_map(|id| id.parse().ok()).collect()
}

/// Loads one page of orders, and whether each order in `sent` is listed, on this page or another.
async fn load(
    web: &Web,
    tenant: &TenantId,
    sent: BTreeSet<OrderId>,
    query: &str,
    trace: TraceContext,
) -> Result<(Listed, BTreeMap<OrderId, bool>), Failure> {
    let look_up = |id| async move {
        let is_listed = web.edge.lists(tenant, &id, trace).await?;
        Ok::<_, Failure>((id, is_listed))
    };
    // Before the list: otherwise an order listed in between would be missing from it, yet reported as listed.
    let found = try_join_all(sent.into_iter().map(look_up)).await?;
    let mut listed = BTreeMap::from_iter(found);
    let page = web.edge.list(query, trace).await?;
    for row in &page.list.items {
        if let Some(is_listed) = listed.get_mut(&row.order_id) {
            *is_listed = true;
        }
    }
    Ok((page, listed))
}
