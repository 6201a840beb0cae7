//! The hybrid of runs and bit-packed groups that holds levels, dictionary codes and booleans.
//!
//! Knows no page: it is given the runs' bytes, the field width and the number of values.

use super::super::error::{DecodeError, Result};
use super::bits;
use super::code_set::CodeSet;

/// Dictionary codes have at most 32 bits.
const MAX_WIDTH: u8 = 32;

/// A stretch of values that are stored alike.
enum Run<'a> {
    /// The same value `n` times.
    Repeated { value: u32, n: usize },
    /// `n` fields. The bytes go on past them to the end of the section, so that the kernels can
    /// load whole words nearly everywhere.
    Packed { bytes: &'a [u8], n: usize },
}

/// Walks the runs of a section.
struct Runs<'a> {
    rest: &'a [u8],
    len: usize,
    width: u8,
    remaining: usize,
}

impl<'a> Runs<'a> {
    fn new(bytes: &'a [u8], width: u8, n: usize) -> Self {
        Self { rest: bytes, len: bytes.len(), width, remaining: n }
    }

    /// The next run, cut to the values that are still expected; `None` once all were seen.
    #[inline(always)]
    fn next(&mut self) -> Result<Option<Run<'a>>> {
        while self.remaining > 0 {
            if self.width == 0 {
                // Some writers leave out the runs of a section whose only value is 0.
                let n = std::mem::take(&mut self.remaining);
                return Ok(Some(Run::Repeated { value: 0, n }));
            }
            let header = match *self.rest {
                [byte, ref rest @ ..] if byte < 0x80 => {
                    self.rest = rest;
                    u64::from(byte)
                }
                _ => self.long_header()?,
            };
            // A count that does not fit is more than we want anyway.
            let count = usize::try_from(header >> 1).unwrap_or(usize::MAX);
            if header & 1 == 1 {
                let n = count.saturating_mul(8).min(self.remaining);
                let bytes = self.rest;
                // The padding of the last group may be missing.
                if (n * usize::from(self.width)).div_ceil(8) > bytes.len() {
                    return Err(self.corrupt(
                        format_args!("{n} fields of {} bits", self.width),
                        format_args!("{} bytes", bytes.len()),
                    ));
                }
                let len = count.saturating_mul(usize::from(self.width)).min(bytes.len());
                self.rest = &bytes[len..];
                if n > 0 {
                    self.remaining -= n;
                    return Ok(Some(Run::Packed { bytes, n }));
                }
            } else {
                let value_len = usize::from(self.width).div_ceil(8);
                let Some((value, rest)) = self.rest.split_at_checked(value_len) else {
                    return Err(self.corrupt(
                        format_args!("a value of {value_len} bytes"),
                        format_args!("{} bytes", self.rest.len()),
                    ));
                };
                let value = value.iter().rev().fold(0, |v, &byte| v << 8 | u32::from(byte));
                if u64::from(value) >> self.width != 0 {
                    return Err(self.corrupt(format_args!("a value of {} bits", self.width), value));
                }
                self.rest = rest;
                let n = count.min(self.remaining);
                if n > 0 {
                    self.remaining -= n;
                    return Ok(Some(Run::Repeated { value, n }));
                }
            }
        }
        Ok(None)
    }

    /// A run header of more than one byte.
    #[cold]
    fn long_header(&mut self) -> Result<u64> {
        let mut header = 0;
        for shift in (0..64).step_by(7) {
            let Some((&byte, rest)) = self.rest.split_first() else {
                return Err(self.corrupt(
                    format_args!("{} more values", self.remaining),
                    "the end of the bytes",
                ));
            };
            self.rest = rest;
            header |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(header);
            }
        }
        Err(self.corrupt("a run header of at most 10 bytes", "more"))
    }

    #[cold]
    fn corrupt(&self, expected: impl ToString, found: impl ToString) -> DecodeError {
        DecodeError::corrupt("runs", expected, found, self.len - self.rest.len())
    }
}

/// Calls `$kernel::<W>$args` for the width given at run time.
macro_rules! with_width {
    ($width:expr, [$($w:literal)*], $kernel:ident $args:tt) => {
        match $width {
            $($w => $kernel::<$w> $args,)*
            width => Err(too_wide(width)),
        }
    };
}

#[cold]
fn too_wide(width: u8) -> DecodeError {
    DecodeError::corrupt("runs", format_args!("fields of at most {MAX_WIDTH} bits"), width, 0)
}

/// Bits of a field that holds levels up to `max`.
pub(crate) fn level_width(max: u8) -> u8 {
    u8::try_from(u8::BITS - max.leading_zeros()).unwrap_or(8)
}

