use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::Unparsable;

/// A W3C trace context (`traceparent`, version 00): the trace that a message belongs to, and the span that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceContext {
    /// Starts a new trace. It is not sampled, because nobody records it, and because nats-server parses all headers of
    /// every message of a sampled trace.
    pub fn root() -> Self {
        Self {
            trace: Uuid::new_v4().as_u128(),
            span: random_span(),
            flags: 0,
        }
    }

    /// The next hop of the same trace.
    pub fn child(self) -> Self {
        Self {
            span: random_span(),
            ..self
        }
    }

    /// The trace id as 32 hexadecimal digits, for logs.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }
}

fn random_span() -> u64 {
    // The low half of a UUIDv4 starts with the variant bits, so it is never zero.
    Uuid::new_v4().as_u64_pair().1
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace, self.span, self.flags
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
                    flags: flags & 1,
                })
            }
            _ => Err(invalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_survives_the_round_trip_and_hops_keep_the_trace() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context: TraceContext = text.parse().unwrap();
        assert_eq!(context.to_string(), text);
        assert_eq!(context.child().trace_id(), context.trace_id());
        assert_ne!(context.child(), context);
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
