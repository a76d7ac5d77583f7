//! The life of paths (multipath sections C, F to I, M).
//!
//! | file | job |
//! |---|---|
//! | `open` | requests, ids and limits, the first packet |
//! | `validate` | challenges and responses, a peer that moved |
//! | `cids` | connection ids of all path ids |
//! | `moves` | a path goes over to other addresses, and back |
//! | `follow` | a server follows its client |
//! | `migrate` | a client moves, or goes where its server prefers |
//! | `spares` | what a client without multipath may go to |
//! | `aside` | what leaves between other addresses than the path's own |
//! | `abandon` | suspicion, PATH_ABANDON, forgetting |
//!
//! Called by the dispatch, the timers and the application's verbs. The state of each path stands in `path/`.

mod abandon;
mod aside;
mod cids;
mod follow;
mod migrate;
mod moves;
mod open;
mod spares;
mod validate;

pub use migrate::{MigrateError, Migration};
pub(crate) use migrate::Moves;
pub(crate) use spares::Spares;

use super::events::WaitingFor;
use crate::path::PathTerms;
use qbase::FourTuple;
use std::collections::VecDeque;

/// A request to open a path that waits for ids or limits (multipath MP-81).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingOpen {
    pub(crate) ticket: u64,
    pub(crate) four_tuple: FourTuple,
    pub(crate) terms: PathTerms,
    /// What the application was last told.
    pub(crate) told: Option<WaitingFor>,
}

/// Requests that wait, first come first served; bounded by [`OPEN_PATHS`](qbase::limits::OPEN_PATHS).
pub(crate) type PendingOpens = VecDeque<PendingOpen>;
