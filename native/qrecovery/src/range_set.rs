//! A set of numbers kept as few sorted ranges: acknowledged packets, received bytes, lost bytes.
//!
//! Decides nothing about QUIC; it answers what is in, what is missing and what is lowest (the shape RFC 9000 §19.3.1
//! gives to acknowledgements). Called by the sent and received records, the buffers and the map of closed streams.
//! Never grows by itself: owners that a peer feeds bound it with [`RangeSet::trim_to`].

use std::{collections::VecDeque, ops::Range};

/// A set of `u64` as disjoint, non-touching, ascending half-open ranges.
///
/// Numbers at the upper end cost O(1), others O(log ranges) plus the shift of a `VecDeque`. Empty ranges are ignored
/// by every method. `u64::MAX` itself cannot be held; QUIC's numbers end at 2^62-1.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RangeSet {
    ranges: VecDeque<Range<u64>>,
}

impl RangeSet {
    /// A set without numbers; takes no memory until the first insertion.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: VecDeque::new() }
    }

    /// Puts the numbers of `range` in and tells how many were not there before.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        match self.ranges.back_mut() {
            Some(last) if range.start <= last.end && range.start >= last.start => {
                let fresh = range.end.saturating_sub(last.end);
                last.end = last.end.max(range.end);
                fresh
            }
            Some(last) if range.start < last.start => self.insert_below_last(range),
            _ => {
                let fresh = width(&range);
                // Most sets never have a second range.
                self.ranges.reserve_exact(usize::from(self.ranges.capacity() == 0));
                self.ranges.push_back(range);
                fresh
            }
        }
    }

    /// Puts one number in; `true` if it was not there before.
    pub fn insert_one(&mut self, value: u64) -> bool {
        self.insert(value..value.saturating_add(1)) == 1
    }

    /// Takes the numbers of `range` out and tells how many were there.
    pub fn remove(&mut self, range: Range<u64>) -> u64 {
        let (from, to) = self.overlapping(&range);
        let mut inside = self.ranges.range(from..to);
        let Some(first) = inside.next() else { return 0 };
        let last = inside.next_back().unwrap_or(first);
        let left = first.start..range.start;
        let right = range.end..last.end;
        let removed = self.ranges.range(from..to).map(|held| width(&intersection(held, &range))).sum();
        self.ranges.drain(from..to);
        for rest in [right, left] {
            if !rest.is_empty() {
                self.ranges.insert(from, rest);
            }
        }
        removed
    }

    /// Takes all numbers below `value` out.
    pub fn remove_below(&mut self, value: u64) {
        while let Some(first) = self.ranges.front_mut() {
            if first.start >= value {
                return;
            }
            if first.end > value {
                first.start = value;
                return;
            }
            self.ranges.pop_front();
        }
    }

    /// Drops the lowest ranges until at most `limit` are left.
    ///
    /// Returns the number behind the last one dropped: everything below it is forgotten.
    pub fn trim_to(&mut self, limit: usize) -> Option<u64> {
        let excess = self.ranges.len().checked_sub(limit).filter(|&excess| excess > 0)?;
        self.ranges.drain(..excess).next_back().map(|dropped| dropped.end)
    }

    /// Takes the lowest range out.
    pub fn pop_min(&mut self) -> Option<Range<u64>> {
        self.ranges.pop_front()
    }

    /// Takes all numbers out; the memory stays for reuse.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// The number is in.
    #[must_use]
    pub fn contains(&self, value: u64) -> bool {
        self.contains_all(value..value.saturating_add(1))
    }

    /// Every number of `range` is in; true of an empty range.
    #[must_use]
    pub fn contains_all(&self, range: Range<u64>) -> bool {
        let after = self.ranges.partition_point(|held| held.start <= range.start);
        let held = after.checked_sub(1).and_then(|i| self.ranges.get(i));
        range.is_empty() || held.is_some_and(|held| range.end <= held.end)
    }

    /// Some number of `range` is in.
    #[must_use]
    pub fn contains_any(&self, range: Range<u64>) -> bool {
        let (from, to) = self.overlapping(&range);
        from < to
    }

    /// The parts of `range` that are not in, ascending.
    pub fn missing(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let (from, to) = self.overlapping(&range);
        let behind = self.ranges.range(from..to).map(|held| held.end);
        let starts = std::iter::once(range.start).chain(behind);
        let ends = self.ranges.range(from..to).map(|held| held.start).chain(std::iter::once(range.end));
        starts.zip(ends).map(|(start, end)| start..end).filter(|part| !part.is_empty())
    }

    /// The parts of `range` that are in, ascending.
    pub fn overlap(&self, range: Range<u64>) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        let (from, to) = self.overlapping(&range);
        self.ranges.range(from..to).map(move |held| intersection(held, &range))
    }

    /// The ranges, ascending; `.rev()` for descending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + Clone + '_ {
        self.ranges.iter().cloned()
    }

    /// How many ranges the set is made of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// No number is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many numbers are in.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(width).sum()
    }

    /// The lowest number.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        self.ranges.front().map(|first| first.start)
    }

    /// The highest number.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        self.ranges.back().map(|last| last.end.saturating_sub(1))
    }

    /// The lowest range.
    #[must_use]
    pub fn first(&self) -> Option<Range<u64>> {
        self.ranges.front().cloned()
    }

    /// The highest range.
    #[must_use]
    pub fn last(&self) -> Option<Range<u64>> {
        self.ranges.back().cloned()
    }

    /// Bytes of memory behind the set, for gauges.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.ranges.capacity().saturating_mul(size_of::<Range<u64>>())
    }

    /// Inserts a non-empty range that starts below the last one.
    fn insert_below_last(&mut self, range: Range<u64>) -> u64 {
        let from = self.ranges.partition_point(|held| held.end < range.start);
        let to = self.ranges.partition_point(|held| held.start <= range.end);
        let mut merged = range.clone();
        let mut known: u64 = 0;
        for held in self.ranges.range(from..to) {
            known = known.saturating_add(width(&intersection(held, &range)));
            merged = merged.start.min(held.start)..merged.end.max(held.end);
        }
        match self.ranges.get_mut(from) {
            Some(first) if from < to => {
                *first = merged;
                self.ranges.drain(from.saturating_add(1)..to);
            }
            _ => self.ranges.insert(from, merged),
        }
        width(&range).saturating_sub(known)
    }

    /// Indices of the ranges that share a number with `range`; `from == to` if none does.
    fn overlapping(&self, range: &Range<u64>) -> (usize, usize) {
        if range.is_empty() {
            return (0, 0);
        }
        let from = self.ranges.partition_point(|held| held.end <= range.start);
        let to = self.ranges.partition_point(|held| held.start < range.end);
        (from, to)
    }
}

