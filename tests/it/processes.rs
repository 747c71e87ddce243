//! The daemons as processes: help, settings, health, stopping, and the two Procfile runners.

use std::{
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use orders_testkit::{Stack, checkout, eventually, free_port, tool};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::pipeline::{Pipeline, order};

const DAEMONS: [&str; 6] = [
    "edge",
    "writer",
    "projector",
    "payment-simulator",
    "realtime",
    "web",
];

fn binaries() -> String {
    std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`")
}

/// Runs a daemon for a question that it answers without starting.
async fn ask(
    daemon: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (Option<i32>, String, String) {
    let output = Command::new(Path::new(&binaries()).join(daemon))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the daemon runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn help_and_dump_config_tell_every_setting() {
    for daemon in DAEMONS {
        let (code, help, _) = ask(daemon, &["--help"], &[]).await;
        assert_eq!(code, Some(0));
        for part in [
            "PORT",
            "NATS_URL",
            "ORDERS_LOG__FORMAT",
            "--config",
            "--dump-config",
        ] {
            assert!(
                help.contains(part),
                "{part} in the help of {daemon}: {help}"
            );
        }
        assert!(!help.contains("(undocumented)"), "{help}");
        let (_, version, _) = ask(daemon, &["--version"], &[]).await;
        let (number, commit) = version.trim().split_once(" (").expect("a commit");
        assert_eq!(number, format!("{daemon} {}", env!("CARGO_PKG_VERSION")));
        assert!(commit.len() > 6 && commit.ends_with(')'), "{version}");
        let secret = [
            ("NATS_URL", "nats://me:secret@example:4222"),
            ("MONGO_URL", "mongodb://me:secret@db/orders"),
        ];
        let (code, dump, _) = ask(daemon, &["--dump-config"], &secret).await;
        assert_eq!(code, Some(0));
        assert!(dump.contains("nats_url"), "{dump}");
        assert!(!dump.contains("secret"), "{dump}");
    }
}

#[tokio::test]
async fn a_wrong_value_is_one_line_that_names_the_key() {
    for (daemon, name, value) in [
        ("edge", "PORT", "abc"),
        ("edge", "ORDERS_IDEMPOTENCY__ON_MISMATCH", "maybe"),
        ("writer", "ORDERS_STREAMS__REPLICAS", "-1"),
        ("writer", "ORDERS_STREAMS__REPLICAS", "0"),
        ("payment-simulator", "ORDERS_PAYMENT__DELAY", "soon"),
        ("payment-simulator", "ORDERS_PAYMENT__DELAY", "800days"),
        ("web", "ORDERS_PAYMENT_DELAY", "5s"),
        ("realtime", "NATS_URL", "nats://host:port"),
        ("projector", "ORDERS_NATS__CREDS", "/no/such/file"),
        ("edge", "ORDERS_MONGO__URI_FILE", "/no/such/file"),
        ("web", "ORDERS_UPLOAD_ORIGIN", "https://h; script-src *"),
        ("edge", "CORS_ORIGIN", "*"),
        ("realtime", "CORS_ORIGIN", "https://*.shop.example"),
        ("web", "CORS_ORIGIN", "localhost:3000"),
        ("realtime", "ORDERS_TRUSTED_PROXIES", "proxy.example"),
        ("edge", "ORDERS_PUBLIC_URL", "shop.example"),
        ("writer", "ORDERS_HOST", "shop.example"),
        ("realtime", "ORDERS_HOST", "0.0.0.0"),
        ("edge", "ORDERS_HOST", "2001:db8::1"),
        ("projector", "ORDERS_ADMIN_ADDR", "9001"),
        ("web", "ORDERS_BASE_PORT", "0"),
    ] {
        let (code, _, error) = ask(daemon, &[], &[(name, value)]).await;
        assert_eq!(code, Some(64), "{error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        assert!(error.contains(name), "{error}");
    }
    // All daemons read the same list in the same way.
    let origins = "capacitor://localhost, ionic://localhost, https://Shop.example:443/";
    for daemon in ["edge", "realtime", "web"] {
        let (code, dump, error) =
            ask(daemon, &["--dump-config"], &[("CORS_ORIGIN", origins)]).await;
        assert_eq!(code, Some(0), "{error}");
        let read = "cors_origin = \"capacitor://localhost,ionic://localhost,https://shop.example\"";
        assert!(dump.contains(read), "{dump}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("writer.toml");
    std::fs::write(&file, "prot = 1\n").unwrap();
    let (code, _, error) = ask("writer", &["--config", file.to_str().unwrap()], &[]).await;
    assert_eq!(code, Some(64));
    assert!(error.contains("prot"), "{error}");
}

#[tokio::test]
async fn every_daemon_tells_its_health_and_metrics_and_stops_within_four_seconds() {
    let mut pipeline = Pipeline::start("100ms").await;
    let mut web = pipeline
        .stack
        .daemon("web")
        .env("ORDERS_EDGE_URL", &pipeline.edge.url())
        .start()
        .await;
    let id = pipeline.create("t-1", "r1").await;
    pipeline.until_status("t-1", &id, "PAID").await;
    // Orders on their way while everything stops.
    let (http, url) = (
        pipeline.http.clone(),
        format!("{}/api/orders", pipeline.edge.url()),
    );
    let load = tokio::spawn(async move {
        for n in 0.. {
            if http
                .post(&url)
                .json(&order("t-1", &format!("load{n}")))
                .send()
                .await
                .is_err()
            {
                break;
            }
        }
    });
    for daemon in [
        &mut web,
        &mut pipeline.projector,
        &mut pipeline.payments,
        &mut pipeline.writer,
        &mut pipeline.realtime,
        &mut pipeline.edge,
    ] {
        for path in ["/livez", "/readyz", "/healthz", "/readyz?verbose"] {
            let answer = reqwest::get(format!("{}{path}", daemon.url()))
                .await
                .unwrap();
            assert_eq!(answer.status(), 200, "{path} of {}", daemon.url());
        }
        let metrics = reqwest::get(format!("{}/metrics", daemon.url()))
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(metrics.contains("orders_build_info{"), "{metrics}");
        assert!(metrics.contains("commit=\""), "{metrics}");
        let start = Instant::now();
        let status = daemon.terminate().await;
        assert!(status.success(), "{status}: {}", daemon.log());
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "{:?}: {}",
            start.elapsed(),
            daemon.log()
        );
    }
    load.await.unwrap();
    pipeline.stack.clean_up().await;
}

/// A first port from which every port that a runner gives away is free.
fn free_base(offsets: &[u16]) -> u16 {
    loop {
        let base = free_port();
        if offsets
            .iter()
            .all(|offset| TcpListener::bind(("0.0.0.0", base + offset)).is_ok())
        {
            return base;
        }
    }
}

/// A folder with the project's Procfile and an `.env` for `stack` and `ports`, in which a runner can start. All daemons
/// share the `.env`, so anybody must be allowed to use the servers.
fn runner_folder(stack: &Stack, ports: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(checkout().join("Procfile"), folder.path().join("Procfile")).unwrap();
    let env = format!(
        "{ports}\nMONGO_URL={}\nNATS_URL={}\nORDERS_PAYMENT__DELAY=500ms\n",
        stack.mongo_url,
        stack.nats.url(),
    );
    std::fs::write(folder.path().join(".env"), env).unwrap();
    folder
}

/// Starts `runner` with two projectors, sees an order through, and stops it.
async fn see_an_order_through(
    mut runner: Command,
    folder: &Path,
    base: u16,
    second_projector: u16,
    web: u16,
) {
    let target = Path::new(&binaries()).parent().unwrap().to_owned();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let mut child: Child = runner
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .env("TMUX_TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("the runner starts: `cargo xtask test` installs it");
    let read_log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();

    let ports = [
        base,
        base + 100,
        base + 200,
        second_projector,
        base + 300,
        base + 400,
        web,
    ];
    for port in ports {
        eventually(
            &format!("the daemon on {port} is ready"),
            async || match reqwest::get(format!("http://127.0.0.1:{port}/readyz")).await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                _ => Err(read_log()),
            },
        )
        .await;
    }
    let edge = format!("http://127.0.0.1:{base}");
    let created = reqwest::Client::new()
        .post(format!("{edge}/api/orders"))
        .json(&order("t-1", "r1"))
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201, "{}", read_log());
    eventually("the order is paid", async || {
        let page: Value = reqwest::get(format!("{edge}/api/orders?tenantId=t-1"))
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        if page["items"][0]["status"] == "PAID" {
            Ok(())
        } else {
            Err(page)
        }
    })
    .await;

    let page = reqwest::get(format!("http://127.0.0.1:{web}/orders?tenantId=t-1"))
        .await
        .unwrap();
    assert!(page.text().await.unwrap().contains("PAID"));

    let pid = child.id().unwrap();
    let start = Instant::now();
    Command::new("kill")
        .args(["-INT", &pid.to_string()])
        .status()
        .await
        .unwrap();
    for port in ports {
        eventually(
            &format!("the daemon on {port} is gone"),
            async || match reqwest::get(format!("http://127.0.0.1:{port}/livez")).await {
                Err(_) => Ok(()),
                Ok(answer) => Err(answer.status()),
            },
        )
        .await;
    }
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}: {}",
        start.elapsed(),
        read_log()
    );
    // The runner's own exit is not ours to test: tmux 3.3 now and then leaves a pane's process unreaped, and overmind
    // then waits for it.
    if tokio::time::timeout(Duration::from_secs(6), child.wait())
        .await
        .is_err()
    {
        child.kill().await.unwrap();
    }
    let sockets = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("tmux-"));
    for socket in sockets
        .filter_map(|entry| std::fs::read_dir(entry.path()).ok())
        .flatten()
        .flatten()
    {
        let mut kill = Command::new("tmux");
        kill.arg("-S")
            .arg(socket.path())
            .arg("kill-server")
            .stderr(Stdio::null());
        kill.status().await.unwrap();
    }
}

#[tokio::test]
async fn foreman_runs_the_procfile() {
    let stack = Stack::open().await;
    let (base, web) = (free_base(&[0, 100, 200, 201, 300, 400]), free_port());
    let ports = format!(
        "PORT={base}\nORDERS_WEB_PORT={web}\nORDERS_EDGE_URL=http://localhost:{base}\nORDERS_REALTIME_URLS=http://localhost:{}",
        base + 400
    );
    let folder = runner_folder(&stack, &ports);
    let mut foreman = Command::new("foreman");
    foreman.args(["start", "-m", "all=1,projector=2"]);
    see_an_order_through(foreman, folder.path(), base, base + 201, web).await;
    stack.clean_up().await;
}

#[tokio::test]
async fn overmind_runs_the_procfile() {
    let stack = Stack::open().await;
    // One variable moves everything away from the ports of `.env.example`.
    let web = loop {
        let web = free_base(&[0, 101, 201, 211, 301, 401]);
        // The edge's port, which no other test may get.
        if free_port() == web + 1 {
            break web;
        }
    };
    let ports = format!("PORT=3001\nOVERMIND_PORT=3001\nORDERS_BASE_PORT={web}");
    let (base, folder) = (web + 1, runner_folder(&stack, &ports));
    let mut overmind = Command::new(tool("overmind"));
    overmind
        .args(["start", "-m", "all=1,projector=2", "-s"])
        .arg(folder.path().join("overmind.sock"));
    see_an_order_through(overmind, folder.path(), base, base + 210, web).await;
    stack.clean_up().await;
}
