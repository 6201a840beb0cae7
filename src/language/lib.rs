//! TraceQL: text to a typed query. No Arrow, no storage, no DataFusion.

pub mod analyze;
