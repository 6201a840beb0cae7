//! The column chunk of a leaf with a dictionary: codes to pages, then the dictionary before them.
//!
//! The Parquet library would be given values and look each of them up, twice: for its code, and for
//! whether it is a bound of its page. Here a value is a code from when it is first met to the file.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::properties::{EnabledStatistics, WriterPropertiesPtr};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescPtr;

use super::bounds;
use super::leaf::Levels;
use super::page::PageBuffer;
use super::row_group::{CHUNK_BOUND_BYTES, PAGE_BOUND_BYTES, PAGE_BYTES};
use super::runs;

/// A page ends with so many entries at the latest: those of the open one are held as they came.
const PAGE_ENTRIES: usize = 1 << 17;

/// A column chunk under construction.
pub(super) struct CodedChunk {
    column: ColumnDescPtr,
    compression: Compression,
    statistics: EnabledStatistics,
    buffer: PageBuffer,
    pages: Vec<WrittenPage>,
    /// By code, the number of the last page that it occurred in, from 1.
    seen: Vec<usize>,
    n_entries: usize,
    uncompressed_bytes: usize,
}

/// What the footer says of a page.
struct WrittenPage {
    offset: u64,
    n_bytes: usize,
    n_rows: usize,
    n_nulls: usize,
    /// Codes of the least and the greatest word; `None` without values.
    bounds: Option<(u32, u32)>,
}

impl CodedChunk {
    pub(super) fn new(column: ColumnDescPtr, properties: &WriterPropertiesPtr) -> Self {
        Self {
            compression: properties.compression(column.path()),
            statistics: properties.statistics_enabled(column.path()),
            column,
            buffer: PageBuffer::default(),
            pages: Vec::new(),
            seen: Vec::new(),
            n_entries: 0,
            uncompressed_bytes: 0,
        }
    }

    /// Writes the pages that the entries fill, and takes these out. Of a leaf without levels each value
    /// is an entry. If it is the `end`, what fills no page becomes one.
    pub(super) fn write_pages(
        &mut self,
        mut levels: Option<&mut Levels>,
        codes: &mut Vec<u32>,
        words: &[Bytes],
        end: bool,
    ) -> Result<()> {
        let max_def = self.column.max_def_level();
        let n_all = levels.as_ref().map_or(codes.len(), |levels| levels.rep.len());
        let level_bits = level_width(self.column.max_rep_level()) + level_width(max_def);
        let code_bits = runs::width(u32::try_from(words.len()).unwrap_or(u32::MAX));
        let n_bits = n_all * usize::from(level_bits) + codes.len() * usize::from(code_bits);
        let n_pages = (n_bits / 8 / PAGE_BYTES).max(n_all / PAGE_ENTRIES);
        if n_all == 0 || n_pages == 0 && !end {
            return Ok(());
        }
        let per_page = n_all.div_ceil(n_pages.max(1));
        let (mut entry, mut value) = (0, 0);
        while entry < n_all && (end || n_all - entry >= per_page) {
            let behind = (entry + per_page).min(n_all);
            let (next_entry, next_value) = match &levels {
                None => (behind, behind),
                Some(Levels { rep, def }) => {
                    // A page ends with a row.
                    let next_row = rep[behind..].iter().position(|rep| *rep == 0);
                    let end = next_row.map_or(n_all, |at| behind + at);
                    let n = def[entry..end].iter().filter(|def| **def == max_def).count();
                    (end, value + n)
                }
            };
            let codes = codes.get(value..next_value).ok_or_else(|| {
                ParquetError::General("a leaf has fewer values than its levels say".to_owned())
            })?;
            match &levels {
                None => self.write_page(&[], &[], codes, words)?,
                Some(Levels { rep, def }) => {
                    let entries = entry..next_entry;
                    self.write_page(&rep[entries.clone()], &def[entries], codes, words)?;
                }
            }
            (entry, value) = (next_entry, next_value);
        }
        codes.drain(..value);
        if let Some(levels) = &mut levels {
            levels.rep.drain(..entry);
            levels.def.drain(..entry);
        }
        Ok(())
    }

