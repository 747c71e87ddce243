//! How far the readers of the streams are, and what the streams hold.

use std::time::Duration;

use orders_bus::{ConsumerState, StreamState};
use orders_contracts::streams::{self, ORDERS_FEED, Retention};

use super::{
    between::per_second,
    snapshot::{Consumer, Progress, Stream},
};
use crate::look::{Look, added, age, has_work, is_stuck, lasts};

/// The durable consumers, and realtime, which reads the feed without one and is `feed_lag` entries behind.
pub(super) fn consumers(
    before: &Look,
    after: &Look,
    feed_lag: Option<u64>,
    window: Duration,
) -> Vec<Consumer> {
    let durable = after.consumers.iter().map(|(consumer, state)| {
        let earlier = before.consumer(consumer).unwrap_or(state);
        let contents = after.stream(consumer.stream.name);
        let lost = contents.map_or(0, |contents| state.lost(consumer, contents));
        // Of a consumer that wants one kind of message only, the floor also passes over the others.
        let is_of_all = consumer.filter.is_none();
        let settled = state.ack_floor.saturating_sub(earlier.ack_floor);
        Consumer {
            stream: consumer.stream.name,
            consumer: consumer.durable,
            pending: Some(state.pending),
            in_hand: Some(state.ack_pending),
            oldest_seconds: state.oldest.map(|_| age(state).as_secs_f64()),
            waiting_pulls: Some(state.waiting),
            per_second: per_second(settled, window).filter(|_| is_of_all),
            lost,
            state: progress(consumer, earlier, state, lost, window),
        }
    });
    let realtime = feed_lag.map(|lag| Consumer {
        stream: ORDERS_FEED.name,
        consumer: "realtime",
        pending: Some(lag),
        in_hand: None,
        oldest_seconds: None,
        waiting_pulls: None,
        per_second: None,
        lost: 0,
        state: Progress::Fine,
    });
    durable.chain(realtime).collect()
}

fn progress(
    consumer: &streams::Consumer,
    before: &ConsumerState,
    after: &ConsumerState,
    lost: u64,
    window: Duration,
) -> Progress {
    let is_unread = before.waiting == 0 && after.waiting == 0 && after.ack_pending == 0;
    let is_stuck = is_stuck(consumer, before, after, age(after));
    if lost > 0 {
        Progress::Lost
    } else if after.is_paused {
        Progress::Paused
    } else if window.is_zero() {
        Progress::Fine
    } else if is_unread && (is_stuck || !has_work(after)) {
        Progress::NoReader
    } else if is_stuck {
        Progress::Stuck
    } else {
        Progress::Fine
    }
}

/// All streams that exist.
pub(super) fn streams(
    before: &Look,
    after: &Look,
    feed_lag: Option<u64>,
    window: Duration,
) -> Vec<Stream> {
    let shown = after.streams.iter().map(|(stream, state)| {
        let earlier = before.stream(stream.name).unwrap_or(state);
        let readers = after.consumers.iter();
        let readers = readers.filter(|(consumer, _)| consumer.stream.name == stream.name);
        let slowest = readers
            .map(|(_, reader)| (reader.pending + reader.ack_pending, age(reader)))
            .max();
        let realtime = feed_lag.filter(|_| stream.name == ORDERS_FEED.name);
        let slowest = slowest.or_else(|| realtime.map(|lag| (lag, Duration::ZERO)));
        let came = state.last.saturating_sub(earlier.last);
        let time = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let is_queue = stream.retention == Retention::WorkQueue;
        Stream {
            stream: stream.name,
            messages: state.messages,
            bytes: state.bytes,
            max_bytes: state.max_bytes,
            fullness: fullness(stream, state),
            refuses_when_full: !matches!(stream.retention, Retention::Limits { .. }),
            unread: slowest.map(|(unread, _)| unread),
            per_second: per_second(came, window),
            keeps_seconds: time(keeps(earlier, state, window).filter(|_| !is_queue)),
            full_in_seconds: time(full_in(earlier, state, window).filter(|_| is_queue)),
            loses_unread_in_seconds: time(
                slowest
                    .and_then(|slowest| loses_unread_in(earlier, state, slowest, window))
                    .filter(|_| !is_queue),
            ),
        }
    });
    shown.collect()
}

fn fullness(stream: &streams::Stream, state: &StreamState) -> Option<f64> {
    let (used, most) = match stream.retention {
        Retention::Latest { max_subjects, .. } => (state.messages, max_subjects.into()),
        Retention::WorkQueue | Retention::Limits { .. } => (state.bytes, state.max_bytes?),
    };
    (most > 0).then(|| used as f64 / most as f64)
}

/// How long a message stays.
fn keeps(before: &StreamState, after: &StreamState, window: Duration) -> Option<Duration> {
    let fills = after
        .max_bytes
        .and_then(|most| lasts(most, added(before, after), window));
    [fills, after.max_age].into_iter().flatten().min()
}

/// When a queue is full, if it grows.
fn full_in(before: &StreamState, after: &StreamState, window: Duration) -> Option<Duration> {
    let grown = after.bytes.saturating_sub(before.bytes);
    let free = after.max_bytes?.saturating_sub(after.bytes);
    lasts(free, grown, window)
}

/// When the oldest of the `unread` messages, which is `age` old, is dropped for its age or for newer ones.
fn loses_unread_in(
    before: &StreamState,
    after: &StreamState,
    (unread, age): (u64, Duration),
    window: Duration,
) -> Option<Duration> {
    if unread == 0 {
        return None;
    }
    let each = after.bytes.checked_div(after.messages)?;
    let room = |most: u64| most.saturating_sub(unread.saturating_mul(each));
    let fills = after
        .max_bytes
        .and_then(|most| lasts(room(most), added(before, after), window));
    let expires = after.max_age.map(|most| most.saturating_sub(age));
    [fills, expires].into_iter().flatten().min()
}
