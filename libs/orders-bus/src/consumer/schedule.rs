//! The order of work: what is new in batches, what may kill its daemon alone.

use std::{collections::VecDeque, mem};

/// Decides what is handled next, and beside what. Pure: it knows neither messages nor time.
///
/// Messages that were delivered often are suspects: one of them may have killed each daemon that handled it. A suspect
/// is handled alone, in the order of arrival. Just before, the daemon shows progress on it and on nothing else, so if
/// it kills the daemon, the server delivers it again *after* everything that waited beside it: by then the others are
/// done.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    fresh: Vec<T>,
    suspects: VecDeque<T>,
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

    /// Adds a message that was delivered `deliveries` times.
    pub(super) fn push(&mut self, message: T, deliveries: u64) {
        if deliveries < self.alone_from {
            self.fresh.push(message);
        } else {
            self.suspects.push_back(message);
        }
    }

    /// What to handle next, while `in_hand` messages are being handled.
    ///
    /// New messages wait for the suspects: each of those takes as long as one round trip to the database.
    pub(super) fn next(&mut self, in_hand: usize) -> Option<Next<T>> {
        if !self.suspects.is_empty() {
            return match in_hand {
                0 => self.suspects.pop_front().map(Next::Alone),
                _ => None,
            };
        }
        let is_ready = in_hand < self.beside && !self.fresh.is_empty();
        is_ready.then(|| Next::Batch(mem::take(&mut self.fresh)))
    }

    /// Everything that waits.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.suspects.iter().chain(&self.fresh)
    }

    /// Takes out everything that waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        mem::take(&mut self.suspects)
            .into_iter()
            .chain(mem::take(&mut self.fresh))
    }

    /// How many new messages wait.
    pub(super) fn fresh(&self) -> usize {
        self.fresh.len()
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
            let (mut came, mut handled) = (0, Vec::new());
            let finish = std::iter::repeat_n(Step::Done, 2_000);
            for step in steps.into_iter().chain(finish) {
                match step {
                    Step::Come(deliveries) => for deliveries in deliveries {
                        schedule.push((came, deliveries), deliveries);
                        came += 1;
                    },
                    Step::Done => handled.extend(in_hand.pop_front().into_iter().flatten()),
                }
                let is_suspect = |batch: &Vec<(usize, u64)>| batch.iter().any(|(_, d)| *d >= ALONE_FROM);
                loop {
                    // A suspect takes all the room there is, so that nothing runs beside it.
                    let weight = in_hand.iter().map(|batch| if is_suspect(batch) { BESIDE } else { batch.len() }).sum();
                    match schedule.next(weight) {
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
                // Whatever waits, something is in hand.
                prop_assert!(schedule.is_empty() || !in_hand.is_empty());
            }
            prop_assert!(schedule.is_empty());
            let suspects: Vec<_> = handled.iter().filter(|(_, d)| *d >= ALONE_FROM).collect();
            prop_assert!(suspects.is_sorted(), "first come, first served");
            handled.sort_unstable();
            prop_assert!(handled.iter().map(|(n, _)| *n).eq(0..came), "each once");
        }
    }
}
