//! An endpoint's hold on the world it lives in.
//!
//! Called by the endpoint's object, on the JavaScript thread as everything here. A world that is at work, which is never
//! when JavaScript runs, would not be disturbed.

use std::{cell::RefCell, rc::Rc};

use super::world::World;

/// One endpoint's seat.
pub struct Seat {
    world: Rc<RefCell<World>>,
    number: usize,
}

impl Seat {
    /// The seat with this number.
    pub(super) const fn new(world: Rc<RefCell<World>>, number: usize) -> Self {
        Self { world, number }
    }

    /// There is something to do.
    pub fn stir(&self) {
        self.with(|world| world.stir(self.number));
    }

    /// Takes a turn before this returns.
    pub fn turn_now(&self) {
        self.with(|world| world.turn_now(self.number));
    }

    /// The endpoint has ended.
    pub fn leave(self) {
        self.with(|world| world.leave(self.number));
    }

    fn with(&self, act: impl FnOnce(&mut World)) {
        if let Ok(mut world) = self.world.try_borrow_mut() {
            act(&mut world);
        }
    }
}
