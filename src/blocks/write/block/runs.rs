//! The hybrid of runs and bit-packed groups that levels and dictionary codes are stored in. What reads
//! it is [`crate::read::encoding`].

use prost::encoding::encode_varint;

/// Values of a bit-packed group.
const GROUP: usize = 8;
/// Groups of one header at most: some readers take headers of one byte alone.
const MAX_GROUPS: usize = 63;

/// Bits that hold values up to this one.
pub(super) fn width(max: u32) -> u8 {
    u8::try_from(u32::BITS - max.leading_zeros()).unwrap_or(32)
}

/// Appends values, each of at most `width` bits. Of what repeats often enough a run is made.
pub(super) fn push<T: Copy + PartialEq + Into<i64>>(values: &[T], width: u8, to: &mut Vec<u8>) {
    // Values from `start` on are to be packed.
    let (mut start, mut at) = (0, 0);
    while at < values.len() {
        let n_equal = values[at..].iter().take_while(|value| **value == values[at]).count();
        // What is packed comes in whole groups, so the beginning of a run may have to fill one up.
        let n_filling = (GROUP - (at - start) % GROUP) % GROUP;
        if n_equal < n_filling + GROUP {
            at += n_equal;
            continue;
        }
        pack(&values[start..at + n_filling], width, to);
        encode_varint(((n_equal - n_filling) as u64) << 1, to);
        let bytes = values[at].into().to_le_bytes();
        to.extend_from_slice(&bytes[..usize::from(width).div_ceil(8)]);
        at += n_equal;
        start = at;
    }
    pack(&values[start..], width, to);
}

/// Appends bit-packed values; the last group is filled up with zeros.
fn pack<T: Copy + Into<i64>>(values: &[T], width: u8, to: &mut Vec<u8>) {
    for values in values.chunks(MAX_GROUPS * GROUP) {
        let n_groups = values.len().div_ceil(GROUP);
        encode_varint((n_groups as u64) << 1 | 1, to);
        let end = to.len() + n_groups * usize::from(width);
        let (mut bits, mut n_bits) = (0_u64, 0_u32);
        for value in values {
            bits |= (*value).into().cast_unsigned() << n_bits;
            n_bits += u32::from(width);
            while n_bits >= 8 {
                to.push(bits.to_le_bytes()[0]);
                bits >>= 8;
                n_bits -= 8;
            }
        }
        to.push(bits.to_le_bytes()[0]);
        to.resize(end, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::read::encoding;

    #[test]
    fn runs_fill_up_the_group_before_them() {
        let encoded = |values: &[u32]| {
            let mut to = Vec::new();
            push(values, 1, &mut to);
            to
        };
        assert_eq!(encoded(&[]), [0_u8; 0]);
        assert_eq!(encoded(&[1; 9]), [18, 1]);
        assert_eq!(encoded(&[1; 7]), [3, 0x7f]);
        assert_eq!(encoded(&[[0, 1].as_slice(), &[1; 13]].concat()), [5, 0xfe, 0x7f]);
        assert_eq!(encoded(&[[0, 1].as_slice(), &[1; 14]].concat()), [3, 0xfe, 16, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(
            runs in vec((any::<u32>(), prop_oneof![3 => 1..4_usize, 1 => 1..2_000_usize]), 0..40),
            bits in 0..=32_u32,
        ) {
            let max = u32::MAX.checked_shr(32 - bits).unwrap_or(0);
            let runs = runs.into_iter();
            let values: Vec<u32> =
                runs.flat_map(|(value, n)| std::iter::repeat_n(value & max, n)).collect();
            let mut bytes = Vec::new();
            push(&values, width(max), &mut bytes);
            let mut read = Vec::new();
            encoding::codes(&bytes, width(max), values.len(), &mut read).unwrap();
            prop_assert_eq!(read, values);
        }
    }
}
