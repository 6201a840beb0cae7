//! One page of any bytes: decoding its levels and values in every way never panics and never yields
//! more than its entries. `block_read` seldom comes so far, since a page must fit its checksum there
//! and the footer must lead to it. Here the first bytes choose the leaf and the header, which is
//! then written as a writer would, and the rest is the page's body.
//!
//! The page decoder is not public, so its files are compiled into this target.
#![no_main]
#![allow(dead_code, unused_imports, unfulfilled_lint_expectations)]

#[path = "../../src/blocks/read/compression.rs"]
mod compression;
#[path = "../../src/blocks/read/dictionary.rs"]
mod dictionary;
#[path = "../../src/blocks/read/encoding/mod.rs"]
mod encoding;
#[path = "../../src/blocks/read/error.rs"]
mod error;
#[path = "../../src/blocks/read/locate.rs"]
mod locate;
#[path = "../../src/blocks/read/page.rs"]
mod page;
#[path = "../../src/blocks/read/thrift.rs"]
mod thrift;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

use dictionary::parse_dictionary;
use encoding::{ByteArrays, CodeSet};
use page::{Codec, DataPage, LeafShape, Physical};
use thrift::{PageKind, parse_column_index, parse_offset_index, parse_page_header};

/// Entries a page of a fuzzed header may claim: enough for every loop, and quick to go through.
const MAX_ENTRIES: u64 = 5_000;

fuzz_target!(|data: &[u8]| {
    let Some((choices, body)) = data.split_first_chunk::<10>() else { return };
    let [what, physical, levels, codec, kind, encoding, entries, entries_high, rep_len, def_len] =
        *choices;
    if what % 8 == 0 {
        drop(parse_page_header(body));
        drop(parse_column_index(body));
        drop(parse_offset_index(body));
        return;
    }
    let shape = LeafShape {
        max_def: levels % 16,
        max_rep: levels / 16 % 8,
        physical: [Physical::Bool, Physical::I32, Physical::I64, Physical::F64, Physical::Bytes]
            [usize::from(physical % 5)],
        codec: [Codec::None, Codec::Snappy, Codec::Gzip, Codec::Zstd][usize::from(codec % 4)],
    };
    let header = Header {
        kind: [0, 2, 3][usize::from(kind % 3)],
        entries: (u64::from(entries) | u64::from(entries_high) << 8) % MAX_ENTRIES,
        encoding: [0, 2, 3, 5, 6, 8, 7][usize::from(encoding % 7)],
        rep_len: u64::from(rep_len),
        def_len: u64::from(def_len),
        is_compressed: what % 2 == 1,
        // A codec is told how much to expect; a stored page has as many bytes as it has.
        uncompressed_size: match shape.codec {
            Codec::None => body.len() as u64,
            _ => u64::from(what / 8) * 64,
        },
        body,
    };
    let page = Bytes::from(header.write());
    drop(locate::locate_pages(&page, 0, &shape));
    if header.kind == 2 {
        check_dictionary(page, &shape);
    } else if let Ok(page) = DataPage::parse(page, &shape) {
        check_page(&page, &shape);
    }
});

/// A page header and what it precedes.
struct Header<'a> {
    kind: u64,
    entries: u64,
    encoding: u64,
    rep_len: u64,
    def_len: u64,
    is_compressed: bool,
    uncompressed_size: u64,
    body: &'a [u8],
}

impl Header<'_> {
    /// The page, its header in Thrift's compact protocol.
    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        int(&mut out, 1, self.kind);
        int(&mut out, 1, self.uncompressed_size);
        int(&mut out, 1, self.body.len() as u64);
        match self.kind {
            0 => {
                out.push(0x2c); // field 5, a struct
                int(&mut out, 1, self.entries);
                int(&mut out, 1, self.encoding);
                int(&mut out, 1, 3);
                int(&mut out, 1, 3);
            }
            2 => {
                out.push(0x4c); // field 7
                int(&mut out, 1, self.entries);
                int(&mut out, 1, self.encoding);
            }
            _ => {
                out.push(0x5c); // field 8
                int(&mut out, 1, self.entries);
                int(&mut out, 2, self.entries / 2);
                int(&mut out, 1, self.encoding);
                int(&mut out, 1, self.def_len);
                int(&mut out, 1, self.rep_len);
                out.push(0x10 | if self.is_compressed { 1 } else { 2 });
            }
        }
        out.extend([0, 0]);
        out.extend_from_slice(self.body);
        out
    }
}

