//! The end of a session, by its visitor or by the provider.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use orders_auth::{LogoutToken, Refusal};
use orders_contracts::{Claim, Timestamp};
use serde_json::json;
use tracing::{Instrument as _, info, warn};

use super::{
    Login, Nobody, RETRY_AFTER, SameSite, Session, cookies,
    gate::{away, retry_after, with_cookies},
    provider::with_query,
    start::login_path,
    target::target,
};
use crate::{
    Web,
    pages::{self, Fields, Link},
};

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
/// How long the way to the provider may take, in seconds.
const ON_THE_WAY: u64 = 60;

/// `POST /logout`: ends the session here, and leads on to end it at the provider.
///
/// By a page, as browsers would apply `form-action` to the provider, too; and without the ID token in it.
pub(super) async fn logout(State(web): State<Arc<Web>>, headers: HeaderMap) -> Response {
    let Some(login) = &web.login else {
        return pages::not_found().await;
    };
    let mut set = cookies::clear(&headers, cookies::SESSION);
    let session: Option<Session> = login.open(&headers, cookies::SESSION);
    let page = match session {
        Some(session) => {
            let now = Timestamp::now();
            login.endings.end(Claim::Token, &session.id, now);
            let id_token = &session.id_token;
            let way = login.seal(
                cookies::LOGOUT,
                id_token,
                SameSite::Strict,
                Some(ON_THE_WAY),
            );
            set.extend(way.unwrap_or_default());
            revoke(login, session);
            pages::bounce(Some("./logout/provider"))
        }
        None => pages::bounce(Some("./logout")),
    };
    let mut response = with_cookies(page, set);
    let clear = HeaderValue::from_static("\"cache\", \"storage\"");
    response.headers_mut().insert(CLEAR_SITE_DATA, clear);
    response
}

/// Takes the refresh token back, which may outlive the login at the provider. The visitor does not wait for it.
fn revoke(login: &Arc<Login>, session: Session) {
    let login = Arc::clone(login);
    let revoke = async move {
        if let Some(refresh_token) = &session.refresh_token {
            login.provider.revoke(refresh_token).await;
        }
    };
    tokio::spawn(revoke.in_current_span());
}

/// `GET /logout/provider`: leads to the provider's logout (OpenID Connect RP-Initiated Logout), which leads back.
pub(super) async fn at_provider(State(web): State<Arc<Web>>, headers: HeaderMap) -> Response {
    let Some(login) = &web.login else {
        return pages::not_found().await;
    };
    let id_token: Option<String> = login.open(&headers, cookies::LOGOUT);
    let endpoints = login.provider.endpoints();
    let endpoint = endpoints.and_then(|found| found.end_session_endpoint.clone());
    let way = match (endpoint, id_token) {
        (Some(endpoint), Some(id_token)) => {
            let back = format!("{}/logout", login.settings.home);
            let parameters = [
                ("id_token_hint", id_token.as_str()),
                ("client_id", login.settings.client_id.as_str()),
                ("post_logout_redirect_uri", back.as_str()),
            ];
            with_query(&endpoint, &parameters)
        }
        _ => "/logout".to_owned(),
    };
    let cleared = cookies::clear(&headers, cookies::LOGOUT);
    with_cookies(Redirect::to(&way).into_response(), cleared)
}

/// `GET /logout?to=...`: the page after the end of a session, which offers the login that leads on.
pub(super) async fn done(
    State(web): State<Arc<Web>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(login) = &web.login else {
        return pages::not_found().await;
    };
    let asked = pages::parameter(query.as_deref(), "to").unwrap_or_default();
    let target = target(&asked);
    match login.visit(&headers, false).await {
        // Logged in again meanwhile, in another tab.
        Ok(visit) => with_cookies(Redirect::to(target).into_response(), visit.cookies),
        Err(Nobody::Unknown(pause)) => away(pause),
        Err(Nobody::LoggedOut) => {
            let link = Link::here("Log in", login_path(target));
            let text = "You are logged out.";
            pages::notice(StatusCode::OK, "Logged out", text, Some(link))
        }
    }
}

/// `POST /logout/backchannel`: the provider says that a login has ended (OpenID Connect Back-Channel Logout).
pub(super) async fn backchannel(State(web): State<Arc<Web>>, Fields(fields): Fields) -> Response {
    let Some(login) = &web.login else {
        return pages::not_found().await;
    };
    let mut tokens = fields.iter().filter(|(name, _)| name == "logout_token");
    let token = match (tokens.next(), tokens.next()) {
        (Some((_, token)), None) => token,
        _ => return invalid("logout_token must be given once"),
    };
    let ended = login
        .verifier
        .verify_logout_token(token, &login.settings.client_id)
        .await;
    let (claim, value, issued_at) = match ended {
        Ok(LogoutToken {
            session: Some(sid),
            issued_at,
            ..
        }) => (Claim::Session, sid, issued_at),
        Ok(LogoutToken {
            subject: Some(subject),
            issued_at,
            ..
        }) => (Claim::Subject, subject, issued_at),
        Ok(_) => return invalid("logout_token names nobody"),
        Err(Refusal::NoKeys { retry_after }) => return not_yet(retry_after),
        Err(refusal) => {
            warn!("a logout token does not count: {refusal}");
            return invalid("logout_token does not count");
        }
    };
    info!("the provider has ended a login");
    // The clock of the provider, which its tokens have their times from, may be ahead.
    let told_at = Timestamp::from_millis(issued_at.timestamp_millis());
    let at = told_at.max(Some(Timestamp::now()));
    let at = at.unwrap_or_else(Timestamp::now);
    match login.endings.end(claim, &value, at).has_arrived().await {
        true => StatusCode::OK.into_response(),
        false => not_yet(RETRY_AFTER),
    }
}

/// The answer to a provider that may try again.
fn not_yet(pause: Duration) -> Response {
    retry_after(StatusCode::SERVICE_UNAVAILABLE.into_response(), pause)
}

fn invalid(description: &str) -> Response {
    let problem = json!({ "error": "invalid_request", "error_description": description });
    (StatusCode::BAD_REQUEST, Json(problem)).into_response()
}
