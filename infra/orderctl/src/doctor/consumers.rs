//! Whether every consumer is read, and gets on.

use orders_bus::{ConsumerState, StreamState};
use orders_contracts::{Namespace, streams::Consumer};

use super::report::{Diagnosis, Report};
use crate::{
    look::{Look, age, has_work, is_stuck},
    output::counted,
};

pub(super) fn judge(namespace: &Namespace, before: &Look, after: &Look, report: &mut Report<'_>) {
    for (consumer, state) in &after.consumers {
        let stream = after.stream(consumer.stream.name);
        if let (Some(before), Some(stream)) = (before.consumer(consumer), stream) {
            let check = format!("progress of {consumer}");
            report.add(&check, progress(namespace, consumer, stream, before, state));
        }
    }
}

/// Judges a consumer by two looks at it.
fn progress(
    namespace: &Namespace,
    consumer: &Consumer,
    contents: &StreamState,
    before: &ConsumerState,
    after: &ConsumerState,
) -> Diagnosis {
    let Consumer {
        stream, durable, ..
    } = consumer;
    let last = contents.last;
    // By the look before: the stream may have grown since the later one at it.
    if before.ack_floor > last {
        let found = format!(
            "has acked up to {}, but the stream ends at {last}: it will miss new messages",
            before.ack_floor
        );
        let remedy = format!(
            "run nats consumer rm {} {durable}; {durable} creates it again",
            namespace.stream(stream)
        );
        return Diagnosis::red(found, remedy);
    }
    let lost = after.lost(consumer, contents);
    if lost > 0 {
        let found = format!(
            "up to {} are gone from {} before {durable} handled them",
            counted(lost, "message"),
            stream.name
        );
        let remedy = "start more of it or raise the limits of the stream; then run orderctl projection verify and \
                      orderctl reconcile";
        return Diagnosis::red(found, remedy);
    }
    let age = age(after);
    let found = format!(
        "{} not delivered, {} in hand, the oldest {} s old",
        after.pending,
        after.ack_pending,
        age.as_secs()
    );
    if is_stuck(consumer, before, after, age) {
        let remedy = if after.waiting == 0 && after.ack_pending == 0 {
            format!("no {durable} is connected; start one")
        } else {
            format!("see the log of {durable} and its /readyz?verbose")
        };
        return Diagnosis::red(format!("stuck: {found}"), remedy);
    }
    if before.waiting == 0 && after.waiting == 0 && !has_work(after) {
        return Diagnosis::red(
            format!("queue empty, but no {durable} is connected"),
            format!("start {durable}"),
        );
    }
    if has_work(after) {
        Diagnosis::green(found)
    } else {
        Diagnosis::green("queue empty")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orders_contracts::{
        PaymentSettings, Timestamp,
        streams::{PROJECTOR, WRITER_COMMANDS, payment_simulator},
    };

    use super::{super::report::Colour, *};

    fn contents(first: u64, last: u64) -> StreamState {
        StreamState {
            messages: last + 1 - first,
            first,
            last,
            ..StreamState::default()
        }
    }

    fn state(pending: u64, ack_pending: u64, ack_floor: u64, age: i64) -> ConsumerState {
        ConsumerState {
            pending,
            ack_pending,
            waiting: 1,
            ack_floor,
            oldest: Timestamp::from_millis(Timestamp::now().millis() - age * 1_000),
            ack_wait: Duration::from_secs(8),
            ..ConsumerState::default()
        }
    }

    #[test]
    fn a_consumer_is_stuck_when_it_has_work_and_acks_nothing() {
        let held = payment_simulator(&PaymentSettings::default());
        for (consumer, before, after, colour) in [
            (
                PROJECTOR,
                state(0, 0, 9, 0),
                state(0, 0, 9, 0),
                Colour::Green,
            ),
            (
                PROJECTOR,
                state(5, 2, 7, 3),
                state(3, 2, 8, 3),
                Colour::Green,
            ),
            (
                PROJECTOR,
                state(0, 0, 7, 0),
                state(3, 0, 7, 1),
                Colour::Green,
            ),
            (PROJECTOR, state(5, 2, 7, 3), state(5, 2, 7, 5), Colour::Red),
            (held, state(0, 2, 7, 3), state(0, 2, 7, 5), Colour::Green),
            (held, state(0, 2, 7, 8), state(0, 2, 7, 10), Colour::Red),
            (
                PROJECTOR,
                state(0, 0, 11, 0),
                state(0, 0, 11, 0),
                Colour::Red,
            ),
        ] {
            let diagnosis = progress(
                &Namespace::default(),
                &consumer,
                &contents(1, 10),
                &before,
                &after,
            );
            assert_eq!(diagnosis.colour, colour, "{diagnosis:?}");
        }
    }

    #[test]
    fn a_consumer_that_nobody_reads_is_red() {
        let idle = ConsumerState {
            waiting: 0,
            ..state(0, 0, 10, 0)
        };
        let diagnosis = progress(
            &Namespace::default(),
            &PROJECTOR,
            &contents(1, 10),
            &idle,
            &idle,
        );
        assert_eq!(diagnosis.colour, Colour::Red);
        assert_eq!(
            diagnosis.found,
            "queue empty, but no projector is connected"
        );
    }

    #[test]
    fn messages_that_were_dropped_unread_are_told() {
        let filtered = payment_simulator(&PaymentSettings::default());
        for (consumer, first, state, colour) in [
            (PROJECTOR, 8, state(0, 0, 7, 0), Colour::Green),
            (PROJECTOR, 9, state(0, 0, 7, 0), Colour::Red),
            // Everything has expired, and nothing of it was for this consumer.
            (filtered, 11, state(0, 0, 7, 0), Colour::Green),
            (filtered, 9, state(2, 0, 7, 0), Colour::Red),
            // A work queue has gaps where later messages were acked first.
            (WRITER_COMMANDS, 9, state(0, 0, 7, 0), Colour::Green),
        ] {
            let diagnosis = progress(
                &Namespace::default(),
                &consumer,
                &contents(first, 10),
                &state,
                &state,
            );
            assert_eq!(diagnosis.colour, colour, "{diagnosis:?}");
        }
    }
}
