//! Pages of one column chunk, in memory until their row group is complete: each with a header that
//! carries a checksum, which the Parquet library's own page writer leaves out.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::basic::{Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::errors::{ParquetError, Result};
use prost::encoding::encode_varint;

/// The bytes of a column chunk so far, shared by its page writer and whoever collects them.
#[derive(Clone, Debug, Default)]
pub(super) struct PageBuffer(Arc<Mutex<Vec<u8>>>);

impl PageBuffer {
    /// Takes the bytes out.
    pub(super) fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock()).into()
    }
}

impl PageWriter for PageBuffer {
    fn write_page(&mut self, page: CompressedPage) -> Result<PageWriteSpec> {
        let mut bytes = self.0.lock();
        let offset = bytes.len();
        let body = page.data();
        push_header(&page, &mut bytes)?;
        let header_len = bytes.len() - offset;
        bytes.extend_from_slice(body);
        Ok(PageWriteSpec {
            page_type: page.page_type(),
            uncompressed_size: page.uncompressed_size() + header_len,
            compressed_size: body.len() + header_len,
            num_values: page.num_values(),
            offset: offset as u64,
            bytes_written: (body.len() + header_len) as u64,
        })
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Field types of Thrift's compact protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I32: u8 = 5;
const STRUCT: u8 = 12;

/// Writes one structure of Thrift's compact protocol, fields in ascending order.
struct Fields<'a> {
    to: &'a mut Vec<u8>,
    last: u8,
}

impl Fields<'_> {
    fn begin(&mut self, id: u8, of_type: u8) {
        // All our ids are less than 15 apart, so that difference and type share a byte.
        self.to.push((id - self.last) << 4 | of_type);
        self.last = id;
    }

    fn i32(&mut self, id: u8, value: i32) {
        self.begin(id, I32);
        let zigzag = ((value << 1) ^ (value >> 31)).cast_unsigned();
        encode_varint(zigzag.into(), self.to);
    }

    fn bool(&mut self, id: u8, value: bool) {
        self.begin(id, if value { TRUE } else { FALSE });
    }

    fn structure(&mut self, id: u8, fields: impl FnOnce(&mut Fields<'_>)) {
        self.begin(id, STRUCT);
        let mut inner = Fields { to: &mut *self.to, last: 0 };
        fields(&mut inner);
        self.to.push(0);
    }
}

/// Appends the header of a page: `PageHeader` of the Parquet format, with its checksum.
fn push_header(page: &CompressedPage, to: &mut Vec<u8>) -> Result<()> {
    let size = |what: &str, n: usize| {
        i32::try_from(n).map_err(|_| {
            ParquetError::General(format!("a page of {n} {what} is more than Parquet can hold"))
        })
    };
    let uncompressed = size("bytes", page.uncompressed_size())?;
    let compressed = size("bytes", page.compressed_size())?;
    let n_values = size("values", page.num_values() as usize)?;
    let mut crc = flate2::Crc::new();
    crc.update(page.data());
    let encoding = encoding_number(page.encoding())?;
    let mut header = Fields { to, last: 0 };
    header.i32(1, if page.page_type() == PageType::DICTIONARY_PAGE { 2 } else { 3 });
    header.i32(2, uncompressed);
    header.i32(3, compressed);
    header.i32(4, crc.sum().cast_signed());
    match page.compressed_page() {
        Page::DictionaryPage { is_sorted, .. } => header.structure(7, |dictionary| {
            dictionary.i32(1, n_values);
            dictionary.i32(2, encoding);
            dictionary.bool(3, *is_sorted);
        }),
        Page::DataPageV2 {
            num_nulls,
            num_rows,
            def_levels_byte_len,
            rep_levels_byte_len,
            is_compressed,
            ..
        } => {
            let n_nulls = size("values", *num_nulls as usize)?;
            let n_rows = size("rows", *num_rows as usize)?;
            let def_len = size("bytes", *def_levels_byte_len as usize)?;
            let rep_len = size("bytes", *rep_levels_byte_len as usize)?;
            header.structure(8, |data| {
                data.i32(1, n_values);
                data.i32(2, n_nulls);
                data.i32(3, n_rows);
                data.i32(4, encoding);
                data.i32(5, def_len);
                data.i32(6, rep_len);
                data.bool(7, *is_compressed);
            });
        }
        Page::DataPage { .. } => {
            return Err(ParquetError::General("only pages of version 2 are written".to_owned()));
        }
    }
    to.push(0);
    Ok(())
}

/// The number that the format gives an encoding.
fn encoding_number(encoding: Encoding) -> Result<i32> {
    match encoding {
        Encoding::PLAIN => Ok(0),
        Encoding::DELTA_BINARY_PACKED => Ok(5),
        Encoding::DELTA_LENGTH_BYTE_ARRAY => Ok(6),
        Encoding::RLE_DICTIONARY => Ok(8),
        other => Err(ParquetError::General(format!("encoding {other} is not written"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::encoding;
    use crate::read::page::verify_crc;
    use crate::read::thrift::{PageKind, parse_page_header};

    #[test]
    fn headers_say_what_the_page_is() {
        let mut buffer = PageBuffer::default();
        let dictionary = Page::DictionaryPage {
            buf: Bytes::from_static(b"words"),
            num_values: 300,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let spec = buffer.write_page(CompressedPage::new(dictionary, 70_000)).unwrap();
        assert_eq!((spec.offset, spec.num_values), (0, 300));
        let data = Page::DataPageV2 {
            buf: Bytes::from_static(b"levels and values"),
            num_values: 100_000,
            encoding: Encoding::RLE_DICTIONARY,
            num_nulls: 5,
            num_rows: 0,
            def_levels_byte_len: 2,
            rep_levels_byte_len: 4,
            is_compressed: true,
            statistics: None,
        };
        let second = buffer.write_page(CompressedPage::new(data, 20)).unwrap();
        assert_eq!(second.offset, spec.bytes_written);

        let bytes = buffer.take();
        let header = parse_page_header(&bytes).unwrap();
        assert_eq!((header.kind, header.n_values), (PageKind::Dictionary, 300));
        assert_eq!((header.uncompressed_size, header.compressed_size), (70_000, 5));
        assert_eq!(header.header_len + 5, spec.compressed_size);
        verify_crc(&header, b"words").unwrap();
        let rest = bytes.slice(header.header_len + 5..);
        let header = parse_page_header(&rest).unwrap();
        assert_eq!((header.kind, header.n_values), (PageKind::DataV2, 100_000));
        assert_eq!(header.encoding, encoding::Encoding::RleDictionary);
        assert_eq!((header.n_rows, header.is_compressed), (Some(0), true));
        assert_eq!((header.rep_len, header.def_len), (4, 2));
        verify_crc(&header, &rest[header.header_len..]).unwrap();
        assert!(header.crc.is_some());
        verify_crc(&header, b"levels and valueS").unwrap_err();
    }
}
