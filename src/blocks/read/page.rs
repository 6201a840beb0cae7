//! One data page: its levels and its values, decoded on demand.
//!
//! Knows the page and the shape of its leaf, not where the page came from: offsets in errors count
//! from the page's first byte, and the caller adds the object.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parquet::schema::types::ColumnDescriptor;

pub(crate) use super::compression::Codec;
use super::encoding;
pub(crate) use super::encoding::{ByteArrays, CodeSet, Encoding};
pub(crate) use super::error::{DecodeError, Result};
use super::thrift::{PageHeader, PageKind, parse_page_header};

/// Largest page body we decompress. Tempo writes dictionaries of up to some tens of MB.
const MAX_PAGE_BYTES: usize = 1 << 29;

/// Most entries we take from one page: a run of a few bytes may claim any number of them. Writers
/// stop at some tens of thousands of rows.
const MAX_PAGE_ENTRIES: usize = 1 << 24;

/// How a leaf's values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Physical {
    /// BOOLEAN.
    Bool,
    /// INT32, signed or not.
    I32,
    /// INT64, signed or not.
    I64,
    /// DOUBLE.
    F64,
    /// BYTE_ARRAY.
    Bytes,
}

impl Physical {
    /// Whether [`DataPage`] decodes values of this type from this encoding.
    fn decodes(self, encoding: Encoding) -> bool {
        match encoding {
            Encoding::Plain => true,
            // Dictionaries of numbers are rare and Tempo writes none.
            Encoding::RleDictionary | Encoding::DeltaLengthByteArray => self == Self::Bytes,
            Encoding::DeltaBinaryPacked => matches!(self, Self::I32 | Self::I64),
            Encoding::Rle => self == Self::Bool,
            Encoding::Other(_) => false,
        }
    }
}

/// What a page must be told about its column chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeafShape {
    /// Largest definition level.
    pub(crate) max_def: u8,
    /// Largest repetition level.
    pub(crate) max_rep: u8,
    /// How values are stored.
    pub(crate) physical: Physical,
    /// How pages are compressed.
    pub(crate) codec: Codec,
}

impl LeafShape {
    /// The shape of a leaf in one column chunk, unless we leave it to the Parquet library.
    pub(crate) fn of(
        leaf: &ColumnDescriptor,
        compression: parquet::basic::Compression,
    ) -> Result<Self> {
        use parquet::basic::Type;
        let level = |level: i16| {
            u8::try_from(level).map_err(|_| DecodeError::Unsupported(format!("level {level}")))
        };
        Ok(Self {
            max_def: level(leaf.max_def_level())?,
            max_rep: level(leaf.max_rep_level())?,
            physical: match leaf.physical_type() {
                Type::BOOLEAN => Physical::Bool,
                Type::INT32 => Physical::I32,
                Type::INT64 => Physical::I64,
                Type::DOUBLE => Physical::F64,
                Type::BYTE_ARRAY => Physical::Bytes,
                other => return Err(DecodeError::Unsupported(format!("type {other}"))),
            },
            codec: Codec::of(compression)?,
        })
    }
}

/// One data page. Levels and values stay encoded until asked for; values are decompressed at most
/// once, by whoever asks first. Clones share all of it.
#[derive(Debug, Clone)]
pub(crate) struct DataPage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shape: LeafShape,
    header: PageHeader,
    /// The page without its header.
    body: Bytes,
    sections: OnceLock<Result<Sections>>,
    n_values: OnceLock<Result<usize>>,
}

/// The decompressed parts of a page.
#[derive(Debug, Clone)]
struct Sections {
    values: Bytes,
    /// Levels of a V1 page. Those of a V2 page are never compressed and need no section.
    v1_levels: Option<(Bytes, Bytes)>,
    /// Where values begin in the page, if they are not compressed.
    values_at: usize,
}

/// The codes of a page, still encoded.
struct CodeSection<'a> {
    runs: &'a [u8],
    width: u8,
    n: usize,
    /// Where the runs begin, for errors.
    at: usize,
}

