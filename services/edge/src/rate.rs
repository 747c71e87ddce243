//! How often something may happen: the generic cell rate algorithm, for many keys in bounded memory. Pure.
//!
//! All that is known of a key is a `u64`: when it will have its whole burst again. A key that nobody has used for so long
//! has it already, so it can be forgotten.

use std::collections::HashMap;

const SECOND: u64 = 1_000_000_000;
/// The most keys that are remembered.
pub(crate) const KEYS: usize = 100_000;
/// A full shard is searched for keys to forget, so shards are small.
const SHARDS: usize = 64;

/// So many units in so many seconds, and so many of them at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    units: u32,
    seconds: u32,
    pub(crate) burst: u32,
}

/// What a key has after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// The units that it has now.
    pub(crate) units: u32,
    /// The nanoseconds until it has its whole burst.
    pub(crate) whole_in: u64,
}

impl Rate {
    pub(crate) const fn per_second(units: u32, burst: u32) -> Self {
        Self {
            units,
            seconds: 1,
            burst,
        }
    }

    /// A quarter of it, of the burst too.
    pub(crate) const fn quarter(self) -> Self {
        Self {
            seconds: self.seconds * 4,
            burst: self.burst.div_ceil(4),
            ..self
        }
    }

    /// The seconds in which the whole burst comes.
    pub(crate) fn window(self) -> u64 {
        self.time_of(self.burst).div_ceil(SECOND)
    }

    /// The nanoseconds in which so many units come.
    fn time_of(self, units: u32) -> u64 {
        u64::from(units) * u64::from(self.seconds) * SECOND / u64::from(self.units)
    }

    /// Takes `cost` units at `now` from a key that has its whole burst at `whole_at`: when it has that from then on, or
    /// the nanoseconds to wait. What costs more than the burst costs the burst, or it would never be taken.
    fn take(self, whole_at: u64, now: u64, cost: u32) -> Result<u64, u64> {
        let after = whole_at.max(now) + self.time_of(cost.min(self.burst));
        match after.checked_sub(now + self.time_of(self.burst)) {
            None | Some(0) => Ok(after),
            Some(wait) => Err(wait),
        }
    }

    fn left(self, whole_at: u64, now: u64) -> Left {
        let whole_in = whole_at.saturating_sub(now);
        let time = self.time_of(self.burst).saturating_sub(whole_in);
        let second = u128::from(SECOND) * u128::from(self.seconds);
        let units = u128::from(time) * u128::from(self.units) / second;
        Left {
            units: u32::try_from(units).unwrap_or(self.burst),
            whole_in,
        }
    }
}

/// When each key has its whole burst again. Keys are hashes with a secret, so nobody can aim at another's.
#[derive(Debug)]
pub(crate) struct Table([HashMap<u64, u64>; SHARDS]);

impl Table {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| HashMap::new()))
    }

    /// Takes `cost` units at `now` from all of `keys`, or from none of them: the place of the one that needs most time,
    /// and the nanoseconds to wait. `now` never goes back.
    pub(crate) fn take(
        &mut self,
        keys: &[(u64, Rate)],
        now: u64,
        cost: u32,
    ) -> Result<(), (usize, u64)> {
        let mut taken = Vec::with_capacity(keys.len());
        let mut refused: Option<(usize, u64)> = None;
        for (place, (key, rate)) in keys.iter().enumerate() {
            match rate.take(self.whole_at(*key), now, cost) {
                Ok(after) => taken.push((*key, after)),
                Err(wait) if refused.is_none_or(|(_, longest)| wait > longest) => {
                    refused = Some((place, wait));
                }
                Err(_) => {}
            }
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        for (key, after) in taken {
            self.set(key, after, now);
        }
        Ok(())
    }

    /// The nanoseconds until `key` has a unit; `None` if it has one at `now`.
    pub(crate) fn wait(&self, key: u64, rate: Rate, now: u64) -> Option<u64> {
        rate.take(self.whole_at(key), now, 1).err()
    }

    /// What `key` has at `now`.
    pub(crate) fn left(&self, key: u64, rate: Rate, now: u64) -> Left {
        rate.left(self.whole_at(key), now)
    }

    fn whole_at(&self, key: u64) -> u64 {
        let known = self.0[shard(key)].get(&key);
        known.copied().unwrap_or(0)
    }

    fn set(&mut self, key: u64, whole_at: u64, now: u64) {
        let shard = &mut self.0[shard(key)];
        if shard.len() >= KEYS / SHARDS && !shard.contains_key(&key) {
            // An eighth at least, so that a crowd of new keys costs little each. Those with most left lose least.
            let mut times: Vec<u64> = shard.values().copied().collect();
            let (_, eighth, _) = times.select_nth_unstable(KEYS / SHARDS / 8);
            let forgotten = now.max(*eighth);
            shard.retain(|_, whole_at| *whole_at > forgotten);
        }
        shard.insert(key, whole_at);
    }
}

