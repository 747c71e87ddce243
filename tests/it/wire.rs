//! HTTP as clients and proxies really speak it, byte for byte, to the edge and through the front end.

mod bodies;
mod client;

use std::{
    io::Read,
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use orders_testkit::{Daemon, Stack};
use reqwest::{Method, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

use self::client::{Answer, JSON, PATIENCE, ask, connect, post, read, send};
use crate::pipeline::{Pipeline, order};

/// How long the daemons of this module keep an idle connection. A head has 10 s.
const KEEP_ALIVE: Duration = Duration::from_secs(16);

/// A running site.
struct Site {
    pipeline: Pipeline,
    web: Daemon,
}

impl Site {
    async fn start() -> Self {
        let keep_alive = format!("{}s", KEEP_ALIVE.as_secs());
        let stack = Stack::start().await;
        let web = stack.daemon("web").env("ORDERS_KEEP_ALIVE", &keep_alive);
        let edge = |edge: orders_testkit::Setup| edge.env("ORDERS_KEEP_ALIVE", &keep_alive);
        let pipeline = Pipeline::start_on(stack, "1h", edge).await;
        let edge = pipeline.edge.url();
        let web = web
            .env("ORDERS_EDGE_URL", &edge)
            .env("ORDERS_UPLOAD_ORIGIN", &edge)
            .start()
            .await;
        Self { pipeline, web }
    }

    /// The ports at which the API is served.
    fn ports(&self) -> [u16; 2] {
        [self.pipeline.edge.port(), self.web.port()]
    }

    async fn connections(&self) {
        for port in self.ports() {
            let body = order("t-1", &format!("half-closed-{port}")).to_string();
            let request = post("/api/orders", JSON, body.as_bytes());
            // As `nc -N` does: the client closes its side at once, and then waits.
            let request = String::from_utf8(request).unwrap();
            let request = request.replace("connection: close\r\n", "");
            let mut stream = connect(port).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let text = read(&mut stream).await;
            let answer = Answer::take(&mut text.as_str());
            assert_eq!(answer.status, 201, "{text}");
            assert!(answer.json()["orderId"].is_string(), "{text}");

            // Several requests at once have their answers in their order.
            let last = "connection: close\r\n";
            let one = |target: &str, headers: &str| {
                format!("GET {target} HTTP/1.1\r\nhost: h\r\n{headers}\r\n")
            };
            let list = "/api/orders?tenantId=t-1";
            let both = [one(list, ""), one("/livez", ""), one("/api/x", last)].concat();
            let mut stream = connect(port).await;
            stream.write_all(both.as_bytes()).await.unwrap();
            let text = read(&mut stream).await;
            let mut rest = text.as_str();
            let answers = [(); 3].map(|()| Answer::take(&mut rest).status);
            assert_eq!(answers, [200, 200, 404], "{text}");

            // The server asks for the body that it wants.
            let body = order("t-1", &format!("expect-{port}")).to_string();
            let expect = format!("{JSON}expect: 100-continue\r\n");
            let request = post("/api/orders", &expect, body.as_bytes());
            let (head, body) = request.split_at(request.len() - body.len());
            let mut stream = connect(port).await;
            stream.write_all(head).await.unwrap();
            let mut go = [0; 25];
            timeout(PATIENCE, stream.read_exact(&mut go))
                .await
                .expect("the server asks for the body")
                .unwrap();
            assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
            stream.write_all(body).await.unwrap();
            let text = read(&mut stream).await;
            assert_eq!(Answer::take(&mut text.as_str()).status, 201, "{text}");
        }
    }

    async fn targets(&self) {
        let [edge, web] = self.ports();
        for (port, target) in [
            (edge, "/api/orders/?tenantId=t-1"),
            (edge, "//api/orders?tenantId=t-1"),
            (edge, "/api//orders?tenantId=t-1"),
            (edge, "http://localhost/api/orders?tenantId=t-1"),
            (edge, "/livez/"),
            (edge, "/docs/"),
            (web, "/api/orders/?tenantId=t-1"),
            (web, "/orders/?tenantId=t-1"),
            (web, "//orders?tenantId=t-1"),
            (web, "/orders/new/"),
        ] {
            assert_eq!(ask(port, "GET", target, "").await.status, 200, "{target}");
        }
        // A parameter that means nothing could have been meant as a filter.
        let answer = ask(edge, "GET", "/api/orders?tenantId=t-1&_=1700000000", "").await;
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.json()["message"],
            json!(["property _ should not exist"])
        );

        let key = json!("tenants/t-1/orders/abcd1234/a b.pdf");
        for path in [
            "tenants%2Ft-1%2Forders%2Fabcd1234%2Fa%20b.pdf",
            "tenants/t-1/orders/abcd1234/a%20b.pdf",
            "tenants/t-1%2Forders/abcd1234/a%20b.pdf",
        ] {
            let request = post(&format!("/mock-upload/{path}"), "", b"hello");
            let request = [b"PUT", &request[4..]].concat();
            let answer = send(edge, &request).await;
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.json()["storageKey"], key, "{path}");
        }
    }

    async fn methods_and_hosts(&self) {
        let [edge, web] = self.ports();
        let head = ask(edge, "HEAD", "/api/orders?tenantId=t-1", "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_ne!(head.header("content-length"), "");
        let preflight = "origin: http://localhost:3000\r\naccess-control-request-method: POST\r\n";
        let answer = ask(edge, "OPTIONS", "/api/orders", preflight).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            "http://localhost:3000"
        );
        for (port, method, target, allowed) in [
            (edge, "DELETE", "/api/orders", "GET,HEAD,POST"),
            (web, "DELETE", "/api/orders", "GET,HEAD,POST"),
            (web, "OPTIONS", "/orders", "GET,HEAD"),
        ] {
            let answer = ask(port, method, target, "").await;
            assert_eq!(
                (answer.status, answer.header("allow")),
                (405, allowed),
                "{target}"
            );
        }

        for port in [edge, web, self.pipeline.realtime.port()] {
            // As much as Node takes.
            for (length, status) in [(12 << 10, 200), (20 << 10, 431)] {
                let long = format!("x-long: {}\r\n", "x".repeat(length));
                assert_eq!(ask(port, "GET", "/livez", &long).await.status, status);
            }
            for (version, hosts, status) in [
                ("1.1", "", 400),
                ("1.1", "host: a\r\nhost: a\r\n", 400),
                ("1.1", "host: a/b\r\n", 400),
                ("1.1", "host:\r\n", 200),
                ("1.1", "host: [::1]:3001\r\n", 200),
                ("1.0", "", 200),
            ] {
                let request =
                    format!("GET /livez HTTP/{version}\r\n{hosts}connection: close\r\n\r\n");
                let answer = send(port, request.as_bytes()).await;
                assert_eq!(answer.status, status, "{hosts:?}");
            }
        }
    }

    async fn headers(&self) {
        for port in self.ports() {
            let sent = "x-request-id: find-me/1\r\n";
            let list = ask(port, "GET", "/api/orders?tenantId=t-1", sent).await;
            let missing = ask(port, "GET", "/api/x", sent).await;
            for answer in [&list, &missing] {
                assert_eq!(answer.header("x-request-id"), "find-me/1");
                assert_eq!(answer.header("cache-control"), "no-store");
                assert_eq!(answer.header("x-content-type-options"), "nosniff");
            }
            assert_eq!(missing.json()["instance"], "urn:orders:request:find-me/1");
            for bad in ["", "x-request-id: a b\r\n", "x-request-id: \u{e9}\r\n"] {
                let ours = ask(port, "GET", "/api/x", bad).await;
                let id = ours.header("x-request-id");
                let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                assert!(id.len() == 32 && id.bytes().all(is_hex), "{id}");
                assert_eq!(ours.json()["instance"], format!("urn:orders:request:{id}"));
            }
        }
        let page = ask(self.web.port(), "GET", "/orders", "x-request-id: page\r\n").await;
        assert_eq!(page.header("x-request-id"), "page");
    }

    async fn answers(&self) {
        let pipeline = &self.pipeline;
        let body = order("t-list", "r0");
        let created = pipeline.post("/api/orders", &body).await;
        let replayed = pipeline.post("/api/orders", &body).await;
        assert_eq!(replayed.status(), 200);
        assert_eq!(
            replayed.headers()["location"],
            created.headers()["location"]
        );

        for request in 1..10 {
            pipeline.create("t-list", &format!("r{request}")).await;
        }
        let plain = pipeline.get_json("/api/orders?tenantId=t-list").await;
        for base in [pipeline.edge.url(), self.web.url()] {
            let ask = async |method: Method, path: &str, accepted: &str, body: Option<&Value>| {
                let mut request = pipeline.http.request(method, format!("{base}{path}"));
                if let Some(body) = body {
                    request = request.json(body);
                }
                let request = request.header(header::ACCEPT_ENCODING, accepted);
                let answer = request.send().await.unwrap();
                let coding = answer.headers().get(header::CONTENT_ENCODING);
                let coding = coding.map(|coding| coding.to_str().unwrap().to_owned());
                (coding.unwrap_or_default(), answer.bytes().await.unwrap())
            };
            let list = "/api/orders?tenantId=t-list";
            let (coding, bytes) = ask(Method::GET, list, "gzip", None).await;
            assert_eq!(coding, "gzip");
            let mut text = String::new();
            GzDecoder::new(&bytes[..])
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), plain);
            let (coding, bytes) = ask(Method::GET, list, "gzip;q=0.5, zstd", None).await;
            assert_eq!(coding, "zstd");
            assert!(bytes.starts_with(b"\x28\xb5\x2f\xfd"));
            // What fits into a packet is sent as it is.
            let (coding, _) = ask(Method::GET, "/api/orders?tenantId=t-none", "gzip", None).await;
            assert_eq!(coding, "");
            let (coding, _) = ask(Method::POST, "/api/orders", "gzip", Some(&body)).await;
            assert_eq!(coding, "");
        }
    }

    /// A log line of a request says whose it is.
    async fn logs(&mut self) {
        self.pipeline.realtime.kill().await;
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let sent =
            format!("traceparent: 00-{trace}-00f067aa0ba902b7-00\r\nx-request-id: logged-1\r\n");
        let path = "/ws/?EIO=4&transport=polling";
        let answer = ask(self.web.port(), "GET", path, &sent).await;
        assert_eq!(answer.status, 502);
        assert_eq!(answer.json()["instance"], "urn:orders:request:logged-1");
        let log = self.pipeline.edge.log();
        let mut lines = log.lines().filter(|line| line.contains("does not answer"));
        assert!(
            lines.any(|line| line.contains(trace) && line.contains("logged-1")),
            "{log}"
        );
    }

    async fn silences(&self) {
        let answered = async |port| {
            let mut stream = connect(port).await;
            let began = Instant::now();
            let request = b"GET /livez HTTP/1.1\r\nhost: h\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut answer = [0; 1024];
            let length = stream.read(&mut answer).await.unwrap();
            assert!(answer[..length].ends_with(b"ok"));
            (stream, began)
        };
        let idle = async |port| {
            let (mut stream, began) = answered(port).await;
            assert_eq!(read(&mut stream).await, "");
            began.elapsed()
        };
        let half = async |port| {
            let (mut stream, began) = answered(port).await;
            stream.write_all(b"GET /livez HTT").await.unwrap();
            read(&mut stream).await;
            began.elapsed()
        };
        let dripping = async |port| {
            let (mut stream, began) = answered(port).await;
            for byte in b"GET /livez HTTP/1.1\r\nhost: ".iter().cycle() {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                sleep(Duration::from_millis(500)).await;
            }
            began.elapsed()
        };
        let all = async |port| tokio::join!(idle(port), half(port), dripping(port));
        let [edge, web] = self.ports();
        for (idle, half, dripping) in <[_; 2]>::from(tokio::join!(all(edge), all(web))) {
            assert!(
                idle >= KEEP_ALIVE && idle < KEEP_ALIVE + Duration::from_secs(10),
                "{idle:?}"
            );
            let head = Duration::from_secs(10);
            for cut in [half, dripping] {
                assert!(
                    cut >= head && cut < KEEP_ALIVE - Duration::from_secs(1),
                    "{cut:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn clients_of_every_kind_are_understood() {
    let mut site = Site::start().await;
    tokio::join!(
        site.bodies(),
        site.connections(),
        site.targets(),
        site.methods_and_hosts(),
        site.headers(),
        site.answers(),
        site.silences(),
    );
    site.logs().await;
    site.pipeline.stack.clean_up().await;
}
