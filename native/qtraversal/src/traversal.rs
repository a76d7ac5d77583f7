//! Traversal of one connection: its address book and its puncher as one part (traversal §6, §7).
//!
//! Decides which frames count when: those of early data wait for the end of the handshake (traversal T-67; attacks B19, G1).
//! The connection holds it once a profile is negotiated; how it is driven stands in [`crate::punch`]. Never does I/O.

use std::{net::SocketAddr, time::Duration};

use qbase::{Timestamp, TransportError, limits};

use crate::{
    TraversalFrame,
    address::ProbePolicy,
    book::{AddressBook, AnnounceError, LocalAddress, News},
    budget::ProbeBudget,
    frame::PunchId,
    punch::{
        Hole, Means, Output, Puncher, Role,
        strategy::{Step, Then},
    },
};

/// Whether punches begin by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Start {
    /// When both ends have addresses (traversal T-80).
    #[default]
    Automatic,
    /// When the application says so.
    ByHand,
}

/// What a traversal starts with.
#[derive(Clone, Debug)]
pub struct TraversalConfig {
    /// Client or server.
    pub role: Role,
    /// For ports alone.
    pub seed: u64,
    /// Who may be probed.
    pub policy: ProbePolicy,
    /// Who begins.
    pub start: Start,
    /// Addresses the peer keeps of ours.
    pub peer_keeps: usize,
}

/// Whether the peer is known.
#[derive(Debug)]
enum Gate {
    /// The handshake runs; frames wait.
    Shut(Vec<(TraversalFrame, Option<Hole>)>),
    /// It is complete.
    Open,
}

/// Address book and punches of a connection.
#[derive(Debug)]
pub struct Traversal {
    book: AddressBook,
    puncher: Puncher,
    policy: ProbePolicy,
    start: Start,
    gate: Gate,
    /// Frames of early data beyond the bound.
    early_dropped: u64,
}

impl Traversal {
    /// Nothing known, and the handshake runs.
    #[must_use]
    pub fn new(config: TraversalConfig) -> Self {
        let TraversalConfig { role, seed, policy, start, peer_keeps } = config;
        let (book, puncher) = (AddressBook::new(peer_keeps), Puncher::new(role, seed));
        Self { book, puncher, policy, start, gate: Gate::Shut(Vec::new()), early_dropped: 0 }
    }

    /// The address book. What is changed in it is sent and punched only by the methods here.
    pub const fn book(&mut self) -> &mut AddressBook {
        &mut self.book
    }

    /// The puncher.
    pub const fn puncher(&mut self) -> &mut Puncher {
        &mut self.puncher
    }

    /// The address book, to look at.
    #[must_use]
    pub const fn addresses(&self) -> &AddressBook {
        &self.book
    }

    /// The puncher, to look at.
    #[must_use]
    pub const fn punches(&self) -> &Puncher {
        &self.puncher
    }

    /// Frames of early data that were not kept.
    #[must_use]
    pub const fn early_dropped(&self) -> u64 {
        self.early_dropped
    }

    /// The handshake is complete: what came in early data counts from now on, in its order.
    ///
    /// # Errors
    /// As [`Traversal::on_frame`].
    pub fn on_handshake_complete(&mut self, now: Timestamp, budget: &mut ProbeBudget) -> Result<(), TransportError> {
        let Gate::Shut(waiting) = std::mem::replace(&mut self.gate, Gate::Open) else { return Ok(()) };
        waiting.into_iter().try_for_each(|(frame, hole)| self.on_frame(&frame, hole, now, budget))
    }

    /// A frame came; `hole`: the 4-tuple of its packet, if it is no open path's. OBSERVED_ADDRESS is not for us.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION: a sequence number reused with other content (attacks G4).
    pub fn on_frame(&mut self, frame: &TraversalFrame, hole: Option<Hole>, now: Timestamp, budget: &mut ProbeBudget) -> Result<(), TransportError> {
        if let Gate::Shut(waiting) = &mut self.gate {
            if waiting.len() < limits::TRAVERSAL_EARLY_FRAMES {
                waiting.push((*frame, hole));
            } else {
                self.early_dropped = self.early_dropped.saturating_add(1);
            }
            return Ok(());
        }
        match *frame {
            TraversalFrame::AddAddress(add) => {
                if self.book.on_add_address(&add, &self.policy, now)? == News::Kept && self.start == Start::Automatic {
                    let id = self.book.pair_for_remote(add.seq);
                    self.start_all(id, now, budget);
                }
            }
            TraversalFrame::RemoveAddress(remove) => {
                self.book.on_remove_address(remove);
                self.with_means(now, budget, |puncher, means| puncher.forget(|id| id.remote_seq == remove.seq, means));
            }
            TraversalFrame::PunchMeNow(tell) => self.with_means(now, budget, |puncher, means| puncher.on_punch_me_now(tell, means)),
            TraversalFrame::PunchHello(hello) => {
                if let Some(hole) = hole {
                    self.with_means(now, budget, |puncher, means| puncher.on_hello(hello, hole, means));
                }
            }
            TraversalFrame::PunchDone(done) => self.with_means(now, budget, |puncher, means| puncher.on_done(done, hole, means)),
            TraversalFrame::ObservedAddress(_) => {}
        }
        Ok(())
    }

