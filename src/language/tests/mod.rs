//! Tests that need the whole crate: the reference's examples, the query corpus, the grammar's
//! documents, error messages, hostile input, and the printer's round trip.

mod corpus;
mod dialects;
mod errors;
mod examples;
mod grammar;
mod hostile;
mod round_trip;
mod typed;
