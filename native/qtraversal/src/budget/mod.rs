//! How much may be sent where nobody asked for it: volumes towards one IP address, and leases for port searches
//! (traversal T-94, T-97; attacks G1, G3, L22).
//!
//! Decides by counting. One value belongs to everybody the application gives it to: an endpoint lends its budget to each of
//! its connections in turn. Called before every probe and every search. Never sends and knows no connection.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use qbase::{Timestamp, limits};

/// Whether the application allows to try many ports of one host (traversal T-97).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PortSearch {
    /// It does not: two ports of one IP per window.
    #[default]
    Off,
    /// It does.
    Allowed,
}

/// Bounds; the defaults are the highest there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetOptions {
    /// Whether many ports of one IP may be tried.
    pub search: PortSearch,
    /// Probes to one IP per window of 60 s.
    pub probes_per_address: usize,
}

impl BudgetOptions {
    /// The bounds of L22, or of T-97 where searches are allowed.
    #[must_use]
    pub const fn new(search: PortSearch) -> Self {
        let probes_per_address = match search {
            PortSearch::Off => limits::PROBES_PER_ADDRESS,
            PortSearch::Allowed => limits::SEARCH_PROBES_PER_ADDRESS,
        };
        Self { search, probes_per_address }
    }

    /// A lower volume; a higher one changes nothing.
    #[must_use]
    pub fn with_probes_per_address(mut self, probes: usize) -> Self {
        self.probes_per_address = self.probes_per_address.min(probes);
        self
    }
}

/// Why a probe is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// As many as may go to this IP went there within the window.
    #[error("the volume for this address is spent")]
    Volume,
    /// Two ports of this IP were tried within the window.
    #[error("too many ports of this address")]
    Ports,
    /// Too many IPs are counted.
    #[error("too many addresses are counted")]
    Addresses,
    /// Too many wait for a lease, or it is larger than all there is.
    #[error("no lease to wait for")]
    Leases,
}

/// What a search needs of one device (traversal T-94).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Which interface, by the caller's number.
    pub device: u32,
    /// IPv4 and IPv6 count apart.
    pub is_ipv4: bool,
    /// Sockets it opens in all.
    pub sockets: usize,
    /// Ports it opens in all: its own, or those of its peer in our translator.
    pub ports: usize,
}

/// The name of a lease, waiting or given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What is known about one IP within the window.
#[derive(Debug, Default)]
struct Volume {
    /// Probes by the second they went in; the oldest first. At most one more than the window has seconds.
    seconds: VecDeque<(u64, usize)>,
    /// Ports tried and when last.
    ports: Vec<(u16, Timestamp)>,
}

impl Volume {
    /// Drops what is older than the window; a second counts until 60 s after its end.
    fn forget(&mut self, now: Timestamp) {
        let window = limits::TRAVERSAL_WINDOW;
        let second = second_of(now);
        while self.seconds.front().is_some_and(|(old, _)| old.saturating_add(window.as_secs()) < second) {
            self.seconds.pop_front();
        }
        self.ports.retain(|(_, tried)| now.saturating_since(*tried) < window);
    }

    fn sent(&self) -> usize {
        self.seconds.iter().fold(0, |sum, (_, sent)| sum.saturating_add(*sent))
    }

    fn is_empty(&self) -> bool {
        self.seconds.is_empty() && self.ports.is_empty()
    }
}

const fn second_of(now: Timestamp) -> u64 {
    now.saturating_since(Timestamp::ZERO).as_secs()
}

/// A lease that was given.
#[derive(Debug)]
struct Lease {
    ticket: Ticket,
    need: Need,
    /// When it was given back: its ports stay charged for a while.
    returned: Option<Timestamp>,
}

/// Counts all probes of those who share it.
#[derive(Debug)]
pub struct ProbeBudget {
    options: BudgetOptions,
    volumes: BTreeMap<IpAddr, Volume>,
    leases: Vec<Lease>,
    waiting: VecDeque<(Ticket, Need)>,
    next_ticket: u64,
    denied: u64,
}

impl ProbeBudget {
    /// Nothing spent.
    #[must_use]
    pub const fn new(options: BudgetOptions) -> Self {
        Self { options, volumes: BTreeMap::new(), leases: Vec::new(), waiting: VecDeque::new(), next_ticket: 0, denied: 0 }
    }

    /// Bounds of whoever it is lent to from now on; what was spent stays spent.
    pub const fn set_options(&mut self, options: BudgetOptions) {
        self.options = options;
    }

    /// Whether searches are allowed.
    #[must_use]
    pub const fn search(&self) -> PortSearch {
        self.options.search
    }

    /// Probes that were not allowed.
    #[must_use]
    pub const fn denied(&self) -> u64 {
        self.denied
    }

    /// Probes to this IP within the window.
    pub fn spent(&mut self, ip: IpAddr, now: Timestamp) -> usize {
        self.volumes.get_mut(&ip).map_or(0, |volume| {
            volume.forget(now);
            volume.sent()
        })
    }

    /// One probe to `target` is about to go: it is counted, or must not go.
    ///
    /// # Errors
    /// Why not.
    pub fn spend(&mut self, target: SocketAddr, now: Timestamp) -> Result<(), Denied> {
        let verdict = self.try_spend(target, Tries::Port, now);
        self.denied = self.denied.saturating_add(u64::from(verdict.is_err()));
        verdict
    }

