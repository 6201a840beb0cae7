//! The dictionary page of a column chunk: the strings that codes stand for.

use bytes::Bytes;

use super::encoding::{self, ByteArrays, Encoding};
use super::error::{DecodeError, Result};
use super::page::{LeafShape, Physical, decompress, split_page, verify_crc};
use super::thrift::{PageKind, parse_page_header};

/// What the strings of a dictionary page will take, as its header says: told before any of them is
/// decompressed.
pub(crate) fn dictionary_bytes(bytes: &[u8]) -> Result<u64> {
    let header = parse_page_header(bytes)?;
    Ok((header.uncompressed_size + header.n_values * size_of::<u32>()) as u64)
}

/// Decodes a whole dictionary page, header included, and compares it with its checksum. The string
/// at position `n` is the one that code `n` stands for; a code past the end makes the page that
/// used it corrupt.
///
/// A dictionary of numbers gives no strings: [`DataPage`](super::page::DataPage) leaves the pages
/// that would use them to the Parquet library.
pub(crate) fn parse_dictionary(bytes: Bytes, shape: &LeafShape) -> Result<ByteArrays> {
    let (header, body) = split_page(bytes)?;
    if header.kind != PageKind::Dictionary {
        return Err(DecodeError::corrupt(
            "page header",
            "a dictionary page",
            format_args!("{:?}", header.kind),
            0,
        ));
    }
    // PLAIN_DICTIONARY is how older writers say PLAIN here.
    if !matches!(header.encoding, Encoding::Plain | Encoding::RleDictionary) {
        return Err(DecodeError::Unsupported(format!(
            "encoding {:?} of a dictionary",
            header.encoding
        )));
    }
    verify_crc(&header, &body)?;
    let mut strings = ByteArrays::new();
    if shape.physical == Physical::Bytes {
        let body = decompress(shape.codec, body, header.uncompressed_size)
            .map_err(|e| e.shifted(header.header_len))?;
        encoding::plain_byte_arrays(&body, header.n_values, &mut strings)?;
    }
    Ok(strings)
}
