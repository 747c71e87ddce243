//! The pages, and the headers that all of them have.

pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod order;

use std::{any::Any, sync::Arc, time::Duration};

use askama::Template;
use axum::{
    Form,
    extract::{FromRequest, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, header::InvalidHeaderValue},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use orders_contracts::{AttachmentRef, Money, OrderRow, Timestamp};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tracing::error;

use crate::{
    Web,
    assets::{ASSETS, Assets},
};

/// The content of the frame around every page.
struct Frame {
    /// The tenant as typed, valid or not.
    tenant: String,
    /// Why it is not valid.
    tenant_error: Option<String>,
    assets: &'static Assets,
}

impl Frame {
    fn of(tenant: impl ToString) -> Self {
        Self {
            tenant: tenant.to_string(),
            tenant_error: None,
            assets: &ASSETS,
        }
    }

    fn of_none((tenant, error): (String, String)) -> Self {
        Self {
            tenant,
            tenant_error: Some(error),
            assets: &ASSETS,
        }
    }
}

/// A page with only a title and a text.
#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    frame: Frame,
    title: &'a str,
    text: &'a str,
}

fn message(status: StatusCode, frame: Frame, title: &str, text: &str) -> Response {
    let page = MessagePage { frame, title, text };
    (status, html(&page)).into_response()
}

/// The answer to an invalid tenant.
fn no_tenant(wrong: (String, String)) -> Response {
    let frame = Frame::of_none(wrong);
    let text = "Enter another tenant above.";
    message(StatusCode::BAD_REQUEST, frame, "Invalid tenant", text)
}

/// The answer for an unknown path.
pub(crate) async fn not_found() -> Response {
    let text = "There is no such page.";
    message(StatusCode::NOT_FOUND, Frame::of(""), "Not found", text)
}

/// The value of a URL parameter.
fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query?.as_bytes());
    let (_, value) = pairs.find(|(key, _)| key == name)?;
    Some(value.into_owned())
}

/// How long a browser may take to send a form.
const FORM_DEADLINE: Duration = Duration::from_secs(10);

/// The fields of a form; rejects anything that is not a form, is too large or does not arrive in time.
pub(crate) struct Fields<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Fields<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let status = match timeout(FORM_DEADLINE, Form::from_request(request, state)).await {
            Ok(Ok(Form(fields))) => return Ok(Self(fields)),
            Ok(Err(_)) => StatusCode::BAD_REQUEST,
            Err(_) => StatusCode::REQUEST_TIMEOUT,
        };
        let text = "The form could not be read. Nothing was done.";
        Err(message(status, Frame::of(""), "Unreadable form", text))
    }
}

/// The answer to a method that the page does not support.
pub(crate) async fn method_not_allowed() -> Response {
    let text = "This page does not accept that kind of request.";
    message(
        StatusCode::METHOD_NOT_ALLOWED,
        Frame::of(""),
        "Not allowed",
        text,
    )
}

/// The answer to a form sent from another site.
pub(crate) fn cross_site() -> Response {
    let text = "This form was sent from another site. Nothing was done.";
    message(StatusCode::FORBIDDEN, Frame::of(""), "Refused", text)
}

/// The answer after a handler panicked; the log has the panic.
pub(crate) fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    let text = "Something went wrong on our side.";
    message(
        StatusCode::INTERNAL_SERVER_ERROR,
        Frame::of(""),
        "Error",
        text,
    )
}

fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            error!("a page cannot be rendered: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The content security policy: pages load from and send to their own origin, and send files to `upload_origin`.
pub(crate) fn content_security_policy(
    upload_origin: &str,
) -> Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::try_from(format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self' {upload_origin}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ))
}

/// Adds the headers of every answer to a browser.
pub(crate) async fn secure(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    const FIXED: [(HeaderName, HeaderValue); 3] = [
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("same-origin"),
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, web.policy.clone());
    headers.extend(FIXED);
    // A page shows the current state, and a form is for one order.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// An order as a page shows it.
struct Row {
    id: String,
    status: &'static str,
    created_at: String,
    shown_time: String,
    buyer: String,
    total: String,
    filename: String,
}

impl From<OrderRow> for Row {
    fn from(row: OrderRow) -> Self {
        Self {
            id: row.order_id.to_string(),
            status: row.status.as_str(),
            created_at: row.created_at.to_string(),
            shown_time: minutes(row.created_at),
            buyer: row.buyer_email,
            total: amount(row.total),
            filename: row
                .attachment
                .map_or_else(String::new, |AttachmentRef { filename, .. }| filename),
        }
    }
}

impl Row {
    /// An empty row for the script to fill.
    fn blank() -> Self {
        Self {
            id: String::new(),
            status: "PENDING",
            created_at: String::new(),
            shown_time: String::new(),
            buyer: String::new(),
            total: String::new(),
            filename: String::new(),
        }
    }
}

/// `2025-08-26 09:00`, in UTC.
fn minutes(moment: Timestamp) -> String {
    moment
        .to_string()
        .chars()
        .take(16)
        .collect::<String>()
        .replace('T', " ")
}

/// With at least two decimals: `99.80`.
fn amount(money: Money) -> String {
    let text = money.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}.{decimals:0<2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a page has the script or, built without Node, this notice.
    pub(super) fn has_script_or_says_so(notice: &str, render: impl Fn(Frame) -> String) {
        let built_with = |client| {
            let assets = Box::leak(Box::new(Assets::new(client)));
            render(Frame {
                assets,
                ..Frame::of("t-1")
            })
        };
        let with = built_with("client");
        assert!(with.contains("<script") && !with.contains(notice), "{with}");
        let without = built_with("");
        assert!(
            !without.contains("<script") && without.contains(notice),
            "{without}"
        );
    }

    #[test]
    fn amounts_have_two_decimals_or_more() {
        for (number, shown) in [
            ("0", "0.00"),
            ("99.8", "99.80"),
            ("99.98", "99.98"),
            ("0.125", "0.125"),
        ] {
            assert_eq!(amount(number.parse().unwrap()), shown);
        }
    }

    #[test]
    fn moments_are_shown_to_the_minute() {
        let moment = "2025-08-26T09:01:59.999Z".parse().unwrap();
        assert_eq!(minutes(moment), "2025-08-26 09:01");
    }
}
