//! The OpenID provider, as its client: where it does what, and tokens for a code or a refresh token.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    http::{Request, StatusCode, header},
};
use data_encoding::BASE64;
use form_urlencoded::{Serializer, byte_serialize};
use orders_auth::{ProviderClient, Unanswered, is_safe};
use orders_service::{Seldom, chain};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::settings::LoginSettings;

/// The pauses until it is known where the provider does what.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// How often that is asked again.
const FRESH: Duration = Duration::from_secs(60 * 60);

pub(crate) struct Provider {
    client: ProviderClient,
    settings: LoginSettings,
    /// The API that access tokens are for, if the provider has to be told (RFC 8707).
    resource: Option<String>,
    endpoints: watch::Sender<Option<Arc<Endpoints>>>,
}

/// Where the provider does what (OpenID Connect Discovery 1.0).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Endpoints {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    pub(crate) end_session_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    /// Whether every answer to a login names the issuer (RFC 9207).
    #[serde(default, rename = "authorization_response_iss_parameter_supported")]
    names_issuer: bool,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What the provider gives for a code or a refresh token. It has no `Debug`: nothing of it belongs in a log.
#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    token_type: String,
    pub(crate) refresh_token: Option<String>,
    pub(crate) id_token: Option<String>,
}

/// Why there are no tokens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoTokens {
    /// The provider refuses, and would refuse again.
    Refused,
    /// They would be of somebody whose tokens count no more.
    Revoked,
    /// It does not answer, or not now.
    Away,
}

/// An error of the token endpoint (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Provider {
    pub(crate) fn new(settings: LoginSettings, resource: Option<String>) -> Self {
        Self {
            client: ProviderClient::default(),
            settings,
            resource,
            endpoints: watch::Sender::new(None),
        }
    }

    /// Finds out where the provider does what, and again every hour, without end.
    pub(crate) async fn run(&self) {
        let lines = Seldom::new();
        let [mut pause, longest] = PAUSES;
        loop {
            match self.discover().await {
                Ok(found) => {
                    let found = Arc::new(found);
                    let before = self.endpoints.send_replace(Some(Arc::clone(&found)));
                    if before.as_ref() != Some(&found) {
                        info!("visitors log in at {}", self.settings.issuer);
                    }
                    pause = PAUSES[0];
                    sleep(FRESH).await;
                }
                Err(reason) => {
                    let issuer = &self.settings.issuer;
                    lines.say(|_| warn!("ORDERS_OIDC__ISSUER: {issuer} {reason}; asking again"));
                    sleep(pause).await;
                    pause = longest.min(pause * 2);
                }
            }
        }
    }

    /// Where the provider does what, once that is known.
    pub(crate) fn endpoints(&self) -> Option<Arc<Endpoints>> {
        self.endpoints.borrow().clone()
    }

    pub(crate) fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    async fn discover(&self) -> Result<Endpoints, String> {
        let issuer = &self.settings.issuer;
        let base = issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let body = self.client.get(&url).await.map_err(silent)?;
        let found: Endpoints = parse(&body).ok_or("does not say where it does what")?;
        found.check(issuer)?;
        Ok(found)
    }

    /// The tokens for the code of a login.
    pub(crate) async fn exchange(&self, code: &str, verifier: &str) -> Result<Tokens, NoTokens> {
        let form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.settings.redirect_url.as_str()),
            ("code_verifier", verifier),
        ];
        self.tokens(form).await
    }

    /// Newer tokens.
    pub(crate) async fn refresh(&self, refresh_token: &str) -> Result<Tokens, NoTokens> {
        let form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ];
        self.tokens(form).await
    }

    /// Takes a refresh token back (RFC 7009), if the provider can.
    pub(crate) async fn revoke(&self, refresh_token: &str) {
        let Some(endpoints) = self.endpoints() else {
            return;
        };
        let Some(url) = &endpoints.revocation_endpoint else {
            return;
        };
        let form = [
            ("token", refresh_token),
            ("token_type_hint", "refresh_token"),
        ];
        match self.post(&endpoints, url, &form).await {
            Ok((StatusCode::OK, _)) => {}
            Ok((status, _)) => warn!("a refresh token stays valid: the provider answers {status}"),
            Err(reason) => warn!("a refresh token stays valid: the provider {reason}"),
        }
    }

    async fn tokens(&self, mut form: Vec<(&str, &str)>) -> Result<Tokens, NoTokens> {
        static LINES: Seldom = Seldom::new();
        let away = |reason: String| {
            LINES.say(|unsaid| warn!(unsaid, "no tokens: the provider {reason}"));
            NoTokens::Away
        };
        let endpoints = self.endpoints().ok_or(NoTokens::Away)?;
        form.extend(self.resource().map(|resource| ("resource", resource)));
        let answer = self
            .post(&endpoints, &endpoints.token_endpoint, &form)
            .await;
        let (status, body) = answer.map_err(away)?;
        match status {
            StatusCode::OK => {
                let tokens: Option<Tokens> = parse(&body);
                let tokens = tokens.filter(|t| t.token_type.eq_ignore_ascii_case("bearer"));
                tokens.ok_or_else(|| away("answers with something else".to_owned()))
            }
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let error = parse(&body).map_or_else(String::new, |refusal: Refusal| refusal.error);
                let grant = form[0].1;
                // The end of a session is nothing to look at; anything else is a matter of settings.
                match error.as_str() {
                    "invalid_grant" => info!("the provider refuses {grant}: {error}"),
                    error => warn!("the provider refuses {grant}: {status} {error:?}"),
                }
                Err(NoTokens::Refused)
            }
            status => Err(away(format!("answers {status}"))),
        }
    }

    /// The status and the body of the answer to a form; the error is what the provider does instead.
    async fn post(
        &self,
        endpoints: &Endpoints,
        url: &str,
        form: &[(&str, &str)],
    ) -> Result<(StatusCode, Bytes), String> {
        let request = self.form(endpoints, url, form)?;
        self.client.send(request).await.map_err(silent)
    }

    /// A form with the client's secret, as it is in its file now.
    fn form(
        &self,
        endpoints: &Endpoints,
        url: &str,
        form: &[(&str, &str)],
    ) -> Result<Request<Bytes>, String> {
        let secret = self.settings.client_secret.read();
        let secret =
            secret.map_err(|e| format!("cannot be asked: ORDERS_OIDC__CLIENT_SECRET_FILE: {e}"))?;
        let id = &self.settings.client_id;
        let mut body = Serializer::new(String::new());
        body.extend_pairs(form);
        let mut request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        if endpoints.takes_basic() {
            // RFC 6749 section 2.3.1: both are encoded as in a form first.
            let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encode(id), encode(&secret));
            let basic = format!("Basic {}", BASE64.encode(pair.as_bytes()));
            request = request.header(header::AUTHORIZATION, basic);
        } else {
            body.append_pair("client_id", id)
                .append_pair("client_secret", &secret);
        }
        let request = request.body(body.finish().into());
        request.map_err(|error| format!("cannot be asked: {error}"))
    }
}

