//! The sending half of a key phase: counts packets over all paths and knows whether the phase is acknowledged
//! (RFC 9001 §6.1, §6.5, §6.6; multipath MP-33).

use qbase::{ErrorCode, PacketNumber, PathId, Timestamp, TransportError};

use super::UpdateRefused;
use crate::protect::PacketKey;

/// The key we seal with and what became of its packets.
pub(super) struct SendPhase {
    key: PacketKey,
    /// Packets sealed with `key`, all paths.
    pub(super) sealed: u64,
    progress: Progress,
}

/// How far the update that began this phase has come.
enum Progress {
    /// No acknowledgment for a packet of this phase yet: per path, the lowest number sealed in it.
    Unacknowledged(Vec<(PathId, PacketNumber)>),
    /// Complete; the next update may begin at this instant.
    Acknowledged(Timestamp),
}

impl SendPhase {
    /// The phase that the handshake begins: no update precedes it.
    pub(super) fn first(key: PacketKey) -> Self {
        Self { key, sealed: 0, progress: Progress::Acknowledged(Timestamp::ZERO) }
    }

    /// A phase that a key update begins.
    pub(super) fn after_update(key: PacketKey) -> Self {
        Self { key, sealed: 0, progress: Progress::Unacknowledged(Vec::new()) }
    }

    #[inline]
    pub(super) fn seal(
        &mut self,
        path: PathId,
        number: PacketNumber,
        packet: &mut [u8],
        header_len: usize,
        limit: u64,
    ) -> Result<(), TransportError> {
        if self.sealed >= limit {
            return Err(TransportError::new(ErrorCode::AEAD_LIMIT_REACHED, "the key is used up"));
        }
        self.key
            .seal(path, number, packet, header_len)
            .map_err(|_| TransportError::internal("packet cannot be sealed"))?;
        self.sealed = self.sealed.saturating_add(1);
        if let Progress::Unacknowledged(lowest) = &mut self.progress {
            note_lowest(lowest, path, number);
        }
        Ok(())
    }

    #[inline]
    pub(super) const fn is_acknowledged(&self) -> bool {
        matches!(self.progress, Progress::Acknowledged(_))
    }

    /// An acknowledgment up to `largest` covers a packet of this phase. Exact, since numbers rise on a path: one that
    /// is at least the lowest of the phase was sealed in it.
    pub(super) fn covers(&self, path: PathId, largest: PacketNumber) -> bool {
        match &self.progress {
            Progress::Unacknowledged(lowest) => lowest.iter().any(|(of, lowest)| *of == path && largest >= *lowest),
            Progress::Acknowledged(_) => true,
        }
    }

    pub(super) fn on_acknowledged(&mut self, next_update_at: Timestamp) {
        self.progress = Progress::Acknowledged(next_update_at);
    }

    /// Another update may begin now.
    pub(super) fn check_update(&self, now: Timestamp) -> Result<(), UpdateRefused> {
        match self.progress {
            Progress::Unacknowledged(_) => Err(UpdateRefused::Unacknowledged),
            Progress::Acknowledged(until) if now < until => Err(UpdateRefused::TooSoon { until }),
            Progress::Acknowledged(_) => Ok(()),
        }
    }
}

/// The first number of a path is its lowest: numbers rise.
fn note_lowest(lowest: &mut Vec<(PathId, PacketNumber)>, path: PathId, number: PacketNumber) {
    if !lowest.iter().any(|(of, _)| *of == path) {
        lowest.push((path, number));
    }
}
