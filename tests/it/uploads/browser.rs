//! A page sends a large file to the bucket.

use orders_testkit::{S3Server, Stack};

use crate::{
    pipeline::Pipeline,
    web::{Site, localhost},
};

#[tokio::test]
async fn a_hundred_megabytes_are_sent_with_progress() {
    let stack = Stack::start().await;
    let web = stack.daemon("web");
    let origin = localhost(&web.url());
    let s3 = S3Server::start(stack.folder(), &origin).await;
    let pipeline = Pipeline::start_on(stack, "1h", |edge| {
        s3.used_by(edge.env("CORS_ORIGIN", &origin))
    })
    .await;
    let web = web
        .env("ORDERS_EDGE_URL", &localhost(&pipeline.edge.url()))
        .env("ORDERS_UPLOAD_ORIGIN", &s3.url())
        .start()
        .await;
    let site = Site { web, pipeline };
    site.browse("bucket.mjs", &[("BUCKET_URL", &s3.url())])
        .await;
}