impl Endpoints {
    /// Whether an answer to a login may be this issuer's: `iss` is what it names, if it names one.
    pub(crate) fn answers_as(&self, iss: Option<&str>) -> bool {
        match iss {
            Some(iss) => iss == self.issuer,
            None => !self.names_issuer,
        }
    }

    /// The URL of a login.
    pub(crate) fn authorization(&self, parameters: &[(&str, &str)]) -> String {
        with_query(&self.authorization_endpoint, parameters)
    }

    fn takes_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_ref();
        let takes = |method: &str| methods.is_none_or(|all| all.iter().any(|one| one == method));
        takes("client_secret_basic") || !takes("client_secret_post")
    }

    fn check(&self, issuer: &str) -> Result<(), String> {
        if self.issuer != issuer {
            return Err(format!("calls itself {:?}", self.issuer));
        }
        let all = [&self.authorization_endpoint, &self.token_endpoint];
        let mut all = all
            .into_iter()
            .chain(&self.end_session_endpoint)
            .chain(&self.revocation_endpoint);
        let is_wrong = |url: &&String| !is_safe(url);
        match all.find(is_wrong) {
            Some(wrong) => Err(format!("names {wrong:?}, which is no URL of https")),
            None => Ok(()),
        }
    }
}

/// A URL with more parameters.
pub(crate) fn with_query(url: &str, parameters: &[(&str, &str)]) -> String {
    let query = Serializer::new(String::new())
        .extend_pairs(parameters)
        .finish();
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}{query}")
}

fn silent(error: Unanswered) -> String {
    format!("cannot be asked: {}", chain(&error))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoints(more: serde_json::Value) -> Endpoints {
        let mut all = json!({
            "issuer": "https://login.example",
            "authorization_endpoint": "https://login.example/auth?realm=a",
            "token_endpoint": "https://login.example/token",
            "jwks_uri": "https://login.example/keys",
        });
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn an_answer_names_its_issuer_if_the_provider_promises_so() {
        let silent = endpoints(json!({}));
        let promised = endpoints(json!({ "authorization_response_iss_parameter_supported": true }));
        for (iss, by_silent, by_promised) in [
            (None, true, false),
            (Some("https://login.example"), true, true),
            (Some("https://login.example/"), false, false),
            (Some("https://evil.example"), false, false),
        ] {
            assert_eq!(silent.answers_as(iss), by_silent, "{iss:?}");
            assert_eq!(promised.answers_as(iss), by_promised, "{iss:?}");
        }
    }

    #[test]
    fn another_issuer_or_an_open_way_is_refused() {
        assert_eq!(endpoints(json!({})).check("https://login.example"), Ok(()));
        for (more, issuer) in [
            (json!({}), "https://login.example/"),
            (
                json!({ "issuer": "https://evil.example" }),
                "https://login.example",
            ),
            (
                json!({ "token_endpoint": "http://login.example/token" }),
                "https://login.example",
            ),
            (
                json!({ "end_session_endpoint": "javascript:alert(1)" }),
                "https://login.example",
            ),
        ] {
            assert!(endpoints(more.clone()).check(issuer).is_err(), "{more}");
        }
    }

    #[test]
    fn the_secret_goes_where_the_provider_takes_it() {
        let takes = |methods: &[&str]| {
            endpoints(json!({ "token_endpoint_auth_methods_supported": methods })).takes_basic()
        };
        assert!(endpoints(json!({})).takes_basic());
        assert!(takes(&["client_secret_post", "client_secret_basic"]));
        assert!(!takes(&["client_secret_post"]));
    }

    #[test]
    fn parameters_are_added_to_a_query() {
        let url = endpoints(json!({})).authorization(&[("scope", "a b"), ("state", "&")]);
        assert_eq!(
            url,
            "https://login.example/auth?realm=a&scope=a+b&state=%26"
        );
    }
}
