//! The end of a login: the provider has led the visitor back.

use std::sync::Arc;

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use orders_auth::Refusal;
use tracing::{info, warn};

use super::{
    Login, NoTokens, RETRY_AFTER, SameSite, Session, Times, cookies, end,
    gate::{away, with_cookies},
    now, secret,
    start::{Begun, LONGEST, login_path},
};
use crate::{
    Web,
    pages::{self, Link, parameter},
};

/// Why a login came to nothing.
enum Failed {
    /// It did not begin in this browser, or too long ago.
    Unknown,
    /// The visitor or the provider did not want it, or it was revoked.
    Denied,
    /// The provider gave something that proves nothing.
    Invalid,
    /// The provider is away.
    Away,
}

impl From<NoTokens> for Failed {
    fn from(none: NoTokens) -> Self {
        match none {
            NoTokens::Refused => Self::Invalid,
            NoTokens::Revoked => Self::Denied,
            NoTokens::Away => Self::Away,
        }
    }
}

/// `GET /login/callback`
pub(super) async fn callback(
    State(web): State<Arc<Web>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Some(login) = &web.login else {
        return pages::not_found().await;
    };
    let begun: Option<Begun> = login.open(&headers, cookies::LOGIN);
    let target = begun.as_ref().map_or("/", |begun| &begun.target).to_owned();
    // Whatever comes of it, it counts once.
    let mut set = cookies::clear(&headers, cookies::LOGIN);
    let page = match finish(login, begun, query.as_deref()).await {
        Ok(session) => {
            match login.seal(cookies::SESSION, &session, SameSite::Strict, None) {
                Some(cookies) => {
                    set.extend(cookies);
                    // A redirect would still come from the provider's site, and have no strict cookie.
                    pages::bounce(Some(&format!("..{target}")))
                }
                None => failed(&Failed::Invalid, &target),
            }
        }
        Err(why) => failed(&why, &target),
    };
    with_cookies(page, set)
}

async fn finish(
    login: &Login,
    begun: Option<Begun>,
    query: Option<&str>,
) -> Result<Session, Failed> {
    let answer = |name| parameter(query, name);
    let begun = begun.filter(|begun| now() <= begun.at + LONGEST);
    let begun = begun.filter(|begun| answer("state").as_ref() == Some(&begun.state));
    let begun = begun.ok_or(Failed::Unknown)?;
    let endpoints = login.provider.endpoints().ok_or(Failed::Away)?;
    if !endpoints.answers_as(answer("iss").as_deref()) {
        warn!("a login was answered by another issuer");
        return Err(Failed::Invalid);
    }
    if let Some(error) = answer("error") {
        info!("a login was refused: {error:?}");
        return Err(Failed::Denied);
    }
    let code = answer("code").ok_or(Failed::Invalid)?;
    let tokens = login.provider.exchange(&code, &begun.verifier).await?;
    let id_token = tokens.id_token.ok_or_else(|| {
        warn!("a login has no ID token");
        Failed::Invalid
    })?;
    let client_id = &login.settings.client_id;
    let who = login
        .verifier
        .verify_id_token(&id_token, client_id, &begun.nonce)
        .await;
    let who = who.map_err(|refusal| match refusal {
        Refusal::NoKeys { .. } => Failed::Away,
        refusal => {
            warn!("the ID token of a login does not count: {refusal}");
            Failed::Invalid
        }
    })?;
    let identity = login.identity(&tokens.access_token, &who.subject).await?;
    let now = now();
    let session = Session {
        id: secret(),
        access_token: tokens.access_token,
        token_id: identity.token_id.clone(),
        refresh_token: tokens.refresh_token,
        id_token,
        sid: who.session,
        subject: who.subject,
        name: who.name,
        times: Times {
            started: now,
            seen: now,
            expires: end(&identity),
        },
    };
    // Led on, its visitor would be led to the next login at once, and so on.
    match login.endings.has_ended(&session) {
        true => Err(Failed::Denied),
        false => Ok(session),
    }
}

fn failed(why: &Failed, target: &str) -> Response {
    let (status, text) = match why {
        Failed::Unknown => (
            StatusCode::BAD_REQUEST,
            "This login did not begin in this browser, or more than ten minutes ago.",
        ),
        Failed::Denied => (StatusCode::FORBIDDEN, "The login was refused."),
        Failed::Invalid => (
            StatusCode::BAD_GATEWAY,
            "The login did not work because of a problem on our side.",
        ),
        Failed::Away => return away(RETRY_AFTER),
    };
    let again = Link::here("Log in again", login_path(target));
    pages::notice(status, "Not logged in", text, Some(again))
}
