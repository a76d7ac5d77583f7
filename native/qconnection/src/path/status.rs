//! Path status: what each end asks the other to prefer (draft-ietf-quic-multipath-21 §3.3, §4.3; multipath MP-57…MP-61).
//!
//! Called by the application (local choice), the dispatch (peer's advice) and the burst writer (frame owed).

use qbase::frame::PathStatusKind;

/// The two directions of advice for one path id.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// What we ask the peer to do.
    pub local: PathStatusKind,
    /// Sequence number of our newest frame; the first has 1, 0 means none was sent.
    local_sequence: u64,
    /// Our newest frame waits to be sent.
    owed: bool,
    /// What the peer asked of us; `None` while it said nothing.
    pub peer: Option<PathStatusKind>,
    /// Highest sequence number seen from the peer.
    peer_sequence: Option<u64>,
}

impl Default for Status {
    fn default() -> Self {
        Self { local: PathStatusKind::Available, local_sequence: 0, owed: false, peer: None, peer_sequence: None }
    }
}

impl Status {
    /// Sets our choice; the peer is told if it changed.
    pub fn set_local(&mut self, status: PathStatusKind) {
        if self.local != status {
            self.local = status;
            self.local_sequence = self.local_sequence.saturating_add(1);
            self.owed = true;
        }
    }

    /// Takes the peer's advice unless a newer one was seen (multipath MP-58). Tells whether something changed.
    pub fn on_frame(&mut self, status: PathStatusKind, sequence: u64) -> bool {
        if self.peer_sequence.is_some_and(|seen| sequence <= seen) {
            return false;
        }
        self.peer_sequence = Some(sequence);
        let changed = self.peer != Some(status);
        self.peer = Some(status);
        changed
    }

    /// The frame to send: status and sequence number.
    #[must_use]
    pub fn owed(&self) -> Option<(PathStatusKind, u64)> {
        self.owed.then_some((self.local, self.local_sequence))
    }

    /// The frame with this number went out.
    pub fn on_written(&mut self, sequence: u64) {
        if sequence == self.local_sequence {
            self.owed = false;
        }
    }

    /// The frame with this number was lost: repeated only if it is the newest (multipath MP-60).
    pub fn on_lost(&mut self, sequence: u64) {
        if sequence == self.local_sequence {
            self.owed = true;
        }
    }

    /// Either end asks to spare this path.
    #[must_use]
    pub fn is_backup(&self) -> bool {
        self.local == PathStatusKind::Backup || self.peer == Some(PathStatusKind::Backup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_status_of_the_peer_is_ignored() {
        let mut status = Status::default();
        assert!(status.on_frame(PathStatusKind::Backup, 5));
        assert!(!status.on_frame(PathStatusKind::Available, 5));
        assert!(!status.on_frame(PathStatusKind::Available, 4));
        assert!(status.is_backup());
        assert!(status.on_frame(PathStatusKind::Available, 6));
        assert!(!status.is_backup());
    }

    #[test]
    fn only_the_newest_lost_status_is_repeated() {
        let mut status = Status::default();
        assert_eq!(status.owed(), None);
        status.set_local(PathStatusKind::Backup);
        assert_eq!(status.owed(), Some((PathStatusKind::Backup, 1)));
        status.on_written(1);
        status.set_local(PathStatusKind::Available);
        status.on_written(2);
        status.on_lost(1);
        assert_eq!(status.owed(), None);
        status.on_lost(2);
        assert_eq!(status.owed(), Some((PathStatusKind::Available, 2)));
    }
}