    /// Announces an address of ours and pairs it with all of the peer's (traversal T-77). Its number.
    ///
    /// # Errors
    /// It must not be told, or nobody would keep it.
    pub fn announce(&mut self, address: LocalAddress, now: Timestamp, budget: &mut ProbeBudget) -> Result<u64, AnnounceError> {
        let seq = self.announce_only(address)?;
        self.pair_local(seq, now, budget);
        Ok(seq)
    }

    /// Announces an address of ours, while the budget is elsewhere: [`Traversal::pair_local`] begins its punches. Its number.
    ///
    /// # Errors
    /// It must not be told, or nobody would keep it.
    pub fn announce_only(&mut self, address: LocalAddress) -> Result<u64, AnnounceError> {
        let add = self.book.announce(address)?;
        self.puncher.push(Output::Frame(TraversalFrame::AddAddress(add)));
        Ok(add.seq)
    }

    /// Pairs an announced address of ours with all of the peer's (traversal T-77).
    pub fn pair_local(&mut self, seq: u64, now: Timestamp, budget: &mut ProbeBudget) {
        if self.start == Start::Automatic && matches!(self.gate, Gate::Open) {
            let ids: Vec<PunchId> = self.book.pairs_for_local(seq).collect();
            self.start_all(ids, now, budget);
        }
    }

    /// Withdraws an address of ours; its punches end (traversal T-76).
    ///
    /// # Errors
    /// It was not announced.
    pub fn withdraw(&mut self, seq: u64, now: Timestamp, budget: &mut ProbeBudget) -> Result<(), AnnounceError> {
        let remove = self.book.withdraw(seq)?;
        self.with_means(now, budget, |puncher, means| puncher.forget(|id| id.local_seq == seq, means));
        self.puncher.push(Output::Frame(TraversalFrame::RemoveAddress(remove)));
        Ok(())
    }

    /// Punches this pair, whoever starts by itself.
    pub fn punch(&mut self, id: PunchId, now: Timestamp, budget: &mut ProbeBudget) {
        self.start_all(Some(id), now, budget);
    }

    /// Ends a round of this pair; it is not tried again by itself.
    pub fn cancel(&mut self, id: PunchId, now: Timestamp, budget: &mut ProbeBudget) {
        self.with_means(now, budget, |puncher, means| puncher.cancel(id, means));
    }

    /// The outer address of a socket that [`Output::LearnOuter`] asked for; `None`: there is none, or no socket.
    pub fn on_outer(&mut self, socket: u64, outer: Option<SocketAddr>, now: Timestamp, budget: &mut ProbeBudget) {
        self.with_means(now, budget, |puncher, means| puncher.on_outer(socket, outer, means));
    }

    /// More steps for an open plan.
    pub fn feed(&mut self, id: PunchId, steps: Vec<Step>, then: Then, now: Timestamp, budget: &mut ProbeBudget) {
        self.with_means(now, budget, |puncher, means| puncher.feed(id, steps, then, means));
    }

    /// A direct path is validated (attacks G9).
    pub fn on_direct_path(&mut self, now: Timestamp, budget: &mut ProbeBudget) {
        self.with_means(now, budget, Puncher::on_direct_path);
    }

    /// The last direct path is lost: every pair is punched anew.
    pub fn on_direct_lost(&mut self, now: Timestamp, budget: &mut ProbeBudget) {
        self.puncher.on_direct_lost();
        let ids: Vec<PunchId> = self.book.remotes().filter_map(|remote| self.book.pair_for_remote(remote.seq)).collect();
        self.start_all(ids, now, budget);
    }

    /// The connection ends: sockets and leases go back.
    pub fn close(&mut self, now: Timestamp, budget: &mut ProbeBudget) {
        self.with_means(now, budget, |puncher, means| puncher.forget(|_| true, means));
    }

    /// The connection's smoothed round trip.
    pub const fn set_rtt(&mut self, rtt: Duration) {
        self.puncher.set_rtt(rtt);
    }

    /// When to call [`Traversal::on_timer`].
    #[must_use]
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.puncher.next_timer()
    }

    /// Does all that is due.
    pub fn on_timer(&mut self, now: Timestamp, budget: &mut ProbeBudget) {
        self.with_means(now, budget, Puncher::on_timer);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.puncher.poll_output()
    }

    fn start_all(&mut self, ids: impl IntoIterator<Item = PunchId>, now: Timestamp, budget: &mut ProbeBudget) {
        self.with_means(now, budget, |puncher, means| ids.into_iter().for_each(|id| puncher.start(id, means)));
    }

    fn with_means(&mut self, now: Timestamp, budget: &mut ProbeBudget, act: impl FnOnce(&mut Puncher, &mut Means<'_>)) {
        let Self { book, puncher, policy, .. } = self;
        act(puncher, &mut Means { now, book, policy, budget });
    }
}
