//! The write-ahead log: what was acknowledged and lies in no block yet. Knows files, frames and
//! records; which spans are live and when they are flushed is not decided here.
//!
//! # Layout
//!
//! A folder of segments, `00000001.wal` and so on, numbered without gaps, for all tenants together:
//! one sync serves every request that waits, whoever sent it. A segment is a header (`segment`) and
//! then frames; a frame is what was made durable by one sync: a batch of [`Record`]s, with checksums
//! of its own header and of its contents. A header also says how long the segment before was, so
//! that one that lost its end is noticed.
//!
//! # What a crash leaves
//!
//! | at | is left | replay |
//! |---|---|---|
//! | a segment being begun | a file without a whole header | removes it: nothing was acknowledged in it |
//! | a frame being written | the beginning of a frame at the end of the last segment | truncates it |
//! | between sync and answer | a whole frame | keeps its spans; who sends them again sends copies, which count once |
//! | after [`Record::Flush`] | a block that exists or not | whoever replays looks for its `meta.json` |
//! | segments being removed | the younger ones: removal goes from the oldest on | whole records, whose spans may be flushed already |
//!
//! A frame that is damaged while others follow it is no crash: what it held is lost, which is told
//! ([`Damage`]), what follows is kept, and so is the file, under another name, when its time comes.

mod log;
pub mod record;
pub mod segment;
#[cfg(test)]
mod tests;

pub use log::{Log, LogOptions, Replayed};
pub use record::{Part, Record};
pub use segment::Damage;
