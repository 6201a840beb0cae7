//! From the tree that was written to the typed query: names resolved, constants folded, types and
//! the rules the grammar cannot state checked.

pub mod ir;
