//! Log lines for machines.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_serde::fields::AsMap as _;
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// Writes each line as one JSON object. The fields of its spans are beside its own, which come first where both have a
/// name: whoever looks for an id need not know which of them has it.
///
/// The layer has to format fields by `JsonFields`.
pub(super) struct Flat {
    /// The name of the daemon.
    pub(super) service: &'static str,
    /// The name of this process.
    pub(super) instance: String,
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    #[serde(rename = "service.name")]
    service: &'a str,
    #[serde(rename = "service.instance.id")]
    instance: &'a str,
    target: &'a str,
    /// With the message.
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for Flat
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Map::new();
        let spans = context.event_scope().into_iter();
        for span in spans.flat_map(|scope| scope.from_root()) {
            if let Some(text) = span.extensions().get::<FormattedFields<N>>()
                && let Ok(of_span) = serde_json::from_str::<Map<_, _>>(&text.fields)
            {
                fields.extend(of_span);
            }
        }
        if let Ok(Value::Object(own)) = serde_json::to_value(event.field_map()) {
            fields.extend(own);
        }
        let metadata = event.metadata();
        let line = Line {
            timestamp,
            level: metadata.level().as_str(),
            service: self.service,
            instance: &self.instance,
            target: metadata.target(),
            fields,
        };
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use orders_contracts::Timestamp;
    use serde_json::json;
    use tracing::{error_span, field::Empty, info, subscriber::with_default, warn};
    use tracing_subscriber::{fmt::format::JsonFields, prelude::*};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_one_flat_object_with_the_fields_of_its_spans() {
        let written = Written::default();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer({
                let written = written.clone();
                move || written.clone()
            })
            .fmt_fields(JsonFields::new())
            .event_format(Flat {
                service: "edge",
                instance: "edge.2".to_owned(),
            });
        with_default(tracing_subscriber::registry().with(lines), || {
            let request = error_span!("request", trace.id = "a", tenant.id = Empty, size = 7);
            request.record("tenant.id", "t-1");
            let _entered = request.enter();
            let none: Option<&str> = None;
            info!(size = 8, order.id = none, "a \"line\"\nof two");
            error_span!("message", trace.id = "b").in_scope(|| warn!("within"));
        });
        let written = written.0.lock().unwrap();
        let text = std::str::from_utf8(&written).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                let timestamp = line["timestamp"].take();
                let timestamp = timestamp.as_str().unwrap();
                assert!(timestamp.ends_with('Z') && timestamp.parse::<Timestamp>().is_ok());
                line
            })
            .collect();
        let expected = |level, trace, size: u8, message| {
            json!({
                "timestamp": null, "level": level, "target": module_path!(), "message": message,
                "service.name": "edge", "service.instance.id": "edge.2",
                "trace.id": trace, "tenant.id": "t-1", "size": size,
            })
        };
        assert_eq!(
            lines,
            [
                expected("INFO", "a", 8, "a \"line\"\nof two"),
                expected("WARN", "b", 7, "within"),
            ]
        );
    }
}
