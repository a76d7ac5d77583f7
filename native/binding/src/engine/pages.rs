//! Numbers that JavaScript reads without asking, in the order of `src/binding/numbers.ts`.
//!
//! Decides how often they are written: for connections that something happened to, at most once a millisecond.

use std::time::Duration;

use qbase::Timestamp;
use qconnection::{Connection as Machine, PathView, path::EcnState};
use qdriver::Io;
use qevent::DropCounters;

use super::{Engine, connection::Connection, raw::RawQueue};
use crate::{messages::plans, stats::{CONNECTION_CELLS, DROP_CELLS, ENDPOINT_CELLS, PATH_CELLS}};

/// Time between two writes of the same page.
const INTERVAL: Duration = Duration::from_millis(1);

/// Place of `maxStallMs` in `CONNECTION_NUMBERS`.
const LONGEST_STALL: usize = 18;

/// Which pages are out of date.
#[derive(Debug, Default)]
pub struct Schedule {
    stale: Vec<u32>,
    written_at: Option<Timestamp>,
    /// Datagrams received and sent when the endpoint's page was written.
    counted: (u64, u64),
    /// Drops of connections, of those that have ended too.
    drops: DropCounters,
}

impl Schedule {
    /// Something happened to a connection.
    pub fn mark(&mut self, connection: &mut Connection) {
        if !connection.stale {
            connection.stale = true;
            self.stale.push(connection.key);
        }
    }
}

impl Engine {
    /// Writes the pages that are out of date, if it is time.
    pub(super) fn write_pages(&mut self, io: &Io<'_>) {
        // What came without a connection (a Retry, a reset) is counted, too.
        if self.pages.stale.is_empty() && self.pages.counted == self.counted(io) {
            return;
        }
        if let Some(next) = self.pages.written_at.map(|at| at + INTERVAL)
            && io.now < next
        {
            return self.want_turn(next);
        }
        self.write_all_pages(io);
    }

    /// Writes the pages that are out of date.
    pub(super) fn write_all_pages(&mut self, io: &Io<'_>) {
        self.pages.written_at = Some(io.now);
        self.pages.counted = self.counted(io);
        let mut stale = std::mem::take(&mut self.pages.stale);
        for key in stale.drain(..) {
            self.write_page(io, key);
        }
        self.pages.stale = stale;
        self.link.pages.endpoint.write(endpoint(io, self.link.pool_bytes_max, self.out.lost, &self.raw));
        self.link.pages.drops.write(self.drops(io));
    }

    /// In the order of `DROP_REASONS`.
    fn drops(&self, io: &Io<'_>) -> [f64; DROP_CELLS] {
        let mut drops = io.endpoint.statistics().drops;
        drops.add(&self.raw.drops);
        drops.add(&self.pages.drops);
        let mut row = [0.0; DROP_CELLS];
        for (cell, (_, count)) in row.iter_mut().zip(drops.iter()) {
            *cell = count as f64;
        }
        row
    }

    /// What changes with every datagram.
    fn counted(&self, io: &Io<'_>) -> (u64, u64) {
        let driver = io.statistics();
        (driver.datagrams_received, driver.datagrams_sent.saturating_add(self.raw.sent))
    }

    /// Writes the page of a connection and its paths.
    pub(super) fn write_page(&mut self, io: &Io<'_>, key: u32) {
        let Some(connection) = self.table.get_mut(key) else { return };
        let Some(machine) = io.endpoint.connection(connection.handle) else { return };
        connection.stale = false;
        if machine.drops().total() > 0 {
            self.pages.drops.add_news(machine.drops(), connection.drops.get_or_insert_default());
        }
        let stall = connection.receiving.longest().max(connection.sending.longest());
        connection.page.numbers.write(numbers(machine, io.now, stall));
        for path in machine.paths() {
            let last_received = path.counters.last_received_at.map_or(0.0, |at| self.out.at_ms(at));
            connection.page.path(path.id.0).write(path_numbers(&path, last_received));
        }
    }
}

