//! Links in user space: a thread that stands between real sockets and behaves like cables with rate, delay, queue and
//! losses, and that can be cut while bytes flow.
//!
//! ```text
//!   client ──▶ listen socket ─ up line ─▶ one upstream socket per client ──▶ target
//!          ◀──               ◀ down line ─                                ◀──
//! ```
//! Called by demonstrations, examples and harnesses of later tests. Knows nothing of QUIC: datagrams keep their bytes,
//! boundaries, order and ECN marks. Every bound has a counter; luck comes from a seed, time from the clock.

mod capture;
mod config;
mod counters;
mod flow;
mod line;
mod link;
mod luck;
mod script;
mod thread;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, mpsc},
    thread as system,
};

use mio::Token;

pub use self::{
    capture::CaptureFiles,
    config::{LineConfig, LinkConfig, RelayConfig},
    counters::{LineCounters, LinkCounters},
    script::{Act, Counted, Script, Step},
};
use self::{
    counters::LinkState,
    link::Link,
    thread::{Command, Relaying},
};
use crate::{drive::SpawnError, poller::Poller, waker::Waker};

/// Token of the bell; sockets count up from zero.
const BELL: Token = Token(usize::MAX);

/// A running set of links. Dropping it ends the thread and waits for it.
#[derive(Debug)]
pub struct Relay {
    links: Vec<LinkFacts>,
    states: Vec<Arc<LinkState>>,
    commands: mpsc::Sender<Command>,
    waker: Waker,
    thread: Option<system::JoinHandle<io::Result<()>>>,
}

/// Where a link begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkFacts {
    /// Where clients send to, with its real port.
    pub listen: SocketAddr,
    /// Where their datagrams go.
    pub target: SocketAddr,
}

/// Direction of a line within its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From clients to the target.
    Up,
    /// From the target to clients.
    Down,
}

impl Relay {
    /// Binds all links and starts the thread.
    ///
    /// # Errors
    /// A listen socket could not be bound, or the system gave no selector or thread.
    pub fn spawn(config: RelayConfig) -> Result<Self, SpawnError> {
        let poller = Poller::new()?;
        let waker = Waker::new(poller.registry(), BELL)?;
        let mut links = Vec::with_capacity(config.links.len());
        for (index, link) in config.links.into_iter().enumerate() {
            links.push(Link::bind(poller.registry(), index, link, config.granularity)?);
        }
        let facts = links.iter().map(Link::facts).collect();
        let states = links.iter().map(Link::state).collect();
        let (commands, received) = mpsc::channel();
        let body = Relaying::new(links, config.script, config.granularity, poller, waker.clone(), received);
        let thread = system::Builder::new().name("quicbraid-relay".to_owned()).spawn(move || body.run())?;
        Ok(Self { links: facts, states, commands, waker, thread: Some(thread) })
    }

    /// The links, in the order of the configuration.
    #[must_use]
    pub fn links(&self) -> &[LinkFacts] {
        &self.links
    }

    /// Cuts a link both ways: what arrives and what is on its way is lost until [`Self::restore`].
    pub fn cut(&self, link: usize) {
        self.set_cut(link, Act::Cut);
    }

    /// Mends a link.
    pub fn restore(&self, link: usize) {
        self.set_cut(link, Act::Restore);
    }

    fn set_cut(&self, link: usize, act: Act) {
        if let Some(state) = self.states.get(link) {
            state.apply(act);
        }
    }

    /// The link is cut, by a call or by the script.
    #[must_use]
    pub fn is_cut(&self, link: usize) -> bool {
        self.states.get(link).is_some_and(|state| state.is_cut())
    }

    /// Counters of a link; zeros for a link that does not exist.
    #[must_use]
    pub fn counters(&self, link: usize) -> LinkCounters {
        self.states.get(link).map(|state| state.counters()).unwrap_or_default()
    }

    /// Changes one line of a link for datagrams that arrive from now on.
    pub fn reshape(&self, link: usize, way: Way, line: LineConfig) {
        self.command(Command::Reshape { link, way, line });
    }

    /// Gives every client of a link another port towards the target, and another address if one is named, as a NAT does that has
    /// forgotten them. What the target still sends to the old ones is lost.
    pub fn rebind(&self, link: usize, source: Option<IpAddr>) {
        self.command(Command::Rebind { link, source });
    }

    /// Replaces the script; its byte counts begin at this call's zero.
    pub fn run_script(&self, script: Script) {
        self.command(Command::Script(script));
    }

    fn command(&self, command: Command) {
        // A thread that has ended obeys no more; its end is told by `stop`.
        self.commands.send(command).unwrap_or_default();
        self.waker.wake();
    }

    /// Ends the thread; datagrams on their way are lost.
    ///
    /// # Errors
    /// The thread had ended by a failure of its selector.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.waker.stop();
        match self.thread.take().map(system::JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the relay thread panicked")),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Nobody is left to hear how it ended.
        self.end().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
