//! Generated levels and values, written by the Parquet library in all the ways we claim to read.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, GzipLevel, Type, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use super::super::library::{Values, read_leaf};
use super::super::page::{DecodeError, LeafShape};
use super::decode_chunk;

/// How a generated chunk is written.
#[derive(Debug, Clone)]
struct Layout {
    /// The leaf's ancestors, outermost first, and the leaf: "repeated", "optional", "required".
    nesting: Vec<&'static str>,
    physical: Type,
    version: WriterVersion,
    compression: Compression,
    dictionary: bool,
    encoding: Option<Encoding>,
    page_rows: usize,
    /// Entries as (run length, seed).
    runs: Vec<(usize, u64)>,
    /// How many distinct values there are.
    n_distinct: u64,
}

fn layouts() -> impl Strategy<Value = Layout> {
    let nesting = prop::collection::vec(
        prop::sample::select(vec!["repeated", "repeated", "optional", "required"]),
        1..7,
    );
    let physical = prop::sample::select(vec![
        Type::BOOLEAN,
        Type::INT32,
        Type::INT64,
        Type::DOUBLE,
        Type::BYTE_ARRAY,
    ]);
    let version =
        prop::sample::select(vec![WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0]);
    let compression = prop::sample::select(vec![
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::ZSTD(ZstdLevel::default()),
    ]);
    let runs = prop::collection::vec((prop_oneof![1..3_usize, 1..100_usize], any::<u64>()), 1..60);
    let n_distinct = prop_oneof![Just(1_u64), 2..5_u64, 5..300_u64, Just(u64::MAX)];
    (
        nesting,
        physical,
        version,
        compression,
        any::<bool>(),
        any::<bool>(),
        1..500_usize,
        runs,
        n_distinct,
    )
        .prop_map(
            |(
                nesting,
                physical,
                version,
                compression,
                dictionary,
                plain,
                page_rows,
                runs,
                n_distinct,
            )| {
                let encoding = match (plain, physical) {
                    (true, _) => Encoding::PLAIN,
                    (false, Type::BOOLEAN) => Encoding::RLE,
                    (false, Type::INT32 | Type::INT64) => Encoding::DELTA_BINARY_PACKED,
                    (false, Type::BYTE_ARRAY) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
                    (false, _) => Encoding::PLAIN,
                };
                let encoding = Some(encoding);
                // Dictionaries of numbers are left to the library.
                let dictionary = dictionary && physical == Type::BYTE_ARRAY;
                Layout {
                    nesting,
                    physical,
                    version,
                    compression,
                    dictionary,
                    encoding,
                    page_rows,
                    runs,
                    n_distinct,
                }
            },
        )
}

/// A well-mixed number from a seed.
fn mix(seed: u64) -> u64 {
    let x = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[derive(Debug)]
struct Written {
    def: Vec<i16>,
    rep: Vec<i16>,
    file: Bytes,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "any bits will do")]
fn write(layout: &Layout) -> Written {
    let type_name = match layout.physical {
        Type::BYTE_ARRAY => "binary".to_owned(),
        other => format!("{other}").to_lowercase(),
    };
    let (leaf, groups) = layout.nesting.split_last().unwrap();
    let mut schema = format!("{leaf} {type_name} v;");
    for (idx, group) in groups.iter().enumerate().rev() {
        schema = format!("{group} group g{idx} {{ {schema} }}");
    }
    let schema = Arc::new(parse_message_type(&format!("message m {{ {schema} }}")).unwrap());
    let max_def = layout.nesting.iter().filter(|n| **n != "required").count() as u64;
    let max_rep = layout.nesting.iter().filter(|n| **n == "repeated").count() as u64;

    // Runs of equal entries and runs of mixed ones, so that both kinds of runs are written.
    let (mut def, mut rep, mut seeds) = (Vec::new(), Vec::new(), Vec::new());
    for &(n, seed) in &layout.runs {
        for idx in 0..n as u64 {
            let seed = if seed % 2 == 0 { seed } else { mix(seed ^ idx) };
            let level = (mix(seed) % (max_def + 3)).min(max_def);
            def.push(level as i16);
            rep.push(if rep.is_empty() { 0 } else { (mix(seed ^ 1) % (max_rep + 1)) as i16 });
            if level == max_def {
                seeds.push(mix(seed ^ 2) % layout.n_distinct);
            }
        }
    }

    let mut properties = WriterProperties::builder()
        .set_writer_version(layout.version)
        .set_compression(layout.compression)
        .set_dictionary_enabled(layout.dictionary)
        .set_write_batch_size(7)
        .set_data_page_row_count_limit(layout.page_rows);
    if let Some(encoding) = layout.encoding {
        properties = properties.set_encoding(encoding);
    }
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    let mut row_group = writer.next_row_group().unwrap();
    let mut column = row_group.next_column().unwrap().unwrap();
    let (d, r) = (Some(&*def), Some(&*rep));
    match column.untyped() {
        ColumnWriter::BoolColumnWriter(column) => {
            let values: Vec<bool> = seeds.iter().map(|seed| mix(*seed).is_multiple_of(2)).collect();
            column.write_batch(&values, d, r).unwrap();
        }
        ColumnWriter::Int32ColumnWriter(column) => {
            let values: Vec<i32> = seeds.iter().map(|seed| *seed as i32).collect();
            column.write_batch(&values, d, r).unwrap();
        }
        ColumnWriter::Int64ColumnWriter(column) => {
            let values: Vec<i64> = seeds.iter().map(|seed| *seed as i64).collect();
            column.write_batch(&values, d, r).unwrap();
        }
        ColumnWriter::DoubleColumnWriter(column) => {
            let values: Vec<f64> = seeds.iter().map(|seed| *seed as f64 / 8.0).collect();
            column.write_batch(&values, d, r).unwrap();
        }
        ColumnWriter::ByteArrayColumnWriter(column) => {
            let values: Vec<ByteArray> = seeds
                .iter()
                .map(|seed| {
                    ByteArray::from(
                        seed.to_le_bytes().repeat(5)[..(mix(*seed) % 40) as usize].to_vec(),
                    )
                })
                .collect();
            column.write_batch(&values, d, r).unwrap();
        }
        _ => panic!("{} is not written here", layout.physical),
    }
    column.close().unwrap();
    row_group.close().unwrap();
    Written { def, rep, file: writer.into_inner().unwrap().into() }
}

