//! Connections to the servers: every kind of login and TLS, and what is said when none comes about.

use std::{
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use data_encoding::BASE64URL_NOPAD;
use futures_util::{StreamExt, future::join_all, stream};
use mongodb::bson::doc;
use nkeys::KeyPair;
use orders_testkit::{Certificates, FerretDb, NatsServer, Setup, Stack, aloud, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Command;

/// Nothing listens there.
const NOWHERE: &str = "nats://127.0.0.1:1";

type Settings = Vec<(&'static str, String)>;

fn program(name: &str) -> Command {
    let folder = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
    let mut command = Command::new(Path::new(&folder).join(name));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn orderctl(arguments: &[&str], settings: &Settings) -> Output {
    let mut command = program("orderctl");
    command.args(arguments).envs(settings.iter().cloned());
    command.output().await.unwrap()
}

fn with(setup: Setup, settings: &Settings) -> Setup {
    let add = |setup: Setup, (name, value): &(&str, String)| setup.env(name, value);
    settings.iter().fold(setup, add)
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    shown(&path)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A token in the form of NATS.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let claims = json!({
        "jti": "test", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "test", "sub": subject.public_key(),
        "nats": nats,
    });
    let head = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let body = BASE64URL_NOPAD.encode(claims.to_string().as_bytes());
    let signed = format!("{head}.{body}");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// An operator with an account, and the creds file of its user: the settings of the server and the file.
fn operator(folder: &Path) -> (String, String) {
    let (operator, user) = (KeyPair::new_operator(), KeyPair::new_user());
    let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
    let account_jwt = |account: &KeyPair, storage: i64| {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
        });
        let claims = json!({"type": "account", "version": 2, "limits": limits});
        jwt(&operator, account, claims)
    };
    let settings = format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}",
        jwt(
            &operator,
            &operator,
            json!({"type": "operator", "version": 2})
        ),
        system.public_key(),
        account.public_key(),
        account_jwt(&account, -1),
        system.public_key(),
        account_jwt(&system, 0),
    );
    let claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
    let creds = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt(&account, &user, claims),
        user.seed().unwrap(),
    );
    (settings, file(folder, "user.creds", &creds))
}

#[tokio::test]
async fn daemons_and_orderctl_take_every_kind_of_login_and_tls() {
    let stack = Stack::open().await;
    let folder = stack.folder();
    let certificates = Certificates::make(folder).unwrap();
    let pem = |path: &PathBuf| shown(path);
    let (ca, cert, key) = (
        ("ORDERS_NATS__CA_FILE", pem(&certificates.ca)),
        ("ORDERS_NATS__CERT_FILE", pem(&certificates.client)),
        ("ORDERS_NATS__KEY_FILE", pem(&certificates.client_key)),
    );
    let tls = |more: &str| {
        let (server, key) = (pem(&certificates.server), pem(&certificates.server_key));
        format!("tls {{ cert_file: {server:?}, key_file: {key:?}, {more} }}")
    };
    let verify = format!("ca_file: {:?}, verify: true", pem(&certificates.ca));
    let user = r#"authorization { user: alice, password: "p@ss/word" }"#.to_owned();
    let token = r#"authorization { token: "t/ken" }"#.to_owned();
    let pair = KeyPair::new_user();
    let nkey = format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}",
        pair.public_key()
    );
    let seed = file(folder, "seed.nk", &pair.seed().unwrap());
    let (operator, creds) = operator(folder);

    let kinds: Vec<(&str, String, &str, Settings)> = vec![
        (
            "user",
            user.clone(),
            "nats://127.0.0.1:PORT",
            vec![
                ("ORDERS_NATS__USER", "alice".to_owned()),
                (
                    "ORDERS_NATS__PASSWORD_FILE",
                    file(folder, "password", "p@ss/word\n"),
                ),
            ],
        ),
        (
            "user-in-url",
            user,
            "nats://alice:p%40ss%2Fword@127.0.0.1:PORT",
            vec![],
        ),
        (
            "token",
            token.clone(),
            "127.0.0.1:PORT",
            vec![(
                "ORDERS_NATS__TOKEN_FILE",
                file(folder, "token.txt", "t/ken\n"),
            )],
        ),
        (
            "token-in-url",
            token,
            "nats://t%2Fken@127.0.0.1:PORT",
            vec![],
        ),
        (
            "nkey",
            nkey,
            "nats://127.0.0.1:PORT",
            vec![("ORDERS_NATS__NKEY_FILE", seed)],
        ),
        (
            "creds",
            operator,
            "nats://127.0.0.1:PORT",
            vec![("ORDERS_NATS__CREDS", creds)],
        ),
        ("tls", tls(""), "tls://localhost:PORT", vec![ca.clone()]),
        (
            "mutual",
            tls(&verify),
            "nats://127.0.0.1:PORT",
            vec![ca.clone(), cert, key],
        ),
        (
            "tls-first",
            tls("handshake_first: true"),
            "nats://127.0.0.1:PORT",
            vec![ca, ("ORDERS_NATS__TLS_FIRST", "true".to_owned())],
        ),
        (
            "list",
            String::new(),
            "nats://127.0.0.1:1, nats://127.0.0.1:PORT",
            vec![],
        ),
        (
            "ipv6",
            "host: \"::1\"".to_owned(),
            "nats://[::1]:PORT",
            vec![],
        ),
    ];
    stream::iter(kinds)
        .for_each_concurrent(4, async |(name, server, url, mut settings)| {
            let server = NatsServer::start_with(folder, name, &server).await;
            settings.push(("NATS_URL", url.replace("PORT", &server.port().to_string())));
            let daemon = with(stack.daemon("payment-simulator"), &settings)
                .start()
                .await;
            let connected = format!(
                " connected to NATS at {}",
                &url[..url.find("://").map_or(0, |end| end + 3)]
            );
            assert!(
                daemon.log().contains(&connected),
                "{name}: {}",
                daemon.log()
            );
            let listed = orderctl(&["dlq", "list"], &settings).await;
            assert!(listed.status.success(), "{name}: {listed:?}");
        })
        .await;
}

