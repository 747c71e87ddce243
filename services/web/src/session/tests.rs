use axum::{
    Router,
    body::Body,
    extract::Request as Received,
    http::{Method, Request, Response, StatusCode, header},
};
use http_body_util::BodyExt;
use orders_contracts::{Claim, Timestamp};
use orders_service::Departure;
use orders_testkit::{Issuer, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tower::ServiceExt;

use super::*;
use crate::{Config, Web, router};

/// A session that nobody has.
pub(super) fn session() -> Session {
    Session {
        id: "a".to_owned(),
        access_token: "at".to_owned(),
        token_id: None,
        refresh_token: Some("r0".to_owned()),
        id_token: "id-token".to_owned(),
        sid: Some("s".to_owned()),
        subject: "u1".to_owned(),
        name: Some("Alice".to_owned()),
        times: Times {
            started: 1_000,
            seen: 1_000,
            expires: 1_300,
        },
    }
}

/// The front end of an edge that tells what it was sent, with logins at a real issuer.
struct Site {
    router: Router,
    login: Arc<Login>,
    issuer: Issuer,
    folder: TempDir,
}

/// What reached the edge: the path, and `authorization`, `cookie` and `x-forwarded-for`.
async fn echo(request: Received) -> axum::Json<Value> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap())
    };
    let [authorization, cookie, address] =
        ["authorization", "cookie", "x-forwarded-for"].map(header);
    axum::Json(json!({
        "path": request.uri().path(), "authorization": authorization, "cookie": cookie, "address": address,
        // And what a page needs of a list.
        "items": [], "page": 1, "limit": 10, "total": 0,
    }))
}

impl Site {
    async fn start() -> Self {
        let edge = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let edge_url = format!("http://{}", edge.local_addr().unwrap());
        tokio::spawn(axum::serve(edge, Router::new().fallback(echo)).into_future());
        let issuer = Issuer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            Some(file)
        };
        let config = Config {
            edge_url,
            oidc: OidcSettings {
                issuer: Some(issuer.url()),
                client_id: Some("pages".to_owned()),
                client_secret_file: file("secret", "s"),
                redirect_url: Some("http://localhost:3000/login/callback".to_owned()),
                ..OidcSettings::default()
            },
            session: SessionSettings {
                keys_file: file("keys", &data_encoding::BASE64.encode(&[1; 32])),
                ..SessionSettings::default()
            },
            ..Config::default()
        };
        let web = Arc::new(Web::new(config, None, Departure::default()).unwrap());
        let login = Arc::clone(web.login.as_ref().unwrap());
        let running = Arc::clone(&login);
        tokio::spawn(async move { running.verifier.run().await });
        eventually("the keys are known", async || login.verifier.ready()).await;
        Self {
            router: router(web, 3000),
            login,
            issuer,
            folder,
        }
    }

    /// Somebody of `t-1` and `t-2` who has just logged in.
    fn session(&self) -> Session {
        let token = self
            .issuer
            .token()
            .tenant("t-1")
            .tenant("t-2")
            .scopes("orders:read");
        let now = now();
        Session {
            access_token: token.sign(),
            times: Times {
                started: now,
                seen: now,
                expires: now + 300,
            },
            ..session()
        }
    }

    /// The `Cookie` header of a session.
    fn cookie(&self, session: &Session) -> String {
        let set = self
            .login
            .seal(cookies::SESSION, session, SameSite::Strict, None)
            .unwrap();
        let pair = |cookie: &HeaderValue| {
            cookie
                .to_str()
                .unwrap()
                .split(';')
                .next()
                .unwrap()
                .to_owned()
        };
        // A browser sends none of those that it is told to forget.
        let pairs = set.iter().map(pair).filter(|pair| !pair.ends_with('='));
        pairs.collect::<Vec<_>>().join("; ")
    }

    async fn send(
        &self,
        request: axum::http::request::Builder,
        body: &str,
    ) -> (Response<()>, String) {
        let request = request
            .header(header::HOST, "localhost:3000")
            .body(Body::from(body.to_owned()));
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (
            Response::from_parts(parts, ()),
            String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (Response<()>, String) {
        let request = headers
            .iter()
            .fold(Request::get(path), |request, (name, value)| {
                request.header(*name, *value)
            });
        self.send(request, "").await
    }
}

#[tokio::test]
async fn the_edge_gets_the_token_and_never_the_cookie() {
    let site = Site::start().await;
    let session = site.session();
    let cookie = format!("tenant=t-2; {}", site.cookie(&session));
    let bearer = format!("Bearer {}", session.access_token);
    for path in ["/api/orders?tenantId=t-1", "/ws/?EIO=4&transport=polling"] {
        let headers = [
            ("cookie", cookie.as_str()),
            ("authorization", "Bearer another"),
        ];
        let (response, body) = site.get(path, &headers).await;
        assert_eq!(response.status(), StatusCode::OK, "{body}");
        let got: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(got["authorization"], bearer.as_str(), "{path}");
        assert_eq!(got["cookie"], Value::Null, "{path}");
        assert_eq!(got["address"], "0.0.0.0", "{path}");
    }
    // An upload's URL is its own credential.
    let put = Request::put("/mock-upload/k?x=1")
        .header("cookie", &cookie)
        .header("authorization", "Bearer a");
    let (_, body) = site.send(put, "x").await;
    let got: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        [&got["authorization"], &got["cookie"]],
        [&Value::Null, &Value::Null]
    );
    // A page asks the edge in the same name.
    let (response, page) = site
        .get("/orders?tenantId=t-1", &[("cookie", &cookie)])
        .await;
    assert_eq!(response.status(), StatusCode::OK, "{page}");
    assert!(
        page.contains("There are no orders yet") && page.contains("<bdi>Alice</bdi>"),
        "{page}"
    );
    assert!(
        !page.contains("eyJ") && !page.contains("There is no sign-in"),
        "{page}"
    );
}