/// An integer field, `delta` ids after the last one: a zigzag varint.
fn int(out: &mut Vec<u8>, delta: u8, value: u64) {
    out.push(delta << 4 | 5);
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn check_dictionary(page: Bytes, shape: &LeafShape) {
    let Ok(strings) = parse_dictionary(page, shape) else { return };
    let (offsets, data) = strings.into_parts();
    assert!(offsets.is_sorted());
    assert_eq!(offsets.last().map(|end| *end as usize), Some(data.len()));
}

/// Every way to ask a page, and that the ways agree.
fn check_page(page: &DataPage, shape: &LeafShape) {
    let n = page.n_entries();
    let half = n / 2;
    check_levels(n, half, shape.max_rep, |n, out| page.rep_levels_to(n, out).is_ok());
    let whole = check_levels(n, half, shape.max_def, |n, out| page.def_levels_to(n, out).is_ok());
    let n_values = page.n_values();
    if let (Some(levels), Ok(n_values)) = (&whole, &n_values) {
        let full = levels.iter().filter(|level| **level == shape.max_def).count();
        assert_eq!(full, *n_values);
    }
    let n_values = n_values.unwrap_or(0);
    assert!(n_values <= n);
    check_codes(page, n_values);
    match shape.physical {
        Physical::Bool => {
            let mut out = Vec::new();
            assert!(page.bools(&mut out).is_err() || out.len() == n_values);
        }
        Physical::I32 => {
            check_prefix(n_values, |wanted, out| page.i32s_to(wanted, out).is_ok());
        }
        Physical::I64 => {
            check_prefix(n_values, |wanted, out| page.i64s_to(wanted, out).is_ok());
        }
        Physical::F64 => {
            let mut out = Vec::new();
            assert!(page.f64s(&mut out).is_err() || out.len() == n_values);
        }
        Physical::Bytes => {
            let mut out = ByteArrays::new();
            assert!(page.byte_arrays(&mut out).is_err() || out.len() == n_values);
        }
    }
}

fn check_levels(
    n: usize,
    half: usize,
    max: u8,
    read: impl Fn(usize, &mut Vec<u8>) -> bool,
) -> Option<Vec<u8>> {
    let (mut all, mut some) = (Vec::new(), Vec::new());
    if !read(n, &mut all) {
        assert!(all.len() <= n);
        return None;
    }
    assert_eq!(all.len(), n);
    assert!(all.iter().all(|level| *level <= max));
    assert!(read(half, &mut some));
    assert_eq!(some, all[..half]);
    Some(all)
}

fn check_codes(page: &DataPage, n_values: usize) {
    let mut codes = Vec::new();
    if page.codes_to(usize::MAX, &mut codes).is_err() {
        return;
    }
    assert_eq!(codes.len(), n_values);
    let mut some = Vec::new();
    assert!(page.codes_to(n_values / 2, &mut some).is_ok());
    assert_eq!(some, codes[..n_values / 2]);
    let first = codes.first().copied().unwrap_or(1);
    let small = codes.iter().copied().filter(|code| *code < 1 << 16).step_by(2);
    for wanted in [CodeSet::One(first), small.collect()] {
        let mut hits = Vec::new();
        assert!(page.find_codes(&wanted, &mut hits).is_ok());
        let expected = (0_u32..).zip(&codes).filter(|(_, code)| wanted.contains(**code));
        assert!(hits.iter().copied().eq(expected.map(|(at, _)| at)));
    }
}

/// The first half of some values are the values' first half.
fn check_prefix<T: PartialEq + std::fmt::Debug>(
    n_values: usize,
    read: impl Fn(usize, &mut Vec<T>) -> bool,
) {
    let (mut all, mut some) = (Vec::new(), Vec::new());
    if !read(usize::MAX, &mut all) {
        return;
    }
    assert_eq!(all.len(), n_values);
    let half = n_values / 2;
    assert!(read(half, &mut some));
    // A reader may go on to the end of a block of values.
    assert!(some.len() >= half && some.len() <= n_values);
    assert_eq!(some[..], all[..some.len()]);
}
