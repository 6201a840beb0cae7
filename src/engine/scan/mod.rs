//! From selected blocks to work units, and the operator that scans and evaluates them.

pub(crate) mod chains;
mod common;
pub(crate) mod exec;
pub(crate) mod spec;
pub(crate) mod unit;
pub(crate) mod units;
