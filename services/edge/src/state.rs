use std::sync::Arc;

use axum::http::HeaderMap;
use orders_http::{Intake, PublicUrl, is_local, reached};
use orders_store::{ReadModel, WriteModel};
use tokio::sync::Semaphore;

use crate::{
    attachments::Attachments, commands::Commands, config::OnMismatch, export::Exports,
    guard::Guard, limits::Limits, listed::Unlisted, payments::Payments, realtimes::Realtimes,
};

/// Everything that the handlers work with.
pub(crate) struct AppState {
    pub(crate) commands: Commands,
    pub(crate) rows: ReadModel,
    pub(crate) orders: WriteModel,
    /// The exports under way.
    pub(crate) exports: Exports,
    pub(crate) limits: Arc<Limits>,
    /// Reads the bodies of requests.
    pub(crate) intake: Intake,
    /// A permit for each upload under way.
    pub(crate) uploads: Semaphore,
    /// The bucket of uploads, unless they are a mock.
    pub(crate) attachments: Option<Attachments>,
    pub(crate) unlisted: Unlisted,
    /// Whoever tells of payments from outside.
    pub(crate) payments: Payments,
    pub(crate) place: Place,
    pub(crate) guard: Guard,
    pub(crate) realtimes: Arc<Realtimes>,
    pub(crate) on_mismatch: OnMismatch,
}

/// Where clients find the edge.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) port: u16,
}

impl Place {
    /// The beginning of references to the API. Unless the public URL is set, they are relative to the host, whose scheme a
    /// proxy may not tell.
    pub(crate) fn reference(&self) -> &str {
        self.public_url.as_ref().map_or("", PublicUrl::as_str)
    }

    /// The beginning of URLs for the client of a request: the public URL or else the host that the client used. On this
    /// machine that host may be a front end that forwards the API alone, as the seed's does.
    pub(crate) fn url(&self, headers: &HeaderMap) -> String {
        match &self.public_url {
            Some(url) => url.as_str().to_owned(),
            None => reached(headers)
                .filter(|_| !is_local(headers))
                .unwrap_or_else(|| format!("http://localhost:{}", self.port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_for_the_client_that_asks() {
        let url = |public: Option<&str>, host: &str, scheme: &str| {
            let place = Place {
                public_url: public.map(|url| url.to_owned().try_into().unwrap()),
                port: 3001,
            };
            let named = [("host", host), ("x-forwarded-proto", scheme)];
            let named = named.into_iter().filter(|(_, value)| !value.is_empty());
            let named = named.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            place.url(&named.collect())
        };
        assert_eq!(url(None, "localhost:3001", "http"), "http://localhost:3001");
        assert_eq!(url(None, "127.0.0.1:3000", "http"), "http://localhost:3001");
        assert_eq!(url(None, "", ""), "http://localhost:3001");
        assert_eq!(
            url(None, "192.168.1.5:3001", "http"),
            "http://192.168.1.5:3001"
        );
        assert_eq!(url(None, "shop.example", "https"), "https://shop.example");
        let public = Some("https://shop.example/api/");
        assert_eq!(
            url(public, "127.0.0.1:3001", "http"),
            "https://shop.example/api"
        );
    }
}
