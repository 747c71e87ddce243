use std::collections::HashSet;

use async_nats::ServerError;

use super::*;

fn server(url: &str, failed_attempts: usize, last_error: Option<&str>) -> Server {
    Server {
        addr: url.parse().unwrap(),
        failed_attempts,
        did_connect: false,
        is_discovered: false,
        last_error: last_error.map(str::to_owned),
    }
}

#[test]
fn each_failure_is_told_apart_and_names_its_setting() {
    let attempts = Attempts::new(Some("ORDERS_NATS__CREDS"), Refusals::default());
    for (error, text) in [
        (
            Some("IO error: Connection refused (os error 111)"),
            "connection refused (NATS_URL)",
        ),
        (None, "its name cannot be resolved (NATS_URL)"),
        (Some("timed out"), "no answer within 2s (NATS_URL)"),
        (
            Some("authorization violation: nats: authorization violation"),
            "it refuses the login (ORDERS_NATS__CREDS)",
        ),
        (
            Some("failed signing nonce: AuthError(/x: gone)"),
            "/x: gone (ORDERS_NATS__CREDS)",
        ),
        (
            Some("IO error: invalid peer certificate: UnknownIssuer"),
            "TLS: its certificate is signed by an unknown authority (ORDERS_NATS__CA_FILE)",
        ),
        (
            Some("IO error: received fatal alert: CertificateRequired"),
            "it requires the certificate of a client (ORDERS_NATS__CERT_FILE)",
        ),
    ] {
        attempts.hear(&Event::Connected);
        attempts.next(&[server("nats://h", 0, None)]);
        let failed = usize::from(error.is_some());
        attempts.next(&[server("nats://h", failed, error)]);
        let expected = format!("cannot reach NATS at nats://h:4222: {text}");
        assert_eq!(attempts.error().to_string(), expected);
    }
}

#[test]
fn all_servers_are_tried_in_turn_and_one_refused_login_slows_nothing_down() {
    let attempts = Attempts::new(None, Refusals::default());
    let refused = Some("authorization violation: nats: authorization violation");
    let away = Some("IO error: Connection refused (os error 111)");
    let pool = |n, other| [server("nats://a", n, refused), server("nats://b", n, other)];
    let mut tried = Vec::new();
    for failed in 0..8 {
        let next = attempts.next(&pool(failed, away)).unwrap();
        assert!(next.delay.unwrap() < Duration::from_secs(1));
        tried.push(next.addr.host().to_owned());
    }
    assert!(tried.windows(2).all(|pair| pair[0] != pair[1]), "{tried:?}");
    attempts.hear(&Event::Connected);
    for failed in 0..2 {
        attempts.next(&pool(failed, refused));
    }
    let next = attempts.next(&pool(2, refused)).unwrap();
    assert_eq!(next.delay, Some(LOGIN_PAUSE));
    assert_eq!(
        attempts.error().to_string(),
        "cannot reach NATS at nats://a:4222 and nats://b:4222: it requires a login \
         (NATS_URL or ORDERS_NATS__*)"
    );
}

#[test]
fn whoever_leaves_a_server_tries_any_other_first() {
    let attempts = Attempts::new(None, Refusals::default());
    let pool = ["nats://a", "nats://b", "nats://c"].map(|url| server(url, 0, None));
    assert!(!attempts.has_others(), "as far as is known");
    let mut moves = HashSet::new();
    let mut left = None;
    for _ in 0..200 {
        let next = attempts.next(&pool).unwrap();
        attempts.hear(&Event::Connected);
        let server = next.addr.host().to_owned();
        moves.insert((left.replace(server.clone()), server));
    }
    moves.retain(|(left, _)| left.is_some());
    assert_eq!(moves.len(), 6, "from each to each other: {moves:?}");
    assert!(moves.iter().all(|(left, next)| left.as_ref() != Some(next)));
    assert!(attempts.has_others());
}

#[test]
fn a_denial_is_named_in_readiness_unless_it_is_of_a_foreign_inbox() {
    let refusals = Refusals::default();
    let attempts = Attempts::new(None, refusals.clone());
    let denied = |subject: &str| {
        let text = format!("Permissions Violation for Publish to \"{subject}\"");
        attempts.hear(&Event::ServerError(ServerError::Other(text)));
    };
    denied("_INBOX.x.y");
    assert_eq!(refusals.check(), Ok(()));
    denied("orders.evt.t-1.created");
    let expected = "Permissions Violation for Publish to \"orders.evt.t-1.created\"";
    assert_eq!(refusals.check(), Err(expected.to_owned()));
}
