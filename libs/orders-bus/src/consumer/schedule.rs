//! The order of work: what is new in batches, what may kill its daemon alone.

use std::{collections::VecDeque, mem, time::Duration};

use tokio::time::Instant;

/// How long a suspect waits for its turn.
const SUSPENSE: Duration = Duration::from_millis(500);

/// Decides what is handled next, and beside what. Pure: it knows nothing of messages, and is told the time.
///
/// Messages that were delivered often are suspects: one of them may have killed each daemon that handled it. A suspect
/// is handled alone, [`SUSPENSE`] after it came. Just before, the daemon shows progress on it and on nothing else, so
/// if it kills the daemon, the server delivers it again a while *after* everything that waited beside it. By the time
/// of its next turn the others are done.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    fresh: Vec<T>,
    suspects: VecDeque<(Instant, T)>,
    alone_from: u64,
    beside: usize,
}

/// What to handle next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// These together, beside what is in hand.
    Batch(Vec<T>),
    /// This one alone.
    Alone(T),
}

impl<T> Schedule<T> {
    /// Messages are suspects from the delivery `alone_from` on. New ones are handled while fewer than `beside` others
    /// are in hand.
    pub(super) fn new(alone_from: u64, beside: usize) -> Self {
        Self {
            fresh: Vec::new(),
            suspects: VecDeque::new(),
            alone_from,
            beside,
        }
    }

    /// Adds a message that was delivered `deliveries` times, the last time `now`.
    pub(super) fn push(&mut self, message: T, deliveries: u64, now: Instant) {
        if deliveries < self.alone_from {
            self.fresh.push(message);
        } else {
            self.suspects.push_back((now + SUSPENSE, message));
        }
    }

    /// What to handle `now`, while `in_hand` messages are being handled.
    ///
    /// New messages wait for suspects whose turn it is: each of those takes as long as one round trip to the database.
    pub(super) fn next(&mut self, now: Instant, in_hand: usize) -> Option<Next<T>> {
        if self.turn().is_some_and(|turn| turn <= now) {
            let suspect = (in_hand == 0).then(|| self.suspects.pop_front());
            return suspect.flatten().map(|(_, suspect)| Next::Alone(suspect));
        }
        let is_ready = in_hand < self.beside && !self.fresh.is_empty();
        is_ready.then(|| Next::Batch(mem::take(&mut self.fresh)))
    }

    /// When it is the turn of the next suspect.
    pub(super) fn turn(&self) -> Option<Instant> {
        self.suspects.front().map(|(turn, _)| *turn)
    }

    /// Everything that waits.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let suspects = self.suspects.iter().map(|(_, suspect)| suspect);
        suspects.chain(&self.fresh)
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        mem::take(&mut self.suspects)
            .into_iter()
            .map(|(_, suspect)| suspect)
            .chain(mem::take(&mut self.fresh))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.suspects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const ALONE_FROM: u64 = 3;
    const BESIDE: usize = 8;

    /// A step of a consumer: messages come, by their numbers of deliveries, or the oldest batch in hand is done.
    #[derive(Debug, Clone)]
    enum Step {
        Come(Vec<u64>),
        Done,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        vec(
            prop_oneof![vec(1..6_u64, 1..20).prop_map(Step::Come), Just(Step::Done),],
            0..60,
        )
    }

    proptest! {
        #[test]
        fn every_message_is_handled_once_and_suspects_alone(steps in steps()) {
            let mut schedule = Schedule::new(ALONE_FROM, BESIDE);
            let mut in_hand: VecDeque<Vec<(usize, u64)>> = VecDeque::new();
            let mut now = Instant::now();
            let (mut came, mut handled) = (0, Vec::new());
            let finish = std::iter::repeat_n(Step::Done, 2_000);
            for step in steps.into_iter().chain(finish) {
                now += SUSPENSE / 4;
                match step {
                    Step::Come(deliveries) => for deliveries in deliveries {
                        schedule.push((came, deliveries), deliveries, now);
                        came += 1;
                    },
                    Step::Done => handled.extend(in_hand.pop_front().into_iter().flatten()),
                }
                let is_suspect = |batch: &Vec<(usize, u64)>| batch.iter().any(|(_, d)| *d >= ALONE_FROM);
                loop {
                    // A suspect takes all the room there is, so that nothing runs beside it.
                    let weight = in_hand.iter().map(|batch| if is_suspect(batch) { BESIDE } else { batch.len() }).sum();
                    match schedule.next(now, weight) {
                        Some(Next::Batch(batch)) => {
                            prop_assert!(weight < BESIDE && !batch.is_empty());
                            prop_assert!(batch.iter().all(|(_, deliveries)| *deliveries < ALONE_FROM));
                            in_hand.push_back(batch);
                        }
                        Some(Next::Alone(suspect)) => {
                            prop_assert!(in_hand.is_empty());
                            prop_assert!(suspect.1 >= ALONE_FROM);
                            in_hand.push_back(vec![suspect]);
                        }
                        None => break,
                    }
                }
                // Whatever waits, something is in hand, unless it is a suspect before its turn.
                let is_early = schedule.turn().is_some_and(|turn| turn > now);
                prop_assert!(schedule.is_empty() || !in_hand.is_empty() || is_early);
            }
            prop_assert!(schedule.is_empty());
            let suspects: Vec<_> = handled.iter().filter(|(_, d)| *d >= ALONE_FROM).collect();
            prop_assert!(suspects.is_sorted(), "first come, first served");
            handled.sort_unstable();
            prop_assert!(handled.iter().map(|(n, _)| *n).eq(0..came), "each once");
        }
    }
}
