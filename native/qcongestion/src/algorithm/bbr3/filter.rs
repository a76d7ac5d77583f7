//! The largest of recent values, in three samples (Kathleen Nichols' filter, named by draft-ietf-ccwg-bbr).
//!
//! Called by the model. Time is whatever counts up: here round trips.

/// A value and when it was seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    at: u64,
    value: u64,
}

/// The largest value of a window, then the largest of what is newer, twice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WindowedMax {
    first: Seen,
    second: Seen,
    third: Seen,
}

impl WindowedMax {
    /// No value yet.
    pub const fn new() -> Self {
        let none = Seen { at: 0, value: 0 };
        Self { first: none, second: none, third: none }
    }

    /// Takes a value seen at `at`; returns the largest of the last `window`.
    pub fn update(&mut self, window: u64, at: u64, value: u64) -> u64 {
        let seen = Seen { at, value };
        if value >= self.first.value || at.saturating_sub(self.third.at) > window {
            (self.first, self.second, self.third) = (seen, seen, seen);
            return value;
        }
        if value >= self.second.value {
            (self.second, self.third) = (seen, seen);
        } else if value >= self.third.value {
            self.third = seen;
        }
        let age = at.saturating_sub(self.first.at);
        if age > window {
            self.shift(seen);
            if at.saturating_sub(self.first.at) > window {
                self.shift(seen);
            }
        } else if self.second.at == self.first.at && age > window / 4 {
            (self.second, self.third) = (seen, seen);
        } else if self.third.at == self.second.at && age > window / 2 {
            self.third = seen;
        }
        self.first.value
    }

    /// The largest value.
    pub const fn largest(&self) -> u64 {
        self.first.value
    }

    const fn shift(&mut self, seen: Seen) {
        (self.first, self.second, self.third) = (self.second, self.third, seen);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_largest_value_is_forgotten_after_the_window() {
        let mut filter = WindowedMax::new();
        assert_eq!(filter.update(10, 0, 100), 100);
        for at in 1..=10 {
            assert_eq!(filter.update(10, at, 50 - at), 100, "{at}");
        }
        let next = filter.update(10, 11, 10);
        assert!((40..50).contains(&next), "{next}");
    }

    proptest! {
        #[test]
        fn it_lies_between_the_newest_value_and_the_true_maximum(values in prop::collection::vec((0_u64..4, 0_u64..1_000), 1..200)) {
            let (mut filter, mut at, mut history) = (WindowedMax::new(), 0, Vec::new());
            for (gap, value) in values {
                at += gap;
                history.push((at, value));
                let found = filter.update(10, at, value);
                let truth = history.iter().filter(|(then, _)| at - then <= 10).map(|(_, value)| *value).max().unwrap_or(0);
                prop_assert!(found >= value && found <= truth, "{found} {truth}");
            }
        }
    }
}