#[tokio::test]
async fn a_refused_login_is_told_once_and_retried_slowly_with_the_file_as_it_is_then() {
    let stack = Stack::open().await;
    let authorization = "authorization { user: alice, password: right }";
    let server = NatsServer::start_with(stack.folder(), "guarded", authorization).await;
    let settings = vec![
        ("NATS_URL", server.url()),
        ("ORDERS_NATS__USER", "alice".to_owned()),
        (
            "ORDERS_NATS__PASSWORD_FILE",
            file(stack.folder(), "password", "wrong"),
        ),
    ];
    let told = format!(
        "cannot reach NATS at {}: it refuses the login (ORDERS_NATS__USER and ORDERS_NATS__PASSWORD_FILE)",
        server.url()
    );
    let start = Instant::now();
    let said = orderctl(&["dlq", "list"], &settings).await;
    assert_eq!(said.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(said.stderr).unwrap(),
        format!("error: {told}\n")
    );
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );

    let daemon = with(stack.daemon("payment-simulator"), &settings).spawn();
    eventually("the daemon says why", async || match daemon.log() {
        log if log.contains(&told) => Ok(()),
        log => Err(log),
    })
    .await;
    let ready = reqwest::get(format!("{}/readyz?verbose", daemon.url()))
        .await
        .unwrap();
    let ready = ready.text().await.unwrap();
    assert!(ready.contains(&told), "{ready}");
    file(stack.folder(), "password", "right");
    daemon.ready().await;
    let log = daemon.log();
    assert_eq!(log.matches("refuses the login").count(), 1, "{log}");
    assert!(!log.contains("wrong") && !log.contains("right"), "{log}");
    let refused = server.log().matches("authentication error").count();
    assert_eq!(refused, 2, "{}", server.log());
}

