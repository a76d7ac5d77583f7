//! What goes into the next burst of a path, decided before a byte is written (burst B-1, B-5, sections 3 to 5).
//!
//! Pure: the same situation gives the same plan. Called by the output, and by `bursts.plan()` without any effect.

use super::limits::Budget;
use qbase::{EncryptionLevel, Role, limits::{MIN_INITIAL, MIN_SAMPLE}};
use qevent::Signals;

/// What waits to be sent at one encryption level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// An acknowledgement is due.
    pub ack: bool,
    /// Frames that count in flight wait: CRYPTO, control, data.
    pub frames: bool,
    /// A PTO owes a packet.
    pub probe: bool,
}

impl Wants {
    /// Something would be sent if nothing limited it.
    #[must_use]
    pub const fn any(self) -> bool {
        self.ack || self.frames || self.probe
    }

    /// Something may be sent with this quota.
    const fn sendable(self, quota: Quota) -> bool {
        self.ack || (matches!(quota, Quota::Enough) && (self.frames || self.probe))
    }
}

/// Whether packets that count in flight may go (burst B-43).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quota {
    /// A full segment fits, or a probe is owed.
    Enough,
    /// Only acknowledgements may go.
    Short,
}

/// Everything the plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// Which end we are.
    pub role: Role,
    /// Window of one segment: path MTU cut by the socket's limit.
    pub datagram: usize,
    /// Segments the socket takes at once.
    pub max_segments: usize,
    /// Credit, quota, probes.
    pub budget: Budget,
    /// Initial packets; `None` without keys.
    pub initial: Option<Wants>,
    /// 0-RTT packets of a client; `None` without keys and from the first 1-RTT keys on (burst B-21).
    pub zero_rtt: Option<Wants>,
    /// Handshake packets; `None` without keys.
    pub handshake: Option<Wants>,
    /// 1-RTT packets; `None` without keys or before the handshake is complete.
    pub one_rtt: Option<Wants>,
    /// PATH_CHALLENGE or PATH_RESPONSE wait: they pass without quota, responses up to their bound, and pad the segment
    /// (burst B-52, attacks E7).
    pub path_frames: bool,
    /// A connection id for this path is there (burst B-83).
    pub has_cid: bool,
    /// Why nothing waits, as the sources say.
    pub idle: Signals,
}

/// Padding of a segment (burst B-50…B-54).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Only up to the header-protection sample.
    Sample,
    /// At least this many bytes, as far as the window goes.
    AtLeast(usize),
    /// The whole window.
    Full,
}

/// A burst worth writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Window of the first segment, bytes.
    pub window: usize,
    /// Segments at most.
    pub max_segments: usize,
    /// Packets of the first segment, in order (burst B-20).
    pub levels: Levels,
    /// Padding of a segment that holds an Initial packet or a path frame.
    pub padding: Padding,
    /// Frames that count in flight may be written.
    pub in_flight: bool,
}

/// The set of encryption levels in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Levels {
    /// An Initial packet.
    pub initial: bool,
    /// A 0-RTT packet.
    pub zero_rtt: bool,
    /// A Handshake packet.
    pub handshake: bool,
    /// A 1-RTT packet.
    pub one_rtt: bool,
}

impl Levels {
    /// The levels in the order they stand in a datagram.
    pub fn iter(self) -> impl Iterator<Item = EncryptionLevel> {
        [
            (self.initial, EncryptionLevel::Initial),
            (self.zero_rtt, EncryptionLevel::ZeroRtt),
            (self.handshake, EncryptionLevel::Handshake),
            (self.one_rtt, EncryptionLevel::OneRtt),
        ]
        .into_iter()
        .filter_map(|(present, level)| present.then_some(level))
    }

    /// Only 1-RTT packets: the straight writer.
    #[must_use]
    pub const fn is_one_rtt_only(self) -> bool {
        self.one_rtt && !self.initial && !self.zero_rtt && !self.handshake
    }

    const fn is_empty(self) -> bool {
        !self.initial && !self.zero_rtt && !self.handshake && !self.one_rtt
    }
}

/// The answer: a plan, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planned {
    /// Write this.
    Burst(Plan),
    /// Nothing can go out until one of these changes; never empty (burst B-70).
    Blocked(Signals),
}

