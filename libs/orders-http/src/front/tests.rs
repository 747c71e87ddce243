use axum::body::Body;

use super::*;

fn front() -> Front {
    let mut access = Access::of_pages_on(3000);
    access.cors_origin = "https://shop.example,tauri://localhost"
        .to_owned()
        .try_into()
        .unwrap();
    access.public_url = Some("https://api.example/orders".to_owned().try_into().unwrap());
    Front::new(&access, 3001)
}

fn received(peer: &str, headers: &[(&str, &str)]) -> Request {
    let peer: IpAddr = peer.parse().unwrap();
    let request = headers
        .iter()
        .fold(Request::builder(), |request, (name, value)| {
            request.header(*name, *value)
        });
    let mut request = request.body(Body::empty()).unwrap();
    request
        .extensions_mut()
        .insert(ConnectInfo(SocketAddr::from((peer, 1))));
    front().0.correct(&mut request);
    request
}

fn shown(peer: &str, headers: &[(&str, &str)]) -> String {
    let request = received(peer, headers);
    let headers = request.headers();
    assert!(!headers.contains_key("forwarded") && !headers.contains_key("x-forwarded-host"));
    let client = headers[&FORWARDED_FOR].to_str().unwrap();
    format!("{client} at {}", reached(headers).unwrap_or_default())
}

#[test]
fn handlers_see_what_is_true() {
    let told = [
        ("host", "127.0.0.1:3001"),
        ("x-forwarded-for", "6.6.6.6, 203.0.113.5:5117"),
        ("x-forwarded-host", "Shop.Example:443"),
        ("x-forwarded-proto", "HTTPS"),
    ];
    assert_eq!(
        shown("::ffff:127.0.0.1", &told),
        "203.0.113.5 at https://shop.example"
    );
    assert_eq!(
        shown("192.0.2.9", &told),
        "192.0.2.9 at http://127.0.0.1:3001"
    );
    let told = [
        ("host", "edge"),
        ("forwarded", "for=203.0.113.5;host=shop.example;proto=https"),
    ];
    assert_eq!(shown("::1", &told), "203.0.113.5 at https://shop.example");
    assert_eq!(shown("fd00::1", &told), "fd00::1 at http://edge");
    let told = [("host", "shop.example"), ("x-forwarded-prefix", "/shop/")];
    assert_eq!(shown("::1", &told), "::1 at http://shop.example/shop");
    assert_eq!(
        shown("192.0.2.9", &told),
        "192.0.2.9 at http://shop.example"
    );
    assert_eq!(shown("192.0.2.9", &[]), "192.0.2.9 at ");
    assert_eq!(
        shown("192.0.2.9", &[("host", "shop.example:80")]),
        "192.0.2.9 at http://shop.example"
    );
}

#[test]
fn a_host_that_others_can_own_is_not_ours_when_called_directly() {
    let own = uname().nodename().to_string_lossy().into_owned();
    let own = format!("{own}:3001");
    for ours in [
        "localhost:3001",
        "orders.localhost:3001",
        "127.0.0.1:3001",
        "192.168.1.5:3001",
        "[::1]:3001",
        "edge:3001",
        "nas.local:3001",
        "db.internal.:3001",
        &own,
        "shop.example:3001",
        "API.example:3001",
        // Through a proxy, or a port that is mapped to ours.
        "other.example",
        "other.example:443",
        "other.example:8080",
    ] {
        let request = received("127.0.0.1", &[("host", ours)]);
        assert!(
            request.extensions().get::<Misdirected>().is_none(),
            "{ours}"
        );
        assert!(request.headers().contains_key("host"), "{ours}");
    }
    for foreign in [
        "evil.example:3001",
        "localhost.evil.example:3001",
        "evil.example.:3001",
    ] {
        // A page can send what proxies send, but not another host.
        let headers = [("host", foreign), ("x-forwarded-host", "localhost:3001")];
        let request = received("127.0.0.1", &headers);
        let Misdirected(host) = request.extensions().get().unwrap();
        assert_eq!(host, foreign);
        assert!(!request.headers().contains_key("host"), "{foreign}");
    }
}

#[test]
fn this_machine_has_several_names() {
    let is_local = |host: &'static str| {
        is_local(&HeaderMap::from_iter([(
            header::HOST,
            HeaderValue::from_static(host),
        )]))
    };
    assert!(
        ["localhost:1", "127.0.0.1", "127.1.2.3:1", "[::1]:1"]
            .into_iter()
            .all(is_local)
    );
    assert!(
        !["192.168.1.5:1", "shop.example", "localhost.evil.example"]
            .into_iter()
            .any(is_local)
    );
}
