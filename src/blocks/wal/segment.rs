//! The bytes of a segment: a header, then frames, each with checksums. Reading never fails: it says
//! what it found, how far the segment goes, and what is damaged.
//!
//! | bytes of the header | |
//! |---|---|
//! | 8 | magic, whose last byte is the version |
//! | 8 | number of the segment, little-endian like all that follow |
//! | 8 | length of the segment before this one; 0 for none |
//! | 4 | CRC-32 of the above |
//!
//! | bytes of a frame | |
//! |---|---|
//! | 4 | magic, by which a reader finds its way again after damage |
//! | 4 | length of the contents |
//! | 4 | CRC-32 of the contents |
//! | 4 | CRC-32 of the above |
//! | … | a batch of records (`record`) |

use std::ops::Range;

use bytes::Bytes;

use super::record::{self, Record};

const MAGIC: [u8; 8] = *b"TQLWAL\0\x01";
/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 28;
const FRAME_MAGIC: [u8; 4] = [0xf5, b'T', b'Q', 0xa9];
/// Bytes of a frame's header.
const FRAME_HEADER_BYTES: usize = 16;
/// Most bytes of a frame's contents. A batch has a few megabytes, and one request more at most.
pub(super) const MAX_FRAME_BYTES: usize = 1 << 30;

/// What is wrong with a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The last frame is not whole. A crash while it was written leaves it so; nothing in it was
    /// acknowledged.
    TornTail {
        /// Where.
        bytes: Range<u64>,
    },
    /// A frame, or what should be one, cannot be read. What it held is lost.
    Frame {
        /// Where.
        bytes: Range<u64>,
        /// Why.
        reason: String,
    },
    /// The header cannot be read, or says something else than the name of the file.
    Header,
    /// The segment is shorter than it was when the next one was begun.
    Truncated {
        /// How long it was.
        expected_bytes: u64,
        /// How long it is.
        found_bytes: u64,
    },
    /// Segments between others are gone.
    Missing {
        /// Their numbers.
        segments: Range<u64>,
    },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TornTail { bytes } => write!(
                f,
                "the last {} bytes were being written when the process ended; nothing in them was \
                 acknowledged, and they are dropped",
                bytes.end - bytes.start
            ),
            Self::Frame { bytes, reason } => write!(
                f,
                "bytes {} to {} are damaged ({reason}); the spans in them are lost",
                bytes.start, bytes.end
            ),
            Self::Header => {
                write!(f, "the header is damaged; what follows it is read all the same")
            }
            Self::Truncated { expected_bytes, found_bytes } => write!(
                f,
                "{expected_bytes} bytes were written, {found_bytes} are there; the spans in the \
                 others are lost"
            ),
            Self::Missing { segments } => write!(
                f,
                "segments {} to {} are missing; the spans in them are lost",
                segments.start,
                segments.end - 1
            ),
        }
    }
}

impl Damage {
    /// Whether a crash leaves this and nothing is lost.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::TornTail { .. })
    }
}

/// What reading a segment told.
#[derive(Debug, Default)]
pub struct Reading {
    /// The header, if it can be read: the segment's number and the length of the one before.
    pub header: Option<(u64, u64)>,
    /// The end of the last whole frame.
    pub end: u64,
    /// What is damaged, from the front.
    pub damage: Vec<Damage>,
}

/// The header of a segment.
pub(super) fn header(number: u64, previous_bytes: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&previous_bytes.to_le_bytes());
    bytes.extend_from_slice(&crc(&bytes).to_le_bytes());
    bytes
}

/// A batch as a frame; `None` if it is too large for one.
pub(super) fn frame(records: &[Record]) -> Option<Vec<u8>> {
    let mut bytes = record::encode_behind(records, FRAME_HEADER_BYTES);
    let (head, contents) = bytes.split_at_mut(FRAME_HEADER_BYTES);
    let length =
        u32::try_from(contents.len()).ok().filter(|_| contents.len() <= MAX_FRAME_BYTES)?;
    head[..4].copy_from_slice(&FRAME_MAGIC);
    head[4..8].copy_from_slice(&length.to_le_bytes());
    head[8..12].copy_from_slice(&crc(contents).to_le_bytes());
    let sum = crc(&head[..12]);
    head[12..].copy_from_slice(&sum.to_le_bytes());
    Some(bytes)
}

/// Reads a segment and hands over its records, which share its bytes. A frame that cannot be read
/// is a torn tail if it is cut off by the end of the segment, and damage if not.
pub fn read(segment: &Bytes, mut visit: impl FnMut(Record)) -> Reading {
    let mut reading = Reading { header: read_header(segment), ..Reading::default() };
    if reading.header.is_none() {
        reading.damage.push(Damage::Header);
    }
    let mut at = HEADER_BYTES.min(segment.len());
    reading.end = at as u64;
    while at < segment.len() {
        match read_frame(segment, at) {
            Ok((records, end)) => {
                records.into_iter().for_each(&mut visit);
                at = end;
                reading.end = at as u64;
            }
            Err(reason) => {
                // Where the next frame is tells whether this one was the last.
                let next = (at + 1..segment.len()).find(|&next| {
                    segment[next..].starts_with(&FRAME_MAGIC) && read_frame(segment, next).is_ok()
                });
                let bytes = at as u64..next.unwrap_or(segment.len()) as u64;
                // A disk that lost its power may have made room for a frame and not written it.
                let is_unwritten = segment[at..].iter().all(|byte| *byte == 0);
                let is_cut_off =
                    next.is_none() && (is_unwritten || matches!(reason, Unreadable::CutOff));
                reading.damage.push(match is_cut_off {
                    true => Damage::TornTail { bytes },
                    false => Damage::Frame { bytes, reason: reason.to_string() },
                });
                match next {
                    Some(next) => at = next,
                    None => break,
                }
            }
        }
    }
    reading
}

pub(super) fn read_header(segment: &[u8]) -> Option<(u64, u64)> {
    let (head, rest) = segment.split_at_checked(HEADER_BYTES - 4)?;
    let sum = u32::from_le_bytes(*rest.first_chunk()?);
    if !head.starts_with(&MAGIC) || crc(head) != sum {
        return None;
    }
    let number = |at: usize| head.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    Some((number(8)?, number(16)?))
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    /// The segment ends before the frame does.
    #[error("the end is missing")]
    CutOff,
    #[error("the checksum does not fit")]
    Checksum,
    #[error("another version wrote it: {0}")]
    Contents(String),
}

/// The frame at an offset, and where it ends.
fn read_frame(segment: &Bytes, at: usize) -> Result<(Vec<Record>, usize), Unreadable> {
    let head = segment[at..].get(..FRAME_HEADER_BYTES).ok_or(Unreadable::CutOff)?;
    let word = |at: usize| {
        let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    if !head.starts_with(&FRAME_MAGIC) || crc(&head[..12]) != word(12) {
        return Err(Unreadable::Checksum);
    }
    let start = at + FRAME_HEADER_BYTES;
    let end = start.saturating_add(word(4) as usize);
    if end > segment.len() {
        return Err(Unreadable::CutOff);
    }
    let contents = segment.slice(start..end);
    if crc(&contents) != word(8) {
        return Err(Unreadable::Checksum);
    }
    record::decode(contents).map(|records| (records, end)).map_err(Unreadable::Contents)
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
