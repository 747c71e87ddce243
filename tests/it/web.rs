//! The front end in a real browser: each test is a script of `tests/browser`, run against a pipeline of its own.

use std::{path::PathBuf, process::Stdio};

use orders_testkit::{Daemon, Lifetimes, OidcProvider, Setup, Stack, checkout};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
};

use crate::{pipeline::Pipeline, seed_data::seed_data};

/// A payment delay that no test waits for: what is PENDING stays so until a script has it paid.
const NEVER: &str = "1h";

/// The pipeline with the front end before it.
pub(crate) struct Site {
    pub(crate) web: Daemon,
    pub(crate) pipeline: Pipeline,
}

/// As browsers and the seed name it.
pub(crate) fn localhost(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

impl Site {
    /// Starts everything with payments after `delay`.
    pub(crate) async fn start(delay: &str) -> Self {
        Self::start_on(Stack::start().await, delay).await
    }

    /// Starts everything on `stack`.
    pub(crate) async fn start_on(stack: Stack, delay: &str) -> Self {
        let web = stack.daemon("web");
        let origin = localhost(&web.url());
        let pipeline =
            Pipeline::start_on(stack, delay, |edge| edge.env("CORS_ORIGIN", &origin)).await;
        let edge = localhost(&pipeline.edge.url());
        let web = web.env("ORDERS_EDGE_URL", &edge).start().await;
        Self { web, pipeline }
    }

    fn daemon(&mut self, name: &str) -> &mut Daemon {
        match name {
            "edge" => &mut self.pipeline.edge,
            "writer" => &mut self.pipeline.writer,
            "projector" => &mut self.pipeline.projector,
            other => panic!("no script needs {other}"),
        }
    }

    /// Gives the payment-simulator, and all orders that are PENDING, another delay.
    async fn pay_after(&mut self, delay: &str) {
        let payments = &mut self.pipeline.payments;
        payments.kill().await;
        let change = |setup: Setup| setup.env("ORDERS_PAYMENT__DELAY", delay);
        payments.restart(change).await;
    }

    /// Starts everything, with logins at `provider`.
    pub(crate) async fn start_with_login(
        delay: &str,
        lifetimes: Lifetimes,
    ) -> (Self, OidcProvider) {
        let stack = Stack::start().await;
        let web = stack.daemon("web");
        let home = localhost(&web.url());
        let provider = OidcProvider::start(stack.folder(), &home, lifetimes).await;
        let pipeline =
            Pipeline::start_on(stack, delay, |edge| edge.env("CORS_ORIGIN", &home)).await;
        let web = Self::with_login(web, &pipeline, &provider, &home);
        let web = web.start().await;
        (Self { web, pipeline }, provider)
    }

    /// The setup of pages at `home` before `pipeline`, with logins at `provider`.
    pub(crate) fn with_login(
        web: Setup,
        pipeline: &Pipeline,
        provider: &OidcProvider,
        home: &str,
    ) -> Setup {
        let edge = localhost(&pipeline.edge.url());
        let login = provider.login(home).into_iter();
        login.fold(web.env("ORDERS_EDGE_URL", &edge), |web, (name, value)| {
            web.env(name, &value)
        })
    }

    /// Runs a script to its end, doing what it asks for.
    pub(crate) async fn browse(mut self, script: &str, environment: &[(&str, &str)]) {
        let mut node = Command::new("node")
            .arg(checkout().join("tests/browser").join(script))
            .env("WEB_URL", localhost(&self.web.url()))
            .env("EDGE_URL", localhost(&self.pipeline.edge.url()))
            .env("FOLDER", self.pipeline.stack.folder())
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        let mut lines = BufReader::new(node.stdout.take().expect("piped")).lines();
        let mut input = node.stdin.take().expect("piped");
        while let Some(line) = lines.next_line().await.expect("text") {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["do", "kill", name] => self.daemon(name).kill().await,
                ["do", "start", name] => self.daemon(name).restart(|setup| setup).await,
                ["do", "pay", "after", delay] => self.pay_after(delay).await,
                _ => {
                    eprintln!("{line}");
                    continue;
                }
            }
            input.write_all(b"done\n").await.expect("the script reads");
        }
        let status = node.wait().await.expect("node ends");
        assert!(status.success(), "{script}: {status}, see above");
        self.pipeline.stack.clean_up().await;
    }
}

#[tokio::test]
async fn the_seeds_test_flow_and_smoke_test_b() {
    Site::start("5s").await.browse("seed.mjs", &[]).await;
}

#[tokio::test]
async fn lists_are_filtered_and_paged_by_their_url() {
    Site::start(NEVER).await.browse("lists.mjs", &[]).await;
}

#[tokio::test]
async fn a_form_tells_what_is_wrong_and_makes_one_order() {
    Site::start(NEVER).await.browse("form.mjs", &[]).await;
}

#[tokio::test]
async fn a_file_is_uploaded_with_progress() {
    Site::start(NEVER).await.browse("upload.mjs", &[]).await;
}

#[tokio::test]
async fn pages_catch_up_when_the_edge_was_away() {
    let site = Site::start(NEVER).await;
    let stack = &site.pipeline.stack;
    let spare = stack
        .daemon("edge")
        .env("ORDERS_REALTIME_URLS", &site.pipeline.realtime.url())
        .start()
        .await;
    let spare_url = spare.url();
    site.browse("restart.mjs", &[("SPARE_EDGE_URL", &spare_url)])
        .await;
}

#[tokio::test]
async fn without_javascript_everything_works_but_uploads() {
    Site::start(NEVER).await.browse("plain.mjs", &[]).await;
}

#[tokio::test]
async fn an_order_is_shown_before_it_is_listed() {
    Site::start(NEVER).await.browse("optimistic.mjs", &[]).await;
}

#[tokio::test]
async fn pages_are_for_everybody() {
    let screenshots = screenshots();
    let folder = screenshots.to_str().expect("a path in UTF-8");
    let site = Site::start(NEVER).await;
    let mut seed = seed_data(&site.pipeline.edge.url());
    let output = seed
        .args(["--orders", "60"])
        .output()
        .await
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    site.browse("quality.mjs", &[("SCREENSHOTS", folder)]).await;
}

/// Beside what cargo builds, to be looked at.
fn screenshots() -> PathBuf {
    let binaries = std::env::var("ORDERS_TEST_BIN_DIR").expect("run `cargo xtask test`");
    let folder = PathBuf::from(binaries).with_file_name("screenshots");
    std::fs::create_dir_all(&folder).expect("a writable folder");
    folder
}
