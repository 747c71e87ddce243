//! `cargo xtask up --secure`, as a developer runs it, and what it prints, as it stands.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use mongodb::bson::{Document, doc};
use orders_testkit::{checkout, eventually, free_port};
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::login::visitor::Visitor;

/// How far the last port of the pipeline is from the first.
const PORTS: [u16; 11] = [0, 1, 101, 201, 301, 401, 900, 901, NATS, MONGO, METRICS];
const NATS: u16 = 902;
const MONGO: u16 = 903;
const METRICS: u16 = 910;
/// The first build of a tool or a folder of the database may fall into it.
const START: Duration = Duration::from_secs(300);

/// A running `up --secure` with a folder and ports of its own.
struct Up {
    process: Child,
    folder: tempfile::TempDir,
    base: u16,
    nats: u16,
    mongo: u16,
    printed: watch::Receiver<String>,
}

impl Up {
    fn start(folder: tempfile::TempDir, base: u16, nats: u16, mongo: u16) -> Self {
        let folder_of_programs =
            std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
        let mut process = Command::new(Path::new(&folder_of_programs).join("xtask"))
            .args(["up", "--secure", "--observe"])
            .env("CARGO_MANIFEST_DIR", checkout().join("infra/xtask"))
            // The programs are built, with the features that the tests have chosen.
            .env("CARGO", "true")
            .env("ORDERS_TEST_DATA", folder.path())
            .env("ORDERS_BASE_PORT", base.to_string())
            .env("NATS_URL", format!("nats://127.0.0.1:{nats}"))
            .env("MONGO_URL", format!("mongodb://127.0.0.1:{mongo}/orders"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (sender, printed) = watch::channel(String::new());
        collect(process.stdout.take().unwrap(), sender.clone());
        collect(process.stderr.take().unwrap(), sender);
        Self {
            process,
            folder,
            base,
            nats,
            mongo,
            printed,
        }
    }

    /// Starts one on ports that are free.
    fn anywhere() -> Self {
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        let base = loop {
            let base = free_port();
            if PORTS.iter().all(|offset| is_free(base + offset)) {
                break base;
            }
        };
        let folder = tempfile::Builder::new()
            .prefix("orders-secure-")
            .tempdir()
            .unwrap();
        Self::start(folder, base, base + NATS, base + MONGO)
    }

    /// What it has printed, once that has `part`.
    async fn says(&mut self, part: &str) -> String {
        let said = self.printed.wait_for(|printed| printed.contains(part));
        let Ok(said) = timeout(START, said).await else {
            panic!("no {part} in\n{}", *self.printed.borrow());
        };

        said.expect("it runs").clone()
    }

    /// The first printed line that has all of these parts.
    fn line(&self, parts: &[&str]) -> String {
        let printed = self.printed.borrow();
        let mut lines = printed.lines().filter(|line| line.starts_with("  "));
        let line = lines.find(|line| parts.iter().all(|part| line.contains(part)));
        line.unwrap_or_else(|| panic!("no line with {parts:?} in\n{}", *printed))
            .to_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("secure/keys").join(name)
    }

    fn edge(&self) -> String {
        format!("http://localhost:{}", self.base + 1)
    }

    /// Presses Ctrl-C and waits for the end.
    async fn stop(mut self) -> (tempfile::TempDir, u16, u16, u16) {
        let id = i32::try_from(self.process.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
        let ended = timeout(Duration::from_secs(20), self.process.wait()).await;
        assert!(
            ended.unwrap().unwrap().success(),
            "{}",
            *self.printed.borrow()
        );
        (self.folder, self.base, self.nats, self.mongo)
    }
}

fn collect(pipe: impl AsyncRead + Unpin + Send + 'static, into: watch::Sender<String>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            into.send_modify(|printed| {
                printed.push_str(&line);
                printed.push('\n');
            });
        }
    });
}