    fn write_page(
        &mut self,
        rep: &[i16],
        def: &[i16],
        codes: &[u32],
        words: &[Bytes],
    ) -> Result<()> {
        let has_levels = self.column.max_def_level() > 0;
        let n_entries = if has_levels { def.len() } else { codes.len() };
        let n_rows =
            if has_levels { rep.iter().filter(|rep| **rep == 0).count() } else { n_entries };
        let mut body = Vec::new();
        if has_levels {
            runs::push(rep, level_width(self.column.max_rep_level()), &mut body);
        }
        let rep_len = body.len();
        if has_levels {
            runs::push(def, level_width(self.column.max_def_level()), &mut body);
        }
        let def_len = body.len() - rep_len;
        let width = runs::width(codes.iter().copied().max().unwrap_or(0));
        let mut values = vec![width];
        runs::push(codes, width, &mut values);
        let uncompressed_size = body.len() + values.len();
        let (values, is_compressed) = self.compress(values)?;
        body.extend_from_slice(&values);
        let count = |n: usize| {
            u32::try_from(n).map_err(|_| ParquetError::General(format!("a page of {n} entries")))
        };
        let n_nulls = n_entries - codes.len();
        let page = Page::DataPageV2 {
            buf: body.into(),
            num_values: count(n_entries)?,
            encoding: Encoding::RLE_DICTIONARY,
            num_nulls: count(n_nulls)?,
            num_rows: count(n_rows)?,
            def_levels_byte_len: count(def_len)?,
            rep_levels_byte_len: count(rep_len)?,
            is_compressed,
            statistics: None,
        };
        let spec = self.buffer.write_page(CompressedPage::new(page, uncompressed_size))?;
        self.n_entries += n_entries;
        self.uncompressed_bytes += spec.uncompressed_size;
        let bounds = self.bounds(codes, words);
        self.pages.push(WrittenPage {
            offset: spec.offset,
            n_bytes: spec.compressed_size,
            n_rows,
            n_nulls,
            bounds,
        });
        Ok(())
    }

    /// Codes of the least and the greatest word; each word is looked at once.
    fn bounds(&mut self, codes: &[u32], words: &[Bytes]) -> Option<(u32, u32)> {
        if self.statistics == EnabledStatistics::None {
            return None;
        }
        let page = self.pages.len() + 1;
        self.seen.resize(words.len(), 0);
        let mut bounds: Option<(u32, u32)> = None;
        for &code in codes {
            let seen = &mut self.seen[code as usize];
            if std::mem::replace(seen, page) == page {
                continue;
            }
            let of = |code: u32| &words[code as usize];
            let (least, greatest) = bounds.unwrap_or((code, code));
            bounds = Some((
                if of(code) < of(least) { code } else { least },
                if of(code) > of(greatest) { code } else { greatest },
            ));
        }
        bounds
    }

    fn compress(&self, bytes: Vec<u8>) -> Result<(Vec<u8>, bool)> {
        let failed = |error: &dyn std::fmt::Display| ParquetError::General(error.to_string());
        match self.compression {
            Compression::UNCOMPRESSED => Ok((bytes, false)),
            Compression::SNAPPY => {
                let compressed = snap::raw::Encoder::new().compress_vec(&bytes);
                Ok((compressed.map_err(|error| failed(&error))?, true))
            }
            Compression::ZSTD(level) => {
                let compressed = zstd::bulk::compress(&bytes, level.compression_level());
                Ok((compressed.map_err(|error| failed(&error))?, true))
            }
            other => Err(ParquetError::General(format!("compression {other} is not written"))),
        }
    }