fn endpoint(io: &Io<'_>, pool_bytes_max: u64, lost: u64, raw: &RawQueue) -> [f64; ENDPOINT_CELLS] {
    let machine = io.endpoint.statistics();
    let driver = io.statistics();
    let numbers = [
        driver.datagrams_received,
        driver.datagrams_sent,
        driver.bytes_received,
        driver.bytes_sent,
        driver.send_calls,
        driver.receive_calls,
        machine.connections,
        machine.half_open,
        machine.accepted,
        machine.refused,
        machine.retries,
        machine.version_negotiations,
        machine.resets,
        machine.pool_bytes_used,
        pool_bytes_max,
        lost,
        raw.received,
        raw.sent,
    ];
    numbers.map(|number| number as f64)
}

fn numbers(machine: &Machine, now: Timestamp, stall: Duration) -> [f64; CONNECTION_CELLS] {
    let all = machine.statistics();
    let streams = machine.stream_facts().statistics();
    let counters = [
        all.bytes_sent,
        all.bytes_received,
        streams.bytes_sent,
        streams.bytes_received,
        all.datagrams_sent,
        all.datagrams_received,
        all.packets_sent,
        all.packets_received,
        all.packets_lost,
        all.packets_spuriously_lost,
        all.bytes_reinjected,
        all.bytes_in_flight,
        streams.open as u64,
        streams.opened_local.saturating_add(streams.opened_peer),
        all.paths,
        all.bursts,
        all.segments,
        all.key_updates,
        0, // longest stall, with its fraction below
        machine.trace_dropped(),
        all.coalesced,
        all.cancelled_segments,
        machine.buffered_bytes(),
        u64::from(machine.waits_for_memory()),
    ];
    let mut row = [0.0; CONNECTION_CELLS];
    let counters = counters.into_iter().map(|number| number as f64);
    let costs = machine.blocks().costs(now).map(|(_, cost)| cost.time.as_secs_f64() * 1e3);
    let silences = machine.blocked_counts().iter().map(|(_, count)| count as f64);
    for (cell, number) in row.iter_mut().zip(counters.chain(costs).chain(silences)) {
        *cell = number;
    }
    if let Some(cell) = row.get_mut(LONGEST_STALL) {
        *cell = stall.as_secs_f64() * 1e3;
    }
    row
}

/// Place of an ECN state in `testing`, `capable`, `failed`.
const fn ecn_number(state: EcnState) -> f64 {
    match state {
        EcnState::Testing | EcnState::Unknown => 0.0,
        EcnState::Capable => 1.0,
        EcnState::Failed => 2.0,
    }
}

fn path_numbers(path: &PathView, last_received_at_ms: f64) -> [f64; PATH_CELLS] {
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let counters = &path.counters;
    [
        ms(path.latest_rtt),
        ms(path.smoothed_rtt),
        ms(path.rttvar),
        ms(path.min_rtt),
        f64::from(path.pto_count),
        path.congestion_window as f64,
        if path.ssthresh == u64::MAX { f64::INFINITY } else { path.ssthresh as f64 },
        path.bytes_in_flight as f64,
        path.pacing_rate as f64 * 8.0,
        plans::delivery_rate(path),
        f64::from(path.mtu),
        ecn_number(path.ecn),
        if path.amplification_credit == u64::MAX { f64::INFINITY } else { path.amplification_credit as f64 },
        counters.bytes_sent as f64,
        counters.bytes_received as f64,
        counters.packets_sent as f64,
        counters.packets_received as f64,
        counters.packets_lost as f64,
        counters.bytes_reinjected as f64,
        counters.bursts as f64,
        counters.segments as f64,
        last_received_at_ms,
        counters.send_errors as f64,
        plans::told_weight(path.weight),
    ]
}
