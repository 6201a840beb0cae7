//! Two sets of traces held against each other by the calls in them. Pure: where traces come from is
//! [`crate::commands`]'s business, how differences look is [`crate::output`]'s.

mod calls;
mod change;

pub(crate) use calls::{Call, Caller, Calls, Figures, Operation};
pub(crate) use change::{Change, Difference, Tolerance, compare};
