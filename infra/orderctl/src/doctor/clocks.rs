//! Whether the clocks of the daemons, of NATS and of this machine agree.

use orders_bus::{ClockOffset, DaemonAnswer, Operator};
use orders_contracts::streams::ORDERS_EVENTS;

use super::report::{Diagnosis, Report};
use crate::output::counted;

/// The most milliseconds between two clocks.
const MOST: i64 = 500;

pub(super) async fn judge(bus: &Operator, daemons: &[DaemonAnswer], report: &mut Report<'_>) {
    let clocks = daemons.iter().filter_map(|answer| {
        let offset = answer.clock?;
        Some((answer.health.instance.as_str(), offset))
    });
    let mut clocks = Vec::from_iter(clocks);
    if let Ok(offset) = bus.clock_offset(&ORDERS_EVENTS).await {
        clocks.push(("nats", offset));
    }
    report.add("clocks", difference(clocks));
}

/// Judges the two clocks that differ most, each at its place within its bounds that is nearest to the other.
fn difference(mut clocks: Vec<(&str, ClockOffset)>) -> Diagnosis {
    let this = ClockOffset {
        ahead: 0,
        within: 0,
    };
    clocks.push(("this machine", this));
    let at_least = |(_, offset): &&(&str, ClockOffset)| offset.ahead - offset.within;
    let at_most = |(_, offset): &&(&str, ClockOffset)| offset.ahead + offset.within;
    let (Some(ahead), Some(behind)) = (
        clocks.iter().max_by_key(at_least),
        clocks.iter().min_by_key(at_most),
    ) else {
        return Diagnosis::green("unknown");
    };
    if at_least(&ahead) - at_most(&behind) <= MOST {
        let count = counted(clocks.len() as u64, "clock");
        return Diagnosis::green(format!("{count}, none {MOST} ms off another"));
    }
    let seconds = (ahead.1.ahead - behind.1.ahead) as f64 / 1_000.0;
    Diagnosis::yellow(
        format!("{} is {seconds:.1} s ahead of {}", ahead.0, behind.0),
        "set the clocks by NTP: the times of orders, the ages shown here and the end of tokens go by them",
    )
}

#[cfg(test)]
mod tests {
    use super::{super::report::Colour, *};

    #[test]
    fn clocks_that_certainly_differ_are_told() {
        let of = |ahead, within| ClockOffset { ahead, within };
        for (clocks, colour, found) in [
            (vec![], Colour::Green, "1 clock, none 500 ms off another"),
            (
                vec![("edge", of(300, 2)), ("writer", of(-190, 2))],
                Colour::Green,
                "3 clocks, none 500 ms off another",
            ),
            (
                vec![("edge", of(300, 2)), ("writer", of(-300, 2))],
                Colour::Yellow,
                "edge is 0.6 s ahead of writer",
            ),
            // The way there and back took longer.
            (
                vec![("edge", of(300, 80)), ("writer", of(-300, 80))],
                Colour::Green,
                "3 clocks, none 500 ms off another",
            ),
            (
                vec![("edge", of(2_000, 9)), ("writer", of(1_990, 9))],
                Colour::Yellow,
                "edge is 2.0 s ahead of this machine",
            ),
        ] {
            let diagnosis = difference(clocks);
            assert_eq!(
                (diagnosis.colour, diagnosis.found.as_str()),
                (colour, found)
            );
        }
    }
}
