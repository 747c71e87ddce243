use std::{convert::Infallible, net::SocketAddr};

use axum::{Router, body::BodyDataStream, routing::any};
use futures_util::{StreamExt, stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// A departure without a drain.
fn departure(shutdown: &CancellationToken) -> Departure {
    Departure::new(Duration::ZERO, shutdown.clone())
}

/// A proxy in front of one server: its address, and the token that stops it.
async fn serve(server: SocketAddr) -> (SocketAddr, CancellationToken) {
    let shutdown = CancellationToken::new();
    let forwarder = Forward::new(departure(&shutdown));
    let forward = async move |request: Request| {
        let answer = forwarder.send(&format!("http://{server}"), request).await;
        answer.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))
    };
    let router = Router::new().route("/ws/", any(forward));
    (listen(router).await, shutdown)
}

#[tokio::test]
async fn a_server_that_is_away_is_reported() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let send = async |forward: &Forward| {
        let request = Request::new(Body::empty());
        let answer = forward.send(&format!("http://{address}"), request).await;
        answer.map(|response| response.status())
    };
    let shutdown = CancellationToken::new();
    let forward = Forward::new(departure(&shutdown));
    assert_eq!(send(&forward).await, Err(Unanswered::Silence));
    shutdown.cancel();
    assert_eq!(send(&forward).await, Err(Unanswered::Shutdown));
}

async fn listen(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[tokio::test]
async fn polling_is_forwarded_both_ways() {
    let echo = any(async |request: Request| {
        let (parts, body) = request.into_parts();
        let shown = ["x-forwarded-for", "x-forwarded-host", "x-secret", "cookie"].map(|name| {
            parts
                .headers
                .get(name)
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        });
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        format!(
            "{} {} {} {}",
            parts.method,
            parts.uri,
            shown.join(" "),
            body.len()
        )
    });
    let (address, _) = serve(listen(Router::new().route("/ws/", echo)).await).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "POST /ws/?EIO=4&sid=%41 HTTP/1.1\r\nHost: shop.example\r\nCookie: c\r\nX-Secret: s\r\n\
                   X-Forwarded-Host: evil.example\r\nX-Forwarded-For: 203.0.113.5\r\n\
                   Connection: close, X-Secret, X-Forwarded-For, Host\r\nContent-Length: 3\r\n\r\nabc";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let body = answer.split("\r\n\r\n").nth(1).unwrap();
    assert_eq!(
        body,
        "POST /ws/?EIO=4&sid=%41 203.0.113.5 shop.example - c 3"
    );
}

#[tokio::test]
async fn a_trailer_reaches_clients_that_take_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, _) = serve(listener.local_addr().unwrap()).await;
    for (takes, comes) in [("TE: trailers\r\n", true), ("", false)] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /ws/ HTTP/1.1\r\nHost: h\r\n{takes}Connection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let head = read_head(&mut server).await;
        assert_eq!(head.contains("te: trailers\r\n"), comes, "{head}");
        let answer = "HTTP/1.1 200 OK\r\nTrailer: x-rows\r\nTransfer-Encoding: chunked\r\n\
                      Connection: close\r\n\r\n1\r\na\r\n0\r\nx-rows: 7\r\n\r\n";
        server.write_all(answer.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("trailer: x-rows\r\n"), "{answer}");
        assert_eq!(answer.contains("x-rows: 7\r\n"), comes, "{answer}");
    }
}

/// A WebSocket through a proxy that lets it last until `until`: what its client reads at the end.
async fn read_until(until: Until) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let forwarder = Forward::new(departure(&CancellationToken::new()));
    let forward = async move |mut request: Request| {
        request.extensions_mut().insert(until.clone());
        let answer = forwarder.send(&format!("http://{server}"), request).await;
        answer.map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))
    };
    let address = listen(Router::new().route("/ws/", any(forward))).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    let request =
        "GET /ws/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    read_head(&mut server).await;
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    server.write_all(switch.as_bytes()).await.unwrap();
    read_head(&mut client).await;
    client.read(&mut [0; 1]).await.unwrap()
}

#[tokio::test]
async fn a_websocket_lasts_as_long_as_it_may() {
    let cut = Arc::new(CancellationToken::new());
    let hour = Instant::now() + Duration::from_secs(60 * 60);
    let reading = tokio::spawn(read_until(Until {
        cut: Arc::clone(&cut),
        end: hour,
    }));
    cut.cancel();
    assert_eq!(reading.await.unwrap(), 0);
    let cut = Arc::default();
    let end = Instant::now() + Duration::from_millis(50);
    assert_eq!(read_until(Until { cut, end }).await, 0);
}

#[tokio::test]
async fn a_websocket_is_a_tunnel_that_a_shutdown_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = serve(listener.local_addr().unwrap()).await;

    let mut client = TcpStream::connect(address).await.unwrap();
    let request = "GET /ws/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();

    let (mut server, _) = listener.accept().await.unwrap();
    let head = read_head(&mut server).await;
    assert!(
        head.starts_with("get /ws/?eio=4&transport=websocket http/1.1\r\n"),
        "{head}"
    );
    for line in [
        "connection: upgrade\r\n",
        "upgrade: websocket\r\n",
        "sec-websocket-key: k\r\n",
    ] {
        assert!(head.contains(line), "{head}");
    }
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\n";
    // The first frame may come with the head.
    server
        .write_all(format!("{switch}\0\x01first").as_bytes())
        .await
        .unwrap();

    let head = read_head(&mut client).await;
    assert!(
        head.starts_with("http/1.1 101") && head.contains("sec-websocket-accept: a\r\n"),
        "{head}"
    );
    let mut frame = [0; 7];
    client.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, b"\0\x01first");
    client.write_all(b"\xff\xfeback").await.unwrap();
    let mut frame = [0; 6];
    server.read_exact(&mut frame).await.unwrap();
    assert_eq!(&frame, b"\xff\xfeback");

    shutdown.cancel();
    assert_eq!(client.read(&mut frame).await.unwrap(), 0);
    assert_eq!(server.read(&mut frame).await.unwrap(), 0);
}

/// A stream of events through a proxy that lets it last until `until`, after its first event.
async fn stream(forward: &Forward, until: Option<Until>) -> BodyDataStream {
    let endless = any(async || {
        let events = stream::iter([Ok::<_, Infallible>("data: 1\n\n")]).chain(stream::pending());
        (
            [(header::CONTENT_TYPE, EVENT_STREAM)],
            Body::from_stream(events),
        )
    });
    let server = listen(Router::new().route("/events", endless)).await;
    let mut request = Request::get("/events").body(Body::empty()).unwrap();
    if let Some(until) = until {
        request.extensions_mut().insert(until);
    }
    let response = forward.send(&format!("http://{server}"), request).await;
    let mut body = response.unwrap().into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert_eq!(first, "data: 1\n\n");
    body
}

#[tokio::test]
async fn a_stream_lasts_as_long_as_it_may() {
    let shutdown = CancellationToken::new();
    let forward = Forward::new(departure(&shutdown));
    let until = |wait: u64| Until {
        cut: Arc::default(),
        end: Instant::now() + Duration::from_secs(wait),
    };
    let mut due = stream(&forward, Some(until(1))).await;
    let later = until(60 * 60);
    let cut = Arc::clone(&later.cut);
    let mut ended = stream(&forward, Some(later)).await;
    let mut other = stream(&forward, None).await;
    assert!(due.next().await.is_none());
    cut.cancel();
    assert!(ended.next().await.is_none());
    assert!(timeout_at(Instant::now(), other.next()).await.is_err());
    shutdown.cancel();
    assert!(other.next().await.is_none());
}
