use std::{collections::VecDeque, sync::Mutex};

use orders_bus::FeedMessage;
use orders_contracts::{Channel, FeedEntry, Metadata, OrderId, Status, TraceContext};
use proptest::prelude::*;

use super::*;

const EPOCH: u64 = 7;
const PAGE: usize = 3;
/// When every entry was stored.
pub(crate) const TIME: u64 = 99;

/// An entry of the feed.
pub(crate) fn message(sequence: u64, tenant: &str) -> FeedMessage {
    let tenant: TenantId = tenant.parse().unwrap();
    let order_id = OrderId::derive(&tenant, &sequence.to_string().parse().unwrap());
    FeedMessage {
        sequence,
        time: TIME,
        channel: Channel::FeedCreated,
        entry: FeedEntry {
            order_id: order_id.clone(),
            status: Status::Pending.as_str().to_owned(),
            version: 1,
        },
        metadata: Metadata {
            id: format!("{order_id}:1"),
            source: "/orders/projector".to_owned(),
            order_id,
            time: "2025-08-26T09:00:00.000Z".parse().unwrap(),
            trace: TraceContext::root(),
            reply_to: None,
        },
        tenant,
    }
}

/// Gives `hub` an entry of the feed.
pub(crate) fn dispatch(hub: &Hub, message: FeedMessage) {
    let (tenant, time) = (message.tenant.clone(), message.time);
    hub.dispatch(message.sequence, time, Some(tenant.as_str()), || {
        Some(message)
    });
}

/// Keeps the events that it is sent, unless told to refuse them.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    events: Vec<SocketEvent>,
    /// Whether the next attempts find the buffer full.
    full: VecDeque<bool>,
    /// The outcome of every attempt after them.
    refused: Option<Refused>,
}

impl Recorder {
    /// The events, as `connected 3`, `4`, `reset expired 9`.
    fn told(&self) -> Vec<String> {
        let recorded = self.0.lock().unwrap();
        let told = recorded.events.iter().map(|event| match event {
            SocketEvent::Connected(tenant, offset) => {
                assert_eq!(tenant.as_str(), "a");
                format!("connected {}", offset.sequence)
            }
            SocketEvent::Changed(message, offset) => {
                assert_eq!(*offset, at(message.sequence));
                assert_eq!(message.tenant.as_str(), "a");
                message.sequence.to_string()
            }
            SocketEvent::Reset(reset, offset) => {
                format!("reset {} {}", reset.as_str(), offset.sequence)
            }
        });
        told.collect()
    }

    fn refuse(&self, refused: Refused) {
        self.0.lock().unwrap().refused = Some(refused);
    }
}

impl Client for Recorder {
    fn emit(&self, event: &SocketEvent) -> Result<(), Refused> {
        let mut recorded = self.0.lock().unwrap();
        if recorded.full.pop_front() == Some(true) {
            return Err(Refused::Full);
        }
        if let Some(refused) = recorded.refused {
            return Err(refused);
        }
        recorded.events.push(event.clone());
        Ok(())
    }
}

/// A feed with entries of the tenants `a` and `b`.
#[derive(Clone)]
struct Tape(Arc<Mutex<Recording>>);

struct Recording {
    bounds: FeedBounds,
    /// The tenant of each entry, from sequence 1.
    tenants: Vec<&'static str>,
    /// Whether the next pages cannot be read.
    failures: VecDeque<bool>,
    /// How many requests for the bounds fail from now on.
    outage: usize,
    /// The bounds after a page was read, if they change.
    afterwards: Option<FeedBounds>,
}

impl Tape {
    fn of(tenants: Vec<&'static str>) -> Self {
        let bounds = FeedBounds {
            epoch: EPOCH,
            first: 1,
            last: tenants.len() as u64,
            last_time: TIME,
            asked: None,
        };
        Self(Arc::new(Mutex::new(Recording {
            bounds,
            tenants,
            failures: VecDeque::new(),
            outage: 0,
            afterwards: None,
        })))
    }

