//! The shapes of Tempo's answers, as pure functions of what the engine returned. Knows no HTTP, so
//! that the command line prints the very same text.

pub mod json;
pub mod llm;
pub mod protobuf;
mod value;
