//! Bit-packed fields, in groups of eight: the innermost loops of the product.
//!
//! Eight fields of `W` bits fill `W` bytes, so a group always starts on a byte. All widths are
//! const parameters: each kernel is compiled once a width, with constant shifts and no bounds
//! checks, because it works on a window whose length the compiler knows.

/// Longest window a group needs: 32 bytes of fields and room for the last 8-byte load.
const MAX_WINDOW: usize = 40;

/// One bit at the bottom of each of `n` fields.
const fn low_bits(width: usize, n: usize) -> u64 {
    let mut mask = 0;
    let mut i = 0;
    // Kernels for wide fields name masks they do not use, so what does not fit is left out.
    while i < n && i * width < 64 {
        mask |= 1 << (i * width);
        i += 1;
    }
    mask
}

const fn mask(width: usize) -> u64 {
    if width >= 64 { u64::MAX } else { (1 << width) - 1 }
}

/// Reads the 8 bytes at `at` of a window known to hold them.
#[inline(always)]
fn load(window: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&window[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Calls `each(idx, window)` for every group that has fields among the first `n`. A window starts
/// at its group and is `W + 8` bytes long; past the end of `bytes` it holds zeros.
#[inline(always)]
fn for_each_group<const W: usize>(bytes: &[u8], n: usize, mut each: impl FnMut(usize, &[u8])) {
    let n_groups = n.div_ceil(8);
    let mut idx = 0;
    while idx < n_groups {
        let Some(window) = bytes.get(idx * W..idx * W + W + 8) else { break };
        each(idx, window);
        idx += 1;
    }
    while idx < n_groups {
        let mut window = [0; MAX_WINDOW];
        let rest = bytes.get(idx * W..).unwrap_or_default();
        let len = rest.len().min(W + 8);
        window[..len].copy_from_slice(&rest[..len]);
        each(idx, &window[..W + 8]);
        idx += 1;
    }
}

/// Moves eight fields of at most 8 bits into a byte each.
#[inline(always)]
const fn spread<const W: usize>(fields: u64) -> u64 {
    let x = fields & mask(8 * W);
    // Halve again and again: 4 fields to each 32 bits, 2 to each 16, 1 to each 8.
    let low = mask(4 * W);
    let x = (x & low) | ((x & !low) << (32 - 4 * W));
    let low = mask(2 * W) * 0x0000_0001_0000_0001;
    let x = (x & low) | ((x & !low) << (16 - 2 * W));
    let low = mask(W) * 0x0001_0001_0001_0001;
    (x & low) | ((x & !low) << (8 - W))
}

/// The eight fields of the group at the start of a window.
#[expect(clippy::cast_possible_truncation, reason = "masked to at most 32 bits")]
#[inline(always)]
fn unpack_group<const W: usize>(window: &[u8]) -> [u32; 8] {
    if W <= 8 {
        return spread::<W>(load(window, 0)).to_le_bytes().map(u32::from);
    }
    std::array::from_fn(|i| (load(window, i * W / 8) >> (i * W % 8) & mask(W)) as u32)
}

/// Unpacks `out.len()` fields of at most 8 bits.
#[inline(always)]
pub(super) fn unpack_bytes<const W: usize>(bytes: &[u8], out: &mut [u8]) {
    let n = out.len();
    for_each_group::<W>(bytes, n, |idx, window| {
        let values = spread::<W>(load(window, 0)).to_le_bytes();
        let out = &mut out[idx * 8..];
        match out.first_chunk_mut::<8>() {
            Some(out) => *out = values,
            None => out.copy_from_slice(&values[..out.len()]),
        }
    });
}

/// Unpacks `out.len()` fields.
#[inline(always)]
pub(super) fn unpack_codes<const W: usize>(bytes: &[u8], out: &mut [u32]) {
    let n = out.len();
    for_each_group::<W>(bytes, n, |idx, window| {
        let values = unpack_group::<W>(window);
        let out = &mut out[idx * 8..];
        match out.first_chunk_mut::<8>() {
            Some(out) => *out = values,
            None => out.copy_from_slice(&values[..out.len()]),
        }
    });
}

/// Marks which of eight fields satisfy `wanted`, one bit a field.
#[inline(always)]
fn group_mask<const W: usize>(window: &[u8], wanted: impl Fn(u32) -> bool) -> u32 {
    let values = unpack_group::<W>(window);
    values.iter().rev().fold(0, |mask, &value| mask << 1 | u32::from(wanted(value)))
}

/// Marks the top bit of each field that is zero; `low` has the bottom bit of each field.
#[inline(always)]
const fn zero_fields(fields: u64, width: usize, low: u64) -> u64 {
    let top = low << (width - 1);
    let below_top = top.wrapping_sub(low);
    // A field's lower bits carry into its top bit unless they are all zero. No carry leaves a
    // field, so unlike the usual "has a zero byte" trick the marks are exact.
    !(((fields & below_top).wrapping_add(below_top)) | fields) & top
}

/// Calls `hit` with the position of every one of the first `n` fields that equals `code`.
#[inline(always)]
pub(super) fn find_code<const W: usize>(
    bytes: &[u8],
    n: usize,
    code: u32,
    mut hit: impl FnMut(usize),
) {
    if u64::from(code) > mask(W) {
        return;
    }
    if W > 16 {
        find_codes::<W>(bytes, n, |value| value == code, hit);
        return;
    }
    let mut marks = |first: usize, mut marks: u64| {
        while marks != 0 {
            let idx = first + marks.trailing_zeros() as usize / W;
            // The last group is filled up with fields that are not values.
            if idx < n {
                hit(idx);
            }
            marks &= marks - 1;
        }
    };
    if W <= 8 {
        let low = const { low_bits(W, 8) };
        let pattern = low * u64::from(code);
        for_each_group::<W>(bytes, n, |idx, window| {
            marks(idx * 8, zero_fields(load(window, 0) ^ pattern, W, low));
        });
    } else {
        let low = const { low_bits(W, 4) };
        let pattern = low * u64::from(code);
        for_each_group::<W>(bytes, n, |idx, window| {
            let first = load(window, 0) ^ pattern;
            let second = (load(window, W / 2) >> (4 * W % 8)) ^ pattern;
            marks(idx * 8, zero_fields(first, W, low));
            marks(idx * 8 + 4, zero_fields(second, W, low));
        });
    }
}

/// Calls `hit` with the position of every one of the first `n` fields that is `wanted`.
#[inline(always)]
pub(super) fn find_codes<const W: usize>(
    bytes: &[u8],
    n: usize,
    wanted: impl Fn(u32) -> bool,
    mut hit: impl FnMut(usize),
) {
    for_each_group::<W>(bytes, n, |idx, window| {
        let mut mask = group_mask::<W>(window, &wanted);
        while mask != 0 {
            let idx = idx * 8 + mask.trailing_zeros() as usize;
            if idx < n {
                hit(idx);
            }
            mask &= mask - 1;
        }
    });
}

/// Counts the fields of at most 8 bits, among the first `n`, that equal `value`.
#[inline(always)]
pub(super) fn count_code<const W: usize>(bytes: &[u8], n: usize, value: u8) -> usize {
    let low = const { low_bits(W, 8) };
    let pattern = low.wrapping_mul(u64::from(value));
    let mut count = 0;
    for_each_group::<W>(bytes, n, |idx, window| {
        let marks = zero_fields(load(window, 0) ^ pattern, W, low);
        let n_fields = (n - idx * 8).min(8);
        count += (marks & mask(n_fields * W)).count_ones() as usize;
    });
    count
}

/// Unpacks 32 fields of up to 64 bits from the start of `bytes`, which may end early: what is
/// missing reads as zero.
#[inline(always)]
pub(super) fn unpack_deltas<const W: usize>(bytes: &[u8], out: &mut [u64; 32]) {
    /// 256 bytes of fields and room for the last 16-byte load.
    const WINDOW: usize = 272;
    if let Some(window) = bytes.get(..4 * W + 16) {
        unpack_32::<W>(window, out);
    } else {
        let mut window = [0; WINDOW];
        let len = bytes.len().min(4 * W);
        window[..len].copy_from_slice(&bytes[..len]);
        unpack_32::<W>(&window[..4 * W + 16], out);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low 64 of 128 bits are wanted")]
#[inline(always)]
fn unpack_32<const W: usize>(window: &[u8], out: &mut [u64; 32]) {
    for (i, value) in out.iter_mut().enumerate() {
        let (at, shift) = (i * W / 8, i * W % 8);
        let fields = if W <= 57 {
            load(window, at) >> shift
        } else {
            let wide = u128::from(load(window, at)) | u128::from(load(window, at + 8)) << 64;
            (wide >> shift) as u64
        };
        *value = fields & mask(W);
    }
}