    fn change(&self, change: impl FnOnce(&mut Recording)) {
        change(&mut self.0.lock().unwrap());
    }

    fn entry(&self, sequence: u64) -> FeedMessage {
        let index = usize::try_from(sequence - 1).unwrap();
        message(sequence, self.0.lock().unwrap().tenants[index])
    }

    fn len(&self) -> u64 {
        self.0.lock().unwrap().tenants.len() as u64
    }
}

impl Archive for Tape {
    async fn bounds(&self, asked: u64) -> Result<FeedBounds, Error> {
        let mut recording = self.0.lock().unwrap();
        if recording.outage > 0 {
            recording.outage -= 1;
            return Err(Error::Disconnected);
        }
        let is_there = (recording.bounds.first..=recording.bounds.last).contains(&asked);
        Ok(FeedBounds {
            asked: is_there.then_some(TIME),
            ..recording.bounds
        })
    }

    async fn page(&self, tenant: &TenantId, after: u64, up_to: u64) -> Result<FeedPage, Error> {
        let mut entries: Vec<_> = (after + 1..=up_to)
            .map(|sequence| self.entry(sequence))
            .filter(|message| message.tenant == *tenant)
            .collect();
        let mut recording = self.0.lock().unwrap();
        if recording.failures.pop_front() == Some(true) {
            return Err(Error::Disconnected);
        }
        if let Some(bounds) = recording.afterwards.take() {
            recording.bounds = bounds;
        }
        let is_last = entries.len() <= PAGE;
        entries.truncate(PAGE);
        let reached = match entries.last() {
            Some(last) if !is_last => last.sequence,
            _ => up_to,
        };
        Ok(FeedPage { entries, reached })
    }
}

fn at(sequence: u64) -> Offset {
    Offset {
        epoch: EPOCH,
        sequence,
        time: TIME,
    }
}

