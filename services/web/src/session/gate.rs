//! What stands before the pages and before the edge, where there is a login.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use orders_contracts::sse;
use orders_http::{CorrelationId, Until};
use tokio::time::Instant;

use super::{Login, Nobody, Session, Visit, Visitor, Who, cookies, now, start::login_path};
use crate::{
    Web,
    forward::problem,
    pages::{self, Link},
};

/// Says to all that follows that there is a login, and who asks: a stranger, as long as nobody says otherwise.
pub(crate) async fn introduce(
    State(web): State<Arc<Web>>,
    request: Request,
    next: Next,
) -> Response {
    let who = match web.login {
        Some(_) => Who::Stranger,
        None => Who::Anybody,
    };
    let address = request.headers().get("x-forwarded-for").cloned();
    Visitor { who, address }.scope(next.run(request)).await
}

/// Lets nobody see a page who has not logged in.
pub(crate) async fn pages(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let Some(login) = &web.login else {
        return next.run(request).await;
    };
    let headers = request.headers();
    let is_visit = !headers.contains_key("x-refresh");
    match login.visit(headers, is_visit).await {
        Ok(Visit {
            person, cookies, ..
        }) => {
            let visitor = Visitor {
                who: Who::Person(person),
                ..Visitor::current()
            };
            with_cookies(visitor.scope(next.run(request)).await, cookies)
        }
        Err(Nobody::Unknown(pause)) => away(pause),
        Err(Nobody::LoggedOut) => stranger(&request),
    }
}

/// The answer to a stranger: the login and the way back, or, where that loses what was sent, what to do.
fn stranger(request: &Request) -> Response {
    let headers = request.headers();
    let site = |site: &str| {
        headers
            .get("sec-fetch-site")
            .is_some_and(|from| from == site)
    };
    let mode = headers.get("sec-fetch-mode");
    let is_page = !headers.contains_key("x-refresh") && mode.is_none_or(|mode| mode == "navigate");
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    if !is_read {
        return pages::notice(
            StatusCode::UNAUTHORIZED,
            "Not logged in",
            "You are not logged in, so nothing was done. Log in, which opens another tab; then go back and send the form again.",
            Some(Link::in_new_tab("Log in", login_path("/orders"))),
        );
    }
    if !is_page {
        let link = Link::here("Log in", login_path(path));
        return pages::notice(
            StatusCode::UNAUTHORIZED,
            "Not logged in",
            "You are not logged in.",
            Some(link),
        );
    }
    // Led here by another site, a visitor's browser keeps the session to itself. It sends it once this site asks.
    if site("cross-site") && cookies::read(headers, cookies::SESSION).is_none() {
        return pages::bounce(None);
    }
    Redirect::to(&login_path(path)).into_response()
}

/// Gives a call of the edge the credentials of whoever is logged in, and never the cookie.
pub(crate) async fn api(
    State(web): State<Arc<Web>>,
    Extension(id): Extension<CorrelationId>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(login) = &web.login else {
        return next.run(request).await;
    };
    let path = request.uri().path();
    let is_live = path.starts_with("/ws") || path == sse::PATH;
    let visit = login.visit(request.headers(), !is_live).await;
    let refuse = |status, detail| problem(&id, status, detail);
    let Visit {
        person,
        session,
        cookies,
    } = match visit {
        Ok(visit) => visit,
        Err(Nobody::LoggedOut) => {
            let mut response = refuse(StatusCode::UNAUTHORIZED, "Not logged in");
            let bearer = HeaderValue::from_static("Bearer realm=\"orders\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, bearer);
            return response;
        }
        Err(Nobody::Unknown(pause)) => {
            let detail = "Logins cannot be checked right now";
            return retry_after(refuse(StatusCode::SERVICE_UNAVAILABLE, detail), pause);
        }
    };
    strip(request.headers_mut());
    let authorization = person.authorization.clone();
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, authorization);
    let answer = match is_live {
        false => next.run(request).await,
        true => match live(login, &session, request, next).await {
            Some(answer) => answer,
            None => refuse(StatusCode::UNAUTHORIZED, "Logged out"),
        },
    };
    with_cookies(answer, cookies)
}

/// Live updates, which end with the session: nothing if it has ended.
async fn live(
    login: &Login,
    session: &Session,
    mut request: Request,
    next: Next,
) -> Option<Response> {
    let cut = login.endings.line(session)?;
    let left = login
        .settings
        .limits
        .end(&session.times)
        .saturating_sub(now());
    request.extensions_mut().insert(Until {
        cut: Arc::clone(&cut),
        end: Instant::now() + Duration::from_secs(left),
    });
    cut.run_until_cancelled(next.run(request)).await
}

/// The edge tells everybody its documentation, and uploads go to a URL that is a secret itself; nothing of the visitor goes
/// there.
pub(crate) async fn public(
    State(web): State<Arc<Web>>,
    mut request: Request,
    next: Next,
) -> Response {
    if web.login.is_some() {
        strip(request.headers_mut());
    }
    next.run(request).await
}

fn strip(headers: &mut HeaderMap) {
    headers.remove(header::COOKIE);
    headers.remove(header::AUTHORIZATION);
}

/// The page while the provider is away.
pub(super) fn away(pause: Duration) -> Response {
    let text = "Logins cannot be checked right now. Try again in a moment.";
    let page = pages::notice(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", text, None);
    retry_after(page, pause)
}

pub(super) fn retry_after(mut response: Response, pause: Duration) -> Response {
    let seconds = pause.as_secs().max(1);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, seconds.into());
    response
}

pub(super) fn with_cookies(mut response: Response, cookies: Vec<HeaderValue>) -> Response {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
