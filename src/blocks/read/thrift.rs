//! Reads the three Thrift structures that lie outside the footer: page headers, offset indexes and
//! column indexes. The footer itself is left to the Parquet library; nothing here knows a schema.
//!
//! The reader is bounded: nesting is limited, no length is believed before it was compared with
//! the bytes that are left, and unknown fields are skipped.

use super::encoding::Encoding;
use super::error::{DecodeError, Result};

/// Structures nest four deep in the files we read; anything much deeper is an attack.
const MAX_DEPTH: usize = 16;

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageKind {
    /// The values that a chunk's data pages refer to by code.
    Dictionary,
    /// Levels and values, compressed together.
    DataV1,
    /// Levels uncompressed, values compressed.
    DataV2,
    /// Anything else, to be skipped.
    Other,
}

/// The header before each page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageHeader {
    /// What follows.
    pub(crate) kind: PageKind,
    /// Length of this header in bytes.
    pub(crate) header_len: usize,
    /// Bytes that follow the header.
    pub(crate) compressed_size: usize,
    /// The same once decompressed; levels included.
    pub(crate) uncompressed_size: usize,
    /// CRC-32 of the bytes that follow.
    pub(crate) crc: Option<u32>,
    /// Level entries of a data page (nulls included), values of a dictionary page.
    pub(crate) n_values: usize,
    /// Rows that start in the page; V2 only.
    pub(crate) n_rows: Option<usize>,
    /// How values are encoded.
    pub(crate) encoding: Encoding,
    /// Whether levels are RLE encoded: always in V2, nearly always in V1.
    pub(crate) levels_are_rle: bool,
    /// Bytes of repetition levels; V2 only.
    pub(crate) rep_len: usize,
    /// Bytes of definition levels; V2 only.
    pub(crate) def_len: usize,
    /// Whether the values went through the codec; V2 may say no.
    pub(crate) is_compressed: bool,
}

/// Where a data page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageLocation {
    /// Offset of the page header in the file.
    pub(crate) offset: u64,
    /// Bytes of the page, header included.
    pub(crate) compressed_size: usize,
    /// First row of the page, counted in the row group.
    pub(crate) first_row: u64,
}

/// Bounds of each data page of a column chunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ColumnIndex {
    /// Whether a page holds nothing but nulls; its bounds are then meaningless.
    pub(crate) null_pages: Vec<bool>,
    /// Lower bounds in PLAIN encoding, possibly cut short.
    pub(crate) min_values: Vec<Vec<u8>>,
    /// Upper bounds in PLAIN encoding, possibly cut short and then incremented.
    pub(crate) max_values: Vec<Vec<u8>>,
    /// Nulls in each page, when written.
    pub(crate) null_counts: Option<Vec<u64>>,
}