/// Plans the next burst.
#[must_use]
pub fn plan(situation: &Situation) -> Planned {
    let budget = situation.budget;
    if budget.credit == 0 {
        return Planned::Blocked(Signals::CREDIT);
    }
    let window = budget.window(situation.datagram);
    let quota = if budget.allows_in_flight(situation.datagram) { Quota::Enough } else { Quota::Short };
    let mut signals = Signals::NONE;
    let mut levels = Levels::default();

    if let Some(wants) = situation.initial {
        levels.initial = may_send_initial(situation, wants, window, quota, &mut signals);
    }
    if let Some(wants) = situation.handshake {
        levels.handshake = may_send_with_cid(situation, wants, quota, &mut signals);
    }
    if let Some(wants) = situation.zero_rtt {
        // Early data fills every datagram it gets: what waits at the Handshake level goes before it, alone.
        levels.zero_rtt = !levels.handshake && may_send(wants, quota, &mut signals);
    }
    if let Some(wants) = situation.one_rtt {
        let path_frames = situation.path_frames && situation.has_cid;
        levels.one_rtt = may_send_with_cid(situation, wants, quota, &mut signals) || path_frames;
    }
    if levels.is_empty() || window < MIN_SAMPLE * 2 {
        signals = signals.union(situation.idle);
        return Planned::Blocked(if signals.is_empty() { Signals::TRANSPORT.union(Signals::WRITTEN) } else { signals });
    }
    let padding = if levels.initial {
        Padding::Full
    } else if situation.path_frames && levels.one_rtt {
        Padding::AtLeast(MIN_INITIAL)
    } else {
        Padding::Sample
    };
    Planned::Burst(Plan { window, max_segments: situation.max_segments.max(1), levels, padding, in_flight: quota == Quota::Enough })
}

/// Whether a Handshake or 1-RTT packet can be sent; otherwise adds the reason.
fn may_send_with_cid(situation: &Situation, wants: Wants, quota: Quota, signals: &mut Signals) -> bool {
    if wants.any() && !situation.has_cid {
        *signals = signals.union(Signals::CONNECTION_ID);
        return false;
    }
    may_send(wants, quota, signals)
}

/// Whether the quota lets a packet go; otherwise adds the reason.
fn may_send(wants: Wants, quota: Quota, signals: &mut Signals) -> bool {
    let sendable = wants.sendable(quota);
    if wants.any() && !sendable {
        *signals = signals.union(Signals::CONGESTION);
    }
    sendable
}