impl FromIterator<Range<u64>> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        ranges.into_iter().for_each(|range| {
            set.insert(range);
        });
        set
    }
}

/// Numbers in a range; 0 if it is empty.
const fn width(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}

/// What two ranges share; an empty range if nothing.
fn intersection(a: &Range<u64>, b: &Range<u64>) -> Range<u64> {
    a.start.max(b.start)..a.end.min(b.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn touching_ranges_become_one() {
        let set: RangeSet = [0..5, 10..15, 5..10].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), vec![0..15]);
    }

    #[test]
    fn insertion_counts_only_fresh_numbers() {
        let mut set: RangeSet = [0..5, 10..15, 20..25].into_iter().collect();
        assert_eq!(set.insert(3..22), 10);
        assert_eq!(set.iter().collect::<Vec<_>>(), vec![0..25]);
        assert_eq!(set.insert(7..9), 0);
    }

    #[test]
    fn removal_splits_a_range() {
        let mut set: RangeSet = std::iter::once(0..10).collect();
        assert_eq!(set.remove(3..5), 2);
        assert_eq!(set.iter().rev().collect::<Vec<_>>(), vec![5..10, 0..3]);
    }

    #[test]
    fn trimming_drops_the_lowest_and_tells_the_floor() {
        let mut set: RangeSet = [0..1, 2..3, 4..5, 6..7].into_iter().collect();
        assert_eq!(set.trim_to(2), Some(3));
        assert_eq!(set.min(), Some(4));
        assert_eq!(set.trim_to(2), None);
    }

    #[test]
    fn missing_parts_are_those_between_the_ranges() {
        let set: RangeSet = [2..4, 6..8].into_iter().collect();
        assert_eq!(set.missing(0..10).collect::<Vec<_>>(), vec![0..2, 4..6, 8..10]);
        assert_eq!(set.missing(2..8).collect::<Vec<_>>(), vec![4..6]);
        assert_eq!(set.missing(3..4).count(), 0);
        assert_eq!(set.overlap(3..7).collect::<Vec<_>>(), vec![3..4, 6..7]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(Range<u64>),
        Remove(Range<u64>),
        RemoveBelow(u64),
        PopMin,
    }

    fn step() -> impl Strategy<Value = Step> {
        let range = || (0u64..120, 0u64..20).prop_map(|(start, len)| start..start + len);
        prop_oneof![
            4 => range().prop_map(Step::Insert),
            2 => range().prop_map(Step::Remove),
            1 => (0u64..40).prop_map(Step::RemoveBelow),
            1 => Just(Step::PopMin),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_tree_of_single_numbers(steps in proptest::collection::vec(step(), 1..60), probe in 0u64..130, width in 0u64..30) {
            let mut set = RangeSet::new();
            let mut model = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Insert(range) => {
                        let fresh = range.clone().filter(|&value| model.insert(value)).count();
                        prop_assert_eq!(set.insert(range), fresh as u64);
                    }
                    Step::Remove(range) => {
                        let gone = range.clone().filter(|value| model.remove(value)).count();
                        prop_assert_eq!(set.remove(range), gone as u64);
                    }
                    Step::RemoveBelow(value) => {
                        set.remove_below(value);
                        model.retain(|&held| held >= value);
                    }
                    Step::PopMin => {
                        if let Some(range) = set.pop_min() {
                            range.for_each(|value| assert!(model.remove(&value)));
                        }
                    }
                }
                let flat: Vec<u64> = set.iter().flatten().collect();
                prop_assert_eq!(&flat, &model.iter().copied().collect::<Vec<_>>());
                let apart = set.iter().zip(set.iter().skip(1)).all(|(a, b)| a.end < b.start);
                prop_assert!(apart, "ranges touch: {:?}", set);
            }
            let window = probe..probe + width;
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert_eq!((set.min(), set.max()), (model.first().copied(), model.last().copied()));
            prop_assert_eq!(set.contains(probe), model.contains(&probe));
            prop_assert_eq!(set.contains_any(window.clone()), window.clone().any(|v| model.contains(&v)));
            prop_assert_eq!(set.contains_all(window.clone()), window.clone().all(|v| model.contains(&v)));
            let missing: Vec<u64> = set.missing(window.clone()).flatten().collect();
            prop_assert_eq!(missing, window.clone().filter(|v| !model.contains(v)).collect::<Vec<_>>());
            let shared: Vec<u64> = set.overlap(window.clone()).flatten().collect();
            prop_assert_eq!(shared, window.filter(|v| model.contains(v)).collect::<Vec<_>>());
        }
    }
}
