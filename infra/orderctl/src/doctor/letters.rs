//! Dead letters that wait for somebody.

use std::time::Duration;

use orders_bus::StreamState;
use orders_contracts::{Timestamp, streams::ORDERS_DLQ};

use super::report::{Diagnosis, Report};
use crate::{
    look::Look,
    output::{counted, shown},
};

/// ORDERS_DLQ drops dead letters that are ten days older.
const OLD: Duration = Duration::from_secs(20 * 24 * 60 * 60);

pub(super) fn judge(look: &Look, report: &mut Report<'_>) {
    let Some(state) = look.stream(ORDERS_DLQ.name) else {
        return;
    };
    if state.messages == 0 {
        return report.add("dead letters", Diagnosis::green("none"));
    }
    let found = counted(state.messages, "dead letter");
    let remedy = "run orderctl dlq list, then orderctl dlq redrive or orderctl dlq drop";
    report.add("dead letters", Diagnosis::red(found, remedy));
    if let Some(old) = old(state, Timestamp::now()) {
        report.add("age of dead letters", old);
    }
}

/// What to say if the oldest dead letter will soon be gone.
fn old(state: &StreamState, now: Timestamp) -> Option<Diagnosis> {
    let oldest = state.oldest.filter(|oldest| now.since(*oldest) > OLD)?;
    let kept = state.max_age.unwrap_or(Duration::MAX);
    let left = kept.saturating_sub(now.since(oldest)).as_secs() / (24 * 60 * 60);
    Some(Diagnosis::yellow(
        format!("the oldest is from {}", shown(oldest)),
        format!(
            "the stream drops it in {}; redrive or drop it before",
            counted(left, "day")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_that_will_soon_be_gone_is_told() {
        let day = 24 * 60 * 60 * 1_000_i64;
        let now = Timestamp::from_millis(100 * day).unwrap();
        let of_age = |days: i64| StreamState {
            messages: 1,
            first: 1,
            last: 1,
            oldest: Timestamp::from_millis((100 - days) * day),
            bytes: 1,
            max_age: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            ..StreamState::default()
        };
        assert!(old(&of_age(20), now).is_none());
        let told = old(&of_age(23), now).unwrap();
        assert_eq!(told.found, "the oldest is from 1970-03-19 00:00:00");
        let remedy = "the stream drops it in 7 days; redrive or drop it before";
        assert_eq!(told.remedy.as_deref(), Some(remedy));
    }
}
