//! HTTP to the collector.

use std::{mem::ManuallyDrop, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::https_connector;

/// The most bytes of an answer, which nobody reads.
const LONGEST: usize = 64 << 10;

/// A client that blocks the thread that calls it, which is the batch processor's own: an exporter that is polled there,
/// but waits for the daemon's runtime, would wait for ever.
#[derive(Debug)]
pub(super) struct Sender {
    /// Never dropped, because that would wait for a look-up of a name under way.
    runtime: ManuallyDrop<Runtime>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limit: Duration,
}

impl Sender {
    /// `limit` is for a request and its answer.
    pub(super) fn new(limit: Duration) -> std::io::Result<Self> {
        // Its one thread notices when the collector closes a connection that is not in use.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: ManuallyDrop::new(runtime),
            client: Client::builder(TokioExecutor::new()).build(https_connector()),
            limit,
        })
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = async {
            let response = self.client.request(request.map(Full::new)).await?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LONGEST).collect().await?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        self.runtime
            .block_on(async { timeout(self.limit, exchange).await })?
    }
}
