//! What does one entry of a page cost? Levels and codes are the hot loops of every scan, and this
//! guards them: codes are to be found in less than 3 ns each, levels decoded in about 2 ns.
//!
//! `cargo bench -p traceql-blocks --bench decode [-- data.parquet]` prints nanoseconds per entry
//! for the leaves that queries touch most. The pages come from a real block, because run lengths
//! decide the cost; without an argument from a small one under `testdata`.

#![allow(
    dead_code,
    unused_imports,
    missing_docs,
    unreachable_pub,
    unfulfilled_lint_expectations,
    clippy::print_stdout,
    reason = "the page decoder is not public, so its files are compiled into this bench"
)]

#[path = "../read/compression.rs"]
mod compression;
#[path = "../read/dictionary.rs"]
mod dictionary;
#[path = "../read/encoding/mod.rs"]
mod encoding;
#[path = "../read/error.rs"]
mod error;
#[path = "../read/page.rs"]
mod page;
#[path = "../read/thrift.rs"]
mod thrift;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dictionary::parse_dictionary;
use page::{ByteArrays, CodeSet, DataPage, Encoding, LeafShape, Physical};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use thrift::{PageKind, parse_page_header};

/// Suffixes of the leaves measured, as vParquet4 and vParquet5 spell them.
const LEAVES: [&str; 16] = [
    "Spans.Attrs.Key",
    "Spans.Attrs.Value",
    "Spans.Attrs.ValueInt",
    "Spans.Attrs.ValueBool",
    "Spans.Attrs.IsArray",
    "Spans.DedicatedAttributes.String01",
    "Spans.DedicatedAttributes.Int01",
    "Spans.SpanID",
    "Spans.StatusCode",
    "Spans.Kind",
    "Spans.Name",
    "Spans.DurationNano",
    "Spans.StartTimeUnixNano",
    "Spans.NestedSetLeft",
    "Spans.StatusMessage",
    "rs.Resource.ServiceName",
];

fn main() {
    let path = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).map_or_else(
        || {
            let blocks =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/blocks/shop/shop5");
            let mut blocks: Vec<PathBuf> = std::fs::read_dir(blocks)
                .expect("the repository has test data")
                .map(|entry| entry.expect("the test data can be listed").path())
                .collect();
            blocks.sort();
            blocks[0].join("data.parquet")
        },
        PathBuf::from,
    );
    let file = Bytes::from(std::fs::read(&path).expect("the file can be read"));
    let meta = ParquetMetaDataReader::new().parse_and_finish(&file).expect("the file is Parquet");
    println!("{}", path.display());
    println!("{:36} {:22} {:>10} {:>9}", "leaf", "operation", "entries", "ns/entry");
    for leaf in LEAVES {
        measure_leaf(leaf, &file, &meta);
    }
}

