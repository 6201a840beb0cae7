//! The dictionary page of a column chunk: the values that codes stand for.

use bytes::Bytes;

use super::encoding::{self, ByteArrays, Encoding};
use super::error::{DecodeError, Result};
use super::page::{LeafShape, Physical, decompress, split_page, verify_crc};
use super::thrift::PageKind;

/// The decoded values of a dictionary page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DictionaryValues {
    /// Byte strings, the only dictionaries Tempo writes.
    Bytes(ByteArrays),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// Doubles.
    F64(Vec<f64>),
}

/// What a column chunk's codes stand for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dictionary {
    values: DictionaryValues,
}

impl Dictionary {
    /// Decodes a whole dictionary page, header included, and compares it with its checksum.
    pub(crate) fn parse(bytes: Bytes, shape: &LeafShape) -> Result<Self> {
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
        let body = decompress(shape.codec, body, header.uncompressed_size)
            .map_err(|e| e.shifted(header.header_len))?;
        let n = header.n_values;
        let values = match shape.physical {
            Physical::Bytes => {
                let mut values = ByteArrays::new();
                encoding::plain_byte_arrays(&body, n, &mut values)?;
                DictionaryValues::Bytes(values)
            }
            Physical::I32 => {
                let mut values = Vec::new();
                encoding::plain_numbers(&body, n, i32::from_le_bytes, &mut values)?;
                DictionaryValues::I32(values)
            }
            Physical::I64 => {
                let mut values = Vec::new();
                encoding::plain_numbers(&body, n, i64::from_le_bytes, &mut values)?;
                DictionaryValues::I64(values)
            }
            Physical::F64 => {
                let mut values = Vec::new();
                encoding::plain_numbers(&body, n, f64::from_le_bytes, &mut values)?;
                DictionaryValues::F64(values)
            }
            Physical::Bool => {
                return Err(DecodeError::Unsupported("dictionary of booleans".to_owned()));
            }
        };
        Ok(Self { values })
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        match &self.values {
            DictionaryValues::Bytes(values) => values.len(),
            DictionaryValues::I32(values) => values.len(),
            DictionaryValues::I64(values) => values.len(),
            DictionaryValues::F64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values, of whatever type.
    pub(crate) fn values(&self) -> &DictionaryValues {
        &self.values
    }

    /// The strings, unless the dictionary holds numbers.
    pub(crate) fn strings(&self) -> Option<&ByteArrays> {
        match &self.values {
            DictionaryValues::Bytes(values) => Some(values),
            _ => None,
        }
    }

    /// The string that `code` stands for; `None` if the dictionary has no such code, which makes
    /// the page that used it corrupt, or holds numbers.
    #[inline]
    pub(crate) fn get(&self, code: u32) -> Option<&[u8]> {
        self.strings()?.get(code as usize)
    }

    /// The code of a string. Looks at lengths first, so most strings cost one comparison.
    pub(crate) fn find(&self, wanted: &[u8]) -> Option<u32> {
        let strings = self.strings()?;
        let mut from = 0;
        let ends = strings.offsets();
        // Lengths first: a literal has the length of few of the strings.
        while let Some(at) =
            ends.get(from..)?.windows(2).position(|end| (end[1] - end[0]) as usize == wanted.len())
        {
            let idx = from + at;
            if strings.get(idx) == Some(wanted) {
                return u32::try_from(idx).ok();
            }
            from = idx + 1;
        }
        None
    }

    /// All strings in the order of their codes; none if the dictionary holds numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.strings().into_iter().flat_map(ByteArrays::iter)
    }
}
