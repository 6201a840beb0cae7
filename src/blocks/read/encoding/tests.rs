//! The kernels against bits packed one by one, at every width and ragged end.

use super::*;

/// Packs fields least significant bit first and fills up the last group of eight.
fn pack(width: u8, values: &[u32]) -> Vec<u8> {
    let mut bits = Vec::new();
    for &value in values {
        bits.extend((0..width).map(|bit| value >> bit & 1 == 1));
    }
    bits.resize(values.len().div_ceil(8) * 8 * usize::from(width), false);
    bits.chunks(8).map(|b| b.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit))).collect()
}

/// Runs that alternate: 3 equal values, then a bit-packed stretch.
fn runs(width: u8, packed: &[u32], repeated: u32) -> (Vec<u8>, Vec<u32>) {
    let value_len = usize::from(width).div_ceil(8);
    let mut bytes = vec![3 << 1];
    bytes.extend_from_slice(&repeated.to_le_bytes()[..value_len]);
    let n_groups = u8::try_from(packed.len().div_ceil(8)).unwrap();
    assert!(n_groups < 64);
    bytes.push(n_groups << 1 | 1);
    bytes.extend(pack(width, packed));
    let mut values = vec![repeated; 3];
    values.extend_from_slice(packed);
    (bytes, values)
}

fn values(width: u8, n: usize) -> Vec<u32> {
    let mut x = 0x2545_f491_u32;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Few distinct values, so that there are hits.
        if x >> 31 == 0 { x.rotate_left(9) } else { x >> 29 }
    };
    (0..n).map(|_| next() & u32::MAX.checked_shr(32 - u32::from(width)).unwrap_or(0)).collect()
}

#[test]
fn every_width_unpacks_and_scans() {
    for width in 1..=32 {
        for n in [1, 7, 8, 9, 31, 64, 65, 200] {
            let packed = values(width, n);
            let (bytes, expected) = runs(width, &packed, packed[n / 2]);
            let n = expected.len();
            let mut found = Vec::new();
            codes(&bytes, width, n, &mut found).unwrap();
            assert_eq!(found, expected, "width {width}");
            let mut wanted: Vec<CodeSet> =
                expected[..n.min(12)].iter().map(|&code| CodeSet::One(code)).collect();
            wanted.push(CodeSet::One(0));
            wanted.push(CodeSet::One(u32::MAX));
            if width < 20 {
                wanted.push(expected[..n / 2].iter().copied().collect());
            }
            for wanted in wanted {
                let naive: Vec<u32> = (0..)
                    .zip(&expected)
                    .filter(|&(_, &code)| wanted.contains(code))
                    .map(|(idx, _)| idx)
                    .collect();
                let mut hits = Vec::new();
                find_codes(&bytes, width, n, &wanted, &mut hits).unwrap();
                assert_eq!(hits, naive, "width {width}, {wanted:?}");
            }
            if width <= 8 {
                let max = u8::MAX >> (8 - width);
                let mut found = Vec::new();
                levels(&bytes, max, n, &mut found).unwrap();
                assert!(found.iter().map(|&level| u32::from(level)).eq(expected.iter().copied()));
                let n_max = expected.iter().filter(|&&level| level == u32::from(max)).count();
                assert_eq!(count_levels(&bytes, max, n).unwrap(), n_max);
            }
        }
    }
}

#[test]
fn padding_may_be_missing_but_values_may_not() {
    let packed = values(5, 13);
    let (mut bytes, expected) = runs(5, &packed, 1);
    let needed = 1 + 1 + 1 + (13 * 5_usize).div_ceil(8);
    bytes.truncate(needed);
    let mut found = Vec::new();
    codes(&bytes, 5, 16, &mut found).unwrap();
    assert_eq!(found, expected);
    bytes.truncate(needed - 1);
    codes(&bytes, 5, 16, &mut found).unwrap_err();
    assert_eq!(found, expected, "a failed read appends nothing");
}

#[test]
fn a_level_past_the_largest_is_corrupt() {
    let (bytes, _) = runs(3, &[0, 1, 5], 2);
    let mut found = Vec::new();
    levels(&bytes, 5, 6, &mut found).unwrap();
    found.clear();
    let error = levels(&bytes, 4, 6, &mut found).unwrap_err();
    assert_eq!(error.to_string(), "levels: expected at most 4, found 5 at byte 0");
    assert!(found.is_empty());
}

#[test]
fn claims_beyond_the_bytes_are_refused() {
    let mut found = Vec::new();
    // A bit-packed run of 2^62 groups, a repeated run without its value, a header without end.
    for bytes in [&[0xff; 8][..], &[0x04], &[0xff; 16], &[]] {
        codes(bytes, 9, 1 << 20, &mut found).unwrap_err();
        assert!(found.is_empty());
    }
    codes(&[4, 1], 33, 2, &mut found).unwrap_err();
    // A delta block that claims more values than the page has, and one of no miniblocks.
    for bytes in
        [&[128, 1, 4, 200, 1, 0][..], &[128, 1, 0, 2, 0], &[128, 1, 4, 2, 0, 0, 65, 0, 0, 0]]
    {
        delta_binary_packed::<i64>(bytes, 2, 2, &mut Vec::new()).unwrap_err();
    }
}

#[test]
fn a_section_of_no_bits_is_all_zeros() {
    let (mut found, mut hits) = (Vec::new(), Vec::new());
    codes(&[], 0, 3, &mut found).unwrap();
    assert_eq!(found, [0, 0, 0]);
    find_codes(&[], 0, 3, &CodeSet::One(0), &mut hits).unwrap();
    assert_eq!(hits, [0, 1, 2]);
    find_codes(&[], 0, 3, &CodeSet::One(1), &mut hits).unwrap();
    assert_eq!(hits, [0, 1, 2]);
}

#[test]
fn byte_arrays_keep_strings_apart() {
    let mut arrays: ByteArrays = ["a", "", "bcd"].into_iter().collect();
    arrays.push(b"e").unwrap();
    assert_eq!(arrays.len(), 4);
    assert_eq!(arrays.get(1), Some(&b""[..]));
    assert_eq!(arrays.get(3), Some(&b"e"[..]));
    assert_eq!(arrays.get(4), None);
    assert_eq!(arrays.iter().collect::<Vec<_>>(), [&b"a"[..], b"", b"bcd", b"e"]);
    assert_eq!(arrays.into_parts(), (vec![0, 1, 1, 4, 5], b"abcde".to_vec()));
}

#[test]
fn a_set_of_codes_is_one_or_many() {
    assert_eq!([7, 7].into_iter().collect::<CodeSet>(), CodeSet::One(7));
    let many: CodeSet = [200, 3].into_iter().collect();
    assert!(many.contains(3) && many.contains(200) && !many.contains(199) && !many.contains(9_999));
    let CodeSet::Many(bitmap) = many else { panic!("two codes are many") };
    assert_eq!(bitmap.iter().collect::<Vec<_>>(), [3, 200]);
}
