//! Damaged pages: an error or wrong values, never a panic, never more output than entries.

use bytes::Bytes;

use super::super::dictionary::parse_dictionary;
use super::super::page::{ByteArrays, CodeSet, DataPage, LeafShape, Physical};
use super::super::thrift::{PageKind, parse_column_index, parse_offset_index, parse_page_header};
use super::fixtures::fixtures;
use super::pages;

/// A generator of the same numbers in every run.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

/// Asks a page for everything it has. Returns whether all of it was refused.
fn decode_everything(kind: PageKind, bytes: Bytes, shape: &LeafShape) -> bool {
    if kind == PageKind::Dictionary {
        let Ok(dictionary) = parse_dictionary(bytes, shape) else { return true };
        let (offsets, data) = dictionary.into_parts();
        assert!(offsets.is_sorted());
        assert_eq!(offsets.last().map(|end| *end as usize), Some(data.len()));
        return false;
    }
    let Ok(page) = DataPage::parse(bytes, shape) else { return true };
    let n = page.n_entries();
    let mut levels = Vec::new();
    let mut all_refused = page.rep_levels(&mut levels).is_err();
    assert!(levels.len() <= n);
    assert!(levels.iter().all(|&level| level <= shape.max_rep));
    levels.clear();
    all_refused &= page.def_levels(&mut levels).is_err();
    assert!(levels.len() <= n);
    assert!(levels.iter().all(|&level| level <= shape.max_def));
    let n_values = page.n_values().unwrap_or(0);
    assert!(n_values <= n);
    let mut codes = Vec::new();
    if page.codes_to(usize::MAX, &mut codes).is_ok() {
        assert_eq!(codes.len(), n_values);
        let mut hits = Vec::new();
        page.find_codes(&CodeSet::One(1), &mut hits).unwrap();
        assert!(hits.len() <= n_values);
        all_refused = false;
    }
    let n_decoded = match shape.physical {
        Physical::Bool => {
            let mut out = Vec::new();
            page.bools(&mut out).map(|()| out.len())
        }
        Physical::I32 => {
            let mut out = Vec::new();
            page.i32s_to(usize::MAX, &mut out).map(|()| out.len())
        }
        Physical::I64 => {
            let mut out = Vec::new();
            page.i64s_to(usize::MAX, &mut out).map(|()| out.len())
        }
        Physical::F64 => {
            let mut out = Vec::new();
            page.f64s(&mut out).map(|()| out.len())
        }
        Physical::Bytes => {
            let mut out = ByteArrays::new();
            page.byte_arrays(&mut out).map(|()| out.len())
        }
    };
    if let Ok(n_decoded) = n_decoded {
        assert_eq!(n_decoded, n_values);
        all_refused = false;
    }
    all_refused
}

#[test]
fn damaged_pages_never_panic() {
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let mut n_refused = 0;
    for fixture in fixtures() {
        for (idx, row_group) in fixture.meta.row_groups().iter().enumerate() {
            for (leaf, column) in row_group.columns().iter().enumerate() {
                let shape = LeafShape::of(column.column_descr(), column.compression()).unwrap();
                for (kind, page) in pages(&fixture.chunk(idx, leaf)) {
                    for _ in 0..4 {
                        let end = random.below(page.len());
                        assert!(decode_everything(kind, page.slice(..end), &shape));
                    }
                    let header_len = parse_page_header(&page).unwrap().header_len;
                    for round in 0..16 {
                        let mut damaged = page.to_vec();
                        // Headers and the first bytes of sections break in more ways.
                        let upto = if round % 2 == 0 { header_len + 16 } else { page.len() };
                        for _ in 0..=random.below(3) {
                            let at = random.below(upto.min(page.len()));
                            damaged[at] ^= 1 << random.below(8);
                        }
                        let refused = decode_everything(kind, damaged.into(), &shape);
                        n_refused += usize::from(refused);
                    }
                }
            }
        }
    }
    assert!(n_refused > 1000, "only {n_refused} of the damaged pages were refused whole");
}

#[test]
fn a_checksum_tells_a_flipped_bit() {
    let fixture = &fixtures()[0];
    let column = fixture.meta.row_group(0).column(0);
    let shape = LeafShape::of(column.column_descr(), column.compression()).unwrap();
    let (_, page) = pages(&fixture.chunk(0, 0)).pop().unwrap();
    DataPage::parse(page.clone(), &shape).unwrap().verify_crc().unwrap();
    let mut damaged = page.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    DataPage::parse(damaged.into(), &shape).unwrap().verify_crc().unwrap_err();
}

#[test]
fn damaged_indexes_never_panic() {
    let mut random = Xorshift(42);
    for fixture in fixtures() {
        let column = fixture.meta.row_group(0).column(7);
        for (start, len) in [
            (column.offset_index_offset(), column.offset_index_length()),
            (column.column_index_offset(), column.column_index_length()),
        ] {
            let start = usize::try_from(start.unwrap()).unwrap();
            let index = fixture.bytes.slice(start..start + usize::try_from(len.unwrap()).unwrap());
            for end in 0..index.len() {
                parse_offset_index(&index[..end]).unwrap_err();
                parse_column_index(&index[..end]).unwrap_err();
            }
            for _ in 0..2000 {
                let mut damaged = index.to_vec();
                for _ in 0..=random.below(3) {
                    let at = random.below(damaged.len());
                    damaged[at] ^= 1 << random.below(8);
                }
                let n_locations = parse_offset_index(&damaged).map_or(0, |pages| pages.len());
                let n_bounds = parse_column_index(&damaged).map_or(0, |i| i.null_pages.len());
                assert!(n_locations.max(n_bounds) <= damaged.len());
            }
        }
    }
}
