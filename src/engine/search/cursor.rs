//! Where a page of an answer ended, as text that can be handed back for the next one. It names a place
//! in the defined order of a query, not a number of rows, so that a page costs no more than the one
//! before it, and is the same however often it is asked for while the blocks are the same.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use traceql_blocks::model::TraceId;
use traceql_language::TypedQuery;

use crate::error::{Error, Result};

/// The end of a page. Opaque: printed and parsed, never looked into.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor(CursorMessage);

/// A text that is no cursor, or was damaged on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor")]
pub struct BadCursor;

/// The place of the last trace of a page in the order of its query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Position {
    /// Behind this trace of this block, in the order in which traces are found.
    Found { block: [u8; 16], id: TraceId },
    /// Behind this start, newest first.
    Newest { start_unix_nanos: u64, id: TraceId },
    /// Behind this key of `order_by`.
    Keyed { key: Vec<u8>, id: TraceId },
}

/// What the text holds.
#[derive(Clone, PartialEq, Message)]
struct CursorMessage {
    /// Version of this message.
    #[prost(uint32, tag = "1")]
    version: u32,
    /// Which query it is of.
    #[prost(fixed64, tag = "2")]
    query: u64,
    #[prost(bytes = "vec", tag = "3")]
    id: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "4")]
    block: Option<Vec<u8>>,
    #[prost(fixed64, optional, tag = "5")]
    start_unix_nanos: Option<u64>,
    #[prost(bytes = "vec", optional, tag = "6")]
    key: Option<Vec<u8>>,
}

/// Version of [`CursorMessage`] written and read.
const VERSION: u32 = 1;

impl Cursor {
    pub(crate) fn new(query: &TypedQuery, position: Position) -> Self {
        let mut message =
            CursorMessage { version: VERSION, query: identity(query), ..CursorMessage::default() };
        let id = match position {
            Position::Found { block, id } => {
                message.block = Some(block.to_vec());
                id
            }
            Position::Newest { start_unix_nanos, id } => {
                message.start_unix_nanos = Some(start_unix_nanos);
                id
            }
            Position::Keyed { key, id } => {
                message.key = Some(key);
                id
            }
        };
        message.id = id.0.to_vec();
        Self(message)
    }

    /// The place it names.
    ///
    /// # Errors
    /// If it is of another query.
    pub(crate) fn position(&self, query: &TypedQuery) -> Result<Position> {
        let of_another = || {
            Error::Query(
                "this cursor is of another query: ask for the next page with the text and the \
                 tenant of the first"
                    .to_owned(),
            )
        };
        let CursorMessage { query: of, id, block, start_unix_nanos, key, .. } = &self.0;
        if *of != identity(query) {
            return Err(of_another());
        }
        let id = TraceId::from_bytes(id);
        match (block, start_unix_nanos, key) {
            (Some(block), None, None) => {
                let block = block.as_slice().try_into().map_err(|_| of_another())?;
                Ok(Position::Found { block, id })
            }
            (None, Some(start), None) => Ok(Position::Newest { start_unix_nanos: *start, id }),
            (None, None, Some(key)) => Ok(Position::Keyed { key: key.clone(), id }),
            _ => Err(of_another()),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0.encode_to_vec();
        let sum = hash(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes()[..4]);
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim()).map_err(|_| BadCursor)?;
        let (message, sum) = bytes.split_last_chunk::<4>().ok_or(BadCursor)?;
        if hash(message).to_le_bytes()[..4] != *sum {
            return Err(BadCursor);
        }
        let message = CursorMessage::decode(message).map_err(|_| BadCursor)?;
        if message.version != VERSION { Err(BadCursor) } else { Ok(Self(message)) }
    }
}

/// What two texts of one question share. The number of `limit` is not part of it, so that pages may
/// have different sizes; neither is the time range, since one that ends now is another at each page.
fn identity(query: &TypedQuery) -> u64 {
    let mut text = query.canonical.clone();
    if let Some(limit) = query.limit.map(|limit| format!("|limit({limit})"))
        && let Some(at) = text.rfind(&limit)
    {
        text.replace_range(at..at + limit.len(), "");
    }
    hash(text.as_bytes())
}

/// FNV-1a: tells texts apart, and is the same in every build.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use traceql_language::{Dialect, compile};

    use super::*;

    fn query(text: &str) -> TypedQuery {
        compile(text, Dialect::Default).unwrap()
    }

    #[test]
    fn a_cursor_survives_as_text() {
        let of = query("{ status = error }");
        let id = TraceId([7; 16]);
        for position in [
            Position::Found { block: [1; 16], id },
            Position::Newest { start_unix_nanos: 5, id },
            Position::Keyed { key: vec![1, 255, 0], id },
        ] {
            let cursor = Cursor::new(&of, position.clone());
            let read: Cursor = cursor.to_string().parse().unwrap();
            assert_eq!(read, cursor);
            assert_eq!(read.position(&of).unwrap(), position);
        }
    }

    #[test]
    fn a_cursor_is_of_one_query_whatever_its_limit() {
        let position = Position::Newest { start_unix_nanos: 5, id: TraceId([7; 16]) };
        let cursor = Cursor::new(&query("{ status = error } | limit(5)"), position);
        assert!(cursor.position(&query("{status=error} | limit(9)")).is_ok());
        for other in ["{ status = ok }", "{ status = error } | order_by(name)"] {
            let error = cursor.position(&query(other)).unwrap_err();
            assert!(error.to_string().contains("of another query"), "{error}");
        }
    }

    #[test]
    fn damaged_text_is_no_cursor() {
        let position = Position::Newest { start_unix_nanos: 5, id: TraceId([7; 16]) };
        let text = Cursor::new(&query("{ }"), position).to_string();
        assert!(text.parse::<Cursor>().is_ok());
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            // The last digit may hold bits that stand for nothing.
            let read = damaged.parse::<Cursor>();
            assert!(read.is_err() || at + 1 == text.len(), "{damaged}");
        }
        for text in ["", "AAAA", "no cursor"] {
            assert_eq!(text.parse::<Cursor>(), Err(BadCursor), "{text}");
        }
    }
}
