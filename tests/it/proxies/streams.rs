//! Streams of events behind nginx and behind the pages.

use orders_contracts::sse::PATH;
use orders_testkit::{eventually, free_port};
use tokio::net::TcpStream;

use super::{HOST, Nginx, PREFIX, TOLD, at, pass};
use crate::{
    sse::{End, Follower, ask},
    web::Site,
};

/// nginx keeps answers back until its buffers are full, unless an answer says otherwise, as this one does.
#[tokio::test]
async fn events_pass_nginx_and_the_pages_one_by_one() {
    let mut site = Site::start("1h").await;
    let [plain, told, pages, below] = std::array::from_fn(|_| free_port());
    let (edge, web) = (site.pipeline.edge.url(), site.web.url());
    let in_shop = pass("/shop/", &format!("{web}/"), &format!("{HOST} {PREFIX}"));
    let servers = [
        (plain, pass("/", &edge, "")),
        (told, pass("/", &edge, TOLD)),
        (pages, pass("/", &web, HOST)),
        (below, in_shop),
    ];
    let _nginx = Nginx::start(site.pipeline.stack.folder(), &servers).await;
    for (port, _) in &servers {
        eventually("nginx listens", async || {
            TcpStream::connect(("127.0.0.1", *port)).await
        })
        .await;
    }
    let shop = format!("{}/shop", at(below));
    let urls = [web, at(plain), at(told), at(pages), shop];
    let mut followers = Vec::new();
    for url in &urls {
        followers.push(Follower::open(url, "t-1", None).await);
    }
    for request in ["r1", "r2"] {
        let id = site.pipeline.create("t-1", request).await;
        for follower in &mut followers {
            let told = follower.next().await.unwrap();
            assert_eq!(told.data["orderId"], id.as_str());
        }
    }
    for (url, follower) in urls.iter().zip(&mut followers) {
        assert_eq!(follower.header("cache-control"), "no-store", "{url}");
        let refused = ask(url, "a.b", None).await;
        assert_eq!(refused.status(), 400, "{url}{PATH}");
    }
    // The pages end what goes through them.
    assert!(site.web.terminate().await.success());
    assert_eq!(followers[0].end().await, End::Clean);
    site.pipeline.stack.clean_up().await;
}
