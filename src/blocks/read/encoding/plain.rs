//! PLAIN: values one after the other.

use super::super::error::{DecodeError, Result};
use super::byte_arrays::ByteArrays;

const WHAT: &str = "plain values";

/// Reads `n` fixed-width little-endian values.
pub(crate) fn plain_numbers<T, const N: usize>(
    bytes: &[u8],
    n: usize,
    from_le_bytes: impl Fn([u8; N]) -> T,
    out: &mut Vec<T>,
) -> Result<()> {
    let values = n
        .checked_mul(N)
        .and_then(|len| bytes.get(..len))
        .ok_or_else(|| missing(n, N, bytes.len()))?;
    out.extend(values.as_chunks::<N>().0.iter().map(|value| from_le_bytes(*value)));
    Ok(())
}

/// Reads `n` booleans, one bit each.
pub(crate) fn plain_bools(bytes: &[u8], n: usize, out: &mut Vec<bool>) -> Result<()> {
    let packed = bytes.get(..n.div_ceil(8)).ok_or_else(|| {
        DecodeError::corrupt(
            WHAT,
            format_args!("{n} bits"),
            format_args!("{} bytes", bytes.len()),
            0,
        )
    })?;
    out.reserve(n);
    let (whole, rest) = packed.split_at(n / 8);
    for &byte in whole {
        out.extend_from_slice(&std::array::from_fn::<bool, 8, _>(|bit| byte >> bit & 1 == 1));
    }
    if let [byte] = rest {
        out.extend((0..n % 8).map(|bit| byte >> bit & 1 == 1));
    }
    Ok(())
}

/// Reads `n` byte strings, each after its 4-byte length.
pub(crate) fn plain_byte_arrays(bytes: &[u8], n: usize, out: &mut ByteArrays) -> Result<()> {
    let prefixes = n
        .checked_mul(4)
        .filter(|&len| len <= bytes.len())
        .ok_or_else(|| missing(n, 4, bytes.len()))?;
    out.reserve(n, bytes.len() - prefixes);
    let mut rest = bytes;
    for idx in 0..n {
        let at = bytes.len() - rest.len();
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(|| {
            DecodeError::corrupt(
                WHAT,
                format_args!("{n} strings"),
                format_args!("an end after {idx}"),
                at,
            )
        })?;
        let length = u32::from_le_bytes(*length) as usize;
        let Some((value, after)) = after.split_at_checked(length) else {
            return Err(DecodeError::corrupt(
                WHAT,
                format_args!("at most {} bytes of string", after.len()),
                length,
                at,
            ));
        };
        out.push(value)?;
        rest = after;
    }
    Ok(())
}

fn missing(n: usize, width: usize, found: usize) -> DecodeError {
    DecodeError::corrupt(
        WHAT,
        format_args!("{n} values of at least {width} bytes"),
        format_args!("{found} bytes"),
        0,
    )
}
