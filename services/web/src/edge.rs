//! The HTTP API of the edge, as the pages use it.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, header};
use orders_contracts::{
    OrderDetails, OrderId, OrderList, OrderRef, ProblemDetails, TenantId, TraceContext,
    http_header::{self, TRACEPARENT},
};
use orders_service::{Seldom, chain};
use reqwest::{RequestBuilder, Response, StatusCode, redirect::Policy};
use serde::Serialize;
use tracing::warn;

use crate::session::Visitor;

/// The edge answers within about 6 s whatever is away behind it, and the script of a page waits 10 s for the page.
pub(crate) const DEADLINE: Duration = Duration::from_secs(8);
/// Less than the edge itself waits for the next request on a connection.
const IDLE: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const MISMATCH: HeaderName = HeaderName::from_static(http_header::MISMATCH);

/// A client of the edge's API.
pub(crate) struct Edge {
    http: reqwest::Client,
    url: String,
}

/// Why a request to the edge failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The edge refused it, and would refuse it again.
    Refused(StatusCode, Box<ProblemDetails>),
    /// The login of the visitor does not count there, or not for this.
    Denied(Denied),
    /// The edge does not answer, or is temporarily unable to. Repeating the request is safe.
    Unavailable,
}

/// What the edge says of a login that does not count.
#[derive(Debug)]
pub(crate) struct Denied {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
}

/// One page of orders.
pub(crate) struct Listed {
    pub(crate) list: OrderList,
    /// Links to the other pages, as in RFC 8288.
    pub(crate) links: Option<HeaderValue>,
}

/// The result of creating an order.
pub(crate) struct Created {
    pub(crate) order_id: OrderId,
    /// Whether the request id belongs to an earlier order with another body.
    pub(crate) is_another: bool,
}

impl Edge {
    pub(crate) fn new(url: &str) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(DEADLINE)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .no_proxy()
            // A visitor follows, not this daemon.
            .redirect(Policy::none())
            .build()?;
        Ok(Self {
            http,
            url: url.to_owned(),
        })
    }

    /// Reads one page of orders, with what people know them by; `query` is in the API's form.
    pub(crate) async fn list(&self, query: &str, trace: TraceContext) -> Result<Listed, Failure> {
        let url = format!("{}/api/orders?{query}&expand=summary", self.url);
        let response = send(self.http.get(url), trace).await?;
        let links = response.headers().get(header::LINK).cloned();
        Ok(Listed {
            list: read(response).await?,
            links,
        })
    }

    /// Whether the list has an order, on whichever page.
    pub(crate) async fn lists(
        &self,
        tenant: &TenantId,
        order: &OrderId,
        trace: TraceContext,
    ) -> Result<bool, Failure> {
        let query = format!("tenantId={tenant}&q={order}&limit=1");
        let url = format!("{}/api/orders?{query}", self.url);
        let list: OrderList = read(send(self.http.get(url), trace).await?).await?;
        Ok(list.items.iter().any(|row| row.order_id == *order))
    }

    /// Reads one order, if the tenant has it. The list may be a moment behind.
    pub(crate) async fn show(
        &self,
        tenant: &TenantId,
        order: &OrderId,
        trace: TraceContext,
    ) -> Result<Option<OrderDetails>, Failure> {
        let url = format!("{}/api/orders/{order}?tenantId={tenant}", self.url);
        match send(self.http.get(url), trace).await {
            Ok(response) => read(response).await.map(Some),
            Err(Failure::Refused(StatusCode::NOT_FOUND, _)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Where the file of an order can be downloaded, for a minute.
    pub(crate) async fn attachment(
        &self,
        tenant: &TenantId,
        order: &OrderId,
        trace: TraceContext,
    ) -> Result<HeaderValue, Failure> {
        let url = format!(
            "{}/api/orders/{order}/attachment?tenantId={tenant}",
            self.url
        );
        let response = send(self.http.get(url), trace).await?;
        let place = response.headers().get(header::LOCATION);
        place.cloned().ok_or(Failure::Unavailable)
    }

    /// Creates an order.
    pub(crate) async fn create(
        &self,
        order: &impl Serialize,
        trace: TraceContext,
    ) -> Result<Created, Failure> {
        let url = format!("{}/api/orders", self.url);
        let response = send(self.http.post(url).json(order), trace).await?;
        let is_another = response.headers().contains_key(MISMATCH);
        let OrderRef { order_id } = read(response).await?;
        Ok(Created {
            order_id,
            is_another,
        })
    }

    /// Cancels an order, now or as soon as possible.
    pub(crate) async fn cancel(
        &self,
        tenant: &TenantId,
        order: &OrderId,
        trace: TraceContext,
    ) -> Result<(), Failure> {
        let url = format!("{}/api/orders/{order}/cancel", self.url);
        let body = serde_json::json!({ "tenantId": tenant });
        send(self.http.post(url).json(&body), trace).await.map(drop)
    }
}

/// What goes wrong with every request alike.
static LINES: Seldom = Seldom::new();

/// Sends a request of the current visitor; every status but success and a way on is a failure.
async fn send(mut request: RequestBuilder, trace: TraceContext) -> Result<Response, Failure> {
    let Visitor { who, address } = Visitor::current();
    if let Some(person) = who.person() {
        request = request.header(header::AUTHORIZATION, person.authorization.clone());
    }
    if let Some(address) = address {
        request = request.header("x-forwarded-for", address);
    }
    let request = request.header(TRACEPARENT, trace.to_string());
    let response = request.send().await.map_err(unavailable)?;
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        return Ok(response);
    }
    let passes = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    if status.is_server_error() || passes.contains(&status) {
        LINES.say(|unsaid| warn!(unsaid, "the edge answers {status}"));
        return Err(Failure::Unavailable);
    }
    let problem: ProblemDetails = response.json().await.map_err(unavailable)?;
    if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status) {
        let detail = problem.detail;
        return Err(Failure::Denied(Denied { status, detail }));
    }
    Err(Failure::Refused(status, Box::new(problem)))
}

async fn read<T: serde::de::DeserializeOwned>(response: Response) -> Result<T, Failure> {
    response.json().await.map_err(unavailable)
}

fn unavailable(error: reqwest::Error) -> Failure {
    // Its URL says whom a visitor looks for, and what a decoder says may be of the answer.
    let error = error.without_url();
    let told = match error.is_decode() {
        true => error.to_string(),
        false => chain(&error),
    };
    LINES.say(|unsaid| warn!(unsaid, "the edge does not answer: {told}"));
    Failure::Unavailable
}
