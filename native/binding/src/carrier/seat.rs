//! An endpoint's hold on the core that gives it turns.
//!
//! Called by the endpoint's object, on the JavaScript thread as everything here. A core that is at work, which is when
//! JavaScript runs only to pick a path, is not disturbed.

use std::{cell::RefCell, rc::Rc};

use super::core::Core;
use crate::sim::Turned;

/// The endpoint's seat.
pub struct Seat(Rc<RefCell<Core>>);

impl Seat {
    pub(super) const fn new(core: Rc<RefCell<Core>>) -> Self {
        Self(core)
    }

    /// Takes a turn that sends nothing before this returns, if it can: somebody waits for an answer.
    #[must_use]
    pub fn turn_now(&self) -> Turned {
        let Ok(mut core) = self.0.try_borrow_mut() else { return Turned::No };
        core.work();
        Turned::Yes
    }

    /// The endpoint has ended.
    pub fn leave(self) {
        if let Ok(mut core) = self.0.try_borrow_mut() {
            core.leave();
        }
    }
}