    /// One datagram is about to go back to where an authenticated one came from: it is counted, but tries no port.
    ///
    /// # Errors
    /// Why not.
    pub fn spend_answer(&mut self, target: SocketAddr, now: Timestamp) -> Result<(), Denied> {
        let verdict = self.try_spend(target, Tries::Nothing, now);
        self.denied = self.denied.saturating_add(u64::from(verdict.is_err()));
        verdict
    }

    fn try_spend(&mut self, target: SocketAddr, tries: Tries, now: Timestamp) -> Result<(), Denied> {
        if !self.volumes.contains_key(&target.ip()) && self.volumes.len() >= limits::PROBED_ADDRESSES {
            self.volumes.retain(|_, volume| {
                volume.forget(now);
                !volume.is_empty()
            });
            if self.volumes.len() >= limits::PROBED_ADDRESSES {
                return Err(Denied::Addresses);
            }
        }
        let BudgetOptions { search, probes_per_address } = self.options;
        let volume = self.volumes.entry(target.ip()).or_default();
        volume.forget(now);
        if volume.sent() >= probes_per_address {
            return Err(Denied::Volume);
        }
        if tries == Tries::Port && search == PortSearch::Off {
            let is_full = volume.ports.len() >= limits::PORTS_PER_ADDRESS;
            match volume.ports.iter_mut().find(|(port, _)| *port == target.port()) {
                Some((_, tried)) => *tried = now,
                None if is_full => return Err(Denied::Ports),
                None => volume.ports.push((target.port(), now)),
            }
        }
        let second = second_of(now);
        match volume.seconds.back_mut() {
            Some((last, sent)) if *last == second => *sent = sent.saturating_add(1),
            _ => volume.seconds.push_back((second, 1)),
        }
        Ok(())
    }

    /// Queues for a lease; ask [`ProbeBudget::grant`] from now on.
    ///
    /// # Errors
    /// It can never be given, or too many wait.
    pub fn ask(&mut self, need: Need) -> Result<Ticket, Denied> {
        let is_possible = need.sockets <= limits::SEARCH_SOCKETS_PER_DEVICE && need.ports <= limits::SEARCH_PORTS_PER_DEVICE;
        if !is_possible || self.waiting.len() >= limits::SEARCHES_WAITING {
            self.denied = self.denied.saturating_add(1);
            return Err(Denied::Leases);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket = self.next_ticket.saturating_add(1);
        self.waiting.push_back((ticket, need));
        Ok(ticket)
    }

    /// Is it this ticket's turn, and is there enough? Then it has the lease from now on. Strictly first come, first served.
    pub fn grant(&mut self, ticket: Ticket, now: Timestamp) -> bool {
        if self.leases.iter().any(|lease| lease.ticket == ticket && lease.returned.is_none()) {
            return true;
        }
        self.forget_leases(now);
        let Some((first, need)) = self.waiting.front().copied() else { return false };
        if first != ticket || !self.fits(need) {
            return false;
        }
        self.waiting.pop_front();
        self.leases.push(Lease { ticket, need, returned: None });
        true
    }

    /// The lease is not needed any more, waiting or given.
    pub fn give_back(&mut self, ticket: Ticket, now: Timestamp) {
        self.waiting.retain(|(waiting, _)| *waiting != ticket);
        if let Some(lease) = self.leases.iter_mut().find(|lease| lease.ticket == ticket && lease.returned.is_none()) {
            lease.returned = Some(now);
        }
        self.forget_leases(now);
    }

    /// Leases that are out or whose ports are still charged, and those that wait.
    #[must_use]
    pub fn leases(&self) -> (usize, usize) {
        (self.leases.len(), self.waiting.len())
    }

    fn forget_leases(&mut self, now: Timestamp) {
        self.leases.retain(|lease| lease.returned.is_none_or(|returned| now.saturating_since(returned) < PORT_CHARGE));
    }

    fn fits(&self, need: Need) -> bool {
        let used = |same: &dyn Fn(&Need) -> bool| {
            self.leases.iter().filter(|lease| same(&lease.need)).fold((0_usize, 0_usize), |(sockets, ports), lease| {
                let open = if lease.returned.is_none() { lease.need.sockets } else { 0 };
                (sockets.saturating_add(open), ports.saturating_add(lease.need.ports))
            })
        };
        let here = used(&|other| other.device == need.device && other.is_ipv4 == need.is_ipv4);
        let all = used(&|_| true);
        let within = |(sockets, ports): (usize, usize), max_sockets, max_ports| {
            sockets.saturating_add(need.sockets) <= max_sockets && ports.saturating_add(need.ports) <= max_ports
        };
        within(here, limits::SEARCH_SOCKETS_PER_DEVICE, limits::SEARCH_PORTS_PER_DEVICE)
            && within(all, limits::SEARCH_SOCKETS, limits::SEARCH_PORTS)
    }
}

/// Whether a datagram tries a port nobody was heard from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tries {
    Port,
    Nothing,
}

/// How long the ports of a lease stay charged after it came back (traversal T-94).
const PORT_CHARGE: Duration = limits::TRAVERSAL_WINDOW;

#[cfg(test)]
mod tests;
