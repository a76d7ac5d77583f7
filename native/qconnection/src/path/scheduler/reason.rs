//! Why a scheduler chose a path, or waits: a value that becomes words only where somebody reads them (design §3.7).
//!
//! Made by the schedulers; read by `explain` and the trace of bursts.

use qbase::Timestamp;
use std::{borrow::Cow, sync::Arc};

/// Why this path, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// Nothing was chosen: the path had frames of its own.
    #[default]
    OwnFrames,
    /// A probe of the path MTU.
    MtuProbe,
    /// Probing frames between other addresses than the path's own.
    OtherAddress,
    /// The quickest path with room.
    LowestRtt,
    /// The next in turn with room.
    NextInTurn,
    /// The furthest behind its share.
    BehindItsShare,
    /// No path with room is behind its share: those that are come first.
    AheadOfItsShare,
    /// The one that carries everything while it lives.
    Primary,
    /// That one has no room.
    PrimaryFull,
    /// Its data will be there before the quick path could use the window for more.
    BlocksNothing,
    /// Its data would fill the window that the quick path needs.
    WouldBlock,
    /// Everything is sooner there with it than by waiting for the quick path.
    SoonerThanWaiting,
    /// The quick path will have sent everything sooner.
    WaitingIsSooner,
    /// First with room in the plan's order.
    PlanOrder,
    /// Furthest behind the share that the plan gives it.
    PlanShare,
    /// The caller chose it for this burst.
    Picked,
    /// The caller waits.
    PickedNone,
    /// The plan names no path that is in use: the quickest with room.
    PlanFallback,
    /// The caller could not choose: the quickest with room.
    PickFallback,
}

impl Reason {
    /// A scheduler chose the path.
    #[must_use]
    pub const fn is_choice(self) -> bool {
        !matches!(self, Self::OwnFrames | Self::MtuProbe | Self::OtherAddress)
    }

    /// Its words are those of whoever decides from outside.
    #[must_use]
    pub const fn is_from_outside(self) -> bool {
        matches!(self, Self::PlanOrder | Self::PlanShare | Self::PlanFallback | Self::Picked | Self::PickedNone | Self::PickFallback)
    }

    /// In words. Those of a plan are the plan's own, if it has some.
    #[must_use]
    pub fn words(self, plan: Option<&str>) -> Cow<'static, str> {
        let plan = plan.filter(|words| !words.is_empty());
        match (self, plan) {
            (Self::PlanOrder | Self::PlanShare | Self::Picked | Self::PickedNone, Some(plan)) => Cow::Owned(plan.to_owned()),
            (Self::PlanFallback, Some(plan)) => Cow::Owned(format!("fallback: no path of the plan is in use ({plan})")),
            (Self::PickFallback, Some(why)) => Cow::Owned(format!("fallback: {why}")),
            _ => Cow::Borrowed(self.name()),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::OwnFrames => "the path's own frames",
            Self::MtuProbe => "a probe of the path MTU",
            Self::OtherAddress => "another address of the path",
            Self::LowestRtt => "lowest rtt with room",
            Self::NextInTurn => "next in turn with room",
            Self::BehindItsShare => "furthest behind its share",
            Self::AheadOfItsShare => "the paths behind their shares come first",
            Self::Primary => "the primary path carries everything",
            Self::PrimaryFull => "the primary path has no room",
            Self::BlocksNothing => "leaves the quick path enough of the window",
            Self::WouldBlock => "a slow path would block the window of the quick one",
            Self::SoonerThanWaiting => "sooner than waiting for the quick path",
            Self::WaitingIsSooner => "waiting for the quick path is sooner",
            Self::PlanOrder => "first with room in the plan",
            Self::PlanShare => "furthest behind its share in the plan",
            Self::Picked => "picked for this burst",
            Self::PickedNone => "the picker waits",
            Self::PlanFallback => "fallback: no path of the plan is in use",
            Self::PickFallback => "fallback: the picker did not choose",
        }
    }
}

/// The last choice of a path.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// In the words of whoever decided from outside; `None`: nobody did, or without words.
    pub words: Option<Arc<str>>,
}
