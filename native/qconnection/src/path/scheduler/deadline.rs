//! Copies of what is late, within a budget: parameters and sums of the scheduler `deadline`.
//!
//! After Zheng and others, "XLINK: QoE-driven multi-path QUIC transport in large-scale video services" (SIGCOMM 2021): what
//! one path holds up is sent on another one as well, but only as much as the operator is ready to pay for. Which data is
//! late, the connection's `reinject` decides. Called by it and by the options.

use std::time::Duration;

/// Parameters of the scheduler `deadline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// Bytes of copies in a thousand stream bytes at most.
    pub extra_permille: u16,
    /// A packet is late when it waits so long for its acknowledgement; `None`: when it does longer than usual on its path.
    pub late_after: Option<Duration>,
}

impl Deadline {
    /// 5 %, and as late as the path's round trips say.
    pub const DEFAULT: Self = Self { extra_permille: 50, late_after: None };

    /// Bytes that may be copied after `sent` bytes went out and `copied` were copied.
    #[must_use]
    pub fn budget(self, sent: u64, copied: u64) -> u64 {
        let all = u128::from(sent).saturating_mul(u128::from(self.extra_permille)) / 1_000;
        u64::try_from(all).unwrap_or(u64::MAX).saturating_sub(copied)
    }
}

impl Default for Deadline {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_a_share_of_what_was_sent() {
        assert_eq!(Deadline::DEFAULT.budget(1_000_000, 0), 50_000);
        assert_eq!(Deadline::DEFAULT.budget(1_000_000, 49_000), 1_000);
        assert_eq!(Deadline::DEFAULT.budget(1_000_000, 60_000), 0);
        assert_eq!(Deadline { extra_permille: 0, ..Deadline::DEFAULT }.budget(u64::MAX, 0), 0);
        assert_eq!(Deadline { extra_permille: u16::MAX, ..Deadline::DEFAULT }.budget(u64::MAX, 0), u64::MAX);
    }
}