#[tokio::test]
async fn what_keeps_a_connection_from_coming_about_is_told_apart() {
    let stack = Stack::open().await;
    let folder = stack.folder();
    let certificates = Certificates::make(folder).unwrap();
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        shown(&certificates.server),
        shown(&certificates.server_key),
        shown(&certificates.ca)
    );
    let tls = NatsServer::start_with(folder, "tls", &tls).await;
    let guarded = NatsServer::start_with(folder, "guarded", "authorization { token: t }").await;
    let ca = ("ORDERS_NATS__CA_FILE", shown(&certificates.ca));
    let url = |url: &str| ("NATS_URL", url.to_owned());
    let mongo = |url: &str| {
        vec![
            ("NATS_URL", stack.nats.url()),
            ("MONGO_URL", url.to_owned()),
        ]
    };
    let cases: Vec<(Settings, String)> = vec![
        (
            vec![url(NOWHERE)],
            format!("cannot reach NATS at {NOWHERE}: connection refused (NATS_URL)"),
        ),
        (
            vec![url("nats://nowhere.invalid:4222")],
            "cannot reach NATS at nats://nowhere.invalid:4222: its name cannot be resolved (NATS_URL)".to_owned(),
        ),
        (
            vec![url(&tls.url())],
            format!(
                "cannot reach NATS at {}: TLS: its certificate is signed by an unknown authority (ORDERS_NATS__CA_FILE)",
                tls.url()
            ),
        ),
        (
            vec![url(&tls.url()), ca.clone()],
            format!(
                "cannot reach NATS at {}: it requires the certificate of a client (ORDERS_NATS__CERT_FILE)",
                tls.url()
            ),
        ),
        (
            vec![url(&stack.nats.url()), ca],
            format!(
                "cannot reach NATS at {}: it does not speak TLS (NATS_URL or ORDERS_NATS__*)",
                stack.nats.url()
            ),
        ),
        (
            vec![url(&guarded.url())],
            format!(
                "cannot reach NATS at {}: it requires a login (NATS_URL or ORDERS_NATS__*)",
                guarded.url()
            ),
        ),
        (
            mongo("mongodb://127.0.0.1:1/orders"),
            "the database is unavailable: cannot reach MongoDB at 127.0.0.1:1: connection refused (MONGO_URL)"
                .to_owned(),
        ),
        (
            mongo("mongodb+srv://nowhere.invalid/orders"),
            "the database is unavailable: cannot resolve the host of MONGO_URL: ".to_owned(),
        ),
        (
            mongo("mongodb://127.0.0.1:1/orders?compressors=zstd"),
            "the database refuses: MONGO_URL: `compressors` is not supported; leave it out".to_owned(),
        ),
    ];
    join_all(cases.into_iter().map(async |(settings, expected)| {
        let said = orderctl(&["migrate", "--check"], &settings).await;
        let text = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(1), "{text}");
        assert!(
            text.starts_with(&format!("error: {expected}")),
            "{text:?} for {expected:?}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
    }))
    .await;
    let nowhere = mongo("mongodb://127.0.0.1:1/");
    let details = orderctl(&["migrate", "--check", "--verbose"], &nowhere);
    let details = String::from_utf8(details.await.stderr).unwrap();
    assert!(
        details.contains("Topology") || details.contains("ServerSelection"),
        "{details}"
    );
}

#[tokio::test]
async fn ctrl_c_ends_orderctl_at_once_while_it_waits_for_a_server() {
    let mut waiting = program("orderctl")
        .args(["dlq", "list"])
        .env("NATS_URL", NOWHERE)
        .spawn()
        .unwrap();
    let id = i32::try_from(waiting.id().unwrap()).unwrap();
    eventually("it listens to Ctrl-C", async || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.unwrap().trim(), 16).unwrap();
        match caught & 1 << (Signal::INT.as_raw() - 1) {
            0 => Err(status),
            _ => Ok(()),
        }
    })
    .await;
    let start = Instant::now();
    kill_process(Pid::from_raw(id).unwrap(), Signal::INT).unwrap();
    assert_eq!(waiting.wait().await.unwrap().code(), Some(130));
    // Without Ctrl-C it waits for 5 s.
    let waited = start.elapsed();
    assert!(waited < Duration::from_millis(2_500), "{waited:?}");
}

