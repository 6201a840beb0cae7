//! Turning traces into bytes: the OpenTelemetry protocol's forms and Tempo's blocks; and back where
//! no block is involved in reading.

pub mod block;
pub mod convert;
pub mod otlp;
pub mod redact;