impl DataPage {
    /// Reads the header of a whole page. Decodes nothing yet, but refuses at once, as
    /// [`DecodeError::Unsupported`], what the methods below could not decode later.
    pub(crate) fn parse(bytes: Bytes, shape: &LeafShape) -> Result<Self> {
        let (header, body) = split_page(bytes)?;
        let corrupt = |expected: &str, found: &dyn ToString| {
            Err(DecodeError::corrupt("page header", expected, found.to_string(), 0))
        };
        match header.kind {
            PageKind::DataV1 | PageKind::DataV2 => {}
            kind => return corrupt("a data page", &format_args!("{kind:?}")),
        }
        if header.n_values > MAX_PAGE_ENTRIES {
            return Err(DecodeError::Unsupported(format!("page of {} entries", header.n_values)));
        }
        if !header.levels_are_rle {
            return Err(DecodeError::Unsupported("encoding BIT_PACKED of levels".to_owned()));
        }
        if header.n_rows.is_some_and(|n| n > header.n_values) {
            return corrupt("an entry a row", &format_args!("{:?} rows", header.n_rows));
        }
        if header.rep_len + header.def_len > header.compressed_size.min(header.uncompressed_size) {
            return corrupt(
                "levels shorter than the page",
                &format_args!("{} and {} bytes", header.rep_len, header.def_len),
            );
        }
        if !shape.physical.decodes(header.encoding) {
            return Err(unsupported(header.encoding, shape.physical));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                shape: *shape,
                header,
                body,
                sections: OnceLock::new(),
                n_values: OnceLock::new(),
            }),
        })
    }

    /// How many level entries the page has, nulls and empty lists included.
    pub(crate) fn n_entries(&self) -> usize {
        self.inner.header.n_values
    }

    /// What the page takes once everything in it has been decoded, about: its bytes as they came,
    /// its values, levels and codes. A page in hand may yet be decoded whole.
    pub(crate) fn decoded_bytes(&self) -> u64 {
        let header = &self.inner.header;
        (self.inner.body.len() + header.uncompressed_size + header.n_values * size_of::<u32>())
            as u64
    }

    /// How the values are encoded.
    pub(crate) fn encoding(&self) -> Encoding {
        self.inner.header.encoding
    }

    /// Appends the repetition level of every entry: zeros in a leaf that is not repeated.
    pub(crate) fn rep_levels(&self, out: &mut Vec<u8>) -> Result<()> {
        self.rep_levels_to(self.n_entries(), out)
    }

    /// Appends the repetition levels of the first `n` entries.
    pub(crate) fn rep_levels_to(&self, n: usize, out: &mut Vec<u8>) -> Result<()> {
        let (rep, at) = self.rep_section()?;
        let n = n.min(self.n_entries());
        encoding::levels(rep, self.inner.shape.max_rep, n, out).map_err(|e| e.shifted(at))
    }

    /// Appends the definition level of every entry: zeros, which is then the largest level, in a
    /// leaf that is always defined.
    pub(crate) fn def_levels(&self, out: &mut Vec<u8>) -> Result<()> {
        self.def_levels_to(self.n_entries(), out)
    }

    /// Appends the definition levels of the first `n` entries.
    pub(crate) fn def_levels_to(&self, n: usize, out: &mut Vec<u8>) -> Result<()> {
        let (def, at) = self.def_section()?;
        let n = n.min(self.n_entries());
        encoding::levels(def, self.inner.shape.max_def, n, out).map_err(|e| e.shifted(at))
    }

    /// How many entries have a value: those of the largest definition level. Counted without
    /// expanding levels, and once.
    pub(crate) fn n_values(&self) -> Result<usize> {
        self.inner
            .n_values
            .get_or_init(|| {
                let (def, at) = self.def_section()?;
                encoding::count_levels(def, self.inner.shape.max_def, self.n_entries())
                    .map_err(|e| e.shifted(at))
            })
            .clone()
    }

    /// Appends the dictionary codes of the first `wanted` values.
    pub(crate) fn codes_to(&self, wanted: usize, out: &mut Vec<u32>) -> Result<()> {
        let Some(CodeSection { runs, width, n, at }) = self.code_section()? else { return Ok(()) };
        encoding::codes(runs, width, n.min(wanted), out).map_err(|e| e.shifted(at))
    }

    /// Appends the positions, among the page's values, of the codes that are wanted.
    pub(crate) fn find_codes(&self, wanted: &CodeSet, hits: &mut Vec<u32>) -> Result<()> {
        let Some(CodeSection { runs, width, n, at }) = self.code_section()? else { return Ok(()) };
        encoding::find_codes(runs, width, n, wanted, hits).map_err(|e| e.shifted(at))
    }

    /// Appends the first `wanted` of the 64-bit integers.
    pub(crate) fn i64s_to(&self, wanted: usize, out: &mut Vec<i64>) -> Result<()> {
        let n = self.n_values_of(Physical::I64)?;
        let sections = self.sections()?;
        match self.encoding() {
            Encoding::Plain => {
                encoding::plain_numbers(&sections.values, n, i64::from_le_bytes, out)
            }
            Encoding::DeltaBinaryPacked => {
                encoding::delta_binary_packed(&sections.values, n, wanted, out).map(drop)
            }
            other => Err(self.unsupported(other)),
        }
        .map_err(|e| e.shifted(sections.values_at))
    }

    /// Appends the first `wanted` of the 32-bit integers.
    pub(crate) fn i32s_to(&self, wanted: usize, out: &mut Vec<i32>) -> Result<()> {
        let n = self.n_values_of(Physical::I32)?;
        let sections = self.sections()?;
        match self.encoding() {
            Encoding::Plain => {
                encoding::plain_numbers(&sections.values, n, i32::from_le_bytes, out)
            }
            Encoding::DeltaBinaryPacked => {
                encoding::delta_binary_packed(&sections.values, n, wanted, out).map(drop)
            }
            other => Err(self.unsupported(other)),
        }
        .map_err(|e| e.shifted(sections.values_at))
    }

    /// Appends doubles.
    pub(crate) fn f64s(&self, out: &mut Vec<f64>) -> Result<()> {
        let n = self.n_values_of(Physical::F64)?;
        let sections = self.sections()?;
        match self.encoding() {
            Encoding::Plain => {
                encoding::plain_numbers(&sections.values, n, f64::from_le_bytes, out)
            }
            other => Err(self.unsupported(other)),
        }
        .map_err(|e| e.shifted(sections.values_at))
    }

    /// Appends booleans.
    pub(crate) fn bools(&self, out: &mut Vec<bool>) -> Result<()> {
        let n = self.n_values_of(Physical::Bool)?;
        let sections = self.sections()?;
        match self.encoding() {
            Encoding::Plain => encoding::plain_bools(&sections.values, n, out),
            Encoding::Rle if n == 0 => Ok(()),
            Encoding::Rle => split_prefixed(&sections.values, "boolean runs")
                .and_then(|(runs, _)| encoding::rle_bools(&runs, n, out)),
            other => Err(self.unsupported(other)),
        }
        .map_err(|e| e.shifted(sections.values_at))
    }

    /// Appends byte strings.
    pub(crate) fn byte_arrays(&self, out: &mut ByteArrays) -> Result<()> {
        let n = self.n_values_of(Physical::Bytes)?;
        let sections = self.sections()?;
        match self.encoding() {
            Encoding::Plain => encoding::plain_byte_arrays(&sections.values, n, out),
            Encoding::DeltaLengthByteArray => {
                encoding::delta_length_byte_array(&sections.values, n, out)
            }
            other => Err(self.unsupported(other)),
        }
        .map_err(|e| e.shifted(sections.values_at))
    }

    /// Compares the page with the checksum in its header; a page without one passes.
    pub(crate) fn verify_crc(&self) -> Result<()> {
        verify_crc(&self.inner.header, &self.inner.body)
    }

    fn n_values_of(&self, physical: Physical) -> Result<usize> {
        let found = self.inner.shape.physical;
        if found != physical {
            return Err(DecodeError::corrupt(
                "page",
                format_args!("{physical:?} values"),
                format_args!("{found:?} values"),
                0,
            ));
        }
        self.n_values()
    }

    /// Where the codes are; `None` in a page without values.
    fn code_section(&self) -> Result<Option<CodeSection<'_>>> {
        if self.encoding() != Encoding::RleDictionary {
            return Err(self.unsupported(self.encoding()));
        }
        let n = self.n_values()?;
        if n == 0 {
            return Ok(None);
        }
        let sections = self.sections()?;
        match *sections.values {
            [width, ref runs @ ..] => {
                Ok(Some(CodeSection { runs, width, n, at: sections.values_at + 1 }))
            }
            [] => Err(DecodeError::corrupt(
                "codes",
                format_args!("{n} codes"),
                "no bytes",
                sections.values_at,
            )),
        }
    }

    fn rep_section(&self) -> Result<(&[u8], usize)> {
        let Inner { header, body, .. } = &*self.inner;
        if header.kind == PageKind::DataV2 {
            return Ok((body.get(..header.rep_len).unwrap_or_default(), header.header_len));
        }
        Ok((self.sections()?.v1_levels.as_ref().map_or(&[], |(rep, _)| rep), header.header_len))
    }

    fn def_section(&self) -> Result<(&[u8], usize)> {
        let Inner { header, body, .. } = &*self.inner;
        if header.kind == PageKind::DataV2 {
            let end = header.rep_len + header.def_len;
            let levels = body.get(header.rep_len..end).unwrap_or_default();
            return Ok((levels, header.header_len + header.rep_len));
        }
        Ok((self.sections()?.v1_levels.as_ref().map_or(&[], |(_, def)| def), header.header_len))
    }

    fn sections(&self) -> Result<&Sections> {
        self.inner.sections.get_or_init(|| self.inner.decompress()).as_ref().map_err(Clone::clone)
    }

    #[cold]
    fn unsupported(&self, encoding: Encoding) -> DecodeError {
        unsupported(encoding, self.inner.shape.physical)
    }
}

