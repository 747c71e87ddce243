use std::{path::PathBuf, time::Duration};

use bytesize::ByteSize;
use orders_service::Invalid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::MediaTypes;

/// The settings of uploads.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UploadSettings {
    /// Where uploads go: mock (to the edge, which counts the bytes and stores nothing) or s3 (to a bucket).
    pub mode: Mode,
    /// How long the URL of an upload is valid.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String", extend("x-shortest" = "1s", "x-longest" = "1h"))]
    pub ttl: Duration,
    /// Whether an order may have only a file that a scanner has found clean: off or required.
    pub scan: Scan,
    /// The URL of the S3 service, for the edge and for browsers: `https://s3.example`. If its host begins with the name of
    /// the bucket, it is the bucket's own.
    #[schemars(with = "Option<String>")]
    pub endpoint: Option<Endpoint>,
    /// The bucket.
    pub bucket: Option<String>,
    /// The region of the bucket.
    pub region: Option<String>,
    /// The file with the access key, `ID:SECRET`; read again when it changes.
    pub access_key_file: Option<PathBuf>,
    /// The size of the largest file, such as `100MiB`; unset, 5 GiB.
    #[schemars(with = "Option<String>")]
    pub max_size: Option<ByteSize>,
    /// The media types of files, separated by commas, such as `application/pdf,image/*`; unset, all.
    #[schemars(with = "Option<String>")]
    pub types: Option<MediaTypes>,
}

/// Where uploads go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// To the edge, which stores nothing.
    #[default]
    Mock,
    /// To a bucket.
    S3,
}

/// Which files an order may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scan {
    /// All.
    #[default]
    Off,
    /// Those that a scanner has found clean.
    Required,
}

/// The URL of an S3 service: of HTTPS, or of HTTP on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(Url);

impl Endpoint {
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl TryFrom<String> for Endpoint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        const RULE: &str = "must be like https://s3.example; http only on this machine";
        let url = Url::parse(&text).map_err(|_| RULE)?;
        let is_local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let is_bare = url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_local;
        (is_bare && is_safe).then_some(Self(url)).ok_or(RULE)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.0.as_str().trim_end_matches('/').to_owned()
    }
}

impl Default for UploadSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Mock,
            ttl: Duration::from_secs(120),
            scan: Scan::Off,
            endpoint: None,
            bucket: None,
            region: None,
            access_key_file: None,
            max_size: None,
            types: None,
        }
    }
}

/// What mode `s3` needs.
pub(crate) struct Place<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) bucket: &'a str,
    pub(crate) region: &'a str,
    pub(crate) access_key_file: &'a PathBuf,
}

impl UploadSettings {
    /// Refuses settings that do not go together.
    pub fn validate(&self) -> Result<(), Invalid> {
        self.place().map(drop)
    }

    /// Where the bucket is; `None` in mode `mock`, in which nothing may be set that looks as if there were one.
    pub(crate) fn place(&self) -> Result<Option<Place<'_>>, Invalid> {
        if self.mode == Mode::Mock {
            let set = [
                ("uploads.scan", self.scan == Scan::Required),
                ("uploads.endpoint", self.endpoint.is_some()),
                ("uploads.bucket", self.bucket.is_some()),
                ("uploads.region", self.region.is_some()),
                ("uploads.access_key_file", self.access_key_file.is_some()),
                ("uploads.max_size", self.max_size.is_some()),
                ("uploads.types", self.types.is_some()),
            ];
            return match set.into_iter().find(|(_, is_set)| *is_set) {
                Some((key, _)) => Err(Invalid::new(key, "needs ORDERS_UPLOADS__MODE=s3")),
                None => Ok(None),
            };
        }
        let missing = |key| move || Invalid::new(key, "mode s3 needs it");
        let endpoint = self.endpoint.as_ref();
        let bucket = self.bucket.as_deref();
        let bucket = bucket.ok_or_else(missing("uploads.bucket"))?;
        if !is_bucket(bucket) {
            let rule = "must be 3 to 63 lower-case letters, digits, - and .";
            return Err(Invalid::new("uploads.bucket", rule));
        }
        let region = self.region.as_deref().filter(|region| !region.is_empty());
        let file = self.access_key_file.as_ref();
        Ok(Some(Place {
            endpoint: endpoint.ok_or_else(missing("uploads.endpoint"))?,
            bucket,
            region: region.ok_or_else(missing("uploads.region"))?,
            access_key_file: file.ok_or_else(missing("uploads.access_key_file"))?,
        }))
    }
}