fn measure_leaf(leaf: &str, file: &Bytes, meta: &ParquetMetaData) {
    let mut pages = Vec::new();
    let mut encoded = Vec::new();
    let mut dictionaries = Vec::new();
    let mut shape = None;
    for row_group in meta.row_groups() {
        let Some(column) = row_group.columns().iter().find(|column| {
            let name = column.column_path().string().replace(".list.element", "");
            name.ends_with(leaf)
        }) else {
            return;
        };
        let leaf_shape = *shape.insert(
            LeafShape::of(column.column_descr(), column.compression()).expect("Tempo's leaves"),
        );
        let (start, len) = column.byte_range();
        let [start, len] = [start, len].map(|n| usize::try_from(n).expect("64-bit host"));
        let mut rest = file.slice(start..start + len);
        while !rest.is_empty() {
            let header = parse_page_header(&rest).expect("page header");
            let bytes = rest.split_to(header.header_len + header.compressed_size);
            if header.kind == PageKind::Dictionary {
                dictionaries.push(bytes);
            } else {
                pages.push(DataPage::parse(bytes.clone(), &leaf_shape).expect("data page"));
                encoded.push(bytes);
            }
        }
    }
    let Some(shape) = shape else { return };
    let n_entries: usize = pages.iter().map(DataPage::n_entries).sum();
    let n_values: usize = pages.iter().map(|page| page.n_values().expect("levels")).sum();
    let report = |operation: &str, n: usize, took: Duration| {
        let nanos = took.as_secs_f64() * 1e9 / (n.max(1)) as f64;
        println!("{leaf:36} {operation:22} {n:>10} {nanos:>9.2}");
    };

    let mut levels = Vec::new();
    report(
        "rep_levels",
        n_entries,
        best_of(&pages, |page| {
            levels.clear();
            page.rep_levels(&mut levels).expect("levels");
            black_box(&levels);
        }),
    );
    report(
        "def_levels",
        n_entries,
        best_of(&pages, |page| {
            levels.clear();
            page.def_levels(&mut levels).expect("levels");
            black_box(&levels);
        }),
    );
    report(
        "n_values, parse",
        n_entries,
        best_of(&encoded, |bytes| {
            let page = DataPage::parse(bytes.clone(), &shape).expect("data page");
            black_box(page.n_values().expect("levels"));
        }),
    );
    if shape.codec != compression::Codec::None {
        report(
            "decompress",
            n_values,
            best_of(&encoded, |bytes| {
                let header = parse_page_header(bytes).expect("page header");
                let levels_len = header.rep_len + header.def_len;
                let values = &bytes[header.header_len + levels_len..];
                let n = header.uncompressed_size - levels_len;
                black_box(shape.codec.decompress(values, n).expect("values"));
            }),
        );
    }
    if pages.iter().all(|page| page.encoding() == Encoding::RleDictionary) {
        let mut codes = Vec::new();
        report(
            "codes",
            n_values,
            best_of(&pages, |page| {
                codes.clear();
                page.codes_to(usize::MAX, &mut codes).expect("codes");
                black_box(&codes);
            }),
        );
        let sets = [
            ("find, absent", CodeSet::One(u32::MAX >> 1)),
            ("find, code 3", CodeSet::One(3)),
            ("find, codes 3 and 5", [3, 5].into_iter().collect()),
            ("find, a third", (0..1 << 20).step_by(3).collect()),
        ];
        let mut hits = Vec::new();
        for (name, wanted) in sets {
            report(
                name,
                n_values,
                best_of(&pages, |page| {
                    hits.clear();
                    page.find_codes(&wanted, &mut hits).expect("codes");
                    black_box(&hits);
                }),
            );
        }
        let n = dictionaries
            .iter()
            .map(|bytes| parse_dictionary(bytes.clone(), &shape).expect("dictionary").len())
            .sum();
        report(
            "dictionary, parse",
            n,
            best_of(&dictionaries, |bytes| {
                black_box(parse_dictionary(bytes.clone(), &shape).expect("dictionary"));
            }),
        );
        return;
    }
    let took = match shape.physical {
        Physical::Bool => best_of_values(&pages, DataPage::bools),
        Physical::I32 => best_of_values(&pages, |page, out| page.i32s_to(usize::MAX, out)),
        Physical::I64 => best_of_values(&pages, |page, out| page.i64s_to(usize::MAX, out)),
        Physical::F64 => best_of_values(&pages, DataPage::f64s),
        Physical::Bytes => best_of(&pages, |page| {
            let mut values = ByteArrays::new();
            page.byte_arrays(&mut values).expect("values");
            black_box(values);
        }),
    };
    report("values", n_values, took);
}

fn best_of_values<T>(
    pages: &[DataPage],
    decode: impl Fn(&DataPage, &mut Vec<T>) -> error::Result<()>,
) -> Duration {
    let mut values = Vec::new();
    best_of(pages, |page| {
        values.clear();
        decode(page, &mut values).expect("values");
        black_box(&values);
    })
}

/// The shortest time one pass over all pages took.
fn best_of<T>(pages: &[T], mut pass: impl FnMut(&T)) -> Duration {
    let mut best = Duration::MAX;
    let begun = Instant::now();
    let mut n_passes = 0;
    while n_passes < 5 || begun.elapsed() < Duration::from_millis(100) {
        let start = Instant::now();
        pages.iter().for_each(&mut pass);
        best = best.min(start.elapsed());
        n_passes += 1;
    }
    best
}
