//! From selected blocks to work units, and the operator that scans and evaluates them.

pub(crate) mod exec;
pub(crate) mod spec;
mod unit;
pub(crate) mod units;
