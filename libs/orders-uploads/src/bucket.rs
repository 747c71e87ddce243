use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use data_encoding::BASE64;
use http::{Request, header};
use http_body_util::BodyExt as _;
use orders_service::Invalid;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::digest::{SHA256, digest};
use rusty_s3::{Bucket, Map, Method, UrlStyle, signing::sign};
use url::Url;

use crate::{
    Error, MediaTypes, Scan, StorageKey, UploadSettings, Verdict,
    client::{Answer, Client},
    secret::{self, AccessKey},
    settings::Place,
    stored::{CHECKSUM, Stored, read_head},
};

/// How long a request about one file may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long a request that changes the bucket or lists it may take.
pub(crate) const LONG_DEADLINE: Duration = Duration::from_secs(30);
/// How long the URL of a download is valid.
const DOWNLOAD: Duration = Duration::from_secs(60);
/// How long a signature of ours is valid, before and after which the clock of the storage may be.
const OURS: Duration = Duration::from_secs(300);
/// The most bytes of a file that an order can have, unless the settings say less: what S3 takes in one request.
const MAX_SIZE: u64 = 5 << 30;

/// The characters that a name in a header's parameter has as they are (RFC 8187 section 3.2.1).
const IN_PARAMETER: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The bucket of uploaded files.
#[derive(Debug)]
pub struct Storage {
    bucket: Bucket,
    key: AccessKey,
    client: Client,
    /// How long the URL of an upload is valid.
    pub ttl: Duration,
    /// Which files an order may have.
    pub scan: Scan,
    /// The most bytes of a file.
    pub max_size: u64,
    /// The media types of files, unless all are allowed.
    pub types: Option<MediaTypes>,
}

/// A file that a client wants to upload.
#[derive(Debug, Clone, Copy)]
pub struct ToSend<'a> {
    /// Its media type.
    pub content_type: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, if the client knows it.
    pub sha256: Option<&'a [u8]>,
}

/// How to upload a file.
#[derive(Debug, Clone)]
pub struct Presigned {
    /// Where to PUT it.
    pub url: String,
    /// The headers to send with it; they are signed.
    pub headers: BTreeMap<&'static str, String>,
}

/// A request of ours.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    /// The object, or else the bucket itself.
    pub(crate) object: Option<&'a str>,
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: Bytes,
}

impl Storage {
    /// The bucket of the settings, unless uploads are a mock.
    pub fn open(settings: &UploadSettings) -> Result<Option<Self>, Invalid> {
        let Some(place) = settings.place()? else {
            return Ok(None);
        };
        Ok(Some(Self {
            bucket: bucket(&place)?,
            key: secret::open(place.access_key_file)?,
            client: Client::new(),
            ttl: settings.ttl,
            scan: settings.scan,
            max_size: settings.max_size.map_or(MAX_SIZE, |size| size.as_u64()),
            types: settings.types.clone(),
        }))
    }

    /// The name of the bucket.
    #[must_use]
    pub fn name(&self) -> &str {
        self.bucket.name()
    }

    pub(crate) fn region(&self) -> &str {
        self.bucket.region()
    }

    /// A URL to which exactly this file can be sent, with exactly these headers.
    #[must_use]
    pub fn presign_put(&self, key: &StorageKey, file: ToSend<'_>) -> Presigned {
        let mut headers = BTreeMap::from([
            ("Content-Type", file.content_type.to_owned()),
            ("Content-Length", file.size.to_string()),
        ]);
        if let Some(sha256) = file.sha256 {
            headers.insert(CHECKSUM, BASE64.encode(sha256));
        }
        let mut signed = Map::new();
        for (name, value) in &headers {
            signed.insert(name.to_ascii_lowercase(), value.as_str());
        }
        let url = self.signed(
            Method::Put,
            Some(key.as_str()),
            &Map::new(),
            &signed,
            self.ttl,
        );
        let url = url.into();
        Presigned { url, headers }
    }

    /// A URL from which the file can be downloaded for a minute, as `filename` and never shown in the page.
    #[must_use]
    pub fn presign_get(
        &self,
        key: &StorageKey,
        version: Option<&str>,
        filename: &str,
        content_type: &str,
    ) -> String {
        let name = utf8_percent_encode(filename, IN_PARAMETER);
        let mut query = Map::new();
        query.insert("response-content-type", content_type);
        query.insert(
            "response-content-disposition",
            format!("attachment; filename*=UTF-8''{name}"),
        );
        if let Some(version) = version {
            query.insert("versionId", version);
        }
        let url = self.signed(
            Method::Get,
            Some(key.as_str()),
            &query,
            &Map::new(),
            DOWNLOAD,
        );
        url.into()
    }