/// Reads the header at the start of a page.
pub(crate) fn parse_page_header(bytes: &[u8]) -> Result<PageHeader> {
    const WHAT: &str = "page header";
    /// Type-specific part of the header.
    #[derive(Default)]
    struct Data {
        n_values: Option<i64>,
        n_rows: Option<i64>,
        encoding: Option<i64>,
        def_encoding: Option<i64>,
        rep_encoding: Option<i64>,
        def_len: i64,
        rep_len: i64,
        is_uncompressed: bool,
    }

    let mut reader = Compact::new(bytes, WHAT);
    let (mut kind, mut uncompressed, mut compressed, mut crc) = (None, None, None, None);
    let mut v1: Option<Data> = None;
    let mut dictionary: Option<Data> = None;
    let mut v2: Option<Data> = None;
    reader.fields(|reader, id, wire| {
        match id {
            1 => kind = Some(reader.int(wire)?),
            2 => uncompressed = Some(reader.int(wire)?),
            3 => compressed = Some(reader.int(wire)?),
            4 => crc = Some(reader.int(wire)?),
            5 => {
                let mut data = Data::default();
                reader.nested(wire, |reader, id, wire| {
                    match id {
                        1 => data.n_values = Some(reader.int(wire)?),
                        2 => data.encoding = Some(reader.int(wire)?),
                        3 => data.def_encoding = Some(reader.int(wire)?),
                        4 => data.rep_encoding = Some(reader.int(wire)?),
                        _ => reader.skip(wire)?,
                    }
                    Ok(())
                })?;
                v1 = Some(data);
            }
            7 => {
                let mut data = Data::default();
                reader.nested(wire, |reader, id, wire| {
                    match id {
                        1 => data.n_values = Some(reader.int(wire)?),
                        2 => data.encoding = Some(reader.int(wire)?),
                        _ => reader.skip(wire)?,
                    }
                    Ok(())
                })?;
                dictionary = Some(data);
            }
            8 => {
                let mut data = Data::default();
                reader.nested(wire, |reader, id, wire| {
                    match id {
                        1 => data.n_values = Some(reader.int(wire)?),
                        3 => data.n_rows = Some(reader.int(wire)?),
                        4 => data.encoding = Some(reader.int(wire)?),
                        5 => data.def_len = reader.int(wire)?,
                        6 => data.rep_len = reader.int(wire)?,
                        7 => data.is_uncompressed = !reader.bool(wire)?,
                        _ => reader.skip(wire)?,
                    }
                    Ok(())
                })?;
                v2 = Some(data);
            }
            _ => reader.skip(wire)?,
        }
        Ok(())
    })?;

    let header_len = reader.pos;
    let missing = |field: &str| {
        DecodeError::corrupt(WHAT, format_args!("a field {field}"), "none", header_len)
    };
    let size = |value: i64, field: &'static str| {
        usize::try_from(value).ok().filter(|&n| n <= MAX_I32).ok_or_else(|| {
            DecodeError::corrupt(WHAT, format_args!("a {field} of 31 bits"), value, header_len)
        })
    };

    let kind = match kind.ok_or_else(|| missing("type"))? {
        0 => PageKind::DataV1,
        2 => PageKind::Dictionary,
        3 => PageKind::DataV2,
        _ => PageKind::Other,
    };
    let data = match kind {
        PageKind::DataV1 => v1.ok_or_else(|| missing("data_page_header"))?,
        PageKind::Dictionary => dictionary.ok_or_else(|| missing("dictionary_page_header"))?,
        PageKind::DataV2 => v2.ok_or_else(|| missing("data_page_header_v2"))?,
        PageKind::Other => Data { n_values: Some(0), encoding: Some(0), ..Data::default() },
    };
    let is_rle = |encoding: Option<i64>| encoding.is_none_or(|e| e == i64::from(Encoding::RLE_ID));
    Ok(PageHeader {
        kind,
        header_len,
        compressed_size: size(
            compressed.ok_or_else(|| missing("compressed_page_size"))?,
            "compressed_page_size",
        )?,
        uncompressed_size: size(
            uncompressed.ok_or_else(|| missing("uncompressed_page_size"))?,
            "uncompressed_page_size",
        )?,
        // The format stores the checksum's 32 bits in a signed integer.
        crc: crc.map(low_32_bits),
        n_values: size(data.n_values.ok_or_else(|| missing("num_values"))?, "num_values")?,
        n_rows: data.n_rows.map(|n| size(n, "num_rows")).transpose()?,
        encoding: Encoding::from_id(data.encoding.ok_or_else(|| missing("encoding"))?),
        levels_are_rle: is_rle(data.def_encoding) && is_rle(data.rep_encoding),
        rep_len: size(data.rep_len, "repetition_levels_byte_length")?,
        def_len: size(data.def_len, "definition_levels_byte_length")?,
        is_compressed: !data.is_uncompressed,
    })
}

/// Reads the offset index of a column chunk.
pub(crate) fn parse_offset_index(bytes: &[u8]) -> Result<Vec<PageLocation>> {
    const WHAT: &str = "offset index";
    let mut reader = Compact::new(bytes, WHAT);
    let mut locations = None;
    reader.fields(|reader, id, wire| {
        if id != 1 {
            return reader.skip(wire);
        }
        let mut pages: Vec<PageLocation> = Vec::new();
        reader.list(wire, 1, |reader, wire| {
            let start = reader.pos;
            let (mut offset, mut size, mut row) = (None, None, None);
            reader.nested(wire, |reader, id, wire| {
                match id {
                    1 => offset = Some(reader.int(wire)?),
                    2 => size = Some(reader.int(wire)?),
                    3 => row = Some(reader.int(wire)?),
                    _ => reader.skip(wire)?,
                }
                Ok(())
            })?;
            let page = (|| {
                Some(PageLocation {
                    offset: u64::try_from(offset?).ok()?,
                    compressed_size: usize::try_from(size?).ok().filter(|&n| n <= MAX_I32)?,
                    first_row: u64::try_from(row?).ok()?,
                })
            })()
            .ok_or_else(|| {
                let found = format_args!("{offset:?}, {size:?}, {row:?}").to_string();
                DecodeError::corrupt(WHAT, "an offset, a size and a row", found, start)
            })?;
            if let Some(previous) = pages.last()
                && page.first_row < previous.first_row
            {
                let expected = format_args!("a row from {} on", previous.first_row).to_string();
                return Err(DecodeError::corrupt(WHAT, expected, page.first_row, start));
            }
            pages.push(page);
            Ok(())
        })?;
        locations = Some(pages);
        Ok(())
    })?;
    locations.ok_or_else(|| DecodeError::corrupt(WHAT, "page locations", "none", reader.pos))
}

