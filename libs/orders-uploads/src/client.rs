//! HTTP to the storage, within limits.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use orders_service::https_connector;
use tokio::time::timeout;

use crate::{Error, xml};

/// The most bytes of an answer that is read whole; a page of a list has some hundred thousand.
const LONGEST: usize = 8 << 20;

/// A client of the storage. It believes the authorities that the system trusts and follows no redirect.
#[derive(Debug, Clone)]
pub(crate) struct Client(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The answer, unless it is a refusal.
    pub(crate) fn accepted(self) -> Result<Self, Error> {
        match self.status.is_success() {
            true => Ok(self),
            false => Err(Error::Refused {
                status: self.status,
                code: xml::code(&self.body),
            }),
        }
    }
}

impl Client {
    pub(crate) fn new() -> Self {
        Self(legacy::Client::builder(TokioExecutor::new()).build(https_connector()))
    }

    /// The answer to `request`, whole and within `deadline`.
    pub(crate) async fn send(
        &self,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Result<Answer, Error> {
        let exchange = async {
            let (head, body) = self.request(request).await?.into_parts();
            let body = Limited::new(body, LONGEST).collect().await;
            Ok(Answer {
                status: head.status,
                headers: head.headers,
                body: body.map_err(Error::Broken)?.to_bytes(),
            })
        };
        let timed = timeout(deadline, exchange).await;
        timed.unwrap_or(Err(Error::Slow(deadline)))
    }

    /// The answer to `request` whose head comes within `deadline`.
    pub(crate) async fn open(
        &self,
        request: Request<Bytes>,
        deadline: Duration,
    ) -> Result<Response<Incoming>, Error> {
        let timed = timeout(deadline, self.request(request)).await;
        timed.unwrap_or(Err(Error::Slow(deadline)))
    }

    async fn request(&self, request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        let response = self.0.request(request.map(Full::new)).await;
        response.map_err(|error| Error::Broken(error.into()))
    }
}
