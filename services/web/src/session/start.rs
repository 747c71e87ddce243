//! The beginning of a login: the visitor goes to the provider.

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use data_encoding::BASE64URL_NOPAD;
use form_urlencoded::Serializer;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{
    Login, RETRY_AFTER, SameSite,
    callback::callback,
    cookies,
    gate::{away, with_cookies},
    logout, now, secret,
    settings::CALLBACK,
    target::target,
};
use crate::{Web, pages};

/// How long a login may take, in seconds.
pub(super) const LONGEST: u64 = 600;

/// A login that has begun, as its cookie has it.
#[derive(Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) state: String,
    pub(super) nonce: String,
    /// The secret of PKCE (RFC 7636).
    pub(super) verifier: String,
    /// Where the visitor wanted to go.
    pub(super) target: String,
    pub(super) at: u64,
}

/// The routes of logins and logouts, which need no session; none without a login.
pub(crate) fn routes(login: Option<&Arc<Login>>) -> Router<Arc<Web>> {
    if login.is_none() {
        return Router::new();
    }
    Router::new()
        .route("/login", get(login_page))
        .route(CALLBACK, get(callback))
        .route("/logout", get(logout::done).post(logout::logout))
        .route("/logout/provider", get(logout::at_provider))
        .route("/logout/backchannel", post(logout::backchannel))
}

/// The link to the login that leads back to `target`, a path of ours.
pub(crate) fn login_path(target: &str) -> String {
    let query = Serializer::new(String::new())
        .append_pair("to", target)
        .finish();
    format!("/login?{query}")
}

/// `GET /login?to=...`. A link and no form: browsers would apply `form-action` to the provider, too.
async fn login_page(State(web): State<Arc<Web>>, RawQuery(query): RawQuery) -> Response {
    let Some(login) = &web.login else {
        return pages::not_found().await;
    };
    let Some(endpoints) = login.provider.endpoints() else {
        return away(RETRY_AFTER);
    };
    let asked = pages::parameter(query.as_deref(), "to").unwrap_or_default();
    let begun = Begun {
        state: secret(),
        nonce: secret(),
        verifier: secret(),
        target: target(&asked).to_owned(),
        at: now(),
    };
    let challenge = BASE64URL_NOPAD.encode(digest(&SHA256, begun.verifier.as_bytes()).as_ref());
    let settings = &login.settings;
    let mut parameters = vec![
        ("response_type", "code"),
        ("client_id", settings.client_id.as_str()),
        ("redirect_uri", settings.redirect_url.as_str()),
        ("scope", settings.scopes.as_str()),
        ("state", begun.state.as_str()),
        ("nonce", begun.nonce.as_str()),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    if let Some(resource) = login.provider.resource() {
        parameters.push(("resource", resource));
    }
    let url = endpoints.authorization(&parameters);
    // Lax: the provider, another site, leads back.
    let cookies = login.seal(cookies::LOGIN, &begun, SameSite::Lax, Some(LONGEST));
    with_cookies(
        Redirect::to(&url).into_response(),
        cookies.unwrap_or_default(),
    )
}