    /// What the bucket has under `key`, in that version or the newest, or nothing.
    pub async fn look_up(
        &self,
        key: &StorageKey,
        version: Option<&str>,
    ) -> Result<Option<Stored>, Error> {
        let ask = Ask {
            method: Method::Head,
            object: Some(key.as_str()),
            query: &of_version(version),
            body: Bytes::new(),
        };
        let mode = [("x-amz-checksum-mode", "ENABLED")];
        let answer = self.send(ask, &mode, DEADLINE).await?;
        match answer.accepted() {
            Ok(answer) => read_head(&answer.headers).map(Some),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a scanner says of the file.
    pub async fn verdict(&self, key: &StorageKey, version: Option<&str>) -> Result<Verdict, Error> {
        let query = with("tagging", version);
        let ask = Ask {
            method: Method::Get,
            object: Some(key.as_str()),
            query: &query,
            body: Bytes::new(),
        };
        let answer = self.send(ask, &[], DEADLINE).await?;
        Verdict::read(&answer.accepted()?.body)
    }

    /// Tags the file with what a scanner says of it.
    pub async fn tag(
        &self,
        key: &StorageKey,
        version: Option<&str>,
        verdict: Verdict,
    ) -> Result<(), Error> {
        let query = with("tagging", version);
        let ask = Ask {
            method: Method::Put,
            object: Some(key.as_str()),
            query: &query,
            body: verdict.tagging().into(),
        };
        self.change(ask).await
    }

    /// Removes one version of a file, or the only one, for good. One that is gone is removed.
    pub async fn remove(&self, key: &str, version: Option<&str>) -> Result<(), Error> {
        let ask = Ask {
            method: Method::Delete,
            object: Some(key),
            query: &of_version(version),
            body: Bytes::new(),
        };
        match self.change(ask).await {
            Err(error) if error.is_missing() => Ok(()),
            other => other,
        }
    }

    /// Reads the file, handing each chunk to `take`, and stops at its first error.
    pub async fn read<E: From<Error>>(
        &self,
        key: &StorageKey,
        version: Option<&str>,
        mut take: impl AsyncFnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let ask = Ask {
            method: Method::Get,
            object: Some(key.as_str()),
            query: &of_version(version),
            body: Bytes::new(),
        };
        let response = self.client.open(self.request(ask, &[]), LONG_DEADLINE);
        let response = response.await?;
        if !response.status().is_success() {
            let (status, code) = (response.status(), None);
            return Err(Error::Refused { status, code }.into());
        }
        let mut body = response.into_body();
        loop {
            let frame = tokio::time::timeout(LONG_DEADLINE, body.frame()).await;
            let frame = frame.map_err(|_| Error::Slow(LONG_DEADLINE))?;
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame.map_err(|error| Error::Broken(error.into()))?;
            if let Ok(chunk) = frame.into_data() {
                take(chunk).await?;
            }
        }
    }

    /// Sends a request that must succeed, and whose answer says nothing.
    pub(crate) async fn change(&self, ask: Ask<'_>) -> Result<(), Error> {
        // Some kinds of requests must have a checksum, and all may.
        let sha256 = BASE64.encode(digest(&SHA256, &ask.body).as_ref());
        let checksum = [(CHECKSUM, sha256.as_str())];
        let headers = match ask.body.is_empty() {
            true => &[][..],
            false => &checksum,
        };
        let answer = self.send(ask, headers, LONG_DEADLINE).await?;
        answer.accepted().map(drop)
    }

    pub(crate) async fn send(
        &self,
        ask: Ask<'_>,
        headers: &[(&'static str, &str)],
        deadline: Duration,
    ) -> Result<Answer, Error> {
        let request = self.request(ask, headers);
        self.client.send(request, deadline).await
    }

    fn request(&self, ask: Ask<'_>, headers: &[(&'static str, &str)]) -> Request<Bytes> {
        let (mut query, mut signed) = (Map::new(), Map::new());
        for (name, value) in ask.query {
            query.insert(*name, *value);
        }
        for (name, value) in headers {
            signed.insert(*name, *value);
        }
        let url = self.signed(ask.method, ask.object, &query, &signed, OURS);
        let mut request = Request::builder()
            .method(ask.method.to_str())
            .uri(url.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !ask.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/xml");
        }
        request.body(ask.body).expect("a signed URL is one")
    }

    fn signed(
        &self,
        method: Method,
        object: Option<&str>,
        query: &Map<'_>,
        headers: &Map<'_>,
        valid: Duration,
    ) -> Url {
        let url = match object {
            Some(object) => self.bucket.object_url(object),
            None => self.bucket.base_url().clone(),
        };
        let credentials = self.key.get();
        let now = std::time::SystemTime::now();
        sign(
            &now.try_into().expect("the clock is within the calendar"),
            method,
            url,
            credentials.key(),
            credentials.secret(),
            credentials.token(),
            self.bucket.region(),
            valid.as_secs(),
            query.iter(),
            headers.iter(),
        )
    }
}

/// The bucket by its URL: below that of the service, or the one that it has as a host.
fn bucket(place: &Place<'_>) -> Result<Bucket, Invalid> {
    let (name, region) = (place.bucket.to_owned(), place.region.to_owned());
    let mut service = place.endpoint.url().clone();
    let own = format!("{name}.");
    let of_service = service.host_str().and_then(|host| host.strip_prefix(&own));
    let (style, host) = match of_service.map(str::to_owned) {
        Some(host) => (UrlStyle::VirtualHost, Some(host)),
        None => (UrlStyle::Path, None),
    };
    let wrong = |_| Invalid::new("uploads.endpoint", "must be a URL of S3");
    if let Some(host) = host {
        service.set_host(Some(&host)).map_err(wrong)?;
    }
    Bucket::new(service, style, name, region)
        .map_err(|_| Invalid::new("uploads.endpoint", "must be a URL of S3"))
}

fn of_version(version: Option<&str>) -> Vec<(&str, &str)> {
    version
        .map(|version| ("versionId", version))
        .into_iter()
        .collect()
}

fn with<'a>(what: &'a str, version: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut query = of_version(version);
    query.push((what, ""));
    query
}

#[cfg(test)]
mod tests;