#[tokio::test]
async fn the_database_may_ask_for_a_login_and_tls() {
    let stack = Stack::open().await;
    let folder = stack.folder();
    let certificates = Certificates::make(folder).unwrap();
    let Some(ferretdb) = FerretDb::start(folder, &certificates).await else {
        aloud("skipped: the database of this run is not our FerretDB");
        return;
    };
    let user = format!("u{}", uuid::Uuid::new_v4().simple());
    let database = stack.database().await;
    let admin = database.client().database("admin");
    let role = doc! { "role": "readWriteAnyDatabase", "db": "admin" };
    let cluster = doc! { "role": "clusterAdmin", "db": "admin" };
    admin
        .run_command(doc! { "createUser": &user, "pwd": "p@ss/word", "roles": [role, cluster] })
        .await
        .unwrap();
    let name = stack.mongo_url.rsplit('/').next().unwrap();
    let ca = shown(&certificates.ca);
    let url = |password: &str, options: &str| {
        let port = ferretdb.port();
        format!("mongodb://{user}:{password}@localhost:{port}/{name}{options}")
    };
    let tls = format!("?tls=true&tlsCAFile={ca}");
    let right_url = url("p%40ss%2Fword", &tls);
    let in_file = |name: &str, url: &str| vec![("ORDERS_MONGO__URI_FILE", file(folder, name, url))];
    let right = in_file("right", &right_url);
    let wrong = in_file("wrong", &url("wrong", &tls));
    let without_ca = in_file("without-ca", &url("p%40ss%2Fword", "?tls=true"));
    let no_ca = in_file(
        "no-ca",
        &url("p%40ss%2Fword", "?tls=true&tlsCAFile=/no/ca.pem"),
    );

    let projector = with(stack.daemon("projector"), &right).start().await;
    let changing = in_file("changing", &url("wrong", &tls));
    let writer = with(stack.daemon("writer"), &changing).spawn();
    let refused = "MongoDB refuses the login: SCRAM failure: ";
    eventually("the writer says why", async || match writer.log() {
        log if log.contains(refused) => Ok(()),
        log => Err(log),
    })
    .await;
    assert!(!projector.log().contains("p@ss"), "{}", projector.log());
    assert!(!writer.log().contains("wrong"), "{}", writer.log());
    file(folder, "changing", &right_url);
    writer.ready().await;
    let taken = "ORDERS_MONGO__URI_FILE has a new login";
    assert!(writer.log().contains(taken), "{}", writer.log());

    let nats = ("NATS_URL", stack.nats.url());
    let settings = [right.clone(), vec![nats.clone()]].concat();
    let migrated = orderctl(&["migrate", "--yes"], &settings).await;
    assert!(migrated.status.success());
    for (settings, expected) in [
        (right, ""),
        (
            wrong,
            "error: the database is unavailable: MongoDB refuses the login: SCRAM failure: ",
        ),
        (
            without_ca,
            "error: the database is unavailable: cannot reach MongoDB at localhost:",
        ),
        (
            no_ca,
            "error: the database refuses: ORDERS_MONGO__URI_FILE: Unable to parse PEM-encoded root certificate from \
             /no/ca.pem: ",
        ),
    ] {
        let settings = [settings, vec![nats.clone()]].concat();
        let said = orderctl(&["projection", "verify"], &settings).await;
        let text = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.success(), expected.is_empty(), "{text}");
        assert!(text.starts_with(expected), "{text}");
        assert!(text.lines().count() <= 1, "{text}");
        assert!(!text.contains("p%40ss"), "{text}");
        if expected.contains("localhost") {
            let cause =
                "its certificate is signed by an unknown authority (tlsCAFile in MONGO_URL)";
            assert!(text.contains(cause), "{text}");
        }
    }
    let _ = admin.run_command(doc! { "dropUser": &user }).await;
    stack.clean_up().await;
}

#[tokio::test]
async fn lines_begin_with_the_time_unless_the_journal_adds_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, is_journal) in [("journal", true), ("file", false)] {
        let path = folder.path().join(name);
        let log = File::create(&path).unwrap();
        let metadata = log.metadata().unwrap();
        let journal = match is_journal {
            true => format!("{}:{}", metadata.dev(), metadata.ino()),
            false => "1:1".to_owned(),
        };
        let _daemon = program("payment-simulator")
            .env("PORT", "0")
            .env("NATS_URL", NOWHERE)
            .env("JOURNAL_STREAM", journal)
            .stdout(log)
            .spawn()
            .unwrap();
        let line = eventually("there is a line", async || {
            let text = std::fs::read_to_string(&path).unwrap();
            text.lines()
                .find(|line| line.contains("listens on port"))
                .map(str::to_owned)
                .ok_or(text)
        })
        .await;
        let time = line.split_whitespace().next().unwrap();
        let is_time = time.len() == 27 && time.starts_with("20") && time.ends_with('Z');
        assert_eq!(is_time, !is_journal, "{line}");
    }
}