/// Whether a bucket may have this name, which becomes part of URLs.
fn is_bucket(name: &str) -> bool {
    let is_end = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.bytes().all(|b| is_end(b) || b == b'-' || b == b'.')
        && name.bytes().next().is_some_and(is_end)
        && name.bytes().last().is_some_and(is_end)
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> UploadSettings {
        UploadSettings {
            mode: Mode::S3,
            endpoint: Some("https://s3.example".to_owned().try_into().unwrap()),
            bucket: Some("orders".to_owned()),
            region: Some("eu-1".to_owned()),
            access_key_file: Some("/run/key".into()),
            ..UploadSettings::default()
        }
    }

    fn refused(settings: &UploadSettings) -> String {
        settings
            .validate()
            .err()
            .map_or_else(String::new, |e| e.to_string())
    }

    #[test]
    fn a_bucket_needs_all_of_it() {
        assert_eq!(refused(&UploadSettings::default()), "");
        assert_eq!(refused(&complete()), "");
        type Change = fn(&mut UploadSettings);
        let changes: [(Change, &str); 6] = [
            (|s| s.endpoint = None, "ENDPOINT: mode s3 needs it"),
            (|s| s.bucket = None, "BUCKET: mode s3 needs it"),
            (
                |s| s.region = Some(String::new()),
                "REGION: mode s3 needs it",
            ),
            (|s| s.region = None, "REGION: mode s3 needs it"),
            (
                |s| s.access_key_file = None,
                "ACCESS_KEY_FILE: mode s3 needs it",
            ),
            (
                |s| s.bucket = Some("a/../b".to_owned()),
                "BUCKET: must be 3 to 63 lower-case letters, digits, - and .",
            ),
        ];
        for (change, expected) in changes {
            let mut settings = complete();
            change(&mut settings);
            assert_eq!(refused(&settings), format!("ORDERS_UPLOADS__{expected}"));
        }
    }

    #[test]
    fn a_mock_does_not_look_like_a_bucket() {
        type Change = fn(&mut UploadSettings);
        let changes: [(Change, &str); 4] = [
            (|s| s.scan = Scan::Required, "SCAN"),
            (|s| s.bucket = complete().bucket, "BUCKET"),
            (|s| s.max_size = Some(ByteSize::mib(1)), "MAX_SIZE"),
            (
                |s| s.access_key_file = complete().access_key_file,
                "ACCESS_KEY_FILE",
            ),
        ];
        for (change, name) in changes {
            let mut settings = UploadSettings::default();
            change(&mut settings);
            let expected = format!("ORDERS_UPLOADS__{name}: needs ORDERS_UPLOADS__MODE=s3");
            assert_eq!(refused(&settings), expected);
        }
    }

    #[test]
    fn files_travel_by_https_except_on_this_machine() {
        let endpoint = |text: &str| Endpoint::try_from(text.to_owned());
        for good in [
            "https://s3.eu-central-1.amazonaws.com",
            "https://orders.s3.example:8443/",
            "http://localhost:3901",
            "http://127.0.0.1:9000",
            "http://[::1]:1",
        ] {
            let written = String::from(endpoint(good).unwrap());
            assert_eq!(written, good.trim_end_matches('/'));
        }
        for bad in [
            "http://s3.example",
            "https://key:secret@s3.example",
            "https://s3.example/orders",
            "https://s3.example?x",
            "s3.example",
            "ftp://localhost",
            "",
        ] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
