//! Sockets that outlive the daemons.

use orders_testkit::{Setup, Stack};

use crate::{pipeline::Pipeline, rolling::traffic::Traffic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_restarts_of_the_only_edge_refuse_and_break_no_request() {
    const RESTARTS: usize = 40;
    let stack = Stack::start().await;
    let activated = |edge: Setup| {
        let edge = edge.activated();
        edge.env("ORDERS_LOG__FILTER", "info,orders_service=debug")
    };
    let mut pipeline = Pipeline::start_on(stack, "1s", activated).await;
    let traffic = Traffic::anew(&pipeline.edge.url());
    for _ in 0..RESTARTS {
        let status = pipeline.edge.terminate().await;
        assert!(status.success(), "{status}");
        pipeline.edge.restart(|edge| edge).await;
    }
    let answers = traffic.stop().await;
    let log = pipeline.edge.log();
    // Why a request was broken, if one was.
    let telling = ["still open", "did not ask", "broke"];
    for line in log.lines() {
        if telling.iter().any(|words| line.contains(words)) {
            eprintln!("{line}");
        }
    }
    answers.are_good(RESTARTS);
    pipeline.stack.clean_up().await;
}
