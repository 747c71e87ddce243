//! Machines that lose their network, in part or altogether. `cargo xtask hosts` breaks more, with everything at work.

use std::{fs, io, net::SocketAddr, process::Command, time::Duration};

use orders_testkit::{Host, Hosts, NatsCluster, Setup, Sync, aloud, eventually};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::timeout,
};

/// Long enough for whatever arrives.
const SOON: Duration = Duration::from_millis(500);

/// Does `work` on the last of some hosts, or says why there are none.
fn on_hosts(names: &[&'static str], work: impl AsyncFnOnce(&Hosts) + Send) {
    if let Some(refused) = Hosts::refused() {
        return aloud(format_args!("skipped: {refused}"));
    }
    let hosts = Hosts::start(names).unwrap();
    let last = hosts.host(names.last().unwrap());
    last.run(|| Runtime::new().unwrap().block_on(work(&hosts)))
        .unwrap();
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    timeout(SOON, TcpStream::connect(to)).await?
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"x").await.unwrap();
    timeout(SOON, to.read_u8()).await.is_ok()
}

#[test]
fn cables_are_pulled_and_packets_lost_one_way() {
    on_hosts(&["a", "b"], async |hosts| {
        let (a, b) = (hosts.host("a"), hosts.host("b"));
        let address = SocketAddr::from((a.address(), 5000));
        let listener = a
            .run(|| std::net::TcpListener::bind(address).unwrap())
            .unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let mut to_a = connect(address).await.unwrap();
        let (mut to_b, _) = listener.accept().await.unwrap();
        assert!(passes(&mut to_a, &mut to_b).await && passes(&mut to_b, &mut to_a).await);

        a.unplug().unwrap();
        connect(address).await.unwrap_err();
        a.plug().unwrap();
        connect(address).await.unwrap();

        b.lose_from(a).unwrap();
        assert!(passes(&mut to_a, &mut to_b).await, "the other way");
        assert!(!passes(&mut to_b, &mut to_a).await, "it is lost");
        b.receive_from(a).unwrap();
        timeout(SOON * 20, to_a.read_u8()).await.unwrap().unwrap();

        a.close_port(5000).unwrap();
        connect(address).await.unwrap_err();
        a.open_port(5000).unwrap();
        connect(address).await.unwrap();
        a.narrow("1mbit").unwrap();
        a.widen().unwrap();
    });
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next_one() {
    if let Some(refused) = Hosts::refused() {
        return aloud(format_args!("skipped: {refused}"));
    }
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let left = format!("orders-test-{}-0-a", ended.id());
    let ip = |arguments: &[&str]| Command::new("ip").args(arguments).status().unwrap();
    assert!(ip(&["netns", "add", &left]).success());
    let mut process = Command::new("ip")
        .args(["netns", "exec", &left, "sleep", "1000"])
        .spawn()
        .unwrap();
    drop(Hosts::start(&["a"]).unwrap());
    assert!(!process.wait().unwrap().success(), "killed");
    let names = fs::read_dir("/run/netns").unwrap();
    let names: Vec<_> = names.map(|name| name.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| *name == *left), "{names:?}");
}

/// Its server goes on as if nothing were wrong, and even the connection stays.
#[test]
fn a_daemon_leaves_a_server_that_has_lost_its_cluster() {
    on_hosts(&["a", "b", "c", "d"], async |hosts| {
        let folder = tempfile::tempdir().unwrap();
        let servers = ["a", "b", "c"].map(|name| hosts.host(name));
        let mut nats = NatsCluster::on(&servers, 3, folder.path(), Sync::Seldom).await;
        let daemon = Setup::new("realtime", folder.path())
            .on(hosts.host("d"))
            .env("NATS_URL", nats.url())
            .env("ORDERS_STREAMS__REPLICAS", "3")
            .start()
            .await;
        let monitors: Vec<String> = nats
            .servers()
            .iter()
            .map(|server| server.monitor_url())
            .collect();
        let used = used(&monitors).await;
        assert_eq!(used.len(), 1, "{used:?}");
        let alone: &Host = servers[used[0]];

        alone.close_port(NatsCluster::ROUTES).unwrap();
        daemon.unready("cannot use JetStream").await;
        daemon.ready().await;
        eventually(
            "the daemon uses another server",
            async || match &self::used(&monitors).await[..] {
                [other] if *other != used[0] => Ok(()),
                others => Err(others.to_vec()),
            },
        )
        .await;
        alone.open_port(NatsCluster::ROUTES).unwrap();
    });
}

/// Which servers realtime is connected to.
async fn used(monitors: &[String]) -> Vec<usize> {
    let mut used = Vec::new();
    for (position, monitor) in monitors.iter().enumerate() {
        let answer = reqwest::get(format!("{monitor}/connz")).await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let connections = answer["connections"].as_array().unwrap();
        if connections.iter().any(|it| it["name"] == "realtime") {
            used.push(position);
        }
    }
    used
}
