use std::{collections::BTreeMap, time::Duration};

use data_encoding::HEXLOWER;
use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};

/// A span as the collector got it.
#[derive(Debug, Clone)]
pub struct CollectedSpan {
    /// The attributes of its process, such as `service.name`.
    pub resource: BTreeMap<String, String>,
    /// Its ids.
    pub place: SpanPlace,
    /// The id of its parent.
    pub parent: Option<String>,
    /// Its name.
    pub name: String,
    /// Its kind: `SERVER`.
    pub kind: &'static str,
    /// When it began, since 1970.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// The spans that it is linked to.
    pub links: Vec<SpanPlace>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// What names a span.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanPlace {
    /// The id of its trace, in hexadecimal digits.
    pub trace: String,
    /// Its own.
    pub span: String,
}

impl CollectedSpan {
    pub(super) fn new(resource: Option<&Resource>, span: &Span) -> Self {
        let id = |bytes: &[u8]| HEXLOWER.encode(bytes);
        let failure = span.status.as_ref();
        let failure = failure.filter(|status| status.code() == StatusCode::Error);
        Self {
            resource: values(resource.map_or(&[], |resource| &resource.attributes)),
            place: SpanPlace {
                trace: id(&span.trace_id),
                span: id(&span.span_id),
            },
            parent: (!span.parent_span_id.is_empty()).then(|| id(&span.parent_span_id)),
            name: span.name.clone(),
            kind: kind(span.kind()),
            start: Duration::from_nanos(span.start_time_unix_nano),
            end: Duration::from_nanos(span.end_time_unix_nano),
            attributes: values(&span.attributes),
            links: span
                .links
                .iter()
                .map(|link| SpanPlace {
                    trace: id(&link.trace_id),
                    span: id(&link.span_id),
                })
                .collect(),
            failure: failure.map(|status| status.message.clone()),
        }
    }

    /// The name of its service.
    pub fn service(&self) -> &str {
        &self.resource["service.name"]
    }
}

fn kind(kind: SpanKind) -> &'static str {
    let name = kind.as_str_name();
    name.strip_prefix("SPAN_KIND_").unwrap_or(name)
}

fn values(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |attribute: &KeyValue| {
        let text = match attribute.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => text.clone(),
            Value::IntValue(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        Some((attribute.key.clone(), text))
    };
    attributes.iter().filter_map(value).collect()
}
