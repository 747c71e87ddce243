use std::fmt;

use axum::http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings for traces. Their names are OpenTelemetry's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Traces {
    /// The collector that gets traces by OTLP over HTTP, such as `http://localhost:4318`; when unset, there are none.
    #[schemars(with = "Option<String>")]
    pub exporter_otlp_endpoint: Option<Endpoint>,
    /// The headers that it wants, such as `authorization=Bearer%20abc`, separated by commas.
    #[schemars(with = "Option<String>")]
    pub exporter_otlp_headers: Option<Headers>,
    /// The name of the service; when unset, that of the daemon.
    pub service_name: Option<String>,
    /// More attributes of the service, such as `deployment.environment.name=test`, separated by commas.
    #[schemars(with = "Option<String>")]
    pub resource_attributes: Option<Attributes>,
    /// The traces that the edge and web begin to record: traceidratio, always_on or always_off; others follow them.
    pub traces_sampler: Sampler,
    /// The share of traces that traceidratio records.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub traces_sampler_arg: f64,
    /// The milliseconds between two batches of spans.
    #[schemars(range(min = 10, max = 60_000))]
    pub bsp_schedule_delay: u32,
    /// The most spans that wait to be sent; more are dropped.
    #[schemars(range(min = 1, max = 65_536))]
    pub bsp_max_queue_size: u32,
    /// The most spans in a batch.
    #[schemars(range(min = 1, max = 65_536))]
    pub bsp_max_export_batch_size: u32,
    /// The milliseconds that the collector may take for a batch.
    #[schemars(range(min = 1, max = 60_000))]
    pub bsp_export_timeout: u32,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            exporter_otlp_endpoint: None,
            exporter_otlp_headers: None,
            service_name: None,
            resource_attributes: None,
            traces_sampler: Sampler::TraceIdRatio,
            traces_sampler_arg: 0.01,
            bsp_schedule_delay: 1_000,
            bsp_max_queue_size: 8_192,
            bsp_max_export_batch_size: 512,
            bsp_export_timeout: 1_500,
        }
    }
}

impl Traces {
    /// Whether there is a collector.
    pub(crate) fn is_on(&self) -> bool {
        self.exporter_otlp_endpoint.is_some()
    }
}

/// Settings for traces that OpenTelemetry has no name for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
pub struct Trust {
    /// Whether clients decide if their traces are recorded: true only behind a gateway that decides for them.
    pub trust_sampled: bool,
}

/// Which traces are recorded. `parentbased_` changes nothing: whether the client's flag counts is another
/// [setting](Trust::trust_sampled).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// All.
    #[serde(alias = "parentbased_always_on")]
    AlwaysOn,
    /// None.
    #[serde(alias = "parentbased_always_off")]
    AlwaysOff,
    /// A share of them.
    #[serde(rename = "traceidratio", alias = "parentbased_traceidratio")]
    TraceIdRatio,
}

/// The URL of a collector.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(String);

impl Endpoint {
    /// The URL for traces.
    pub(crate) fn of_traces(&self) -> String {
        format!("{}/v1/traces", self.0)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let text = text.trim().trim_end_matches('/');
        let url: Option<Uri> = text.parse().ok();
        let url = url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
        let authority = url.as_ref().and_then(Uri::authority);
        match (authority, url.as_ref().and_then(Uri::query)) {
            (Some(host), _) if host.as_str().contains('@') => {
                Err("credentials belong into OTEL_EXPORTER_OTLP_HEADERS")
            }
            (Some(_), None) => Ok(Self(text.to_owned())),
            _ => Err("must be like http://localhost:4318"),
        }
    }
}

impl From<Endpoint> for String {
    fn from(Endpoint(url): Endpoint) -> Self {
        url
    }
}

/// Headers that may hold a secret, which is never shown.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Each with its value, percent-encoded.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().cloned()
    }
}

impl TryFrom<String> for Headers {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let is_header = |(name, value): &(String, String)| {
            let is_name = HeaderName::try_from(name).is_ok();
            is_name && decoded(value).is_some_and(|value| HeaderValue::try_from(value).is_ok())
        };
        let headers = pairs(&text).filter(|headers| headers.iter().all(is_header));
        headers
            .map(Self)
            .ok_or("must be like name=value,name=value, percent-encoded")
    }
}

impl From<Headers> for &'static str {
    fn from(_: Headers) -> Self {
        "***"
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Attributes and their values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Attributes {
    text: String,
    pairs: Vec<(String, String)>,
}

impl Attributes {
    /// Each with its value.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        self.pairs.iter().cloned()
    }
}

impl TryFrom<String> for Attributes {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let decode = |(key, value): (String, String)| Some((key, decoded(&value)?));
        let pairs = pairs(&text).and_then(|all| all.into_iter().map(decode).collect());
        match pairs {
            Some(pairs) => Ok(Self { text, pairs }),
            None => Err("must be like key=value,key=value, percent-encoded"),
        }
    }
}

impl From<Attributes> for String {
    fn from(attributes: Attributes) -> Self {
        attributes.text
    }
}

/// The pairs of `a=b,c=d`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (key.trim(), value.trim());
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    text.split(',').map(pair).collect()
}

fn decoded(value: &str) -> Option<String> {
    let decoded = percent_decode_str(value).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_the_beginning_of_a_url_without_credentials() {
        let read = |text: &str| Endpoint::try_from(text.to_owned()).map(|url| url.of_traces());
        for (text, url) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            (
                "https://c.example/otlp/",
                "https://c.example/otlp/v1/traces",
            ),
        ] {
            assert_eq!(read(text).as_deref(), Ok(url));
        }
        for bad in [
            "localhost:4318",
            "grpc://localhost:4317",
            "http://",
            "http://h/?key=abc",
            "http://me:abc@h",
        ] {
            let error = read(bad).unwrap_err();
            assert!(!error.contains("abc"), "{bad}: {error}");
        }
    }

    #[test]
    fn headers_and_attributes_are_pairs_and_no_header_is_shown() {
        let headers = |text: &str| Headers::try_from(text.to_owned());
        let read = headers("authorization=Bearer%20abc, x-scope=a=b").unwrap();
        let pair = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let expected = [("authorization", "Bearer%20abc"), ("x-scope", "a=b")].map(pair);
        assert_eq!(read.pairs().collect::<Vec<_>>(), expected);
        assert_eq!(format!("{read:?}"), "***");
        assert_eq!(serde_json::to_value(read).unwrap(), "***");
        for bad in ["abc", "=abc", "a b=abc", "a=abc%0a", "a=b,"] {
            let error = headers(bad).unwrap_err();
            assert!(!error.contains("abc"), "{bad}: {error}");
        }

        let attributes = Attributes::try_from("a.b=c%2Cd,e=".to_owned()).unwrap();
        let expected = [("a.b", "c,d"), ("e", "")].map(pair);
        assert_eq!(attributes.pairs().collect::<Vec<_>>(), expected);
        assert!(Attributes::try_from("a=%ff".to_owned()).is_err());
    }
}
