//! `--healthcheck`, by which a container without a shell tells how its daemon is.

use orders_testkit::{Stack, free_port};
use tokio::process::Command;

use super::variable;

#[tokio::test]
async fn a_daemon_is_asked_whether_it_is_ready() {
    let mut stack = Stack::open().await;
    let writer = stack.daemon("writer").start().await;
    let ask = async |port: u16| {
        let mut ask = Command::new(variable("ORDERS_TEST_BIN_DIR").join("writer"));
        ask.arg("--healthcheck").env("PORT", port.to_string());
        let output = ask.output().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let (code, said) = ask(writer.port()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("[+]nats ok"), "{said}");

    stack.nats.kill().await;
    writer.unready("nats failed").await;
    let (code, said) = ask(writer.port()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("[-]nats failed"), "{said}");

    let (code, said) = ask(free_port()).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("Connection refused"), "{said}");
    stack.clean_up().await;
}
