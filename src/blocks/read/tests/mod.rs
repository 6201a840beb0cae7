//! The page decoder against the Parquet library: on every leaf of the frozen blocks, and on
//! generated levels and values in every page version, codec and encoding we claim to read.

mod corruption;
mod fixtures;
mod generated;
mod in_memory;
mod together;

use bytes::Bytes;
use parquet::file::metadata::ColumnChunkMetaData;

use super::dictionary::parse_dictionary;
use super::library::{LeafValues, Values};
use super::page::{ByteArrays, CodeSet, DataPage, Encoding, LeafShape, Physical, Result};
use super::thrift::{PageKind, parse_page_header};

/// The pages of a column chunk, cut out by walking from header to header.
fn pages(chunk: &Bytes) -> Vec<(PageKind, Bytes)> {
    let mut pages = Vec::new();
    let mut rest = chunk.clone();
    while !rest.is_empty() {
        let header = parse_page_header(&rest).unwrap();
        pages.push((header.kind, rest.split_to(header.header_len + header.compressed_size)));
    }
    pages
}

/// Decodes a column chunk as the leaf reader would and checks each page's ways to say the same
/// thing against each other.
fn decode_chunk(chunk: &Bytes, meta: &ColumnChunkMetaData) -> Result<LeafValues> {
    let shape = LeafShape::of(meta.column_descr(), meta.compression())?;
    let mut dictionary = None;
    let (mut rep, mut def) = (Vec::new(), Vec::new());
    let mut values = match shape.physical {
        Physical::Bool => Values::Bool(Vec::new()),
        Physical::I32 => Values::I32(Vec::new()),
        Physical::I64 => Values::I64(Vec::new()),
        Physical::F64 => Values::F64(Vec::new()),
        Physical::Bytes => Values::Bytes(ByteArrays::new()),
    };
    for (kind, bytes) in pages(chunk) {
        if kind == PageKind::Dictionary {
            dictionary = Some(parse_dictionary(bytes, &shape)?);
            continue;
        }
        let page = DataPage::parse(bytes, &shape)?;
        page.verify_crc()?;
        let start = def.len();
        page.rep_levels(&mut rep)?;
        page.def_levels(&mut def)?;
        assert_eq!(rep.len(), start + page.n_entries());
        assert_eq!(def.len(), start + page.n_entries());
        let n_values = def[start..].iter().filter(|&&level| level == shape.max_def).count();
        assert_eq!(page.n_values()?, n_values);
        decode_values(&page, dictionary.as_ref(), n_values, &mut values)?;
    }
    Ok(LeafValues { rep, def, values })
}

fn decode_values(
    page: &DataPage,
    dictionary: Option<&ByteArrays>,
    n_values: usize,
    values: &mut Values,
) -> Result<()> {
    if page.encoding() != Encoding::RleDictionary {
        return match values {
            Values::Bool(values) => page.bools(values),
            Values::I32(values) => page.i32s_to(usize::MAX, values),
            Values::I64(values) => page.i64s_to(usize::MAX, values),
            Values::F64(values) => page.f64s(values),
            Values::Bytes(values) => page.byte_arrays(values),
            Values::Coded(..) => unreachable!("strings are decoded"),
        };
    }
    let mut codes = Vec::new();
    page.codes_to(usize::MAX, &mut codes)?;
    assert_eq!(codes.len(), n_values);
    check_find(page, &codes);
    let dictionary = dictionary.expect("a page of codes follows a dictionary");
    let Values::Bytes(values) = values else { panic!("only strings are read from codes") };
    for &code in &codes {
        values.push(dictionary.get(code as usize).unwrap())?;
    }
    Ok(())
}

/// Scanning for codes finds what a look at every code finds.
fn check_find(page: &DataPage, codes: &[u32]) {
    let largest = codes.iter().copied().max().unwrap_or(0);
    let mut sets: Vec<CodeSet> =
        [0, largest / 2, largest, largest + 1, u32::MAX].map(CodeSet::One).into();
    sets.push((0..=largest).step_by(3).collect());
    sets.push([1, largest].into_iter().collect());
    sets.push([].into_iter().collect());
    for wanted in sets {
        let expected: Vec<u32> = (0_u32..)
            .zip(codes)
            .filter(|&(_, &code)| wanted.contains(code))
            .map(|(idx, _)| idx)
            .collect();
        let mut hits = Vec::new();
        page.find_codes(&wanted, &mut hits).unwrap();
        assert_eq!(hits, expected, "codes {wanted:?}");
    }
}
