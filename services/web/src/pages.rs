//! The pages, and the headers that all of them have.

pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod order;
mod text;

use std::{any::Any, sync::Arc};

use askama::Template;
use axum::{
    extract::{FromRequest, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, header::InvalidHeaderValue},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use orders_contracts::OrderRow;
use orders_http::{Firsts, Misdirected, Unread};
use tracing::{error, warn};

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
            tenant: text::plain(&tenant.to_string()),
            tenant_error: None,
            assets: &ASSETS,
        }
    }

    fn of_none((tenant, error): (String, String)) -> Self {
        Self {
            tenant: text::plain(&tenant),
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

const FORM: &str = "application/x-www-form-urlencoded";
/// The most bytes of a form: twice as many as the longest lines need, every character of them encoded.
pub(crate) const MAX_FORM: usize = 256 << 10;
/// The most fields of a form: the three of every line, and some.
const MAX_FIELDS: usize = 3 * new::MAX_LINES + 10;

/// The fields of a form; rejects anything that is not a form, is too large or does not arrive in time.
pub(crate) struct Fields(Vec<(String, String)>);

impl FromRequest<Arc<Web>> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, web: &Arc<Web>) -> Result<Self, Response> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()?.split(';').next());
        if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(FORM)) {
            return Err(unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let read = web.intake.read(request.into_body(), MAX_FORM).await;
        let form = read.map_err(|unread| match unread {
            Unread::TooLarge => unreadable(StatusCode::PAYLOAD_TOO_LARGE),
            Unread::Late => unreadable(StatusCode::REQUEST_TIMEOUT),
            Unread::Broken => unreadable(StatusCode::BAD_REQUEST),
            Unread::Busy => unreadable(StatusCode::SERVICE_UNAVAILABLE),
        })?;
        let fields = form_urlencoded::parse(&form).into_owned();
        let fields: Vec<_> = fields.take(MAX_FIELDS + 1).collect();
        if fields.len() > MAX_FIELDS {
            return Err(unreadable(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Ok(Self(fields))
    }
}

fn unreadable(status: StatusCode) -> Response {
    let text = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "The form is too large. Nothing was done.",
        StatusCode::SERVICE_UNAVAILABLE => {
            "Too many large forms arrive at once. Nothing was done; try again."
        }
        _ => "The form could not be read. Nothing was done.",
    };
    message(status, Frame::of(""), "Unreadable form", text)
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
    let text = "This form was sent from another site. Nothing was done. (If it was this site, its origin has to be named in \
                CORS_ORIGIN.)";
    message(StatusCode::FORBIDDEN, Frame::of(""), "Refused", text)
}

/// Refuses what another site may have led here, by a name of its own for this machine.
pub(crate) async fn refuse_misdirected(request: Request, next: Next) -> Response {
    static TOLD: Firsts = Firsts::new();
    let Some(Misdirected(host)) = request.extensions().get() else {
        return next.run(request).await;
    };
    if TOLD.take(host) {
        warn!(
            "refused a request for {host:?}, which is no name of this machine: if it is, name http://{host} in CORS_ORIGIN"
        );
    }
    let text = format!(
        "This server does not know the name {host}. If it is its own, http://{host} has to be named in CORS_ORIGIN."
    );
    message(
        StatusCode::MISDIRECTED_REQUEST,
        Frame::of(""),
        "Unknown name",
        &text,
    )
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
            shown_time: text::minutes(row.created_at),
            buyer: text::email(&row.buyer_email),
            total: text::amount(row.total),
            filename: row
                .attachment
                .map_or_else(String::new, |file| text::plain(&file.filename)),
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
}
