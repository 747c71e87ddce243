//! The image of all daemons and infra/docker-compose.yml. podman runs the containers, as far as that file says how, on a
//! network of the test's own. That takes root and Debian; elsewhere these tests are skipped.

mod compose;
mod healthcheck;
mod network;
mod podman;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use orders_testkit::{SocketClient, aloud, eventually, tool};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use self::{
    compose::{Project, Service, Volume},
    network::Network,
    podman::Podman,
};
use crate::pipeline::order;

const DAEMONS: [&str; 6] = [
    "edge",
    "payment-simulator",
    "projector",
    "realtime",
    "web",
    "writer",
];
const IMAGE: &str = "orders-pipeline";
/// A host on which something runs that the file does not know.
const STRANGER: &str = "stranger";

fn variable(name: &str) -> PathBuf {
    let value = env::var_os(name);
    PathBuf::from(value.expect("run `cargo xtask test`"))
}

fn folder() -> tempfile::TempDir {
    let builder = tempfile::Builder::new().prefix("orders-image-").tempdir();
    builder.expect("a temporary folder")
}

/// Starts a server with its log in `folder`.
fn start(mut server: Command, name: &str, folder: &Path) -> Child {
    let log = File::create(folder.join(format!("{name}.log"))).unwrap();
    server
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Starts the nats-server of the tests as the file says of a service, on the host of its name.
fn start_nats(network: &Network, name: &str, service: &Service, folder: &Path) -> Child {
    let place = |volume: &Volume| match volume.kind.as_str() {
        "bind" => volume.source.clone(),
        _ => folder.join(&volume.source),
    };
    let mut server = network.on(name, variable("ORDERS_TEST_NATS_SERVER"));
    let variables = service.environment.iter();
    let variables = variables.filter_map(|(name, value)| Some((name, value.as_ref()?)));
    server.args(service.command_outside(place)).envs(variables);
    start(server, name, folder)
}

/// Waits until a server says that it is healthy, where the file has it asked.
async fn until_healthy(network: &Network, name: &str, service: &Service) {
    let url = service.health_command().last().unwrap();
    eventually(&format!("{name} is healthy"), async || {
        let mut curl = network.on(name, "curl");
        let output = curl.args(["--silent", "--fail", url]).output();
        match output.await.unwrap() {
            output if output.status.success() => Ok(()),
            output => Err(String::from_utf8_lossy(&output.stdout).into_owned()),
        }
    })
    .await;
}

/// What a program prints; it must succeed.
async fn said(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_compose_file_is_right() {
    let project = Project::read(&[]).await;
    let app = project.of_profile("app");
    assert!(app.keys().copied().eq(DAEMONS));
    for (name, service) in &app {
        assert_eq!(service.image, IMAGE);
        assert_eq!(service.command, Some(vec![(*name).to_owned()]));
        assert!(service.read_only, "{name}");
        assert_eq!(service.cap_drop, ["ALL"], "{name}");
        assert_eq!(service.security_opt, ["no-new-privileges:true"], "{name}");
        assert_eq!(service.stop_grace_period, "5s", "{name}");
    }
    // Whoever has no profile gets the servers.
    let open = |service: &&Service| service.profiles.is_empty();
    assert_eq!(project.services.values().filter(open).count(), 3);

    let mut ports = BTreeSet::new();
    let version = said(Command::new(variable("ORDERS_TEST_NATS_SERVER")).arg("--version")).await;
    let nats = version.trim().replace("nats-server: v", "nats:") + "-alpine";
    for (name, service) in &project.services {
        for port in &service.ports {
            // Without a login, nobody else may reach it.
            assert_eq!(port.host_ip, "127.0.0.1", "{name}");
            assert!(ports.insert(&port.published), "{name}: {port:?}");
        }
        for Volume { kind, source, .. } in &service.volumes {
            assert!(kind != "bind" || source.exists(), "{source:?}");
        }
        if name.starts_with("nats") {
            assert_eq!(service.image, nats, "the tests run another version");
        }
    }

    let project = Project::read(&["infra/nats/cluster.env"]).await;
    let servers = project.of_profile("cluster");
    let servers: Vec<_> = servers
        .keys()
        .map(|it| format!("nats://{it}:4222"))
        .collect();
    for service in project.of_profile("app").values() {
        let set = |name: &str| service.environment[name].clone().unwrap();
        assert_eq!(set("NATS_URL"), servers.join(","));
        assert_eq!(set("ORDERS_STREAMS__REPLICAS"), servers.len().to_string());
    }
}

#[tokio::test]
async fn three_nats_servers_keep_three_copies() {
    let project = Project::read(&["infra/nats/cluster.env"]).await;
    let servers = project.of_profile("cluster");
    let names: Vec<&str> = servers.keys().copied().chain([STRANGER]).collect();
    let folder = folder();
    let network = match Network::new(folder.path(), &names) {
        Ok(network) => network,
        Err(reason) => {
            return aloud(format_args!(
                "skipped: this machine has no networks: {reason}"
            ));
        }
    };
    let started = servers
        .iter()
        .map(|(name, service)| start_nats(&network, name, service, folder.path()));
    let _running: Vec<_> = started.collect();
    for (name, service) in &servers {
        until_healthy(&network, name, service).await;
    }

    refuse_a_server_without_their_password(&network, folder.path()).await;

    let urls = project.services["edge"].environment["NATS_URL"].clone();
    let nats = |arguments: &[&str]| {
        let mut nats = network.command(tool("nats"));
        nats.arg("--server").arg(urls.as_ref().unwrap());
        nats.args(arguments);
        nats
    };
    let make = [
        "stream",
        "add",
        "TRIED",
        "--defaults",
        "--subjects=tried",
        "--replicas=3",
    ];
    said(&mut nats(&make)).await;
    said(&mut nats(&["request", "tried", "a message"])).await;
    eventually("every server has the message", async || {
        let info = said(&mut nats(&["stream", "info", "TRIED", "--json"])).await;
        let info: Value = serde_json::from_str(&info).unwrap();
        let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap();
        let are_current = replicas
            .iter()
            .all(|it| it["current"] == true && it["lag"].is_null());
        match info["state"]["messages"] == 1 && replicas.len() == 2 && are_current {
            true => Ok(()),
            false => Err(info),
        }
    })
    .await;
}

async fn refuse_a_server_without_their_password(network: &Network, folder: &Path) {
    let mut server = network.on(STRANGER, variable("ORDERS_TEST_NATS_SERVER"));
    server.args(["--cluster_name=orders", "--routes=nats://nats-1:6222"]);
    server.arg("--cluster_listen=nats://0.0.0.0:6222");
    let _server = start(server, STRANGER, folder);
    let log = folder.join(format!("{STRANGER}.log"));
    eventually("it is refused", async || match fs::read_to_string(&log) {
        Ok(log) if log.contains("Authorization Violation") => Ok(()),
        log => Err(log),
    })
    .await;
}

/// From the image, which is the same twice, and from the request to the socket. Each container has a network namespace,
/// reads its own files only, has no rights, and ends in time.
#[tokio::test]
async fn an_order_is_paid_in_containers() {
    let (Some(packages), Ok(postgres)) = (
        env::var_os("ORDERS_TEST_IMAGE_PACKAGES"),
        env::var("ORDERS_TEST_POSTGRES_URL"),
    ) else {
        return aloud("skipped: containers take root, Debian and our FerretDB");
    };
    let project = Project::read(&[]).await;
    let app = project.of_profile("app");
    let folder = folder();
    let hosts: Vec<_> = app.keys().copied().chain(["mongo", "nats"]).collect();
    let network = match Network::new(folder.path(), &hosts) {
        Ok(network) => network,
        Err(reason) => {
            return aloud(format_args!(
                "skipped: this machine has no networks: {reason}"
            ));
        }
    };
    let podman = match Podman::new(&network, folder.path()).await {
        Ok(podman) => podman,
        Err(reason) => return aloud(format_args!("skipped: podman does not work here: {reason}")),
    };

    let nats = &project.services["nats"];
    let _nats = start_nats(&network, "nats", nats, folder.path());
    let mut ferretdb = network.on("mongo", tool("ferretdb"));
    ferretdb
        .args(["--no-auth", "--listen-addr=0.0.0.0:27017", "--debug-addr=-"])
        .args(["--telemetry=disable", "--log-level=warn"])
        .arg(format!("--state-dir={}", folder.path().display()))
        .arg(format!("--postgresql-url={postgres}"));
    let _ferretdb = start(ferretdb, "mongo", folder.path());

    is_the_same_twice(&podman, Path::new(&packages)).await;
    has_the_daemons_alone(&podman).await;

    // The file names the database of a whole installation; other tests have theirs on the same server.
    let database = format!("orders_test_{}", uuid::Uuid::new_v4().simple());
    let server = app["edge"].environment["MONGO_URL"].clone().unwrap();
    let server = server.strip_suffix("/orders").unwrap();
    let url = format!("{server}/{database}");
    until_healthy(&network, "nats", nats).await;
    let began = Instant::now();
    for (name, service) in &app {
        podman.start(name, service, &[("MONGO_URL", &url)]).await;
    }
    for (name, service) in &app {
        eventually(&format!("{name} is healthy"), async || {
            let health = podman.health(name, service).await;
            health.map_err(|reason| format!("{reason}\n{}", podman.logged(name)))
        })
        .await;
    }
    eprintln!("six containers are healthy after {:?}", began.elapsed());

    may_do_nothing(&podman, &app).await;
    is_paid(&network).await;
    let doctor = podman.run_in("edge", &["orderctl", "doctor"]).await;
    let finds_all = doctor.contains("health of nats") && !doctor.contains("unknown");
    assert!(finds_all, "{doctor}");
    end_in_time(&podman, &app).await;

    let url = variable("ORDERS_TEST_MONGO_URL").display().to_string();
    let client = mongodb::Client::with_uri_str(url).await.unwrap();
    client.database(&database).drop().await.unwrap();
}

async fn is_the_same_twice(podman: &Podman<'_>, packages: &Path) {
    let binaries = variable("ORDERS_TEST_BIN_DIR");
    let began = Instant::now();
    let first = podman.build(&binaries, packages).await;
    let took = began.elapsed();
    let second = podman.build(&binaries, packages).await;
    assert_eq!(first, second);
    let image = podman.image(IMAGE).await;
    assert_eq!(image["Id"], first);
    assert_eq!(image["Config"]["User"], "65532:65532");
    assert_eq!(image["Config"]["StopSignal"], "SIGTERM");
    let size = image["Size"].as_u64().unwrap() / 1_000_000;
    eprintln!("the image has {size} MB and takes {took:?}");
}

async fn has_the_daemons_alone(podman: &Podman<'_>) {
    let programs = DAEMONS.into_iter().chain(["orderctl"]);
    let programs: BTreeSet<_> = programs.map(|it| format!("/usr/local/bin/{it}")).collect();
    assert_eq!(podman.programs(IMAGE).await, programs, "and no shell");
}

async fn may_do_nothing(podman: &Podman<'_>, app: &BTreeMap<&str, &Service>) {
    for name in app.keys() {
        assert_eq!(podman.status(name, "CapBnd").await, "0000000000000000");
        assert_eq!(podman.status(name, "NoNewPrivs").await, "1");
        let user = podman.status(name, "Uid").await;
        assert!(user.split('\t').all(|id| id == "65532"), "{user}");
        for place in podman.writable(name).await {
            let is_of_kernel = place.starts_with("/dev") || place.starts_with("/proc");
            assert!(is_of_kernel, "{name} can write to {place}");
        }
    }
}

/// Posts an order to the edge, and hears of it through web.
async fn is_paid(network: &Network) {
    let options = json!({
        "path": "/ws", "transports": ["websocket"], "auth": { "tenantId": "t-1" },
    });
    let node = network.command("node");
    let mut client = SocketClient::connect_by(node, "http://web:3000", &options);
    client.event("connected").await;
    let mut post = network.command("curl");
    post.args(["--silent", "--show-error", "--fail-with-body", "--json"])
        .arg(order("t-1", "r1").to_string())
        .arg("http://edge:3001/api/orders");
    let created: Value = serde_json::from_str(&said(&mut post).await).unwrap();
    let created = &created["orderId"];
    let is_paid = |event: &[Value]| event[0] == json!({ "orderId": created, "status": "PAID" });
    client.event_where("order.updated", is_paid).await;
    let mut page = network.command("curl");
    page.args(["--silent", "--fail", "http://web:3000/orders?tenantId=t-1"]);
    assert!(said(&mut page).await.contains("PAID"));
}

async fn end_in_time(podman: &Podman<'_>, app: &BTreeMap<&str, &Service>) {
    for (name, service) in app {
        let began = Instant::now();
        let code = podman.stop(name, service).await;
        let took = began.elapsed();
        assert_eq!(code, 0, "{name}: {}", podman.logged(name));
        assert!(took < Duration::from_secs(4), "{name}: {took:?}");
        eprintln!("{name} stopped within {took:?}");
    }
}
