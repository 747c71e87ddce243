//! Which traces are recorded.

use orders_contracts::TraceContext;

use crate::config::{Sampler, Traces};

/// Of the last 56 bits of a trace's id. W3C Trace Context Level 2 has those random; further on a UUID has bits that are
/// always the same.
const RANDOM: u128 = (1 << 56) - 1;

/// Decides where a trace enters the pipeline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampling {
    trusts: bool,
    /// How many of 2^56 traces are sampled.
    share: u64,
}

impl Sampling {
    pub(super) fn of(traces: &Traces, trusts: bool) -> Self {
        let ratio = match traces.traces_sampler {
            _ if !traces.is_on() => 0.0,
            Sampler::AlwaysOn => 1.0,
            Sampler::AlwaysOff => 0.0,
            Sampler::TraceIdRatio => traces.traces_sampler_arg,
        };
        Self {
            trusts,
            share: (ratio * 2_f64.powi(56)) as u64,
        }
    }

    /// Whether a trace is sampled: as the client says if it is trusted and says it, or else by the trace's id.
    pub(super) fn samples(self, theirs: Option<TraceContext>, context: TraceContext) -> bool {
        match theirs {
            Some(theirs) if self.trusts => theirs.is_sampled(),
            _ => (context.trace() & RANDOM) < u128::from(self.share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Endpoint;

    fn sampling(sampler: Sampler, ratio: f64, trusts: bool) -> Sampling {
        let endpoint = Endpoint::try_from("http://localhost:4318".to_owned()).unwrap();
        let traces = Traces {
            exporter_otlp_endpoint: Some(endpoint),
            traces_sampler: sampler,
            traces_sampler_arg: ratio,
            ..Traces::default()
        };
        Sampling::of(&traces, trusts)
    }

    #[test]
    fn a_share_of_new_traces_is_sampled() {
        for (sampler, ratio, least, most) in [
            (Sampler::AlwaysOn, 0.0, 10_000, 10_000),
            (Sampler::AlwaysOff, 1.0, 0, 0),
            (Sampler::TraceIdRatio, 1.0, 10_000, 10_000),
            (Sampler::TraceIdRatio, 0.0, 0, 0),
            // Ten standard deviations.
            (Sampler::TraceIdRatio, 0.25, 2_067, 2_933),
        ] {
            let sampling = sampling(sampler, ratio, false);
            let roots = std::iter::repeat_with(TraceContext::root).take(10_000);
            let count = roots.filter(|root| sampling.samples(None, *root)).count();
            assert!(
                (least..=most).contains(&count),
                "{sampler:?} {ratio}: {count}"
            );
        }
    }

    #[test]
    fn the_flag_of_a_client_counts_if_it_is_trusted() {
        let flagged: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            .parse()
            .unwrap();
        for (sampler, trusts, flag, expected) in [
            (Sampler::AlwaysOff, false, true, false),
            (Sampler::AlwaysOff, true, true, true),
            (Sampler::AlwaysOn, false, false, true),
            (Sampler::AlwaysOn, true, false, false),
        ] {
            let theirs = if flag { flagged } else { flagged.unsampled() };
            let sampling = sampling(sampler, 1.0, trusts);
            assert_eq!(sampling.samples(Some(theirs), theirs), expected);
        }
    }

    #[test]
    fn without_a_collector_nothing_new_is_sampled() {
        let traces = Traces {
            traces_sampler: Sampler::AlwaysOn,
            ..Traces::default()
        };
        assert!(!Sampling::of(&traces, false).samples(None, TraceContext::root()));
    }
}