    /// Ends the chunk, all entries of which have been written: its bytes, and what the footer says of
    /// it.
    pub(super) fn close(mut self, words: &[Bytes]) -> Result<(Bytes, ColumnCloseResult)> {
        let mut first = PageBuffer::default();
        let dictionary = self.write_dictionary(words, &mut first)?;
        let mut bytes = Vec::from(first.take());
        bytes.extend_from_slice(&self.buffer.take());
        let offset = dictionary.bytes_written;
        let metadata = self.metadata(words, &dictionary, bytes.len())?;
        let mut offsets = OffsetIndexBuilder::new();
        for page in &self.pages {
            offsets.append_row_count(signed(page.n_rows)?);
            let n_bytes = i32::try_from(page.n_bytes).map_err(too_large)?;
            offsets.append_offset_and_size(
                i64::try_from(offset + page.offset).map_err(too_large)?,
                n_bytes,
            );
        }
        let column_index = match self.statistics {
            EnabledStatistics::Page => Some(self.column_index(words)?.build()?),
            _ => None,
        };
        let closed = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.pages.iter().map(|page| page.n_rows as u64).sum(),
            metadata,
            bloom_filter: None,
            column_index,
            offset_index: Some(offsets.build()),
        };
        Ok((bytes.into(), closed))
    }

    fn write_dictionary(&mut self, words: &[Bytes], to: &mut PageBuffer) -> Result<PageWriteSpec> {
        let mut plain = Vec::new();
        for word in words {
            let n = u32::try_from(word.len()).map_err(too_large)?;
            plain.extend_from_slice(&n.to_le_bytes());
            plain.extend_from_slice(word);
        }
        let uncompressed_size = plain.len();
        let page = Page::DictionaryPage {
            buf: self.compress(plain)?.0.into(),
            num_values: u32::try_from(words.len()).map_err(too_large)?,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        let spec = to.write_page(CompressedPage::new(page, uncompressed_size))?;
        self.uncompressed_bytes += spec.uncompressed_size;
        Ok(spec)
    }

    fn metadata(
        &self,
        words: &[Bytes],
        dictionary: &PageWriteSpec,
        n_bytes: usize,
    ) -> Result<ColumnChunkMetaData> {
        let pages = |page_type, encoding, n: usize| -> Result<PageEncodingStats> {
            Ok(PageEncodingStats {
                page_type,
                encoding,
                count: i32::try_from(n).map_err(too_large)?,
            })
        };
        let metadata = ColumnChunkMetaData::builder(Arc::clone(&self.column))
            .set_compression(self.compression)
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
            .set_page_encoding_stats(vec![
                pages(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1)?,
                pages(PageType::DATA_PAGE_V2, Encoding::RLE_DICTIONARY, self.pages.len())?,
            ])
            .set_total_compressed_size(signed(n_bytes)?)
            .set_total_uncompressed_size(signed(self.uncompressed_bytes)?)
            .set_num_values(signed(self.n_entries)?)
            .set_dictionary_page_offset(Some(0))
            .set_data_page_offset(i64::try_from(dictionary.bytes_written).map_err(too_large)?);
        if self.statistics == EnabledStatistics::None {
            return metadata.build();
        }
        let word = |code: u32| &words[code as usize];
        let bounds = self.pages.iter().filter_map(|page| page.bounds);
        let bounds = bounds.map(|(least, greatest)| (word(least), word(greatest)));
        let bounds = bounds.reduce(|one, two| (one.0.min(two.0), one.1.max(two.1)));
        let least = bounds.map(|bounds| bounds::lower(bounds.0, CHUNK_BOUND_BYTES));
        let greatest = bounds.map(|bounds| bounds::upper(bounds.1, CHUNK_BOUND_BYTES));
        let is_exact = |bound: &Option<(Vec<u8>, bool)>| bound.as_ref().is_some_and(|it| it.1);
        let (least_is_exact, greatest_is_exact) = (is_exact(&least), is_exact(&greatest));
        let value = |bound: Option<(Vec<u8>, bool)>| bound.map(|bound| ByteArray::from(bound.0));
        let n_nulls = self.pages.iter().map(|page| page.n_nulls as u64).sum();
        let statistics =
            ValueStatistics::new(value(least), value(greatest), None, Some(n_nulls), false)
                .with_min_is_exact(least_is_exact)
                .with_max_is_exact(greatest_is_exact);
        metadata.set_statistics(Statistics::ByteArray(statistics)).build()
    }

    fn column_index(&self, words: &[Bytes]) -> Result<ColumnIndexBuilder> {
        let mut index = ColumnIndexBuilder::new(Type::BYTE_ARRAY);
        let word = |code: u32| &words[code as usize];
        let bounds = |page: &WrittenPage| {
            let (least, greatest) = page.bounds?;
            Some((word(least), word(greatest)))
        };
        for page in &self.pages {
            let n_nulls = signed(page.n_nulls)?;
            match bounds(page) {
                None => index.append(true, Vec::new(), Vec::new(), n_nulls),
                Some((least, greatest)) => {
                    let least = bounds::lower(least, PAGE_BOUND_BYTES).0;
                    let greatest = bounds::upper(greatest, PAGE_BOUND_BYTES).0;
                    index.append(false, least, greatest, n_nulls);
                }
            }
        }
        let known: Vec<_> = self.pages.iter().filter_map(bounds).collect();
        let ascends = |pair: &[(&Bytes, &Bytes)]| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1;
        let descends = |pair: &[(&Bytes, &Bytes)]| pair[0].0 >= pair[1].0 && pair[0].1 >= pair[1].1;
        index.set_boundary_order(if known.windows(2).all(ascends) {
            BoundaryOrder::ASCENDING
        } else if known.windows(2).all(descends) {
            BoundaryOrder::DESCENDING
        } else {
            BoundaryOrder::UNORDERED
        });
        Ok(index)
    }
}

fn level_width(max: i16) -> u8 {
    runs::width(max.unsigned_abs().into())
}

fn signed(n: usize) -> Result<i64> {
    i64::try_from(n).map_err(too_large)
}

fn too_large(_: std::num::TryFromIntError) -> ParquetError {
    ParquetError::General("a column chunk is larger than Parquet can say".to_owned())
}

