//! Whether every consumer is read, and gets on.

use orders_bus::{ConsumerState, StreamState};
use orders_contracts::{
    Namespace,
    streams::{Consumer, Policy, payment_delay},
};

use super::report::{Diagnosis, Report};
use crate::{
    look::{Look, age, has_work, is_stuck},
    output::counted,
};

/// The share of what it may have in hand, in percent, from which on a consumer may soon get nothing new.
const NEARLY_FULL: u64 = 90;

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
    if after.is_paused {
        let remedy = format!(
            "run nats consumer resume {} {durable}",
            namespace.stream(stream)
        );
        return Diagnosis::red(format!("paused: {found}"), remedy);
    }
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
    if after.max_ack_pending > 0 && after.ack_pending * 100 >= after.max_ack_pending * NEARLY_FULL {
        let found = format!("{found}; it gets no more than {}", after.max_ack_pending);
        return Diagnosis::yellow(found, more_in_hand(consumer));
    }
    if has_work(after) {
        Diagnosis::green(found)
    } else {
        Diagnosis::green("queue empty")
    }
}

/// How a consumer gets on that has nearly as much in hand as it may.
fn more_in_hand(consumer: &Consumer) -> String {
    let durable = consumer.durable;
    if consumer.policy == Policy::HOLD {
        format!(
            "raise ORDERS_PAYMENT__MAX_ACK_PENDING: each order is held for {}, so more of {durable} would not help",
            humantime::format_duration(payment_delay(consumer.ack_wait))
        )
    } else {
        format!("start more of {durable}, and see its log")
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
    fn a_consumer_that_may_soon_get_nothing_new_is_yellow() {
        let held = payment_simulator(&PaymentSettings::default());
        for (consumer, in_hand, most, remedy) in [
            (held, 44_999, 50_000, None),
            (
                held,
                45_000,
                50_000,
                Some("ORDERS_PAYMENT__MAX_ACK_PENDING"),
            ),
            (PROJECTOR, 50_000, 50_000, Some("start more of projector")),
            // A server that knows no limit.
            (PROJECTOR, 50_000, 0, None),
        ] {
            let state = |floor| ConsumerState {
                max_ack_pending: most,
                ..state(7, in_hand, floor, 1)
            };
            let (before, after) = (state(1), state(2));
            let contents = contents(1, 60_000);
            let diagnosis = progress(&Namespace::default(), &consumer, &contents, &before, &after);
            let colour = match remedy {
                Some(_) => Colour::Yellow,
                None => Colour::Green,
            };
            assert_eq!(diagnosis.colour, colour, "{diagnosis:?}");
            let told = diagnosis.remedy.unwrap_or_default();
            assert!(told.contains(remedy.unwrap_or_default()), "{told}");
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
    fn a_consumer_that_somebody_paused_is_no_riddle() {
        for (pending, colour, found) in [
            (0, Colour::Red, "paused: 0 not delivered, 0 in hand"),
            (5, Colour::Red, "paused: 5 not delivered, 0 in hand"),
        ] {
            let paused = ConsumerState {
                is_paused: true,
                ..state(pending, 0, 10 - pending, 60)
            };
            let diagnosis = progress(
                &Namespace::default(),
                &PROJECTOR,
                &contents(1, 10),
                &paused,
                &paused,
            );
            assert_eq!(diagnosis.colour, colour);
            assert!(diagnosis.found.starts_with(found), "{diagnosis:?}");
            let remedy = diagnosis.remedy.as_deref();
            assert_eq!(
                remedy,
                Some("run nats consumer resume ORDERS_EVENTS projector")
            );
        }
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