/// Appends `n` levels, each at most `max`.
pub(crate) fn levels(bytes: &[u8], max: u8, n: usize, out: &mut Vec<u8>) -> Result<()> {
    fn kernel<const W: usize>(mut runs: Runs<'_>, mut out: &mut [u8]) -> Result<()> {
        while let Some(run) = runs.next()? {
            match run {
                Run::Repeated { value, n } => {
                    let (run, rest) = out.split_at_mut(n);
                    // At most 8 bits: `next` has compared the value with the width.
                    run.fill(value.to_le_bytes()[0]);
                    out = rest;
                }
                Run::Packed { bytes, n } => {
                    let (run, rest) = out.split_at_mut(n);
                    bits::unpack_bytes::<W>(bytes, run);
                    out = rest;
                }
            }
        }
        Ok(())
    }

    let start = out.len();
    out.resize(start + n, 0);
    let levels = &mut out[start..];
    if max == 0 {
        return Ok(());
    }
    let width = level_width(max);
    let runs = Runs::new(bytes, width, n);
    let mut decoded = with_width!(width, [1 2 3 4 5 6 7 8], kernel(runs, levels));
    if decoded.is_ok() && max.count_ones() != u32::from(width) {
        let found = levels.iter().copied().max().unwrap_or_default();
        if found > max {
            decoded = Err(DecodeError::corrupt("levels", format_args!("at most {max}"), found, 0));
        }
    }
    if decoded.is_err() {
        out.truncate(start);
    }
    decoded
}

/// Counts the levels that equal `max`, without expanding them.
pub(crate) fn count_levels(bytes: &[u8], max: u8, n: usize) -> Result<usize> {
    fn kernel<const W: usize>(mut runs: Runs<'_>, wanted: u8) -> Result<usize> {
        let mut count = 0;
        while let Some(run) = runs.next()? {
            count += match run {
                Run::Repeated { value, n } if value == u32::from(wanted) => n,
                Run::Repeated { .. } => 0,
                Run::Packed { bytes, n } => bits::count_code::<W>(bytes, n, wanted),
            };
        }
        Ok(count)
    }

    if max == 0 {
        return Ok(n);
    }
    let width = level_width(max);
    let runs = Runs::new(bytes, width, n);
    with_width!(width, [1 2 3 4 5 6 7 8], kernel(runs, max))
}

/// Appends `n` booleans stored as runs.
pub(crate) fn rle_bools(bytes: &[u8], n: usize, out: &mut Vec<bool>) -> Result<()> {
    let mut values = Vec::new();
    levels(bytes, 1, n, &mut values)?;
    out.extend(values.iter().map(|&value| value != 0));
    Ok(())
}

/// Appends `n` codes of `width` bits.
pub(crate) fn codes(bytes: &[u8], width: u8, n: usize, out: &mut Vec<u32>) -> Result<()> {
    fn kernel<const W: usize>(mut runs: Runs<'_>, mut out: &mut [u32]) -> Result<()> {
        while let Some(run) = runs.next()? {
            match run {
                Run::Repeated { value, n } => {
                    let (run, rest) = out.split_at_mut(n);
                    run.fill(value);
                    out = rest;
                }
                Run::Packed { bytes, n } => {
                    let (run, rest) = out.split_at_mut(n);
                    bits::unpack_codes::<W>(bytes, run);
                    out = rest;
                }
            }
        }
        Ok(())
    }

    let start = out.len();
    out.resize(start + n, 0);
    if width == 0 {
        return Ok(());
    }
    let runs = Runs::new(bytes, width, n);
    let decoded = with_width!(
        width,
        [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32],
        kernel(runs, &mut out[start..])
    );
    if decoded.is_err() {
        out.truncate(start);
    }
    decoded
}

/// Appends the positions among `n` codes that are wanted.
pub(crate) fn find_codes(
    bytes: &[u8],
    width: u8,
    n: usize,
    wanted: &CodeSet,
    hits: &mut Vec<u32>,
) -> Result<()> {
    fn kernel<const W: usize>(
        mut runs: Runs<'_>,
        wanted: &CodeSet,
        hits: &mut Vec<u32>,
    ) -> Result<()> {
        let mut base = 0_u32;
        while let Some(run) = runs.next()? {
            let n = match run {
                Run::Repeated { value, n } => {
                    if wanted.contains(value) {
                        hits.extend(base..base.saturating_add(position(n)));
                    }
                    n
                }
                Run::Packed { bytes, n } => {
                    let hit = |idx| hits.push(base + position(idx));
                    match wanted {
                        CodeSet::One(code) => bits::find_code::<W>(bytes, n, *code, hit),
                        CodeSet::Many(codes) => {
                            bits::find_codes::<W>(bytes, n, |code| codes.contains(code), hit);
                        }
                    }
                    n
                }
            };
            base = base.saturating_add(position(n));
        }
        Ok(())
    }

    if wanted.is_empty() {
        return Ok(());
    }
    if width == 0 {
        if wanted.contains(0) {
            hits.extend(0..position(n));
        }
        return Ok(());
    }
    let runs = Runs::new(bytes, width, n);
    with_width!(
        width,
        [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32],
        kernel(runs, wanted, hits)
    )
}

/// A position in a page, of which there are at most 2^31.
#[expect(clippy::cast_possible_truncation, reason = "page counts have at most 31 bits")]
#[inline(always)]
fn position(idx: usize) -> u32 {
    idx as u32
}