#[cfg(test)]
mod tests {
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
    use parquet::file::page_index::column_index::ColumnIndexMetaData;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;
    use crate::read::library::{self, LeafValues, Values};

    /// A leaf of many pages, one of them without values: the library reads what was added, row by row,
    /// and finds in each page what the page index says of it.
    #[test]
    fn many_pages_are_read_as_they_were_added() {
        let schema = parse_message_type("message m { repeated binary a (STRING); }").unwrap();
        let properties = Arc::new(
            WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_column_index_truncate_length(Some(PAGE_BOUND_BYTES))
                .build(),
        );
        let mut file =
            SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::clone(&properties))
                .unwrap();
        let words: Vec<Bytes> = (0..5_000_u32)
            .map(|n| format!("{:05} and so on to be cut", n * 7_919 % 5_000).into())
            .collect();
        let mut chunk = CodedChunk::new(file.schema_descr().column(0), &properties);
        let (mut levels, mut codes) = (Levels::default(), Vec::new());
        let mut expected = LeafValues { rep: vec![], def: vec![], values: Values::Bool(vec![]) };
        let mut values: Vec<Bytes> = Vec::new();
        const N_ROWS: u32 = 500_000;
        for row in 0..N_ROWS {
            let n = if row < 200_000 { 0 } else { row % 4 };
            for at in 0..n.max(1) {
                let (rep, def) = (u8::from(at > 0), u8::from(n > 0));
                levels.rep.push(rep.into());
                levels.def.push(def.into());
                expected.rep.push(rep);
                expected.def.push(def);
            }
            for at in 0..n {
                // Later rows have greater codes.
                let code = (row / 128 + row.wrapping_mul(31) % 900 + at) % 5_000;
                codes.push(code);
                values.push(words[code as usize].clone());
            }
            if row % 10_000 == 0 {
                chunk.write_pages(Some(&mut levels), &mut codes, &words, false).unwrap();
            }
        }
        chunk.write_pages(Some(&mut levels), &mut codes, &words, true).unwrap();
        assert!(levels.rep.is_empty() && levels.def.is_empty() && codes.is_empty());
        let (pages, closed) = chunk.close(&words).unwrap();
        let mut row_group = file.next_row_group().unwrap();
        row_group.append_column(&pages, closed).unwrap();
        row_group.close().unwrap();
        let bytes = Bytes::from(file.into_inner().unwrap());

        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        let metadata = reader.parse_and_finish(&bytes).unwrap();
        let column = metadata.row_group(0).column(0);
        let (start, length) = column.byte_range();
        let (start, length) = (usize::try_from(start).unwrap(), usize::try_from(length).unwrap());
        let read = |rows| {
            let chunk = bytes.slice(start..start + length);
            library::read_leaf(chunk, column, N_ROWS.into(), rows).unwrap()
        };
        expected.values = Values::Bytes(values.iter().collect());
        assert!(read(0..N_ROWS.into()) == expected);

        let locations = &metadata.offset_index().unwrap()[0][0].page_locations;
        let ColumnIndexMetaData::BYTE_ARRAY(index) = &metadata.column_index().unwrap()[0][0] else {
            panic!("an index of bytes")
        };
        assert!(locations.len() > 5, "{} pages", locations.len());
        let rows = |page: usize| {
            let first = |page: usize| locations.get(page).map(|at| at.first_row_index);
            let row = |row: i64| u64::try_from(row).unwrap();
            row(first(page).unwrap())..first(page + 1).map_or(N_ROWS.into(), row)
        };
        for page in 0..locations.len() {
            let Values::Bytes(values) = read(rows(page)).values else { panic!("strings") };
            let (least, greatest) = (values.iter().min(), values.iter().max());
            assert_eq!(index.is_null_page(page), least.is_none());
            let (Some(least), Some(greatest)) = (least, greatest) else { continue };
            assert_eq!(index.min_value(page), Some(bounds::lower(least, 16).0.as_slice()));
            assert_eq!(index.max_value(page), Some(bounds::upper(greatest, 16).0.as_slice()));
        }
        assert!(index.is_null_page(0), "the first rows have no values");
        let Some(Statistics::ByteArray(statistics)) = column.statistics() else {
            panic!("statistics of bytes")
        };
        let (least, greatest) = (values.iter().min().unwrap(), values.iter().max().unwrap());
        assert_eq!(statistics.min_opt().unwrap().data(), &least[..]);
        assert_eq!(statistics.max_opt().unwrap().data(), &greatest[..]);
        assert!(statistics.min_is_exact() && statistics.max_is_exact());
    }
}