#[cold]
fn unsupported(encoding: Encoding, physical: Physical) -> DecodeError {
    DecodeError::Unsupported(format!("encoding {encoding:?} of {physical:?} values"))
}

impl Inner {
    fn decompress(&self) -> Result<Sections> {
        let header = &self.header;
        if header.kind == PageKind::DataV2 {
            let levels_len = header.rep_len + header.def_len;
            let values = self.body.slice(levels_len.min(self.body.len())..);
            let n = header.uncompressed_size - levels_len;
            let codec = if header.is_compressed { self.shape.codec } else { Codec::None };
            return Ok(Sections {
                values: decompress(codec, values, n).map_err(|e| e.shifted(header.header_len))?,
                v1_levels: None,
                values_at: if codec == Codec::None { header.header_len + levels_len } else { 0 },
            });
        }
        let body = decompress(self.shape.codec, self.body.clone(), header.uncompressed_size)
            .map_err(|e| e.shifted(header.header_len))?;
        let body_len = body.len();
        let (rep, body) = if self.shape.max_rep > 0 {
            split_prefixed(&body, "repetition levels")?
        } else {
            (Bytes::new(), body)
        };
        let (def, values) = if self.shape.max_def > 0 {
            split_prefixed(&body, "definition levels")?
        } else {
            (Bytes::new(), body)
        };
        let levels_len = body_len - values.len();
        let values_at = if self.shape.codec == Codec::None {
            header.header_len + levels_len
        } else {
            levels_len
        };
        Ok(Sections { values, v1_levels: Some((rep, def)), values_at })
    }
}

