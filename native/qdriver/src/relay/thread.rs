//! The relay's thread: read all sockets, release what is due, sleep until the next release.
//!
//! When every line is paced, nothing can leave before the next instant of the grid; the thread then sleeps through to
//! it whatever arrives meanwhile, which bounds its wakes and lets the kernel join datagrams into trains.

use std::{io, net::IpAddr, sync::mpsc::Receiver, time::Duration};

use qbase::Timestamp;

use super::{
    BELL, Way,
    config::LineConfig,
    link::Link,
    script::{Running, Script},
};
use crate::{
    clock::Clock,
    poller::{self, Poller},
    socket::ReceiveArena,
    waker::Waker,
};

/// What the owner asks of the thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Change a line.
    Reshape { link: usize, way: Way, line: LineConfig },
    /// Other ports, and maybe another address, towards the target.
    Rebind { link: usize, source: Option<IpAddr> },
    /// Begin another script.
    Script(Script),
}

/// Everything the thread owns.
pub(super) struct Relaying {
    links: Vec<Link>,
    script: Running,
    granularity: Duration,
    poller: Poller,
    waker: Waker,
    commands: Receiver<Command>,
    clock: Clock,
    arena: ReceiveArena,
    /// Messages read in the last turn.
    messages: usize,
}

impl Relaying {
    pub(super) fn new(
        links: Vec<Link>,
        script: Script,
        granularity: Duration,
        poller: Poller,
        waker: Waker,
        commands: Receiver<Command>,
    ) -> Self {
        Self {
            links,
            script: Running::new(script),
            granularity,
            poller,
            waker,
            commands,
            clock: Clock::start(),
            arena: ReceiveArena::new(),
            messages: 0,
        }
    }

    /// Takes turns until told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        poller::sharpen_timers();
        loop {
            self.wait()?;
            if self.waker.is_stopped() {
                self.links.iter_mut().for_each(Link::flush);
                return Ok(());
            }
            self.obey();
            self.read();
            self.release();
            for link in &self.links {
                link.publish();
            }
        }
    }

    fn wait(&mut self) -> io::Result<()> {
        if self.messages > 0 && self.links.iter().all(Link::is_paced) {
            sleep(self.until_grid());
        }
        let nap = self.nap();
        if nap != Some(Duration::ZERO) && self.waker.gate().try_nap() {
            self.poller.wait(nap)?;
        } else {
            self.poller.wait(Some(Duration::ZERO))?;
        }
        self.waker.gate().rise();
        for event in self.poller.events().filter(|event| event.token() != BELL) {
            for link in &mut self.links {
                link.note(event);
            }
        }
        Ok(())
    }

    fn nap(&self) -> Option<Duration> {
        if self.links.iter().any(Link::has_readable) {
            return Some(Duration::ZERO);
        }
        let due = self.links.iter().filter_map(Link::due).min()?;
        Some(due.saturating_since(self.clock.now()))
    }

    /// Time to the next instant of the grid.
    fn until_grid(&self) -> Duration {
        let grid = u64::try_from(self.granularity.as_nanos()).unwrap_or(u64::MAX).max(1);
        let now = self.clock.now();
        let next = Timestamp::from_nanos((now.as_nanos() / grid).saturating_add(1).saturating_mul(grid));
        next.saturating_since(now)
    }

    fn obey(&mut self) {
        for command in self.commands.try_iter() {
            match command {
                Command::Reshape { link, way, line } => {
                    if let Some(link) = self.links.get_mut(link) {
                        link.reshape(way, line);
                    }
                }
                Command::Rebind { link, source } => {
                    if let Some(link) = self.links.get_mut(link) {
                        link.rebind(self.poller.registry(), source);
                    }
                }
                Command::Script(script) => self.script = Running::new(script),
            }
        }
    }

    fn read(&mut self) {
        self.messages = 0;
        for link in &mut self.links {
            let messages = link.read(self.poller.registry(), &mut self.arena, &self.clock);
            self.messages = self.messages.saturating_add(messages);
        }
    }

    fn release(&mut self) {
        self.take_steps();
        let now = self.clock.now();
        for index in 0..self.links.len() {
            for way in [Way::Up, Way::Down] {
                while self.links.get_mut(index).is_some_and(|link| link.release(way, now, &mut self.script)) {
                    self.take_steps();
                }
            }
        }
    }

    /// Does what the script says for the bytes so far.
    fn take_steps(&mut self) {
        while let Some(step) = self.script.next() {
            if let Some(link) = self.links.get(step.link) {
                link.state().apply(step.act);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a link emulator is made of waiting; only this thread sleeps")]
fn sleep(time: Duration) {
    std::thread::sleep(time);
}