#[tokio::test]
async fn a_visitor_sees_their_own_tenants_only() {
    let site = Site::start().await;
    let cookie = site.cookie(&site.session());
    let (_, page) = site.get("/orders/new", &[("cookie", &cookie)]).await;
    assert!(
        page.contains("data-tenant=\"t-1\""),
        "the first of theirs: {page}"
    );
    assert!(
        page.contains("<option selected>t-1</option>") && page.contains("<option>t-2</option>"),
        "{page}"
    );
    let (picker, _) = page
        .split_once("</select>")
        .expect("tenants to choose from");
    assert_eq!(picker.matches("<option").count(), 2, "{picker}");
    for path in [
        "/orders",
        "/orders/new",
        "/orders/ord_qz74bke6iblutmfkqfvmtezzkq",
    ] {
        let (response, page) = site
            .get(&format!("{path}?tenantId=t-3"), &[("cookie", &cookie)])
            .await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        assert!(page.contains("Your login is not for this tenant"), "{page}");
    }
    // The last tenant of somebody else in this browser does not count.
    let foreign = format!("tenant=t-3; {cookie}");
    let (_, page) = site.get("/orders/new", &[("cookie", &foreign)]).await;
    assert!(page.contains("data-tenant=\"t-1\""), "{page}");

    let operator = Session {
        access_token: site.issuer.token().scopes("orders:read").operator().sign(),
        ..site.session()
    };
    let (response, page) = site
        .get(
            "/orders?tenantId=t-9",
            &[("cookie", &site.cookie(&operator))],
        )
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(page.contains("<input id=\"tenant\""), "{page}");
    let nobody = Session {
        access_token: site.issuer.token().scopes("orders:read").sign(),
        ..site.session()
    };
    let (response, page) = site
        .get("/orders", &[("cookie", &site.cookie(&nobody))])
        .await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(page.contains("Your login is for no tenant"), "{page}");
}