/// Reads the column index of a column chunk.
#[cfg_attr(not(test), expect(dead_code, reason = "for pruning pages by value"))]
pub(crate) fn parse_column_index(bytes: &[u8]) -> Result<ColumnIndex> {
    const WHAT: &str = "column index";
    let mut reader = Compact::new(bytes, WHAT);
    let mut index = ColumnIndex::default();
    reader.fields(|reader, id, wire| {
        match id {
            1 => {
                let pages = &mut index.null_pages;
                reader.list(wire, 1, |reader, _| {
                    // Inside a list a boolean is a byte of its own; writers disagree on false.
                    pages.push(reader.byte()? == 1);
                    Ok(())
                })?;
            }
            2 | 3 => {
                let values = if id == 2 { &mut index.min_values } else { &mut index.max_values };
                reader.list(wire, 1, |reader, wire| {
                    values.push(reader.binary(wire)?.to_vec());
                    Ok(())
                })?;
            }
            5 => {
                let counts = index.null_counts.insert(Vec::new());
                reader.list(wire, 1, |reader, wire| {
                    let at = reader.pos;
                    let n = reader.int(wire)?;
                    counts.push(
                        u64::try_from(n)
                            .map_err(|_| DecodeError::corrupt(WHAT, "a null count", n, at))?,
                    );
                    Ok(())
                })?;
            }
            _ => reader.skip(wire)?,
        }
        Ok(())
    })?;
    let n_pages = index.null_pages.len();
    if index.min_values.len() != n_pages || index.max_values.len() != n_pages {
        return Err(DecodeError::corrupt(
            WHAT,
            format_args!("bounds for {n_pages} pages"),
            format_args!("{} and {}", index.min_values.len(), index.max_values.len()),
            reader.pos,
        ));
    }
    Ok(index)
}

/// Sizes and counts are signed 32-bit integers in the format.
const MAX_I32: usize = 0x7fff_ffff;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a checksum is 32 bits, whatever integer carries it"
)]
fn low_32_bits(value: i64) -> u32 {
    value as u32
}

/// Wire types of Thrift's compact protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    True,
    False,
    Byte,
    /// 16, 32 and 64 bits alike: zigzag varints.
    Int,
    Double,
    Binary,
    /// Lists and sets.
    List,
    Map,
    Struct,
    Uuid,
}

/// A cursor over compact-protocol bytes.
struct Compact<'a> {
    bytes: &'a [u8],
    pos: usize,
    depth: usize,
    what: &'static str,
}

