//! Tests that need the whole crate: the reference's examples, the query corpus, the grammar's
//! documents, error messages, hostile input, and the printer's round trip.

mod errors;
mod examples;
mod hostile;
mod round_trip;
