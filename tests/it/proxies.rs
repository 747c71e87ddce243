//! What stands between clients and daemons: nginx in its usual ways, and addresses that change.

mod streams;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Stdio,
};

use orders_testkit::{Daemon, SocketClient, Stack, eventually, free_port};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    pipeline::{order, order_id},
    web::Site,
};

/// nginx with one server on each port.
struct Nginx(#[expect(dead_code, reason = "it ends when it is dropped")] Child);

impl Nginx {
    async fn start(folder: &Path, servers: &[(u16, String)]) -> Self {
        let folder = folder.join("nginx");
        fs::create_dir(&folder).unwrap();
        let servers = servers
            .iter()
            .map(|(port, location)| format!("server {{ listen 127.0.0.1:{port}; {location} }}\n"));
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let places = places.map(|place| format!("{place}_temp_path {place};\n"));
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log error.log;\n\
             events {{}}\nhttp {{\naccess_log off;\n{}{}}}\n",
            places.concat(),
            servers.collect::<String>()
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let program = std::env::var("ORDERS_TEST_NGINX").expect("run `cargo xtask test`");
        let mut nginx = Command::new(program);
        nginx
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(folder.join("nginx.conf"));
        nginx.args(["-e", "error.log"]);
        let process = nginx.stdin(Stdio::null()).kill_on_drop(true).spawn();
        Self(process.expect("nginx starts"))
    }
}

/// `proxy_pass` to `url`, with more directives.
fn pass(path: &str, url: &str, more: &str) -> String {
    format!("location {path} {{ proxy_pass {url}; {more} }}")
}

/// What many write: WebSockets, the host with its port, and what the client used.
const TOLD: &str = "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
    proxy_set_header Connection upgrade; proxy_set_header Host $host:$server_port; \
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
    proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto https;";

const LIST: &str = "/api/orders?tenantId=t-1";
const STREAM: &str = "/api/orders/events?tenantId=t-1";
const HOST: &str = "proxy_set_header X-Forwarded-Host $http_host;";
const PREFIX: &str = "proxy_set_header X-Forwarded-Prefix /shop;";

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn polling(tenant: &str) -> Value {
    json!({ "path": "/ws", "auth": { "tenantId": tenant } })
}

/// The transport of a client that has just connected.
async fn transport(client: &mut SocketClient) -> Value {
    client.event("connect").await[0]["transport"].clone()
}

async fn presigned(http: &Client, url: &str, host: Option<&str>) -> String {
    let file = json!({ "tenantId": "t-1", "filename": "a.pdf", "contentType": "application/pdf", "size": 1 });
    let mut request = http.post(format!("{url}/api/uploads/presign")).json(&file);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let answer: Value = request.send().await.unwrap().json().await.unwrap();
    answer["url"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn behind_nginx_everything_works_as_it_is_usually_configured() {
    let site = Site::start("2s").await;
    let pipeline = &site.pipeline;
    let second = pipeline.stack.daemon("realtime").start().await;
    let [plain, told, shop, pages, below] = std::array::from_fn(|_| free_port());
    let public = format!("{}/shop", at(shop));
    let both = format!("{},{}", pipeline.realtime.url(), second.url());
    let edge = pipeline.stack.daemon("edge");
    let edge = edge
        .env("ORDERS_REALTIME_URLS", &both)
        .env("ORDERS_PUBLIC_URL", &public)
        .start()
        .await;
    let servers = [
        (plain, pass("/", &pipeline.edge.url(), "")),
        (told, pass("/", &pipeline.edge.url(), TOLD)),
        (shop, pass("/shop/", &format!("{}/", edge.url()), "")),
        (pages, pass("/", &site.web.url(), HOST)),
        (
            below,
            pass(
                "/shop/",
                &format!("{}/", site.web.url()),
                &format!("{HOST} {PREFIX}"),
            ),
        ),
    ];
    let _nginx = Nginx::start(pipeline.stack.folder(), &servers).await;
    for (port, _) in &servers {
        eventually("nginx listens", async || {
            TcpStream::connect(("127.0.0.1", *port)).await
        })
        .await;
    }

    // Without WebSockets: a client that begins with either transport ends with polling.
    let http = &pipeline.http;
    let all = json!({ "path": "/ws", "auth": { "tenantId": "t-2" }, "transports": ["websocket", "polling"], "tryAllTransports": true });
    let mut clients =
        [&polling("t-2"), &all].map(|options| SocketClient::connect(&at(plain), options));
    for client in &mut clients {
        assert_eq!(transport(client).await, "polling");
        client.event("connected").await;
    }
    let websocket =
        json!({ "path": "/ws", "auth": { "tenantId": "t-2" }, "transports": ["websocket"] });
    let mut clients = Vec::from(clients);
    clients.push(SocketClient::connect(&at(told), &websocket));
    assert_eq!(transport(&mut clients[2]).await, "websocket");
    // Below a prefix, and through an edge with two realtime daemons.
    let in_shop = json!({ "path": "/shop/ws", "auth": { "tenantId": "t-2" } });
    for _ in 0..2 {
        clients.push(SocketClient::connect(&at(shop), &in_shop));
        assert_eq!(transport(clients.last_mut().unwrap()).await, "polling");
    }
    for client in &mut clients[2..] {
        client.event("connected").await;
    }

    // Each way makes an order that every client hears of.
    let orders = [at(plain), at(told), public.clone()]
        .into_iter()
        .zip(["r1", "r2", "r3"]);
    for (url, request) in orders {
        let created = http
            .post(format!("{url}/api/orders"))
            .json(&order("t-2", request))
            .send();
        let created = created.await.unwrap();
        assert_eq!(created.status(), StatusCode::CREATED, "{url}");
        let location = created.headers()["location"].to_str().unwrap().to_owned();
        let location = match location.starts_with('/') {
            true => format!("{url}{location}"),
            false => location,
        };
        assert!(location.starts_with(&url), "{location} of {url}");
        assert_eq!(
            http.get(location).send().await.unwrap().status(),
            StatusCode::OK
        );
        let id = order_id(created).await;
        for client in &mut clients {
            client
                .event_where("order.created", |args| args[0]["orderId"] == id.as_str())
                .await;
        }
    }
    let list = http
        .get(format!("{public}/api/orders?tenantId=t-2&limit=1"))
        .send()
        .await
        .unwrap();
    let link = list.headers()["link"].to_str().unwrap();
    let next = link.split('>').next().unwrap().trim_start_matches('<');
    assert!(next.starts_with(&public), "{link}");
    let next: Value = http.get(next).send().await.unwrap().json().await.unwrap();
    assert_eq!(next["items"].as_array().map(Vec::len), Some(1), "{next}");

    // Uploads go where the client can reach them.
    let local = format!("http://localhost:{}/mock-upload/", pipeline.edge.port());
    let upload = presigned(http, &at(plain), None).await;
    assert!(upload.starts_with(&local), "{upload}");
    let upload = presigned(http, &at(told), Some("shop.example")).await;
    assert!(
        upload.starts_with("https://shop.example/mock-upload/"),
        "{upload}"
    );
    // Through the pages, too.
    let host = format!("shop.example:{pages}");
    let upload = presigned(http, &at(pages), Some(&host)).await;
    let path = upload
        .strip_prefix(&format!("http://{host}"))
        .expect("the host of the pages");
    let put = http.put(at(pages) + path).header("host", &host).body("x");
    assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
    let upload = presigned(http, &public, None).await;
    assert!(
        upload.starts_with(&format!("{public}/mock-upload/")),
        "{upload}"
    );

    origins_are_those_that_clients_see(http, &at(told), &pipeline.edge, &pipeline.realtime).await;
    sessions_outlive_addresses(&edge).await;
    // A name of this machine that is not everybody's own.
    let below = format!("http://shop.localhost:{below}");
    site.browse("proxy.mjs", &[("WEB_URL", &below), ("PREFIX", "/shop")])
        .await;
}

/// Pages of the host that a proxy tells may connect, with its default port or without; others learn why not.
async fn origins_are_those_that_clients_see(
    http: &Client,
    url: &str,
    edge: &Daemon,
    realtime: &Daemon,
) {
    let open = async |host: &str, origin: &str| {
        let open = http.get(format!("{url}/ws/?EIO=4&transport=polling"));
        open.header("host", host)
            .header("origin", origin)
            .send()
            .await
            .unwrap()
    };
    for (host, origin) in [
        ("shop.example", "https://shop.example"),
        ("shop.example:443", "https://shop.example"),
        ("shop.example", "https://shop.example:443"),
        ("Shop.Example:8443", "https://shop.example:8443"),
        ("shop.example", "http://localhost:3000"),
    ] {
        let answer = open(host, origin).await;
        assert_eq!(answer.status(), StatusCode::OK, "{origin} at {host}");
    }
    for _ in 0..3 {
        let answer = open("shop.example", "https://evil.example").await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let answer: Value = answer.json().await.unwrap();
        let message = answer["message"].as_str().unwrap();
        assert!(
            message.contains("https://evil.example") && message.contains("CORS_ORIGIN"),
            "{message}"
        );
    }
    // A page of a name that was made to lead here may not even read, and such a request need not have an origin.
    for (daemon, paths) in [
        (edge, &["/ws/?EIO=4&transport=polling", LIST, STREAM][..]),
        (realtime, &["/ws/?EIO=4&transport=polling", STREAM][..]),
    ] {
        for path in paths {
            let host = format!("evil.example:{}", daemon.port());
            let open = http.get(format!("{}{path}", daemon.url()));
            let answer = open.header("host", &host).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{path}");
            let kind = &answer.headers()["content-type"];
            assert_eq!(kind, "application/problem+json", "{path}");
            let answer: Value = answer.json().await.unwrap();
            let detail = answer["detail"].as_str().unwrap();
            assert!(
                detail.contains(&host) && detail.contains("CORS_ORIGIN"),
                "{detail}"
            );
        }
        let host = format!("evil.example:{}", daemon.port());
        let alive = http
            .get(format!("{}/livez", daemon.url()))
            .header("host", host);
        assert_eq!(alive.send().await.unwrap().status(), StatusCode::OK);
    }
    let log = realtime.log();
    assert_eq!(log.matches("https://evil.example").count(), 1, "{log}");
}

/// A session on polling belongs to one of two daemons, and stays there from whatever address its client comes.
async fn sessions_outlive_addresses(edge: &Daemon) {
    let clients: Vec<Client> = (1..=3)
        .map(|last| {
            let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
            Client::builder().local_address(address).build().unwrap()
        })
        .collect();
    let mut daemons = Vec::new();
    for tenants in ["tenantId=t-1", "tenantId=t-1", "tenantId=t-1&tenantId=t-2"] {
        let url = format!("{}/ws/?EIO=4&transport=polling&{tenants}", edge.url());
        let open = clients[0]
            .get(&url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let open: Value = serde_json::from_str(&open[1..]).unwrap();
        let sid = open["sid"].as_str().unwrap();
        daemons.push(sid.split_once('.').unwrap().1.to_owned());
        let url = format!("{url}&sid={sid}");
        let azure = clients[1]
            .post(&url)
            .header("x-forwarded-for", "203.0.113.5:41802")
            .body("40");
        assert_eq!(azure.send().await.unwrap().text().await.unwrap(), "ok");
        let answer = clients[2]
            .get(&url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let expected = match tenants.contains('&') {
            true => r#"44{"message":"tenantId must not be given more than once"}"#,
            false => "40{",
        };
        let mut packets = answer.split('\u{1e}');
        assert!(
            packets.any(|packet| packet.starts_with(expected)),
            "{answer}"
        );
    }
    assert_ne!(daemons[0], daemons[1], "sessions take turns");
}

#[tokio::test]
async fn a_daemon_listens_where_it_is_told() {
    let stack = Stack::start().await;
    let status = async |url: String| {
        reqwest::get(url)
            .await
            .ok()
            .map(|answer| answer.status().as_u16())
    };
    let admin = format!("127.0.0.1:{}", free_port());
    let web = stack
        .daemon("web")
        .env("ORDERS_HOST", "127.0.0.1")
        .env("ORDERS_ADMIN_ADDR", &admin);
    let (url, elsewhere) = (web.url(), web.url().replace("127.0.0.1", "127.0.0.2"));
    let _web = web.spawn();
    eventually("web lives", async || {
        match status(format!("{url}/livez")).await {
            Some(200) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    for path in ["/livez", "/healthz", "/readyz?verbose", "/metrics"] {
        assert_eq!(
            status(format!("http://{admin}{path}")).await,
            Some(200),
            "{path}"
        );
    }
    for path in ["/readyz", "/metrics"] {
        assert_eq!(status(format!("{url}{path}")).await, Some(404), "{path}");
    }
    assert_eq!(status(format!("{elsewhere}/livez")).await, None);

    // By default where `localhost` leads, and nowhere else.
    let web = stack.daemon("web").start().await;
    let at = |host: &str| web.url().replace("127.0.0.1", host) + "/livez";
    for (host, answer) in [
        ("[::1]", Some(200)),
        ("localhost", Some(200)),
        ("127.0.0.2", None),
    ] {
        assert_eq!(status(at(host)).await, answer, "{host}");
    }
    let warned = web.log().matches("ORDERS_AUTH__MODE is off").count();
    assert_eq!(warned, 1, "{}", web.log());

    let web = stack.daemon("web").env("ORDERS_HOST", "0.0.0.0");
    let mut refused = web.clone().spawn();
    assert_eq!(refused.ended().await.code(), Some(64));
    let told = refused.log();
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(
        told.starts_with("ORDERS_HOST: ") && told.contains("ORDERS_AUTH__ALLOW_OFF=true"),
        "{told}"
    );
    let web = web.env("ORDERS_AUTH__ALLOW_OFF", "true").start().await;
    for host in ["[::1]", "127.0.0.1", "127.0.0.2"] {
        let url = web.url().replace("127.0.0.1", host) + "/livez";
        assert_eq!(status(url).await, Some(200), "{host}");
    }

    let web = stack.daemon("web").env("ORDERS_HOST", "::1");
    let (six, four) = (web.url().replace("127.0.0.1", "[::1]"), web.url());
    let _web = web.spawn();
    eventually("web lives", async || {
        match status(format!("{six}/livez")).await {
            Some(200) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(status(format!("{four}/livez")).await, None);
}