#[tokio::test]
async fn strangers_are_led_to_the_login_and_calls_are_refused() {
    let site = Site::start().await;
    for (path, to) in [
        (
            "/orders?tenantId=t-1&page=2",
            "/login?to=%2Forders%3FtenantId%3Dt-1%26page%3D2",
        ),
        ("/", "/login?to=%2F"),
        ("/nothing", "/login?to=%2Fnothing"),
    ] {
        let (response, _) = site
            .get(
                path,
                &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
            )
            .await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        assert_eq!(response.headers()[header::LOCATION], to);
    }
    // From another site, the browser may keep a session to itself.
    let (response, page) = site
        .get(
            "/orders?tenantId=t-1",
            &[
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
            ],
        )
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        page.contains("<meta http-equiv=\"refresh\" content=\"0\">"),
        "{page}"
    );
    // A script learns it by the status.
    for headers in [[("x-refresh", "true")], [("sec-fetch-mode", "cors")]] {
        let (response, page) = site.get("/orders?tenantId=t-1", &headers).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(
            !page.contains("id=\"region\"") && !page.contains("<form class=\"tenant\""),
            "{page}"
        );
    }
    let (response, body) = site
        .get("/api/orders?tenantId=t-1", &[("authorization", "Bearer x")])
        .await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        response.headers()[header::WWW_AUTHENTICATE],
        "Bearer realm=\"orders\""
    );
    let problem: orders_contracts::ProblemDetails = serde_json::from_str(&body).unwrap();
    assert_eq!(problem.message, ["Not logged in"]);
    let form = Request::post("/orders/new")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let (response, page) = site.send(form, "tenantId=t-1").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(
        page.contains("nothing was done") && page.contains("href=\"/login?to="),
        "{page}"
    );
    // What everybody may have.
    let (response, _) = site.get(&crate::assets::ASSETS.style.path, &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn other_sites_cannot_use_a_session() {
    let site = Site::start().await;
    let cookie = site.cookie(&site.session());
    for path in [
        "/api/orders",
        "/api/uploads/presign",
        "/orders/new",
        "/logout",
    ] {
        for (name, value) in [
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://localhost:3001"),
            ("origin", "null"),
        ] {
            let request = Request::post(path)
                .header("cookie", &cookie)
                .header(name, value);
            let (response, _) = site.send(request, "{}").await;
            assert_eq!(
                response.status(),
                StatusCode::FORBIDDEN,
                "{name}: {value} to {path}"
            );
            assert!(
                !response.headers().contains_key(header::SET_COOKIE),
                "{path}"
            );
        }
    }
    let own = Request::post("/api/orders")
        .header("cookie", &cookie)
        .header("sec-fetch-site", "same-origin");
    assert_eq!(site.send(own, "{}").await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_session_ends_when_it_is_idle_old_changed_or_ended() {
    let site = Site::start().await;
    let status = async |cookie: &str| {
        let (response, _) = site
            .get("/api/orders?tenantId=t-1", &[("cookie", cookie)])
            .await;
        response.status()
    };
    let session = site.session();
    let cookie = site.cookie(&session);
    assert_eq!(status(&cookie).await, StatusCode::OK);
    let now = now();
    let times = |started, seen| Session {
        times: Times {
            started,
            seen,
            expires: now + 300,
        },
        ..session.clone()
    };
    for over in [times(now - 1_800, now - 1_800), times(now - 43_200, now)] {
        assert_eq!(status(&site.cookie(&over)).await, StatusCode::UNAUTHORIZED);
    }
    let expired = Session {
        access_token: site
            .issuer
            .token()
            .tenant("t-1")
            .expired(Duration::from_secs(3_600))
            .sign(),
        ..session.clone()
    };
    assert_eq!(
        status(&site.cookie(&expired)).await,
        StatusCode::UNAUTHORIZED
    );
    let mut changed = cookie.clone().into_bytes();
    let last = changed.len() - 5;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    assert_eq!(
        status(std::str::from_utf8(&changed).unwrap()).await,
        StatusCode::UNAUTHORIZED
    );

    for (claim, value, id) in [
        (Claim::Token, "a", "a"),
        (Claim::Token, "j", "b"),
        (Claim::Session, "s", "c"),
        (Claim::Subject, "u1", "d"),
    ] {
        // Not ended by what went before.
        let session = Session {
            id: id.to_owned(),
            token_id: (id == "b").then(|| "j".to_owned()),
            sid: (id != "d").then(|| "s".to_owned()),
            ..session.clone()
        };
        let cookie = site.cookie(&session);
        assert_eq!(status(&cookie).await, StatusCode::OK, "{claim:?} {value}");
        let line = site.login.endings.line(&session).unwrap();
        site.login.endings.end(claim, value, Timestamp::now());
        assert_eq!(
            status(&cookie).await,
            StatusCode::UNAUTHORIZED,
            "{claim:?} {value}"
        );
        assert!(line.is_cancelled(), "{claim:?} {value}");
        assert!(
            site.login.endings.line(&session).is_none(),
            "{claim:?} {value}"
        );
    }
}

#[tokio::test]
async fn a_visit_is_noted_and_what_a_page_does_on_its_own_is_not() {
    let site = Site::start().await;
    let now = now();
    let session = Session {
        times: Times {
            started: now - 600,
            seen: now - 600,
            expires: now + 300,
        },
        ..site.session()
    };
    let cookie = site.cookie(&session);
    let noted = async |path: &str, more: &[(&str, &str)]| {
        let headers: Vec<_> = [("cookie", cookie.as_str())]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let (response, _) = site.get(path, &headers).await;
        let set = response.headers().get_all(header::SET_COOKIE);
        set.iter()
            .any(|set| set.to_str().unwrap().starts_with(cookies::SESSION))
    };
    assert!(noted("/orders?tenantId=t-1", &[]).await);
    assert!(noted("/api/orders?tenantId=t-1", &[]).await);
    assert!(!noted("/orders?tenantId=t-1", &[("x-refresh", "true")]).await);
    assert!(!noted("/ws/?EIO=4&transport=polling", &[]).await);
    assert!(!noted("/api/orders/events?tenantId=t-1", &[]).await);
}

#[tokio::test]
async fn a_provider_ends_a_login_with_a_token_that_counts() {
    let site = Site::start().await;
    let cookie = site.cookie(&site.session());
    let tell = async |token: &str| {
        let request = Request::post("/logout/backchannel")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        site.send(request, &format!("logout_token={token}")).await
    };
    let logout = || site.issuer.logout_token("pages").session("s");
    for wrong in [
        "x".to_owned(),
        String::new(),
        site.issuer.logout_token("other").session("s").sign(),
        logout().header("typ", "JWT").sign(),
        logout().claim("nonce", "n").sign(),
        logout().without("events").sign(),
    ] {
        let (response, body) = tell(&wrong).await;
        assert_eq!(
            response.status(),
            StatusCode::BAD_REQUEST,
            "{wrong}: {body}"
        );
        assert!(body.contains("invalid_request"), "{body}");
    }
    let open = async || {
        site.get("/api/orders", &[("cookie", &cookie)])
            .await
            .0
            .status()
    };
    assert_eq!(open().await, StatusCode::OK);
    let (response, _) = tell(&logout().sign()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(open().await, StatusCode::UNAUTHORIZED);

    // All of a subject, by the clock of the provider, which may be ahead.
    let ahead = site.issuer.logout_token("pages").subject("u2");
    let (response, _) = tell(&ahead.claim("iat", now() + 20).sign()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let goes_on = |after: u64| {
        let mut session = Session {
            subject: "u2".to_owned(),
            sid: None,
            ..site.session()
        };
        session.times.started += after;
        site.login.endings.line(&session).is_some()
    };
    assert!(!goes_on(10) && goes_on(30));
}

#[tokio::test]
async fn a_logout_takes_the_cookie_and_what_the_site_has_kept() {
    let site = Site::start().await;
    let cookie = site.cookie(&site.session());
    let request = Request::builder()
        .method(Method::POST)
        .uri("/logout")
        .header("cookie", &cookie);
    let (response, page) = site
        .send(request.header("sec-fetch-site", "same-origin"), "")
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["clear-site-data"],
        "\"cache\", \"storage\""
    );
    assert!(
        page.contains("content=\"0;url=./logout/provider\""),
        "{page}"
    );
    let set: Vec<_> = response
        .headers()
        .get_all(header::SET_COOKIE)
        .iter()
        .map(|set| set.to_str().unwrap())
        .collect();
    let cleared = format!("{}=; Path=/; Secure; HttpOnly; Max-Age=0", cookies::SESSION);
    assert!(set.contains(&cleared.as_str()), "{set:?}");
    assert!(
        !page.contains("id-token") && !set.iter().any(|set| set.contains("id-token")),
        "{page}"
    );
    let (response, _) = site.get("/api/orders", &[("cookie", &cookie)]).await;
    assert_eq!(
        response.status(),
        StatusCode::UNAUTHORIZED,
        "a copy of the cookie"
    );
    let (response, page) = site.get("/logout", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        page.contains("You are logged out.") && !page.contains("There is no sign-in"),
        "{page}"
    );
}

#[tokio::test]
async fn keys_are_read_again() {
    let site = Site::start().await;
    let cookie = site.cookie(&site.session());
    let keys = site.folder.path().join("keys");
    let [old, new] = [1, 2].map(|key| data_encoding::BASE64.encode(&[key; 32]));
    std::fs::write(&keys, format!("{new}\n{old}\n")).unwrap();
    site.login.read_keys();
    let (response, _) = site.get("/api/orders", &[("cookie", &cookie)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_ne!(
        site.cookie(&site.session()).split('.').nth(1),
        cookie.split('.').nth(1)
    );
    // A file that is half written changes nothing.
    std::fs::write(&keys, "x").unwrap();
    site.login.read_keys();
    let (response, _) = site.get("/api/orders", &[("cookie", &cookie)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    std::fs::write(&keys, &new).unwrap();
    site.login.read_keys();
    let (response, _) = site.get("/api/orders", &[("cookie", &cookie)]).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}
