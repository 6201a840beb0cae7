//! Tempo's HTTP API over the engine: routes, parameters, tenants, shapes of answers, limits. It
//! prints nothing, reads no environment and no clock of its own, and knows nothing of the command
//! line.

pub mod api;
