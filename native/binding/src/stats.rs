//! Pages of numbers that the I/O thread writes and JavaScript reads without a call between them
//! (docs/design/ring, section 7). The order is that of `src/binding/numbers.ts`.
//!
//! A cell is a float64 in an atomic word; a row may be seen half old, half new, each cell is whole. The lists of pages
//! are locked for a look-up or an entry, never while numbers are copied. Decides nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use qevent::DropReason;

use crate::lock::{Lock, lock};

/// Cells of `ENDPOINT_NUMBERS`.
pub const ENDPOINT_CELLS: usize = 18;
/// Cells of `CONNECTION_NUMBERS`.
pub const CONNECTION_CELLS: usize = 43;
/// Cells of `PATH_NUMBERS`.
pub const PATH_CELLS: usize = 24;
/// Cells of `DROP_REASONS`.
pub const DROP_CELLS: usize = DropReason::ALL.len();
/// Rows of paths kept per connection; the oldest go.
const PATHS_KEPT: usize = 64;

/// A row of numbers.
#[derive(Debug)]
pub struct Row<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Row<N> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> Row<N> {
    /// Writes all cells.
    pub fn write(&self, numbers: [f64; N]) {
        for (cell, number) in self.0.iter().zip(numbers) {
            cell.store(number.to_bits(), Ordering::Relaxed);
        }
    }

    /// Copies as many cells as `out` has.
    pub fn copy_to(&self, out: &mut [f64]) {
        for (number, cell) in out.iter_mut().zip(&self.0) {
            *number = f64::from_bits(cell.load(Ordering::Relaxed));
        }
    }
}

/// Numbers of one connection and its paths.
#[derive(Debug, Default)]
pub struct ConnectionPage {
    /// Of the connection.
    pub numbers: Row<CONNECTION_CELLS>,
    paths: Lock<BTreeMap<u32, Arc<Row<PATH_CELLS>>>>,
}

impl ConnectionPage {
    /// The row of a path, made if it is not there.
    pub fn path(&self, path: u32) -> Arc<Row<PATH_CELLS>> {
        let mut paths = lock(&self.paths);
        let row = Arc::clone(paths.entry(path).or_default());
        let oldest = paths.keys().copied().find(|other| *other != path);
        if let Some(oldest) = oldest.filter(|_| paths.len() > PATHS_KEPT) {
            paths.remove(&oldest);
        }
        row
    }
}

/// All pages of an endpoint.
#[derive(Debug, Default)]
pub struct Pages {
    /// Of the endpoint.
    pub endpoint: Row<ENDPOINT_CELLS>,
    /// Drops by reason, of the endpoint and of all its connections so far.
    pub drops: Row<DROP_CELLS>,
    connections: Lock<BTreeMap<u32, Arc<ConnectionPage>>>,
}

impl Pages {
    /// The page of a connection, made if it is not there.
    pub fn connection(&self, key: u32) -> Arc<ConnectionPage> {
        Arc::clone(lock(&self.connections).entry(key).or_default())
    }

    /// Lets go of a connection.
    pub fn forget(&self, key: u32) {
        lock(&self.connections).remove(&key);
    }

    /// Fills `out` with the row that `scope` (0 endpoint, 1 connection, 2 path, 3 drops) names; `false`: there is none.
    pub fn read(&self, scope: u32, key: u32, path: u32, out: &mut [f64]) -> bool {
        match scope {
            0 => self.endpoint.copy_to(out),
            3 => self.drops.copy_to(out),
            _ => return self.read_connection(scope, key, path, out),
        }
        true
    }

    fn read_connection(&self, scope: u32, key: u32, path: u32, out: &mut [f64]) -> bool {
        let Some(page) = lock(&self.connections).get(&key).cloned() else { return false };
        match scope {
            1 => page.numbers.copy_to(out),
            2 => {
                let Some(row) = lock(&page.paths).get(&path).cloned() else { return false };
                row.copy_to(out);
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_where_they_were_written() {
        let pages = Pages::default();
        pages.endpoint.write([1.0; ENDPOINT_CELLS]);
        let page = pages.connection(7);
        page.numbers.write([2.5; CONNECTION_CELLS]);
        page.path(3).write([f64::INFINITY; PATH_CELLS]);
        let mut out = [0.0; CONNECTION_CELLS];
        assert!(pages.read(0, 0, 0, &mut out) && out[ENDPOINT_CELLS - 1] == 1.0 && out[ENDPOINT_CELLS] == 0.0);
        assert!(pages.read(1, 7, 0, &mut out) && out[CONNECTION_CELLS - 1] == 2.5);
        pages.drops.write([7.0; DROP_CELLS]);
        assert!(pages.read(2, 7, 3, &mut out) && out[PATH_CELLS - 1] == f64::INFINITY && out[PATH_CELLS] == 2.5);
        assert!(pages.read(3, 0, 0, &mut out) && out[DROP_CELLS - 1] == 7.0);
    }

    #[test]
    fn drop_reasons_have_the_order_that_javascript_reads() {
        let contract = include_str!("../../../src/binding/numbers.ts");
        let list = contract.split("DROP_REASONS = [").nth(1).and_then(|rest| rest.split(']').next()).expect("the list");
        let named: Vec<&str> = list.split('\'').skip(1).step_by(2).collect();
        let known: Vec<&str> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(named, known);
    }

    #[test]
    fn what_is_not_known_leaves_the_array_alone() {
        let pages = Pages::default();
        pages.connection(7);
        let mut out = [9.0; 4];
        for (scope, key, path) in [(1, 8, 0), (2, 7, 0), (4, 7, 0)] {
            assert!(!pages.read(scope, key, path, &mut out));
        }
        pages.forget(7);
        assert!(!pages.read(1, 7, 0, &mut out) && out == [9.0; 4]);
    }

    #[test]
    fn rows_of_paths_long_gone_are_dropped() {
        let page = ConnectionPage::default();
        for path in 0..200 {
            page.path(path);
        }
        assert_eq!(lock(&page.paths).len(), PATHS_KEPT);
    }
}
