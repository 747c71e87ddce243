//! Sockets that outlive the daemons.

use orders_testkit::Stack;

use crate::{pipeline::Pipeline, rolling::traffic::Traffic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_restarts_of_the_only_edge_refuse_and_break_no_request() {
    let stack = Stack::start().await;
    let mut pipeline = Pipeline::start_on(stack, "1s", |edge| edge.activated()).await;
    let traffic = Traffic::anew(&pipeline.edge.url());
    for _ in 0..40 {
        let status = pipeline.edge.terminate().await;
        assert!(status.success(), "{status}: {}", pipeline.edge.log());
        pipeline.edge.restart(|edge| edge).await;
    }
    let answers = traffic.stop().await;

    eprintln!("{answers:?}, {:.0}/s", answers.rate());
    let good = ["200", "201", "202"].map(|status| answers.count(status));
    // "starting", where the machine is so busy that a start takes longer than a request waits for it.
    let repeat = answers.count("503");
    assert_eq!(
        good.iter().sum::<usize>() + repeat,
        answers.sum(),
        "{answers:?}"
    );
    assert!(repeat < answers.sum() / 20, "{answers:?}");
    assert!(answers.rate() > 180.0, "{:.0}/s", answers.rate());
    assert!(good[1] > answers.sum() / 20, "{answers:?}");
    pipeline.stack.clean_up().await;
}