/// Decodes what was written and compares it with the library's reader and with the levels given.
fn check(layout: &Layout) {
    let written = write(layout);
    let meta = ParquetMetaDataReader::new().parse_and_finish(&written.file).unwrap();
    let column = meta.row_group(0).column(0);
    let (start, len) = column.byte_range();
    let chunk =
        written.file.slice(usize::try_from(start).unwrap()..usize::try_from(start + len).unwrap());
    let n_rows = u64::try_from(meta.row_group(0).num_rows()).unwrap();
    let theirs = read_leaf(chunk.clone(), column, n_rows, 0..n_rows).unwrap();
    assert!(theirs.rep.iter().map(|&rep| i16::from(rep)).eq(written.rep));
    assert!(theirs.def.iter().map(|&def| i16::from(def)).eq(written.def));
    let ours = decode_chunk(&chunk, column).unwrap();
    assert_eq!(ours, theirs);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_leaves_decode_as_the_library_does(layout in layouts()) {
        check(&layout);
    }
}

fn layout() -> Layout {
    Layout {
        nesting: vec!["repeated", "optional"],
        physical: Type::INT64,
        version: WriterVersion::PARQUET_2_0,
        compression: Compression::UNCOMPRESSED,
        dictionary: false,
        encoding: Some(Encoding::DELTA_BINARY_PACKED),
        page_rows: 20_000,
        runs: vec![(50_000, 7)],
        n_distinct: u64::MAX,
    }
}

#[test]
fn deltas_of_every_width_decode() {
    for bits in 0..64 {
        check(&Layout { runs: vec![(1_000, 7)], n_distinct: 1 << bits, ..layout() });
        let physical = Type::INT32;
        check(&Layout { runs: vec![(1_000, 7)], n_distinct: 1 << bits, physical, ..layout() });
    }
}

#[test]
fn a_dictionary_of_every_width_decodes() {
    for bits in 0..16 {
        check(&Layout {
            dictionary: true,
            physical: Type::BYTE_ARRAY,
            encoding: Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
            n_distinct: 1 << bits,
            ..layout()
        });
    }
}

#[test]
fn what_only_the_library_reads_is_refused_by_name() {
    for (layout, reason) in [
        (Layout { compression: Compression::LZ4_RAW, ..layout() }, "LZ4_RAW"),
        (
            Layout {
                physical: Type::BYTE_ARRAY,
                encoding: Some(Encoding::DELTA_BYTE_ARRAY),
                ..layout()
            },
            "Other(7)",
        ),
        (Layout { encoding: Some(Encoding::BYTE_STREAM_SPLIT), ..layout() }, "Other(9)"),
        (Layout { dictionary: true, ..layout() }, "RleDictionary of I64"),
    ] {
        let written = write(&layout);
        let meta = ParquetMetaDataReader::new().parse_and_finish(&written.file).unwrap();
        let column = meta.row_group(0).column(0);
        let (start, len) = column.byte_range();
        let chunk = written
            .file
            .slice(usize::try_from(start).unwrap()..usize::try_from(start + len).unwrap());
        let Err(DecodeError::Unsupported(found)) = decode_chunk(&chunk, column) else {
            panic!("{reason} was decoded");
        };
        assert!(found.contains(reason), "{found}");
        let n_rows = u64::try_from(meta.row_group(0).num_rows()).unwrap();
        let theirs = read_leaf(chunk, column, n_rows, 0..n_rows).unwrap();
        assert_eq!(theirs.def.len(), written.def.len());
        assert!(!matches!(theirs.values, Values::I64(values) if values.is_empty()));
    }
    let schema = parse_message_type("message m { required int96 v; }").unwrap();
    let schema = parquet::schema::types::SchemaDescriptor::new(Arc::new(schema));
    let shape = LeafShape::of(&schema.column(0), Compression::UNCOMPRESSED);
    assert!(matches!(shape, Err(DecodeError::Unsupported(_))));
}