/// The same for Initial packets, which must fill at least 1200 bytes unless a server only acknowledges (burst B-45, B-50).
fn may_send_initial(situation: &Situation, wants: Wants, window: usize, quota: Quota, signals: &mut Signals) -> bool {
    if !may_send(wants, quota, signals) {
        return false;
    }
    let eliciting = quota == Quota::Enough && (wants.frames || wants.probe);
    if window < MIN_INITIAL && (situation.role.is_client() || eliciting) {
        *signals = signals.union(Signals::CREDIT);
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: Wants = Wants { ack: true, frames: false, probe: false };
    const FRAMES: Wants = Wants { ack: false, frames: true, probe: false };
    const NOTHING: Wants = Wants { ack: false, frames: false, probe: false };

    fn situation() -> Situation {
        Situation {
            role: Role::Server,
            datagram: 1_200,
            max_segments: 64,
            budget: Budget { credit: u64::MAX, quota: 1 << 20, probes: 0 },
            initial: None,
            zero_rtt: None,
            handshake: None,
            one_rtt: Some(NOTHING),
            path_frames: false,
            has_cid: true,
            idle: Signals::TRANSPORT.union(Signals::WRITTEN),
        }
    }

    fn levels(situation: &Situation) -> Levels {
        match plan(situation) {
            Planned::Burst(plan) => plan.levels,
            Planned::Blocked(signals) => panic!("blocked by {signals:?}"),
        }
    }

    #[test]
    fn e1_an_ack_only_packet_leaves_without_quota() {
        let mut case = situation();
        case.one_rtt = Some(Wants { frames: true, ..ACK });
        case.budget.quota = 0;
        let Planned::Burst(plan) = plan(&case) else { panic!("blocked") };
        assert!(plan.levels.is_one_rtt_only());
        assert!(!plan.in_flight);
    }

    /// burst B-20, B-50.
    #[test]
    fn early_data_rides_behind_the_initial_packet_of_a_full_segment() {
        let mut case = situation();
        (case.role, case.one_rtt) = (Role::Client, None);
        case.initial = Some(FRAMES);
        case.zero_rtt = Some(FRAMES);
        let Planned::Burst(plan) = plan(&case) else { panic!("blocked") };
        let order: Vec<_> = plan.levels.iter().collect();
        assert_eq!(order, [EncryptionLevel::Initial, EncryptionLevel::ZeroRtt]);
        assert_eq!(plan.padding, Padding::Full);
        case.initial = Some(NOTHING);
        assert_eq!(levels(&case), Levels { zero_rtt: true, ..Levels::default() }, "without a connection id of the peer too");
        case.budget.quota = 0;
        assert_eq!(super::plan(&case), Planned::Blocked(Signals::CONGESTION.union(case.idle)));
    }

    #[test]
    fn handshake_packets_go_before_early_data_and_alone() {
        let mut case = situation();
        (case.role, case.one_rtt) = (Role::Client, None);
        case.zero_rtt = Some(FRAMES);
        case.handshake = Some(ACK);
        assert_eq!(levels(&case), Levels { handshake: true, ..Levels::default() });
    }

    #[test]
    fn e2_a_server_initial_with_crypto_waits_for_credit() {
        let mut case = situation();
        case.initial = Some(FRAMES);
        case.one_rtt = None;
        case.budget.credit = 100;
        assert_eq!(plan(&case), Planned::Blocked(Signals::CREDIT.union(case.idle)));
        case.initial = Some(ACK);
        assert!(levels(&case).initial, "an ACK alone may stay short");
        case.role = Role::Client;
        assert_eq!(plan(&case), Planned::Blocked(Signals::CREDIT.union(case.idle)));
    }

    #[test]
    fn e4_initial_handshake_and_1rtt_share_one_full_segment() {
        let mut case = situation();
        (case.initial, case.handshake, case.one_rtt) = (Some(ACK), Some(FRAMES), Some(FRAMES));
        let Planned::Burst(plan) = plan(&case) else { panic!("blocked") };
        assert_eq!(plan.levels, Levels { initial: true, zero_rtt: false, handshake: true, one_rtt: true });
        assert_eq!(plan.padding, Padding::Full);
    }

    #[test]
    fn e8_without_a_connection_id_only_initial_packets_may_go() {
        let mut case = situation();
        (case.initial, case.handshake, case.has_cid) = (Some(FRAMES), Some(FRAMES), false);
        assert_eq!(levels(&case), Levels { initial: true, ..Levels::default() });
        case.initial = None;
        assert_eq!(plan(&case), Planned::Blocked(Signals::CONNECTION_ID.union(case.idle)));
    }

    #[test]
    fn e14_a_probe_leaves_without_quota() {
        let mut case = situation();
        case.one_rtt = Some(Wants { probe: true, ..NOTHING });
        case.budget = Budget { quota: 0, probes: 1, ..case.budget };
        assert!(levels(&case).one_rtt);
        case.budget.probes = 0;
        assert_eq!(plan(&case), Planned::Blocked(Signals::CONGESTION.union(case.idle)));
    }

    #[test]
    fn e16_with_nothing_to_do_the_signals_are_transport_and_written() {
        assert_eq!(plan(&situation()), Planned::Blocked(Signals::TRANSPORT.union(Signals::WRITTEN)));
        let silent = Situation { idle: Signals::NONE, ..situation() };
        assert_eq!(plan(&silent), Planned::Blocked(Signals::TRANSPORT.union(Signals::WRITTEN)));
    }

    #[test]
    fn path_frames_leave_without_quota_and_pad_to_1200_bytes() {
        let mut case = situation();
        case.path_frames = true;
        case.budget.quota = 0;
        let Planned::Burst(plan) = plan(&case) else { panic!("blocked") };
        assert_eq!(plan.padding, Padding::AtLeast(1_200));
    }

    #[test]
    fn no_credit_blocks_everything() {
        let mut case = situation();
        case.budget.credit = 0;
        case.one_rtt = Some(ACK);
        assert_eq!(plan(&case), Planned::Blocked(Signals::CREDIT));
    }
}