fn shard(key: u64) -> usize {
    (key % SHARDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates() -> impl Strategy<Value = Rate> {
        let rate = (1_u32..2_000, 1_u32..4_000, any::<bool>());
        rate.prop_map(|(units, burst, is_quarter)| {
            let rate = Rate::per_second(units, burst);
            if is_quarter { rate.quarter() } else { rate }
        })
    }

    proptest! {
        /// In no span of time does a key get more than its burst and what has come since.
        #[test]
        fn no_span_of_time_has_more_than_the_burst_and_what_came(
            rate in rates(),
            steps in prop::collection::vec((0_u64..3 * SECOND, 1_u32..40), 1..100),
        ) {
            let (mut table, mut now, mut taken) = (Table::new(), SECOND, Vec::new());
            for (pause, cost) in steps {
                now += pause;
                if table.take(&[(7, rate)], now, cost).is_ok() {
                    taken.push((now, u64::from(cost.min(rate.burst))));
                }
            }
            for (first, (begin, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (end, cost) in &taken[first..] {
                    sum += cost;
                    // A nanosecond for each request is lost to rounding.
                    let span = u128::from(end - begin) + taken.len() as u128;
                    let came = span * u128::from(rate.units) / u128::from(SECOND * u64::from(rate.seconds)) + 1;
                    prop_assert!(u128::from(sum) <= u128::from(rate.burst) + came);
                }
            }
        }

        /// Whoever waits as long as told gets in, and a moment earlier does not. A refusal costs nothing.
        #[test]
        fn the_wait_is_as_long_as_told(rate in rates(), cost in 1_u32..40) {
            let (mut table, mut now) = (Table::new(), 5 * SECOND);
            let wait = loop {
                match table.take(&[(7, rate)], now, cost) {
                    Ok(()) => {}
                    Err((place, wait)) => {
                        prop_assert_eq!(place, 0);
                        break wait;
                    }
                }
            };
            let before = table.left(7, rate, now);
            prop_assert_eq!(table.take(&[(7, rate)], now + wait - 1, cost), Err((0, 1)));
            now += wait;
            prop_assert_eq!(table.take(&[(7, rate)], now, cost), Ok(()));
            prop_assert!(before.units < cost.min(rate.burst));
            prop_assert!(before.whole_in <= rate.time_of(rate.burst));
        }

        /// To forget keys that have their whole burst changes nothing for anybody.
        #[test]
        fn a_table_that_forgets_decides_as_one_that_does_not(
            rate in rates(),
            steps in prop::collection::vec((0_u64..SECOND, 0_u64..20, 1_u32..40), 1..200),
        ) {
            let (mut table, mut model, mut now) = (Table::new(), HashMap::<u64, u64>::new(), 0);
            for (pause, key, cost) in steps {
                now += pause;
                for shard in &mut table.0 {
                    shard.retain(|_, whole_at| *whole_at > now);
                }
                let known = model.get(&key).copied().unwrap_or(0);
                let expected = rate.take(known, now, cost);
                prop_assert_eq!(table.take(&[(key, rate)], now, cost).is_ok(), expected.is_ok());
                if let Ok(after) = expected {
                    model.insert(key, after);
                }
            }
        }
    }

    #[test]
    fn a_key_has_its_burst_and_then_its_rate() {
        let (rate, mut table) = (Rate::per_second(100, 200), Table::new());
        let mut take = |now| table.take(&[(1, rate)], now, 1);
        assert!((0..200).all(|_| take(0) == Ok(())));
        assert_eq!(take(0), Err((0, SECOND / 100)));
        let got = (1..=500)
            .filter(|ms| take(ms * 1_000_000) == Ok(()))
            .count();
        assert_eq!(got, 50);
    }

    #[test]
    fn a_large_request_costs_more_and_is_never_impossible() {
        let (rate, mut table) = (Rate::per_second(10, 20), Table::new());
        table.take(&[(1, rate)], 0, 15).unwrap();
        assert_eq!(table.left(1, rate, 0).units, 5);
        assert_eq!(table.take(&[(1, rate)], 0, 15), Err((0, SECOND)));
        // It costs the whole burst.
        assert_eq!(table.take(&[(2, rate)], 0, 1_000), Ok(()));
        let left = Left {
            units: 0,
            whole_in: 2 * SECOND,
        };
        assert_eq!(table.left(2, rate, 0), left);
    }

    #[test]
    fn of_several_keys_all_are_charged_or_none() {
        let rate = Rate::per_second(8, 8);
        let (of_all, mut table) = (rate.quarter(), Table::new());
        let keys = [(1, of_all), (2, rate)];
        table.take(&keys, 0, 1).unwrap();
        table.take(&keys, 0, 1).unwrap();
        assert_eq!(table.take(&keys, 0, 1), Err((0, SECOND / 2)));
        assert_eq!(table.left(2, rate, 0).units, 6, "the refusal cost nothing");
        table.take(&[(2, rate)], SECOND, 8).unwrap();
        assert_eq!(table.take(&keys, SECOND, 8), Err((1, SECOND)));
    }

    #[test]
    fn a_crowd_of_keys_takes_bounded_memory_and_forgets_those_with_most_left() {
        let (rate, mut table) = (Rate::per_second(1, 1_000), Table::new());
        let busy: Vec<u64> = (0..1_000).collect();
        for key in &busy {
            table.take(&[(*key, rate)], 0, 1_000).unwrap();
        }
        for key in 1_000..1_000_000 {
            table.take(&[(key, rate)], 0, 1).unwrap();
        }
        let count: usize = table.0.iter().map(HashMap::len).sum();
        assert!(count <= KEYS, "{count}");
        assert!(busy.iter().all(|key| table.left(*key, rate, 0).units == 0));
    }
}
