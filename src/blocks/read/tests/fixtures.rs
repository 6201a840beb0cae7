//! Every leaf of every frozen block.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use super::super::library::{Values, read_leaf};
use super::super::thrift::{PageKind, parse_column_index, parse_offset_index};
use super::{decode_chunk, pages};

/// A block's data, whole.
pub(super) struct Fixture {
    pub(super) path: PathBuf,
    pub(super) bytes: Bytes,
    pub(super) meta: ParquetMetaData,
}

impl Fixture {
    /// The bytes of one column chunk.
    pub(super) fn chunk(&self, row_group: usize, leaf: usize) -> Bytes {
        let (start, len) = self.meta.row_group(row_group).column(leaf).byte_range();
        self.slice(start, len)
    }

    fn slice(&self, start: u64, len: u64) -> Bytes {
        self.bytes.slice(usize::try_from(start).unwrap()..usize::try_from(start + len).unwrap())
    }
}

/// Every `data.parquet` below `testdata/blocks`.
pub(super) fn fixtures() -> Vec<Fixture> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.ends_with("data.parquet") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/blocks"), &mut paths);
    paths.sort();
    assert!(paths.len() > 10, "the frozen blocks are missing");
    paths
        .into_iter()
        .map(|path| {
            let bytes = Bytes::from(std::fs::read(&path).unwrap());
            let meta = ParquetMetaDataReader::new()
                .with_page_index_policy(PageIndexPolicy::Required)
                .parse_and_finish(&bytes)
                .unwrap();
            Fixture { path, bytes, meta }
        })
        .collect()
}

#[test]
fn every_leaf_decodes_as_the_library_does() {
    let mut n_leaves = 0;
    for fixture in fixtures() {
        for (idx, row_group) in fixture.meta.row_groups().iter().enumerate() {
            let n_rows = u64::try_from(row_group.num_rows()).unwrap();
            for (leaf, column) in row_group.columns().iter().enumerate() {
                let chunk = fixture.chunk(idx, leaf);
                let ours = decode_chunk(&chunk, column).unwrap();
                let theirs = read_leaf(chunk, column, n_rows, 0..n_rows).unwrap();
                let name = column.column_path().string();
                assert_eq!(ours, theirs, "{name} of {}", fixture.path.display());
                n_leaves += 1;
            }
        }
    }
    assert!(n_leaves > 1000, "only {n_leaves} leaves");
}

#[test]
fn the_library_reads_a_range_of_rows() {
    let fixture = &fixtures()[0];
    let row_group = fixture.meta.row_group(0);
    let n_rows = u64::try_from(row_group.num_rows()).unwrap();
    // Any integer of the spans will do.
    let leaf = row_group.columns().iter().position(|column| {
        column.column_descr().max_rep_level() == 3
            && column.column_descr().physical_type() == parquet::basic::Type::INT64
    });
    let leaf = leaf.unwrap();
    let column = row_group.column(leaf);
    let whole = read_leaf(fixture.chunk(0, leaf), column, n_rows, 0..n_rows).unwrap();
    let part = read_leaf(fixture.chunk(0, leaf), column, n_rows, 2..5).unwrap();
    let starts: Vec<usize> =
        whole.rep.iter().enumerate().filter(|(_, rep)| **rep == 0).map(|(idx, _)| idx).collect();
    assert_eq!(part.rep, whole.rep[starts[2]..starts[5]]);
    assert_eq!(part.def, whole.def[starts[2]..starts[5]]);
    let max_def = u8::try_from(column.column_descr().max_def_level()).unwrap();
    let before = whole.def[..starts[2]].iter().filter(|&&def| def == max_def).count();
    let (Values::I64(part), Values::I64(whole)) = (part.values, whole.values) else {
        panic!("the leaf is of 64-bit integers");
    };
    assert_eq!(part, whole[before..before + part.len()]);
    let past_end = read_leaf(fixture.chunk(0, leaf), column, n_rows, 0..n_rows + 1);
    past_end.unwrap_err();
}

#[test]
fn page_indexes_read_as_the_library_reads_them() {
    for fixture in fixtures() {
        for (idx, row_group) in fixture.meta.row_groups().iter().enumerate() {
            for (leaf, column) in row_group.columns().iter().enumerate() {
                let start = u64::try_from(column.offset_index_offset().unwrap()).unwrap();
                let len = u64::try_from(column.offset_index_length().unwrap()).unwrap();
                let ours = parse_offset_index(&fixture.slice(start, len)).unwrap();
                let theirs = fixture.meta.offset_index().unwrap()[idx][leaf].page_locations();
                assert_eq!(ours.len(), theirs.len());
                for (ours, theirs) in ours.iter().zip(theirs) {
                    assert_eq!(i64::try_from(ours.offset), Ok(theirs.offset));
                    assert_eq!(
                        i32::try_from(ours.compressed_size),
                        Ok(theirs.compressed_page_size)
                    );
                    assert_eq!(i64::try_from(ours.first_row), Ok(theirs.first_row_index));
                }
                let n_data_pages = pages(&fixture.chunk(idx, leaf))
                    .iter()
                    .filter(|(kind, _)| *kind == PageKind::DataV2)
                    .count();
                assert_eq!(ours.len(), n_data_pages);

                let start = u64::try_from(column.column_index_offset().unwrap()).unwrap();
                let len = u64::try_from(column.column_index_length().unwrap()).unwrap();
                let ours = parse_column_index(&fixture.slice(start, len)).unwrap();
                assert_eq!(ours.null_pages.len(), n_data_pages);
                if let ColumnIndexMetaData::BYTE_ARRAY(theirs) =
                    &fixture.meta.column_index().unwrap()[idx][leaf]
                {
                    for page in 0..n_data_pages {
                        let bounds = (theirs.min_value(page), theirs.max_value(page));
                        assert_eq!(ours.null_pages[page], bounds.0.is_none());
                        if let (Some(min), Some(max)) = bounds {
                            assert_eq!(
                                (&*ours.min_values[page], &*ours.max_values[page]),
                                (min, max)
                            );
                        }
                    }
                }
            }
        }
    }
}
