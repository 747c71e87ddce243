//! Logins: the pages, in a real browser or without one, with a real OpenID provider.

mod instances;
mod lasting;
pub(crate) mod visitor;

use std::time::Duration;

use orders_testkit::{Lifetimes, OidcProvider, PASSWORD, Stack};
use reqwest::{StatusCode, redirect};

use crate::web::Site;

/// A payment delay that no test waits for.
const NEVER: &str = "1h";

/// Runs a script against pages with a login.
async fn browse(script: &str, delay: &str, lifetimes: Lifetimes) {
    let (site, provider) = Site::start_with_login(delay, lifetimes).await;
    let token = provider.machine_token().await;
    let environment = [
        ("PROVIDER_URL", provider.issuer()),
        ("PASSWORD", PASSWORD),
        ("TOKEN", token.as_str()),
    ];
    site.browse(script, &environment).await;
}

#[tokio::test]
async fn visitors_log_in_and_see_their_tenants() {
    browse("login.mjs", NEVER, Lifetimes::default()).await;
}

#[tokio::test]
async fn a_visitor_orders_with_an_attachment_and_sees_it_paid() {
    browse("login-order.mjs", "2s", Lifetimes::default()).await;
}

#[tokio::test]
async fn a_logout_here_or_at_the_provider_ends_everything() {
    browse("logout.mjs", NEVER, Lifetimes::default()).await;
}

#[tokio::test]
async fn tokens_are_renewed_while_somebody_is_there() {
    // Due a second after the login.
    let lifetimes = Lifetimes {
        access: Duration::from_secs(61),
        ..Lifetimes::default()
    };
    browse("refresh.mjs", NEVER, lifetimes).await;
}

#[tokio::test]
async fn whose_refresh_token_has_ended_logs_in_again() {
    let lifetimes = Lifetimes {
        access: Duration::from_secs(61),
        refresh: Duration::from_secs(1),
    };
    browse("refresh-expired.mjs", NEVER, lifetimes).await;
}

#[tokio::test]
async fn web_waits_for_a_provider_that_is_away() {
    let stack = Stack::start().await;
    let web = stack.daemon("web");
    let home = web.url().replace("127.0.0.1", "localhost");
    let mut provider = OidcProvider::start(stack.folder(), &home, Lifetimes::default()).await;
    provider.kill().await;
    let login = provider.login(&home);
    let web = login
        .iter()
        .fold(web, |web, (name, value)| web.env(name, value));
    let web = web.spawn();
    web.unready("ORDERS_OIDC__ISSUER").await;

    let http = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .build()
        .unwrap();
    let get = async |path: &str| {
        http.get(format!("{}{path}", web.url()))
            .send()
            .await
            .unwrap()
    };
    let answer = get("/login?to=/orders").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("Logins cannot be checked right now")
    );

    provider.restart().await;
    web.ready().await;
    let answer = get("/login?to=/orders").await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let location = answer.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(provider.issuer()), "{location}");
    let log = web.log();
    assert!(log.contains("ORDERS_OIDC__ISSUER"), "{log}");
    assert!(!log.contains("eyJ"), "{log}");
}

#[tokio::test]
async fn a_faulty_setting_is_named_in_one_line() {
    let stack = Stack::start().await;
    let home = "http://localhost:3000";
    let provider = OidcProvider::start(stack.folder(), home, Lifetimes::default()).await;
    let missing = stack.folder().join("missing");
    let missing = missing.to_str().unwrap();
    for name in [
        "ORDERS_OIDC__CLIENT_SECRET_FILE",
        "ORDERS_SESSION__KEYS_FILE",
    ] {
        let web = provider
            .login(home)
            .iter()
            .fold(stack.daemon("web"), |web, (set, value)| {
                web.env(
                    set,
                    if *set == name {
                        missing
                    } else {
                        value.as_str()
                    },
                )
            });
        let mut web = web.spawn();
        assert_eq!(web.ended().await.code(), Some(64));
        let log = web.log();
        let line = format!("{name}: {missing}: No such file or directory");
        assert!(log.lines().count() == 1 && log.contains(&line), "{log}");
    }
}

#[tokio::test]
async fn calls_without_a_session_are_refused_with_what_to_do() {
    let (site, provider) = Site::start_with_login(NEVER, Lifetimes::default()).await;
    let http = reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .build()
        .unwrap();
    let url = site.web.url();
    for path in ["/api/orders?tenantId=t-123", "/ws/?EIO=4&transport=polling"] {
        // What a client brings itself does not count here.
        let answer = http
            .get(format!("{url}{path}"))
            .bearer_auth(provider.machine_token().await);
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer.headers().contains_key("www-authenticate"));
        assert_eq!(answer.headers()["content-type"], "application/json");
    }
    let page = http
        .get(format!("{url}/orders/new?tenantId=t-123"))
        .send()
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        page.headers()["location"],
        "/login?to=%2Forders%2Fnew%3FtenantId%3Dt-123"
    );
    let form = http
        .post(format!("{url}/orders/new"))
        .header("content-type", "application/x-www-form-urlencoded");
    let form = form.body("tenantId=t-123").send().await.unwrap();
    assert_eq!(form.status(), StatusCode::UNAUTHORIZED);
    assert!(form.text().await.unwrap().contains("nothing was done"));
    let refresh = http
        .get(format!("{url}/orders?tenantId=t-123"))
        .header("x-refresh", "true");
    assert_eq!(
        refresh.send().await.unwrap().status(),
        StatusCode::UNAUTHORIZED
    );
    site.pipeline.stack.clean_up().await;
}
