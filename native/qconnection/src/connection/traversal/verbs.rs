//! The application's verbs about NATs. None of them sends: what they begin begins in the connection's next turn.

use super::{
    super::Connection, AddressChange, AddressSide, AnnounceError, AnnouncedAddress, Input, Plans, PunchRefused, TraversalNews, TraversalState, TraversalView,
};
use qbase::Timestamp;
use qtraversal::{
    address::Scope,
    book::{AddressBook, LocalAddress, Site},
    frame::{AddAddress, AddressKind, PunchId},
    punch::strategy::{Step, Then},
};
use std::net::{IpAddr, SocketAddr};

impl Connection {
    /// Announces an address of the bound socket `local`; the peer may punch to it. Its number, from 0 and never again the same. While
    /// the handshake runs it waits.
    ///
    /// # Errors
    /// See [`AnnounceError`].
    pub fn announce_address(&mut self, _now: Timestamp, local: SocketAddr, address: AnnouncedAddress) -> Result<u64, AnnounceError> {
        let disclosure = self.config.traversal.as_ref().map(|settings| settings.disclosure).unwrap_or_default();
        let part = self.traversal.as_mut().filter(|part| part.state != TraversalState::Off).ok_or(AnnounceError::Off)?;
        let bind = part.sockets.bind(local).ok_or(AnnounceError::Full)?;
        let device = part.sockets.device(local);
        let AnnouncedAddress { address, kind, tier, nat_type, ports } = address;
        let book = part.machine.book();
        let ours = outer_ip(book.locals().map(|(_, known)| (known.address, known.kind)).chain([(address, kind)]));
        let peer = outer_ip(book.remotes().map(|known| (known.address, known.kind)));
        book.set_site(Site { disclosure, ours, peer });
        let seq = part.machine.announce_only(LocalAddress { bind, device, address, tier, nat_type, kind, ports })?;
        part.push(Input::Announced(seq));
        let address = AddAddress { seq, address, tier, nat_type, kind };
        self.traversal_event(TraversalNews::Address { side: AddressSide::Local, change: AddressChange::Added, address });
        Ok(seq)
    }

    /// Withdraws an address of ours; its punches end (traversal T-76).
    ///
    /// # Errors
    /// There is no such address.
    pub fn withdraw_address(&mut self, _now: Timestamp, seq: u64) -> Result<(), AnnounceError> {
        let part = self.traversal.as_mut().filter(|part| part.state != TraversalState::Off).ok_or(AnnounceError::Off)?;
        let is_going = part.inputs.iter().any(|input| matches!(input, Input::Withdraw(going) if *going == seq));
        let address = local_address(part.machine.addresses(), seq).filter(|_| !is_going).ok_or(AnnounceError::Unknown)?;
        part.push(Input::Withdraw(seq));
        self.traversal_event(TraversalNews::Address { side: AddressSide::Local, change: AddressChange::Removed, address });
        Ok(())
    }

    /// Punches to an address of the peer's from the best of ours.
    ///
    /// # Errors
    /// There is nothing to punch, or no need to.
    pub fn punch(&mut self, _now: Timestamp, remote_seq: u64, plans: Plans) -> Result<PunchId, PunchRefused> {
        let part = self.traversal.as_mut().filter(|part| part.state == TraversalState::On).ok_or(PunchRefused::Off)?;
        if part.machine.puncher().has_direct_path() {
            return Err(PunchRefused::Direct);
        }
        let id = part.machine.book().pair_for_remote(remote_seq).ok_or(PunchRefused::NoPair)?;
        if part.machine.puncher().is_running(id) {
            return Err(PunchRefused::Running);
        }
        part.push(Input::Punch(id, plans));
        Ok(id)
    }

    /// Ends a punch; it is not tried again by itself.
    pub fn cancel_punch(&mut self, _now: Timestamp, id: PunchId) {
        if let Some(part) = &mut self.traversal {
            part.push(Input::Cancel(id));
        }
    }

    /// More steps for a plan that [`TraversalNews::WantsSteps`] asked for.
    pub fn feed_punch(&mut self, _now: Timestamp, id: PunchId, steps: Vec<Step>, then: Then) {
        if let Some(part) = &mut self.traversal {
            part.push(Input::Feed(id, steps, then));
        }
    }

    /// Whether traversal is spoken.
    #[must_use]
    pub fn traversal_state(&self) -> TraversalState {
        self.traversal.as_ref().map(|part| part.state).unwrap_or_default()
    }

    /// How traversal stands; `None`: there were no settings for it.
    pub fn traversal_view(&self) -> Option<TraversalView> {
        let part = self.traversal.as_ref()?;
        let running = part.machine.punches().running();
        let book = part.machine.addresses();
        let local = book.locals().map(|(seq, address)| (seq, *address)).collect();
        let remote = book.remotes().copied().collect();
        Some(TraversalView { local, remote, running, probes_sent: part.probes_sent })
    }
}

/// How the world sees an end, as far as its addresses tell (traversal T-79).
fn outer_ip(addresses: impl Iterator<Item = (SocketAddr, AddressKind)>) -> Option<IpAddr> {
    let mut outer = addresses.filter(|(address, kind)| *kind == AddressKind::Mapped || (*kind == AddressKind::Host && Scope::of(address.ip()) == Scope::Global));
    outer.next().map(|(address, _)| address.ip())
}

fn local_address(book: &AddressBook, seq: u64) -> Option<AddAddress> {
    let LocalAddress { address, tier, nat_type, kind, .. } = *book.local(seq)?;
    Some(AddAddress { seq, address, tier, nat_type, kind })
}
