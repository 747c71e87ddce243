//! HTTP to the provider, within limits.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use orders_service::{BoxError, https_connector};

use crate::address::is_safe;

/// How long an exchange may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The most bytes of an answer.
const LONGEST: usize = 256 << 10;

/// A client of the provider: answers within 5 s and 256 KiB, by HTTPS except on this machine, with the authorities that
/// the system trusts. It follows no redirect.
#[derive(Debug, Clone)]
pub struct ProviderClient(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// Why the provider gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The URL is not one to be trusted.
    #[error("its URL is neither of HTTPS nor on this machine")]
    Unsafe,
    /// It takes too long.
    #[error("it does not answer within {DEADLINE:?}")]
    Slow,
    /// It says too much.
    #[error("its answer has more than {LONGEST} bytes")]
    Long,
    /// It cannot be reached, or breaks off.
    #[error("it cannot be reached")]
    Broken(#[source] BoxError),
    /// Its answer has another status.
    #[error("it answers {0}")]
    Status(StatusCode),
}

impl Default for ProviderClient {
    fn default() -> Self {
        Self(legacy::Client::builder(TokioExecutor::new()).build(https_connector()))
    }
}

impl ProviderClient {
    /// The document at `url`.
    pub async fn get(&self, url: &str) -> Result<Bytes, Unanswered> {
        let request = Request::get(url).body(Bytes::new());
        let request = request.map_err(|_| Unanswered::Unsafe)?;
        match self.send(request).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, _) => Err(Unanswered::Status(status)),
        }
    }

    /// The status and the body of the answer to `request`.
    pub async fn send(&self, request: Request<Bytes>) -> Result<(StatusCode, Bytes), Unanswered> {
        if !is_safe(&request.uri().to_string()) {
            return Err(Unanswered::Unsafe);
        }
        let exchange = async {
            let response = self.0.request(request.map(Full::new)).await;
            let response = response.map_err(|error| Unanswered::Broken(error.into()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => Unanswered::Long,
                false => Unanswered::Broken(error),
            })?;
            Ok((status, body.to_bytes()))
        };
        let timed = tokio::time::timeout(DEADLINE, exchange).await;
        timed.unwrap_or(Err(Unanswered::Slow))
    }
}
