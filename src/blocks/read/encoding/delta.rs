//! DELTA_BINARY_PACKED integers and the DELTA_LENGTH_BYTE_ARRAY strings whose lengths they are.

use super::super::error::{DecodeError, Result};
use super::bits;
use super::byte_arrays::ByteArrays;

const WHAT: &str = "delta-packed values";

/// Writers use blocks of 128 or 256 values in 4 miniblocks; far more would only serve to make the
/// list of widths long.
const MAX_MINIBLOCKS: u64 = 1 << 12;

/// An integer that differences are added to. Arithmetic wraps, as the format demands, so 32 bits
/// can be cut from 64 at any time.
pub(crate) trait DeltaInt: Copy {
    /// Cuts the value to this type's width.
    fn cut(value: u64) -> Self;
}

impl DeltaInt for i64 {
    #[inline(always)]
    fn cut(value: u64) -> Self {
        value.cast_signed()
    }
}

impl DeltaInt for i32 {
    #[expect(clippy::cast_possible_truncation, reason = "this cuts")]
    #[inline(always)]
    fn cut(value: u64) -> Self {
        (value as u32).cast_signed()
    }
}

/// Appends the first `wanted` of `n` integers and returns how many bytes they took.
pub(crate) fn delta_binary_packed<T: DeltaInt>(
    bytes: &[u8],
    n: usize,
    wanted: usize,
    out: &mut Vec<T>,
) -> Result<usize> {
    let mut cursor = Cursor { bytes, pos: 0 };
    let block_size = cursor.varint()?;
    let n_miniblocks = cursor.varint()?;
    let total = cursor.varint()?;
    let mut last = cursor.zigzag()?;

    if !(1..=MAX_MINIBLOCKS).contains(&n_miniblocks)
        || block_size % n_miniblocks != 0
        || !(block_size / n_miniblocks).is_multiple_of(32)
        || block_size == 0
    {
        return Err(cursor.corrupt(
            "blocks of miniblocks of a multiple of 32 values",
            format_args!("{block_size} values in {n_miniblocks} miniblocks"),
        ));
    }
    if usize::try_from(total) != Ok(n) {
        return Err(cursor.corrupt(format_args!("{n} values"), total));
    }
    let Some(mut remaining) = n.min(wanted).checked_sub(1) else { return Ok(cursor.pos) };
    // Cannot be more than the values of a page, whatever the header says.
    let per_miniblock = usize::try_from(block_size / n_miniblocks).unwrap_or(usize::MAX);
    let n_miniblocks = usize::try_from(n_miniblocks).unwrap_or(usize::MAX);

    // A block of 128 values takes at least 5 bytes, so this is enough for honest pages and keeps
    // others from having much for nothing.
    out.reserve(wanted.min(n).min(bytes.len().saturating_mul(32)));
    out.push(T::cut(last));
    while remaining > 0 {
        let min_delta = cursor.zigzag()?;
        let widths = cursor.take(n_miniblocks)?;
        for &width in widths {
            if remaining == 0 {
                // What is left of the widths is arbitrary, and has no miniblocks.
                break;
            }
            if width > 64 {
                return Err(cursor.corrupt("fields of at most 64 bits", width));
            }
            let n = per_miniblock.min(remaining);
            let fields = cursor.rest();
            // The padding of the last miniblock may be missing.
            if n.saturating_mul(usize::from(width)).div_ceil(8) > fields.len() {
                return Err(cursor.corrupt(
                    format_args!("{n} fields of {width} bits"),
                    format_args!("{} bytes", fields.len()),
                ));
            }
            miniblock(width, fields, n, min_delta, &mut last, out);
            cursor.pos += (per_miniblock / 8).saturating_mul(usize::from(width)).min(fields.len());
            remaining -= n;
        }
    }
    Ok(cursor.pos)
}

/// Appends `n` strings: all lengths, then all bytes.
pub(crate) fn delta_length_byte_array(bytes: &[u8], n: usize, out: &mut ByteArrays) -> Result<()> {
    if n == 0 && bytes.is_empty() {
        return Ok(());
    }
    let mut lengths: Vec<i32> = Vec::new();
    let start = delta_binary_packed(bytes, n, n, &mut lengths)?;
    let data = bytes.get(start..).unwrap_or_default();
    let mut total = 0_u64;
    let lengths: Vec<u32> = lengths
        .into_iter()
        .map(|length| {
            let length = u32::try_from(length).map_err(|_| {
                DecodeError::corrupt(WHAT, "a length that is not negative", length, start)
            })?;
            total += u64::from(length);
            Ok(length)
        })
        .collect::<Result<_>>()?;
    let data =
        usize::try_from(total).ok().and_then(|total| data.get(..total)).ok_or_else(|| {
            DecodeError::corrupt(
                WHAT,
                format_args!("{total} bytes of strings"),
                format_args!("{} bytes", data.len()),
                start,
            )
        })?;
    out.extend(&lengths, data)
}

/// Appends the `n` values of one miniblock.
fn miniblock<T: DeltaInt>(
    width: u8,
    fields: &[u8],
    n: usize,
    min_delta: u64,
    last: &mut u64,
    out: &mut Vec<T>,
) {
    macro_rules! dispatch {
        ($($w:literal)*) => {
            match width {
                $($w => kernel::<T, $w>(fields, n, min_delta, last, out),)*
                // The caller has refused wider fields.
                _ => {}
            }
        };
    }
    dispatch!(
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62
        63 64
    );
}

fn kernel<T: DeltaInt, const W: usize>(
    mut fields: &[u8],
    mut n: usize,
    min_delta: u64,
    last: &mut u64,
    out: &mut Vec<T>,
) {
    let mut value = *last;
    let mut deltas = [0; 32];
    let mut values = [T::cut(0); 32];
    while n > 0 {
        bits::unpack_deltas::<W>(fields, &mut deltas);
        let taken = n.min(32);
        if taken == 32 {
            for (slot, delta) in values.iter_mut().zip(&deltas) {
                value = value.wrapping_add(min_delta).wrapping_add(*delta);
                *slot = T::cut(value);
            }
        } else {
            for (slot, delta) in values.iter_mut().zip(&deltas[..taken]) {
                value = value.wrapping_add(min_delta).wrapping_add(*delta);
                *slot = T::cut(value);
            }
        }
        out.extend_from_slice(&values[..taken]);
        fields = fields.get(4 * W..).unwrap_or_default();
        n -= taken;
    }
    *last = value;
}

struct Cursor<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.pos..).unwrap_or_default()
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let taken = self
            .rest()
            .get(..n)
            .ok_or_else(|| self.corrupt(format_args!("{n} bytes"), self.rest().len()))?;
        self.pos += n;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)? else { break };
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.corrupt("a varint of at most 10 bytes", "more"))
    }

    fn zigzag(&mut self) -> Result<u64> {
        let value = self.varint()?;
        Ok((value >> 1) ^ (value & 1).wrapping_neg())
    }

    #[cold]
    fn corrupt(&self, expected: impl ToString, found: impl ToString) -> DecodeError {
        DecodeError::corrupt(WHAT, expected, found, self.pos)
    }
}