/// Splits a page into its header and exactly the bytes the header announces.
pub(crate) fn split_page(bytes: Bytes) -> Result<(PageHeader, Bytes)> {
    let header = parse_page_header(&bytes)?;
    let body = bytes.slice(header.header_len..);
    if body.len() < header.compressed_size {
        return Err(DecodeError::corrupt(
            "page",
            format_args!("{} bytes", header.compressed_size),
            body.len(),
            header.header_len,
        ));
    }
    if header.uncompressed_size > MAX_PAGE_BYTES {
        return Err(DecodeError::Unsupported(format!(
            "page of {} bytes",
            header.uncompressed_size
        )));
    }
    let body = body.slice(..header.compressed_size);
    Ok((header, body))
}

/// Decompresses `bytes` into exactly `n`; copies nothing when they are not compressed.
pub(super) fn decompress(codec: Codec, bytes: Bytes, n: usize) -> Result<Bytes> {
    if codec != Codec::None {
        return codec.decompress(&bytes, n).map(Bytes::from);
    }
    if bytes.len() != n {
        return Err(DecodeError::corrupt("page", format_args!("{n} bytes"), bytes.len(), 0));
    }
    Ok(bytes)
}

/// Compares a page's bytes with the checksum in its header, if there is one.
pub(crate) fn verify_crc(header: &PageHeader, body: &[u8]) -> Result<()> {
    let Some(expected) = header.crc else { return Ok(()) };
    let mut crc = flate2::Crc::new();
    crc.update(body);
    if crc.sum() == expected {
        return Ok(());
    }
    Err(DecodeError::corrupt(
        "page",
        format_args!("checksum {expected:08x}"),
        format_args!("{:08x}", crc.sum()),
        header.header_len,
    ))
}

/// Splits off a section that begins with its 4-byte length.
fn split_prefixed(bytes: &Bytes, what: &'static str) -> Result<(Bytes, Bytes)> {
    let found = || DecodeError::corrupt(what, "a length and as many bytes", bytes.len(), 0);
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(found)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| found())?;
    if length > rest.len() {
        return Err(found());
    }
    Ok((bytes.slice(4..4 + length), bytes.slice(4 + length..)))
}
