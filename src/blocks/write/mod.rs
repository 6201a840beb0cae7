//! Turning traces into bytes and back where no block is involved in reading: the OpenTelemetry
//! protocol's forms.

pub mod otlp;
