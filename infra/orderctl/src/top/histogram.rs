//! Histograms as daemons keep them: how many values were at most as large as each of a few bounds.

/// A histogram, of one process or of several.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histogram {
    /// Bounds in ascending order, each with the number of values that were at most as large. The last is infinite.
    buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Adds what another series of the same bounds has counted up to `bound`.
    pub(super) fn add(&mut self, bound: f64, count: u64) {
        match self
            .buckets
            .binary_search_by(|(own, _)| own.total_cmp(&bound))
        {
            Ok(place) => self.buckets[place].1 += count,
            Err(place) => self.buckets.insert(place, (bound, count)),
        }
    }

    /// The number of values.
    pub(super) fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }

    /// The values of both. Their bounds may differ, as between two versions.
    pub(super) fn plus(&self, other: &Self) -> Self {
        self.combined(other, u64::saturating_add)
    }

    /// The values since `earlier`, a reading of the same process.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        self.combined(earlier, u64::saturating_sub)
    }

    fn combined(&self, other: &Self, combine: fn(u64, u64) -> u64) -> Self {
        let buckets = self.buckets.iter().chain(&other.buckets);
        let mut bounds: Vec<f64> = buckets.map(|(bound, _)| *bound).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        let combined = |bound| (bound, combine(self.at_most(bound), other.at_most(bound)));
        Self {
            buckets: bounds.into_iter().map(combined).collect(),
        }
    }

    /// How many values were certainly at most as large as `bound`.
    fn at_most(&self, bound: f64) -> u64 {
        let below = self.buckets.partition_point(|(own, _)| *own <= bound);
        below.checked_sub(1).map_or(0, |last| self.buckets[last].1)
    }

    /// The value that `percent` of all values do not exceed, as Prometheus estimates it: values are spread evenly between
    /// two bounds, and beyond the last finite bound each is that bound. `None` without values.
    pub(super) fn quantile(&self, percent: u64) -> Option<f64> {
        let wanted = u128::from(self.count()) * u128::from(percent);
        let is_enough = |(_, count): &(f64, u64)| *count > 0 && u128::from(*count) * 100 >= wanted;
        let place = self.buckets.iter().position(is_enough)?;
        let (upper, upto) = self.buckets[place];
        let (lower, below) = match place.checked_sub(1) {
            Some(before) => self.buckets[before],
            None => (0.0, 0),
        };
        if upper.is_infinite() {
            return Some(lower);
        }
        let share = (wanted as f64 / 100.0 - below as f64) / (upto - below) as f64;
        Some((lower + (upper - lower) * share.clamp(0.0, 1.0)).min(upper))
    }

    /// The largest value that a [`quantile`](Self::quantile) can be; then it may be any larger one.
    pub(super) fn largest(&self) -> f64 {
        let mut bounds = self.buckets.iter().rev().map(|(bound, _)| *bound);
        bounds.find(|bound| bound.is_finite()).unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: [f64; 5] = [0.01, 0.1, 1.0, 10.0, f64::INFINITY];

    fn of(values: &[f64], bounds: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        for bound in bounds {
            let count = values.iter().filter(|value| *value <= bound).count();
            histogram.add(*bound, count as u64);
        }
        histogram
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let four = of(&[0.05, 0.05, 0.5, 0.5], &BOUNDS);
        assert_eq!(four.quantile(50), Some(0.1));
        assert_eq!(four.quantile(75), Some(0.55));
        assert_eq!(of(&[], &BOUNDS).quantile(50), None);
        assert_eq!(Histogram::default().quantile(50), None);
        let slow = of(&[60.0], &BOUNDS);
        assert_eq!((slow.quantile(99), slow.largest()), (Some(10.0), 10.0));
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(0.0..20.0, 0..60)
    }

    proptest! {
        /// The estimate lies between the same two bounds as the value itself.
        #[test]
        fn a_quantile_is_in_the_bucket_of_the_true_one(mut values in values(), percent in 1_usize..=100) {
            let estimate = of(&values, &BOUNDS).quantile(percent as u64);
            values.sort_by(f64::total_cmp);
            let place = (values.len() * percent).div_ceil(100);
            let Some(exact) = place.checked_sub(1).map(|last| values[last]) else {
                prop_assert_eq!(estimate, None);
                return Ok(());
            };
            let estimate = estimate.unwrap();
            let upper = *BOUNDS.iter().find(|bound| exact <= **bound).unwrap();
            let lower = BOUNDS.iter().copied().filter(|bound| *bound < exact).fold(0.0, f64::max);
            let is_between = (lower - 1e-9..=upper + 1e-9).contains(&estimate);
            prop_assert!(is_between, "{estimate} for {exact}");
        }

        #[test]
        fn what_came_since_is_what_was_added(earlier in values(), later in values()) {
            let all = Vec::from_iter(earlier.iter().chain(&later).copied());
            let since = of(&all, &BOUNDS).since(&of(&earlier, &BOUNDS));
            prop_assert_eq!(since, of(&later, &BOUNDS));
        }

        #[test]
        fn a_sum_has_all_values_whatever_the_bounds(one in values(), other in values()) {
            let bounds = [0.05, 1.0, 2.0, f64::INFINITY];
            let (one, other) = (of(&one, &BOUNDS), of(&other, &bounds));
            let sum = one.plus(&other);
            prop_assert_eq!(sum.count(), one.count() + other.count());
            prop_assert_eq!(&sum, &other.plus(&one));
            prop_assert!(sum.buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{sum:?}");
            // Of equal bounds nothing is lost.
            let twice = of(&[0.5, 5.0], &BOUNDS).plus(&of(&[0.5], &BOUNDS));
            prop_assert_eq!(twice, of(&[0.5, 0.5, 5.0], &BOUNDS));
        }

        #[test]
        fn quantiles_never_fall_as_the_share_rises(values in values()) {
            let histogram = of(&values, &BOUNDS);
            let quantiles = Vec::from_iter((0..=100).map(|percent| histogram.quantile(percent)));
            prop_assert!(quantiles.is_sorted(), "{quantiles:?}");
        }
    }
}
