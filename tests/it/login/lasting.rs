//! How long a session lasts.

use std::time::{Duration, Instant};

use orders_testkit::{LIMIT, Lifetimes, OidcProvider, PASSWORD, Stack};
use reqwest::StatusCode;
use tokio::time::{sleep, timeout};

use super::visitor::Visitor;
use crate::web::localhost;

const IDLE: Duration = Duration::from_secs(5);
const ABSOLUTE: Duration = Duration::from_secs(12);
/// Sessions count in whole seconds.
const SECOND: Duration = Duration::from_secs(1);
/// How often a page is asked for.
const OFTEN: Duration = Duration::from_millis(250);

/// Logs in and asks for a page again and again until the session has ended; returns how long that took.
async fn lasts(visitor: &mut Visitor, page: &str, headers: &[(&str, &str)]) -> Duration {
    let start = Instant::now();
    visitor.log_in("alice", PASSWORD).await;
    let end = async {
        loop {
            match visitor.get(page, headers).await.status {
                StatusCode::OK => sleep(OFTEN).await,
                status => return status,
            }
        }
    };
    let status = timeout(LIMIT, end).await.expect("it ends");
    let ends = [StatusCode::SEE_OTHER, StatusCode::UNAUTHORIZED];
    assert!(ends.contains(&status), "{status}");
    start.elapsed()
}

#[tokio::test]
async fn a_session_ends_without_visits_and_however_often_it_is_used() {
    let stack = Stack::start().await;
    let web = stack.daemon("web");
    let home = localhost(&web.url());
    let provider = OidcProvider::start(stack.folder(), &home, Lifetimes::default()).await;
    let limits = [("IDLE", IDLE), ("ABSOLUTE", ABSOLUTE)].map(|(name, limit)| {
        let name = format!("ORDERS_SESSION__{name}");
        (name, format!("{}s", limit.as_secs()))
    });
    let login = provider.login(&home);
    let login = login.iter().map(|(name, value)| (*name, value));
    let settings = limits.iter().map(|(name, value)| (name.as_str(), value));
    let web = login
        .chain(settings)
        .fold(web, |web, (name, value)| web.env(name, value));
    let web = web.start().await;

    let page = format!("{home}/orders/new?tenantId=t-123");
    let (mut there, mut away) = (Visitor::of(&home), Visitor::of(&home));
    // What a page does on its own is no visit.
    let on_its_own = [("x-refresh", "true")];
    let (used, left) = tokio::join!(
        lasts(&mut there, &page, &[]),
        lasts(&mut away, &page, &on_its_own)
    );
    assert!(
        left >= IDLE - SECOND && left < ABSOLUTE - SECOND,
        "{left:?}"
    );
    assert!(used >= ABSOLUTE - SECOND, "{used:?}");

    // The provider still knows who it is, so the next session takes no password.
    let again = there.follow(&page).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.body);
    drop(web);
    stack.clean_up().await;
}
