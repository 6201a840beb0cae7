//! The encodings of levels and values inside a page. Works on plain slices: knows neither page
//! headers, compression nor schemas.
//!
//! Every decoder is told how many values to expect and gives exactly that many or an error; none
//! allocates for more than that.

mod bits;
mod byte_arrays;
mod code_set;
mod delta;
mod hybrid;
mod plain;

#[cfg(test)]
mod tests;

pub(crate) use byte_arrays::ByteArrays;
pub(crate) use code_set::CodeSet;
pub(super) use delta::{delta_binary_packed, delta_length_byte_array};
pub(crate) use hybrid::codes;
pub(super) use hybrid::{count_levels, find_codes, levels, rle_bools};
pub(super) use plain::{plain_bools, plain_byte_arrays, plain_numbers};

/// How the values of a page are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Values one after the other.
    Plain,
    /// Codes into the chunk's dictionary page.
    RleDictionary,
    /// Integers as bit-packed differences.
    DeltaBinaryPacked,
    /// All lengths, then all bytes.
    DeltaLengthByteArray,
    /// Booleans as runs.
    Rle,
    /// Any other, by its number in the format.
    Other(i64),
}

impl Encoding {
    /// RLE's number in the format.
    pub(super) const RLE_ID: u8 = 3;

    /// The encoding with this number in the format.
    pub(super) fn from_id(id: i64) -> Self {
        match id {
            0 => Self::Plain,
            // 2 is the older spelling: the same data page, and a dictionary page in PLAIN.
            2 | 8 => Self::RleDictionary,
            3 => Self::Rle,
            5 => Self::DeltaBinaryPacked,
            6 => Self::DeltaLengthByteArray,
            other => Self::Other(other),
        }
    }
}
