//! Cuts by byte count: "when 20 MB went through, cut link 0; when 40 MB did, mend it".
//!
//! Called by the relay's thread after every datagram train that left a line. The count is of UDP payload that left
//! lines, over all links together, so a cut link is mended by what the others carry. A step happens between the
//! datagram that reaches its count and the next one.

use super::Way;

/// What counts as having gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Counted {
    /// Bytes from clients to targets.
    Up,
    /// Bytes from targets to clients.
    Down,
    /// Both.
    #[default]
    Both,
}

impl Counted {
    const fn includes(self, way: Way) -> bool {
        matches!((self, way), (Self::Both, _) | (Self::Up, Way::Up) | (Self::Down, Way::Down))
    }
}

/// What is done to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Lose everything, both ways.
    Cut,
    /// Carry again.
    Restore,
}

/// One line of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When this many bytes went through.
    pub at_bytes: u64,
    /// The link, by its place in the configuration.
    pub link: usize,
    /// What happens to it.
    pub act: Act,
}

/// Steps and what they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Which bytes count.
    pub counted: Counted,
    /// The steps, in any order.
    pub steps: Vec<Step>,
}

/// A script on its way.
#[derive(Debug)]
pub(super) struct Running {
    counted: Counted,
    /// Latest first, so that the next one is at the end.
    steps: Vec<Step>,
    passed: u64,
}

impl Running {
    pub(super) fn new(script: Script) -> Self {
        let Script { counted, mut steps } = script;
        // Steps of one count keep their order.
        steps.sort_by_key(|step| step.at_bytes);
        steps.reverse();
        Self { counted, steps, passed: 0 }
    }

    /// How many bytes may leave this way before the next step; `None`: as many as wish.
    pub(super) fn allowance(&self, way: Way) -> Option<u64> {
        let next = self.steps.last().filter(|_| self.counted.includes(way))?;
        Some(next.at_bytes.saturating_sub(self.passed))
    }

    /// Bytes left this way.
    pub(super) fn on_passed(&mut self, way: Way, bytes: u64) {
        if self.counted.includes(way) {
            self.passed = self.passed.saturating_add(bytes);
        }
    }

    /// A step whose time has come.
    pub(super) fn next(&mut self) -> Option<Step> {
        self.steps.pop_if(|step| step.at_bytes <= self.passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUT: Step = Step { at_bytes: 1_000, link: 0, act: Act::Cut };
    const MEND: Step = Step { at_bytes: 3_000, link: 0, act: Act::Restore };

    #[test]
    fn steps_come_in_the_order_of_their_counts() {
        let mut running = Running::new(Script { counted: Counted::Both, steps: vec![MEND, CUT] });
        assert_eq!(running.next(), None);
        assert_eq!(running.allowance(Way::Up), Some(1_000));
        running.on_passed(Way::Up, 600);
        running.on_passed(Way::Down, 400);
        assert_eq!((running.next(), running.next()), (Some(CUT), None));
        running.on_passed(Way::Down, 5_000);
        assert_eq!((running.next(), running.next()), (Some(MEND), None));
        assert_eq!(running.allowance(Way::Down), None);
    }

    #[test]
    fn only_the_chosen_way_counts() {
        let mut running = Running::new(Script { counted: Counted::Up, steps: vec![CUT] });
        running.on_passed(Way::Down, 5_000);
        assert_eq!((running.next(), running.allowance(Way::Down)), (None, None));
        running.on_passed(Way::Up, 1_000);
        assert_eq!(running.next(), Some(CUT));
    }
}