/// What a shell prints that runs `script`.
async fn shell(script: &str) -> String {
    let output = Command::new("bash")
        .args(["-c", script])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The server of the dashboards gets metrics of all daemons, and has them below the folder.
async fn the_daemons_are_observed(up: &Up) {
    let printed = up.line(&["dashboards"]);
    let port = up.base + METRICS;
    assert!(
        printed.contains(&format!("http://localhost:{port}/vmui/")),
        "{printed}"
    );
    let server = format!("http://127.0.0.1:{port}");
    let dashboards = reqwest::get(format!("{server}/vmui/custom-dashboards")).await;
    let dashboards = dashboards.unwrap().text().await.unwrap();
    assert!(dashboards.contains("Where is the backlog?"), "{dashboards}");
    eventually("all six daemons tell their metrics", async || {
        let ask = reqwest::Client::new()
            .get(format!("{server}/api/v1/query"))
            .query(&[("query", r#"count(orders_build_info{job="orders"})"#)]);
        let answer: Value = ask.send().await.unwrap().json().await.unwrap();
        match answer["data"]["result"][0]["value"][1].as_str() {
            Some("6") => Ok(()),
            _ => Err(answer),
        }
    })
    .await;
    assert!(up.folder.path().join("secure/observe/data").is_dir());
}

/// A program that prints lines until it is dropped, such as a tap.
struct Lines {
    seen: watch::Receiver<String>,
    _process: Child,
}

impl Lines {
    async fn of(command: &str, ready: &str) -> Self {
        let mut process = Command::new("bash")
            .args(["-c", &format!("exec {command}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (sender, seen) = watch::channel(String::new());
        collect(process.stdout.take().unwrap(), sender.clone());
        collect(process.stderr.take().unwrap(), sender);
        let mut lines = Self {
            seen,
            _process: process,
        };
        lines.say(ready).await;
        lines
    }

    /// Waits until they have `part`.
    async fn say(&mut self, part: &str) {
        let mut seen = self.seen.clone();
        let said = seen.wait_for(|text| text.contains(part));
        let said = timeout(Duration::from_secs(30), said).await;
        let is_said = said.is_ok_and(|said| said.is_ok());
        assert!(is_said, "no {part} in {}", *self.seen.borrow());
    }
}

#[tokio::test]
async fn every_printed_example_works_and_nothing_is_open() {
    let mut up = Up::anywhere();
    let printed = up.says("hears of t-456 alone").await;
    let edge = up.edge();
    // What is printed are commands, until the next blank line.
    let start = printed
        .find("  TOKEN=")
        .expect("a command that gets a token");
    let script = printed[start..].split("\n\n").next().unwrap();

    let (own, foreign) = (
        up.line(&["--creds", "hears of t-123"]),
        up.line(&["--creds", "hears of t-456"]),
    );
    let command = |line: &str| line.split("   hears").next().unwrap().trim().to_owned();
    let mut own = Lines::of(&command(&own), "Subscribing").await;
    let foreign = Lines::of(&command(&foreign), "Subscribing").await;
    let stolen = up.line(&["--creds", "hears of t-456"]);
    let stolen = command(&stolen).replace("orders.evt.t-456", "orders.evt.t-123");
    let stolen = Lines::of(&stolen, "ermissions").await;

    let output = shell(script).await;
    assert!(output.contains("HTTP/1.1 201"), "{output}");
    let id = output.split("\"orderId\":\"").nth(1).expect("an order");
    let id = id.split('"').next().unwrap().to_owned();
    let first_line = script.split_once("curl -i").unwrap().0;
    let status = eventually("the order is paid", async || {
        let ask = format!(
            "{first_line}\ncurl -s '{edge}/api/orders/{id}?tenantId=t-123' -H \"authorization: Bearer $TOKEN\""
        );
        let order: Value = serde_json::from_str(&shell(&ask).await).map_err(|e| e.to_string())?;
        match order["status"].as_str() {
            Some("PAID") => Ok("PAID"),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(status.await, "PAID");
    for event in ["orders.evt.t-123.created", "orders.evt.t-123.updated"] {
        own.say(event).await;
    }
    for other in [&foreign, &stolen] {
        assert!(
            !other.seen.borrow().contains(&id),
            "{}",
            *other.seen.borrow()
        );
    }

    the_daemons_are_observed(&up).await;
    uploads_are_stored(&edge, first_line).await;
    no_request_without_a_token(&edge).await;
    an_operator_is_one_on_the_pages_and_nobody_else_is(&up).await;
    no_database_without_a_login(&up).await;
    no_bus_without_creds(&up).await;
    secrets_are_their_owners(&up.file(""));

    // Another run has the same orders, users and programs.
    let (folder, base, nats, mongo) = up.stop().await;
    let mut again = Up::start(folder, base, nats, mongo);
    let printed = again.says("hears of t-456 alone").await;
    let start = printed.find("  TOKEN=").unwrap();
    assert_eq!(printed[start..].split("\n\n").next().unwrap(), script);
    let output = shell(script).await;
    assert!(
        output.contains("HTTP/1.1 200") && output.contains(&id),
        "{output}"
    );
    again.stop().await;
}

/// A file goes to the bucket and comes back; `token` are the commands that get a token.
async fn uploads_are_stored(edge: &str, token: &str) {
    let script = format!(
        r#"{token}
        call() {{ curl -s -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' "$@"; }}
        PRES=$(call {edge}/api/uploads/presign \
          -d '{{"tenantId":"t-123","filename":"a.txt","contentType":"text/plain","size":6}}')
        FILE=$(mktemp)
        echo hello > "$FILE"
        curl -sf -T "$FILE" "$(echo "$PRES" | jq -r .url)" -H 'content-type: text/plain'
        rm "$FILE"
        KEY=$(echo "$PRES" | jq -r .storageKey)
        ID=$(call {edge}/api/orders -d '{{"requestId":"file","tenantId":"t-123","buyer":{{"email":"alice@example.com","name":"Alice"}},"items":[{{"sku":"S","qty":1,"price":1}}],"attachment":{{"filename":"a.txt","contentType":"text/plain","size":6,"storageKey":"'"$KEY"'"}}}}' | jq -r .orderId)
        call -fL "{edge}/api/orders/$ID/attachment?tenantId=t-123""#
    );
    assert_eq!(shell(&script).await, "hello\n");
}

async fn no_request_without_a_token(edge: &str) {
    for path in [
        "/api/orders?tenantId=t-123",
        "/api/orders/ord_x?tenantId=t-123",
    ] {
        let answer = reqwest::get(format!("{edge}{path}")).await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer "), "{challenge}");
    }
}

async fn an_operator_is_one_on_the_pages_and_nobody_else_is(up: &Up) {
    let pages = format!("http://localhost:{}", up.base);
    let ready = reqwest::get(format!("{pages}/readyz?verbose")).await;
    let ready = ready.unwrap().text().await.unwrap();
    assert!(ready.contains("[+]revocations ok"), "{ready}");
    for (name, rights, foreign) in [
        ("olga", "an operator", StatusCode::OK),
        ("alice", "t-123", StatusCode::FORBIDDEN),
    ] {
        let line = up.line(&[name, rights]);
        let password = line.split_whitespace().nth(1).expect("a password");
        let mut visitor = Visitor::of(&pages);
        visitor.log_in(name, password).await;
        for (tenant, expected) in [("t-123", StatusCode::OK), ("t-456", foreign)] {
            let list = format!("{pages}/orders?tenantId={tenant}");
            let answer = visitor.get(&list, &[]).await;
            assert_eq!(
                answer.status, expected,
                "{name} at {tenant}: {}",
                answer.body
            );
        }
    }
}

async fn no_database_without_a_login(up: &Up) {
    let find = async |url: &str| {
        let client = mongodb::Client::with_uri_str(url).await.unwrap();
        let orders = client
            .database("orders")
            .collection::<Document>("orders_write");
        let found = orders.count_documents(doc! {}).await;
        found.map_err(|error| error.to_string())
    };
    let ca = up.file("tls/ca.pem");
    let tls = format!(
        "tls=true&tlsCAFile={}&serverSelectionTimeoutMS=2000",
        ca.display()
    );
    let at = |login: &str, options: &str| {
        format!("mongodb://{login}localhost:{}/orders?{options}", up.mongo)
    };
    let wrong = at("edge:wrong@", &tls);
    for (url, why) in [
        (at("", &tls), "uthenti"),
        (wrong, "SCRAM"),
        (
            at("", "serverSelectionTimeoutMS=2000"),
            "Server selection timeout",
        ),
    ] {
        let error = find(&url).await.expect_err(&url);
        assert!(error.contains(why), "{url}: {error}");
    }
    let url = fs::read_to_string(up.file("mongo-edge.uri")).unwrap();
    assert_eq!(find(&url).await, Ok(2));
}

async fn no_bus_without_creds(up: &Up) {
    let ca = up.file("tls/ca.pem");
    let creds = up.file("nats/creds/edge.creds");
    let plain = format!("nats://127.0.0.1:{}", up.nats);
    let trusting = || {
        async_nats::ConnectOptions::new()
            .add_root_certificates(ca.clone())
            .require_tls(true)
    };
    let refused = trusting().connect(&plain).await.unwrap_err();
    assert!(refused.to_string().contains("auth"), "{refused}");
    // It would not know whom it tells its creds.
    let known = async_nats::ConnectOptions::with_credentials_file(&creds)
        .await
        .unwrap();
    known.connect(&plain).await.unwrap_err();
    let known = trusting().credentials_file(&creds).await.unwrap();
    known.connect(&plain).await.unwrap();
}

/// All files below `folder` that have secrets, and the folder itself, are for their owner alone.
fn secrets_are_their_owners(folder: &Path) {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    let mut folders = vec![folder.to_owned()];
    let mut secrets = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let is_public = text.contains("BEGIN CERTIFICATE") || path.ends_with("server.conf");
            if !is_public {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                secrets += 1;
            }
        }
    }
    assert!(secrets > 20, "{secrets}");
}
