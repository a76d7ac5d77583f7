//! Path status: what each end asks the other to prefer (draft-ietf-quic-multipath-21 §3.3, §4.3; multipath MP-57…MP-61).
//!
//! Called by the application (local choice), the dispatch (peer's advice) and the burst writer (frame owed).

use qbase::frame::PathStatusKind;

/// Whether a path answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// For two PTOs in a row or more.
    Lasting,
    /// It answered again.
    Over,
}

/// The two directions of advice for one path id.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// What our application wants the peer to do.
    pub local: PathStatusKind,
    /// The path is silent: until it answers the peer is asked to spare it, whatever the application wants.
    is_silent: bool,
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
        Self { local: PathStatusKind::Available, is_silent: false, local_sequence: 0, owed: false, peer: None, peer_sequence: None }
    }
}

impl Status {
    /// Sets our choice; the peer is told if it changed.
    pub fn set_local(&mut self, status: PathStatusKind) {
        let before = self.advice();
        self.local = status;
        self.tell_change(before);
    }

    /// The path stays silent, or answers again (multipath MP-61, MP-83); the peer is told if that changes our advice.
    pub fn set_silent(&mut self, silence: Silence) {
        let before = self.advice();
        self.is_silent = silence == Silence::Lasting;
        self.tell_change(before);
    }

    /// The path was silent for two PTOs in a row, and is.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// What we ask the peer to do.
    const fn advice(&self) -> PathStatusKind {
        if self.is_silent { PathStatusKind::Backup } else { self.local }
    }

    fn tell_change(&mut self, before: PathStatusKind) {
        if self.advice() != before {
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
        self.owed.then_some((self.advice(), self.local_sequence))
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

    /// multipath MP-61, MP-83.
    #[test]
    fn a_silent_path_is_advised_against_until_it_answers_and_the_wish_of_the_application_stays() {
        let mut status = Status::default();
        status.set_silent(Silence::Lasting);
        assert_eq!((status.owed(), status.local), (Some((PathStatusKind::Backup, 1)), PathStatusKind::Available));
        status.on_written(1);
        status.set_silent(Silence::Lasting);
        assert_eq!(status.owed(), None, "said once");
        status.set_silent(Silence::Over);
        assert_eq!(status.owed(), Some((PathStatusKind::Available, 2)));
        status.on_written(2);
        status.set_local(PathStatusKind::Backup);
        status.on_written(3);
        status.set_silent(Silence::Lasting);
        status.set_silent(Silence::Over);
        assert_eq!(status.owed(), None, "a backup path is one anyway");
    }

    /// multipath MP-58.
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

    /// multipath MP-60.
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
