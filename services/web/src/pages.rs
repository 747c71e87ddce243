//! The pages, and the headers that all of them have.

pub(crate) mod attachment;
pub(crate) mod list;
pub(crate) mod new;
pub(crate) mod order;
mod row;
mod text;

use std::{any::Any, sync::Arc};

use askama::Template;
use axum::{
    extract::{FromRequest, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, header::InvalidHeaderValue},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use orders_contracts::TenantId;
use orders_http::{Misdirected, Unread};
use tracing::error;

use crate::{
    Web,
    assets::{ASSETS, Assets},
    edge::Denied,
    session::{Person, Visitor, Who, login_path},
    tenant::NoTenant,
};

/// The content of the frame around every page.
struct Frame {
    /// The tenant as typed, valid or not.
    tenant: String,
    /// Why it cannot be chosen.
    tenant_error: Option<String>,
    who: Who,
    assets: &'static Assets,
}

impl Frame {
    fn of(tenant: impl ToString) -> Self {
        Self {
            tenant: text::plain(&tenant.to_string()),
            tenant_error: None,
            who: Visitor::current().who,
            assets: &ASSETS,
        }
    }

    fn of_none(wrong: &NoTenant) -> Self {
        Self {
            tenant_error: Some(wrong.reason.to_owned()),
            ..Self::of(&wrong.typed)
        }
    }

    /// The tenants to choose from, if not every one can be.
    fn tenants(&self) -> Option<&[TenantId]> {
        self.who.person().and_then(Person::tenants)
    }

    /// Whether the pages have no login.
    fn is_open(&self) -> bool {
        matches!(self.who, Who::Anybody)
    }

    /// The name of whoever has logged in.
    fn name(&self) -> Option<String> {
        let name = self.who.person()?.name.as_deref();
        Some(text::plain(name.unwrap_or("Logged in")))
    }
}

/// A page with only a title and a text.
#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage<'a> {
    frame: Frame,
    title: &'a str,
    text: &'a str,
    link: Option<Link>,
}

/// Where to go from a page with only a text.
pub(crate) struct Link {
    text: &'static str,
    url: String,
    in_new_tab: bool,
}

impl Link {
    pub(crate) fn here(text: &'static str, url: String) -> Self {
        Self {
            text,
            url,
            in_new_tab: false,
        }
    }

    pub(crate) fn in_new_tab(text: &'static str, url: String) -> Self {
        Self {
            in_new_tab: true,
            ..Self::here(text, url)
        }
    }
}

fn message(status: StatusCode, frame: Frame, title: &str, text: &str) -> Response {
    let link = None;
    let page = MessagePage {
        frame,
        title,
        text,
        link,
    };
    (status, html(&page)).into_response()
}

/// A page with only a text, and where to go from it.
pub(crate) fn notice(status: StatusCode, title: &str, text: &str, link: Option<Link>) -> Response {
    let page = MessagePage {
        frame: Frame::of(""),
        title,
        text,
        link,
    };
    (status, html(&page)).into_response()
}

/// A page that leads on by itself, as if the visitor had followed a link in it: to itself, or to a relative reference.
#[derive(Template)]
#[template(path = "bounce.html")]
struct BouncePage<'a> {
    to: Option<&'a str>,
    icon: &'a str,
}

pub(crate) fn bounce(to: Option<&str>) -> Response {
    let icon = &ASSETS.icon.path;
    html(&BouncePage { to, icon })
}

/// The answer to a tenant that cannot be chosen.
fn no_tenant(wrong: &NoTenant) -> Response {
    let text = match wrong.status {
        StatusCode::FORBIDDEN => "Choose another tenant above.",
        _ => "Enter another tenant above.",
    };
    message(wrong.status, Frame::of_none(wrong), wrong.title, text)
}

/// The answer to somebody whose login the edge does not accept, or not for this.
fn denied(tenant: &str, denied: &Denied) -> Response {
    let frame = Frame::of(tenant);
    let again = || Link::here("Log in again", login_path("/orders"));
    let (title, link) = match denied.status {
        StatusCode::UNAUTHORIZED => ("Not logged in", frame.who.person().map(|_| again())),
        _ => ("Refused", None),
    };
    let page = MessagePage {
        frame,
        title,
        text: &denied.detail,
        link,
    };
    (denied.status, html(&page)).into_response()
}

/// The answer for what does not exist, which leads to what does.
fn missing(frame: Frame, text: &str) -> Response {
    let link = match frame.tenant.as_str() {
        "" => "/orders".to_owned(),
        // Checked, so it needs no encoding.
        tenant => format!("/orders?tenantId={tenant}"),
    };
    let page = MessagePage {
        frame,
        title: "Not found",
        text,
        link: Some(Link::here("All orders", link)),
    };
    (StatusCode::NOT_FOUND, html(&page)).into_response()
}

/// The answer for an unknown path.
pub(crate) async fn not_found() -> Response {
    missing(Frame::of(""), "There is no such page.")
}

/// The value of a URL parameter.
pub(crate) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
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
pub(crate) struct Fields(pub(crate) Vec<(String, String)>);

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
    let Some(misdirected) = request.extensions().get::<Misdirected>() else {
        return next.run(request).await;
    };
    let text = misdirected.explain();
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
    let may_try_again = response.status() == StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    if may_try_again {
        headers
            .entry(header::RETRY_AFTER)
            .or_insert(HeaderValue::from_static("1"));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, web.policy.clone());
    headers.extend(FIXED);
    // A page shows the current state, and a form is for one order.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
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
