//! Styles, icon and script, each under a name that changes with its content.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

/// A file that pages refer to.
pub(crate) struct Asset {
    /// Its path, with a hash of its content.
    pub(crate) path: String,
    media_type: &'static str,
    content: &'static str,
}

/// All of them.
pub(crate) struct Assets {
    pub(crate) style: Asset,
    pub(crate) icon: Asset,
    /// The bundle of `client/`; none in a build without Node.
    pub(crate) client: Option<Asset>,
}

pub(crate) static ASSETS: LazyLock<Assets> =
    LazyLock::new(|| Assets::new(include_str!(concat!(env!("OUT_DIR"), "/client.js"))));

impl Assets {
    /// Those of a build whose script is `client`, which is empty without Node.
    pub(crate) fn new(client: &'static str) -> Self {
        Self {
            style: Asset::new(
                "style",
                "css",
                "text/css",
                include_str!("../static/style.css"),
            ),
            icon: Asset::new(
                "icon",
                "svg",
                "image/svg+xml",
                include_str!("../static/icon.svg"),
            ),
            client: (!client.is_empty())
                .then(|| Asset::new("client", "js", "text/javascript", client)),
        }
    }
}

impl Asset {
    fn new(name: &str, extension: &str, media_type: &'static str, content: &'static str) -> Self {
        let hash: String = Sha256::digest(content)
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            path: format!("/assets/{name}-{hash}.{extension}"),
            media_type,
            content,
        }
    }
}

/// The answer to `GET /assets/{name}`, if there is such an asset.
pub(crate) fn find(name: &str) -> Option<Response> {
    let path = format!("/assets/{name}");
    let mut assets = [&ASSETS.style, &ASSETS.icon]
        .into_iter()
        .chain(&ASSETS.client);
    let asset = assets.find(|asset| asset.path == path)?;
    let headers = [
        (header::CONTENT_TYPE, asset.media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    Some((headers, asset.content).into_response())
}
