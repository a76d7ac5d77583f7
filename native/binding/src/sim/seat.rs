//! An endpoint's hold on the world it lives in.
//!
//! Called by the endpoint's object, on the JavaScript thread as everything here. A world that is at work, which is when
//! JavaScript runs only to pick a path, is not disturbed: what is asked of it then comes next.

use std::{cell::RefCell, rc::Rc};

use super::world::World;

/// One endpoint's seat.
pub struct Seat {
    world: Rc<RefCell<World>>,
    number: usize,
    /// Seats that had something to do while the world was at work.
    bells: Bells,
}

/// Numbers of seats that want a turn.
pub type Bells = Rc<RefCell<Vec<usize>>>;

/// Whether somebody had a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// It had one.
    Yes,
    /// The world is at work: its turn comes later.
    No,
}

impl Seat {
    /// The seat with this number.
    pub(super) const fn new(world: Rc<RefCell<World>>, number: usize, bells: Bells) -> Self {
        Self { world, number, bells }
    }

    /// There is something to do.
    pub fn stir(&self) {
        match self.world.try_borrow_mut() {
            Ok(mut world) => world.stir(self.number),
            Err(_) => self.bells.borrow_mut().push(self.number),
        }
    }

    /// Takes a turn before this returns, if it can.
    #[must_use]
    pub fn turn_now(&self) -> Turned {
        let Ok(mut world) = self.world.try_borrow_mut() else {
            self.bells.borrow_mut().push(self.number);
            return Turned::No;
        };
        world.turn_now(self.number);
        Turned::Yes
    }

    /// The endpoint has ended.
    pub fn leave(self) {
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.leave(self.number);
        }
    }
}
