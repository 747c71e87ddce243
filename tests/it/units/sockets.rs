//! Sockets that outlive the daemons.

use orders_testkit::{Setup, Stack};

use crate::{pipeline::Pipeline, rolling::traffic::Traffic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_restarts_of_the_only_edge_refuse_and_break_no_request() {
    let stack = Stack::start().await;
    let activated = |edge: Setup| {
        let edge = edge.activated();
        edge.env("ORDERS_LOG__FILTER", "info,orders_service=debug")
    };
    let mut pipeline = Pipeline::start_on(stack, "1s", activated).await;
    let traffic = Traffic::anew(&pipeline.edge.url());
    for _ in 0..40 {
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

    eprintln!("{answers:?}, {:.0}/s", answers.rate());
    let sum = |kinds: &[&str]| kinds.iter().map(|kind| answers.count(kind)).sum::<usize>();
    let good = sum(&["create 201", "create 202", "look 200", "presign 201"]);
    // Where the machine is so busy that a start takes longer than a request waits for it, or so many wait at once.
    let again = sum(&["create 429", "create 503", "look 503", "presign 503"]);
    assert_eq!(good + again, answers.sum(), "{answers:?}");
    assert!(again < good / 20, "{answers:?}");
    assert!(answers.rate() > 180.0, "{:.0}/s", answers.rate());
    assert!(answers.count("create 201") > good / 20, "{answers:?}");
    pipeline.stack.clean_up().await;
}