/// Runs the session of a client that connects when the feed was read up to `head`, while the rest of the feed is read.
/// Ends when nothing happens any more.
async fn session(
    tape: &Tape,
    head: u64,
    resume: Option<Result<Offset, Unparsable>>,
    client: &Recorder,
) -> Option<End> {
    let hub = Arc::new(Hub::new(at(head)));
    let handshake = Handshake {
        tenant: "a".parse().unwrap(),
        resume,
    };
    let live = async {
        for sequence in head + 1..=tape.len() {
            tokio::time::sleep(Duration::from_millis(sequence * 7 % 5)).await;
            dispatch(&hub, tape.entry(sequence));
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
    };
    tokio::select! {
        end = Session::run(&hub, tape.clone(), client.clone(), handshake) => Some(end),
        () = live => None,
    }
}

/// The events for a client that connects with `resume` when 6 of 8 entries were read.
async fn told(tape: &Tape, resume: Option<Result<Offset, Unparsable>>) -> Vec<String> {
    let client = Recorder::default();
    assert_eq!(session(tape, 6, resume, &client).await, None);
    client.told()
}

fn tape() -> Tape {
    Tape::of(vec!["a", "b", "a", "a", "b", "a", "b", "a"])
}

#[tokio::test(start_paused = true)]
async fn a_new_client_begins_at_the_head() {
    assert_eq!(told(&tape(), None).await, ["connected 6", "8"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_gets_what_it_missed_first() {
    assert_eq!(
        told(&tape(), Some(Ok(at(3)))).await,
        ["connected 3", "4", "6", "8"]
    );
    assert_eq!(
        told(&tape(), Some(Ok(at(0)))).await,
        ["connected 0", "1", "3", "4", "6", "8"]
    );
    assert_eq!(told(&tape(), Some(Ok(at(6)))).await, ["connected 6", "8"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_another_instance_has_told_more_gets_nothing_twice() {
    assert_eq!(told(&tape(), Some(Ok(at(7)))).await, ["connected 7", "8"]);
    assert_eq!(told(&tape(), Some(Ok(at(8)))).await, ["connected 8"]);
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_cannot_be_honoured_is_reset_to_the_head() {
    let reset = async |resume| told(&tape(), Some(resume)).await;
    let other = Offset {
        epoch: EPOCH - 1,
        ..at(3)
    };
    assert_eq!(
        reset("x".parse()).await,
        ["connected 6", "reset malformed 6", "8"]
    );
    assert_eq!(
        reset(Ok(other)).await,
        ["connected 6", "reset other_feed 6", "8"]
    );
    assert_eq!(
        reset(Ok(at(9))).await,
        ["connected 9", "reset future 6", "8"]
    );
    // The feed lost its end, and other entries have taken these sequences.
    for sequence in [3, 6, 7] {
        assert_eq!(
            reset(Ok(at(sequence).at(sequence, TIME - 1))).await,
            [
                format!("connected {sequence}").as_str(),
                "reset other_feed 6",
                "8"
            ]
        );
    }
    let tape = tape();
    tape.change(|tape| tape.bounds.first = 5);
    assert_eq!(
        told(&tape, Some(Ok(at(3)))).await,
        ["connected 3", "reset expired 6", "8"]
    );
    assert_eq!(
        told(&tape, Some(Ok(at(4)))).await,
        ["connected 4", "6", "8"]
    );
}

#[tokio::test(start_paused = true)]
async fn entries_dropped_during_a_replay_are_no_silent_gap() {
    let tape = tape();
    tape.change(|tape| {
        tape.afterwards = Some(FeedBounds {
            first: 5,
            ..tape.bounds
        })
    });
    let told = told(&tape, Some(Ok(at(3)))).await;
    assert_eq!(told, ["connected 3", "reset expired 6", "8"]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_waits_for_the_feed_and_goes_on_where_it_broke_off() {
    let tape = tape();
    tape.change(|tape| {
        tape.outage = 5;
        tape.failures = [true, false, true].into();
    });
    assert_eq!(
        told(&tape, Some(Ok(at(0)))).await,
        ["connected 0", "1", "3", "4", "6", "8"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_feed_created_anew_ends_the_session() {
    let tape = tape();
    tape.change(|tape| tape.bounds.epoch += 1);
    let client = Recorder::default();
    assert_eq!(
        session(&tape, 6, Some(Ok(at(3))), &client).await,
        Some(End::Behind)
    );
    assert_eq!(client.told(), ["connected 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_given_up_after_a_while() {
    let client = Recorder::default();
    client.refuse(Refused::Full);
    let began = Instant::now();
    assert_eq!(session(&tape(), 6, None, &client).await, Some(End::Slow));
    assert!((DRAIN_DEADLINE..DRAIN_DEADLINE + LONGEST_PAUSE * 2).contains(&began.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_ends_its_session() {
    let client = Recorder::default();
    client.refuse(Refused::Gone);
    assert_eq!(session(&tape(), 6, None, &client).await, Some(End::Gone));
}

proptest! {
    #[test]
    fn replay_and_live_join_without_a_gap_or_a_duplicate(
        tenants in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..40),
        head in 0_u64..40,
        offset in 0_u64..40,
        failures in prop::collection::vec(any::<bool>(), 0..8),
        outage in 0_usize..4,
        full in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        let last = tenants.len() as u64;
        let (head, offset) = (head % (last + 1), offset % (last + 1));
        let expected: Vec<String> = std::iter::once(format!("connected {offset}"))
            .chain((offset + 1..=last).filter(|&n| tenants[n as usize - 1] == "a").map(|n| n.to_string()))
            .collect();
        let tape = Tape::of(tenants);
        tape.change(|tape| {
            tape.failures = failures.into();
            tape.outage = outage;
        });
        let client = Recorder::default();
        client.0.lock().unwrap().full = full.into();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        prop_assert_eq!(runtime.block_on(session(&tape, head, Some(Ok(at(offset))), &client)), None);
        prop_assert_eq!(client.told(), expected);
    }
}