impl<'a> Compact<'a> {
    fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, pos: 0, depth: 0, what }
    }

    fn corrupt(&self, expected: &str, found: impl ToString) -> DecodeError {
        DecodeError::corrupt(self.what, expected, found, self.pos)
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self
            .bytes
            .get(self.pos)
            .ok_or_else(|| self.corrupt("another byte", "the end of the bytes"))?;
        self.pos += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.corrupt("a varint of at most 10 bytes", "more"))
    }

    fn int(&mut self, wire: Wire) -> Result<i64> {
        match wire {
            Wire::Int => {
                let value = self.varint()?;
                Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
            }
            Wire::Byte => Ok(i64::from(self.byte()?.cast_signed())),
            other => Err(self.corrupt("an integer", format_args!("{other:?}"))),
        }
    }

    /// A boolean field, whose value is its wire type.
    fn bool(&self, wire: Wire) -> Result<bool> {
        match wire {
            Wire::True => Ok(true),
            Wire::False => Ok(false),
            other => Err(self.corrupt("a boolean", format_args!("{other:?}"))),
        }
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        let taken = usize::try_from(n)
            .ok()
            .and_then(|n| rest.get(..n))
            .ok_or_else(|| self.corrupt(&format!("{n} bytes"), rest.len()))?;
        self.pos += taken.len();
        Ok(taken)
    }

    fn binary(&mut self, wire: Wire) -> Result<&'a [u8]> {
        if wire != Wire::Binary {
            return Err(self.corrupt("bytes", format_args!("{wire:?}")));
        }
        let n = self.varint()?;
        self.take(n)
    }

    fn wire(&self, id: u8) -> Result<Wire> {
        Ok(match id {
            1 => Wire::True,
            2 => Wire::False,
            3 => Wire::Byte,
            4..=6 => Wire::Int,
            7 => Wire::Double,
            8 => Wire::Binary,
            9 | 10 => Wire::List,
            11 => Wire::Map,
            12 => Wire::Struct,
            13 => Wire::Uuid,
            other => return Err(self.corrupt("a wire type", other)),
        })
    }

    /// Calls `field` with each field's id and wire type up to the struct's end. `field` must read
    /// or skip the value.
    fn fields(&mut self, mut field: impl FnMut(&mut Self, i64, Wire) -> Result<()>) -> Result<()> {
        let mut id = 0_i64;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            let wire = self.wire(header & 0x0f)?;
            id = match header >> 4 {
                0 => self.int(Wire::Int)?,
                delta => id.saturating_add(i64::from(delta)),
            };
            field(self, id, wire)?;
        }
    }

    /// The fields of a struct inside this one.
    fn nested(
        &mut self,
        wire: Wire,
        field: impl FnMut(&mut Self, i64, Wire) -> Result<()>,
    ) -> Result<()> {
        if wire != Wire::Struct {
            return Err(self.corrupt("a struct", format_args!("{wire:?}")));
        }
        self.deeper(|reader| reader.fields(field))
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        if self.depth == MAX_DEPTH {
            return Err(self.corrupt("structures nested less deeply", MAX_DEPTH));
        }
        self.depth += 1;
        read(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// Calls `element` for each element of a list whose elements take at least `min_len` bytes.
    fn list(
        &mut self,
        wire: Wire,
        min_len: usize,
        mut element: impl FnMut(&mut Self, Wire) -> Result<()>,
    ) -> Result<()> {
        if wire != Wire::List {
            return Err(self.corrupt("a list", format_args!("{wire:?}")));
        }
        let header = self.byte()?;
        let element_wire = self.wire(header & 0x0f)?;
        let n = match header >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        let left = self.bytes.len().saturating_sub(self.pos);
        let n = usize::try_from(n)
            .ok()
            .filter(|n| n.checked_mul(min_len).is_some_and(|len| len <= left))
            .ok_or_else(|| self.corrupt(&format!("{n} list elements"), left))?;
        for _ in 0..n {
            element(self, element_wire)?;
        }
        Ok(())
    }

    fn skip(&mut self, wire: Wire) -> Result<()> {
        match wire {
            Wire::True | Wire::False => {}
            Wire::Byte => {
                self.byte()?;
            }
            Wire::Int => {
                self.varint()?;
            }
            Wire::Double => {
                self.take(8)?;
            }
            Wire::Uuid => {
                self.take(16)?;
            }
            Wire::Binary => {
                self.binary(wire)?;
            }
            Wire::Struct => self.nested(wire, |reader, _, wire| reader.skip(wire))?,
            Wire::List => self.deeper(|reader| reader.list(Wire::List, 1, Self::skip_element))?,
            Wire::Map => self.deeper(|reader| {
                let n = reader.varint()?;
                if n == 0 {
                    return Ok(());
                }
                let kinds = reader.byte()?;
                let (key, value) = (reader.wire(kinds >> 4)?, reader.wire(kinds & 0x0f)?);
                for _ in 0..n {
                    reader.skip_element(key)?;
                    reader.skip_element(value)?;
                }
                Ok(())
            })?,
        }
        Ok(())
    }

    /// Like [`Self::skip`] for an element of a list or map, where a boolean takes a byte.
    fn skip_element(&mut self, wire: Wire) -> Result<()> {
        if matches!(wire, Wire::True | Wire::False) {
            return self.byte().map(drop);
        }
        self.skip(wire)
    }
}
