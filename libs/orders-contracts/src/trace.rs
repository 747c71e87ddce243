use std::{fmt, num::NonZeroU64, str::FromStr};

use uuid::Uuid;

use crate::{Unparsable, header};

/// A W3C trace context (`traceparent`, version 00): the trace that a message belongs to, and the span that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    is_sampled: bool,
}

impl TraceContext {
    /// Starts a new trace that nobody records.
    pub fn root() -> Self {
        let id = Uuid::new_v4();
        Self {
            trace: id.as_u128(),
            // The low half of a UUIDv4 starts with the variant bits, so it is never zero.
            span: id.as_u64_pair().1,
            is_sampled: false,
        }
    }

    /// The context of a message whose headers `get` looks up: `ce-traceparent`, or else the `traceparent` of a daemon of
    /// version 0.1.
    pub fn of_message<'a>(get: impl Fn(&'static str) -> Option<&'a str>) -> Option<Self> {
        let read = |name| get(name)?.parse().ok();
        read(header::TRACEPARENT).or_else(|| read(header::OLD_TRACEPARENT))
    }

    /// The context of the span `span` of the same trace, which is recorded. No span has the id 0.
    #[must_use]
    pub const fn recorded_as(self, span: NonZeroU64) -> Self {
        Self {
            trace: self.trace,
            span: span.get(),
            is_sampled: true,
        }
    }

    /// It, as a trace that nobody records.
    #[must_use]
    pub const fn unsampled(self) -> Self {
        Self {
            is_sampled: false,
            ..self
        }
    }

    /// Whether the spans of its trace are recorded.
    pub const fn is_sampled(self) -> bool {
        self.is_sampled
    }

    /// The id of its trace.
    pub const fn trace(self) -> u128 {
        self.trace
    }

    /// The id of its span.
    pub const fn span(self) -> u64 {
        self.span
    }

    /// The trace id as 32 hexadecimal digits, for logs.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace,
            self.span,
            u8::from(self.is_sampled)
        )
    }
}

impl FromStr for TraceContext {
    type Err = Unparsable;

    /// Reads a `traceparent`; as the standard asks, an unknown later version is read as version 00.
    fn from_str(text: &str) -> Result<Self, Unparsable> {
        let invalid = Unparsable("must be a W3C traceparent");
        let hex = |part: Option<&str>, digits: usize| {
            part.filter(|p| {
                p.len() == digits && p.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            })
            .and_then(|p| u128::from_str_radix(p, 16).ok())
            .ok_or(invalid)
        };
        let mut parts = text.split('-');
        let version = hex(parts.next(), 2)?;
        let trace = hex(parts.next(), 32)?;
        let span = hex(parts.next(), 16)?;
        let flags = hex(parts.next(), 2)?;
        let surplus = version == 0 && parts.next().is_some();
        match (u64::try_from(span), u8::try_from(flags)) {
            (Ok(span), Ok(flags)) if trace != 0 && span != 0 && version != 0xff && !surplus => {
                Ok(Self {
                    trace,
                    span,
                    is_sampled: flags & 1 == 1,
                })
            }
            _ => Err(invalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    #[test]
    fn a_traceparent_survives_the_round_trip_and_hops_keep_the_trace() {
        let context: TraceContext = SAMPLED.parse().unwrap();
        assert_eq!(context.to_string(), SAMPLED);
        assert!(context.is_sampled() && !context.unsampled().is_sampled());
        let next = context.unsampled().recorded_as(NonZeroU64::MIN);
        assert_eq!((next.trace(), next.span()), (context.trace(), 1));
        assert!(next.is_sampled());
    }

    #[test]
    fn a_new_trace_is_well_formed_and_nobody_records_it() {
        let root = TraceContext::root();
        assert_eq!(root.to_string().parse(), Ok(root));
        assert!(!root.is_sampled());
    }

    #[test]
    fn messages_of_version_0_1_are_read_and_the_new_header_wins() {
        let read = |headers: &[(&str, &'static str)]| {
            let get = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
            TraceContext::of_message(get).map(|context| context.to_string())
        };
        let (new, old) = ("ce-traceparent", "traceparent");
        assert_eq!(read(&[(old, OTHER)]).as_deref(), Some(OTHER));
        assert_eq!(
            read(&[(old, OTHER), (new, SAMPLED)]).as_deref(),
            Some(SAMPLED)
        );
        assert_eq!(read(&[(new, "?"), (old, OTHER)]).as_deref(), Some(OTHER));
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn malformed_traceparents_are_refused() {
        for bad in [
            "",
            "00-0-0-0",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
    }
}
