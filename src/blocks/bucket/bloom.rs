//! Bloom shards: may a block hold a trace id? (`blocks.md` 2.) A "no" is certain, a "yes" is not.

use crate::{Error, Result, model::TraceId};

use super::{Block, fetch::At, path};

/// Largest shard read; Tempo's default is 100 KiB.
const MAX_SHARD_BYTES: u64 = 64 << 20;
/// Bytes before the bit set: m, k and the length of the set.
const HEADER_BYTES: usize = 24;
/// More locations per id than any false-positive rate asks for; a shard that wants more is broken.
const MAX_LOCATIONS: u64 = 1024;

/// Whether a block may hold a trace. A block without a folder (a lone Parquet file) may hold any.
///
/// # Errors
///
/// A missing shard is an error: every block has all its shards before it has a meta, so one that is
/// gone means that the block is being deleted or was damaged.
pub async fn may_contain(block: &Block, id: TraceId) -> Result<bool> {
    let shard = fetch_shard(block, id).await?;
    Ok(shard.is_none_or(|(shard, _)| shard.may_contain(id)))
}

/// The shard of a block that knows about an id, and how many bytes it was read from; `None` if the
/// block has no folder.
///
/// # Errors
///
/// As [`may_contain`].
pub(crate) async fn fetch_shard(block: &Block, id: TraceId) -> Result<Option<(BloomShard, u64)>> {
    let Some(folder) = &block.folder else { return Ok(None) };
    let key = path::bloom_shard(folder, shard_of(id, block.meta.bloom_shards));
    let at = At { store: block.store.as_ref(), store_url: &block.store_url };
    let bytes = at.fetch("bloom shard", &key, MAX_SHARD_BYTES).await?;
    Ok(Some((BloomShard::parse(&at.url(&key), &bytes)?, bytes.len() as u64)))
}

/// Which of a block's shards knows about an id: 32-bit FNV-1, multiply then xor.
#[must_use]
pub fn shard_of(id: TraceId, n_shards: u32) -> u32 {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let hash = id.0.iter().fold(OFFSET, |hash, byte| hash.wrapping_mul(PRIME) ^ u32::from(*byte));
    hash.checked_rem(n_shards).unwrap_or(0)
}

/// One shard of a block's bloom filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BloomShard {
    /// Number of bits, at least 1.
    n_bits: u64,
    /// Number of locations an id has.
    n_locations: u64,
    /// Bit i is `words[i / 64] & 1 << (i % 64)`.
    words: Vec<u64>,
}

impl BloomShard {
    /// Reads a `bloom-<n>` object; `key` names it in errors.
    pub fn parse(key: &str, bytes: &[u8]) -> Result<Self> {
        let corrupt = |range: std::ops::Range<u64>, expected: String, found: String| {
            Err(Error::corrupt(key, Some(range), expected, found))
        };
        let length = bytes.len() as u64;
        let (words, rest) = bytes.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_be_bytes(*word));
        let (Some(n_bits), Some(n_locations), Some(n_set_bits)) =
            (words.next(), words.next(), words.next())
        else {
            let expected = format!("a bloom header of {HEADER_BYTES} bytes");
            return corrupt(0..length, expected, format!("{length} bytes"));
        };
        if n_bits == 0 || n_bits != n_set_bits {
            let expected = "a number of bits and its repetition".to_owned();
            return corrupt(0..24, expected, format!("{n_bits} and {n_set_bits}"));
        }
        if !(1..=MAX_LOCATIONS).contains(&n_locations) {
            let expected = format!("1 to {MAX_LOCATIONS} locations per id");
            return corrupt(8..16, expected, n_locations.to_string());
        }
        let words: Vec<u64> = words.collect();
        if words.len() as u64 != n_bits.div_ceil(64) || !rest.is_empty() {
            let expected = format!("{} words for {n_bits} bits", n_bits.div_ceil(64));
            let found = format!("{} bytes", bytes.len() - HEADER_BYTES);
            return corrupt(HEADER_BYTES as u64..length, expected, found);
        }
        Ok(Self { n_bits, n_locations, words })
    }

    /// Whether the id may have been added. `false` is certain.
    #[must_use]
    pub fn may_contain(&self, id: TraceId) -> bool {
        locations(id, self.n_locations, self.n_bits).all(|bit| {
            let word = usize::try_from(bit / 64).ok().and_then(|word| self.words.get(word));
            word.is_some_and(|word| word & (1 << (bit % 64)) != 0)
        })
    }
}

/// The bits of an id in its shard.
pub(crate) fn locations(id: TraceId, n_locations: u64, n_bits: u64) -> impl Iterator<Item = u64> {
    let hashes = hashes(id);
    (0..n_locations).map(move |i| location(hashes, i) % n_bits)
}

/// Location i before the reduction to the number of bits.
fn location(h: [u64; 4], i: u64) -> u64 {
    // The multiplier is h2 for i in {0, 3, 4, 7, 8 …} and h3 for the others.
    let (base, multiplier) = match i % 4 {
        0 => (h[0], h[2]),
        1 => (h[1], h[3]),
        2 => (h[0], h[3]),
        _ => (h[1], h[2]),
    };
    base.wrapping_add(i.wrapping_mul(multiplier))
}

/// The hash of the id and the hash of the id with a byte 1 after it.
fn hashes(id: TraceId) -> [u64; 4] {
    let block = u128::from_le_bytes(id.0);
    let [h0, h1] = murmur3(block, None);
    let [h2, h3] = murmur3(block, Some(1));
    [h0, h1, h2, h3]
}

/// MurmurHash3 x64-128 with seed 0 of one full block of 16 bytes and at most one byte after it,
/// which is all a trace id ever needs.
fn murmur3(block: u128, tail: Option<u8>) -> [u64; 2] {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let [low, high] = [block & u128::from(u64::MAX), block >> 64]
        .map(|half| u64::try_from(half).expect("half of 128 bits fits 64"));

    let (mut h1, mut h2) = (0_u64, 0_u64);
    h1 ^= mix1(low);
    h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
    h2 ^= mix2(high);
    h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    let mut n_bytes = 16;
    if let Some(byte) = tail {
        h1 ^= mix1(u64::from(byte));
        n_bytes += 1;
    }

    h1 ^= n_bytes;
    h2 ^= n_bytes;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish(h1);
    h2 = finish(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    [h1, h2]
}

fn finish(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The worked example of `blocks.md` 2: three shards of 160 bits, three ids.
    const SHARDS: [[u64; 6]; 3] = [
        [160, 7, 160, 0x0000_2200_0000_0000, 0x0050_4000_040c_9208, 0x0000_0000_0080_0000],
        [160, 7, 160, 0, 0, 0],
        [160, 7, 160, 0x0000_0000_5010_0000, 0x0000_0000_0000_0500, 0x0000_0000_0000_0104],
    ];

    fn id(last: u8) -> TraceId {
        let mut id = [0; 16];
        id[0] = 0xa0;
        id[15] = last;
        TraceId(id)
    }

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn hashes_are_those_of_the_worked_example() {
        for (last, shard, expect, bits) in [
            (
                1,
                0,
                [
                    0xcfad_a011_24b2_38cc,
                    0xdc77_ff45_6f1a_063b,
                    0x5b4a_aea4_ff0c_f85a,
                    0x068d_86be_3fd3_13b7,
                ],
                [76, 82, 90, 73, 116, 110, 118],
            ),
            (
                2,
                0,
                [
                    0x6476_ae38_90a5_db37,
                    0xa2e8_46c5_40f9_6946,
                    0xaeaa_9764_ecb5_ca1f,
                    0x1be9_4044_7c17_93a9,
                ],
                [151, 79, 41, 67, 83, 83, 45],
            ),
            (
                3,
                2,
                [
                    0xa7d1_5684_44d3_49fe,
                    0xb809_15f9_316d_bb9f,
                    0x80b2_428d_ca59_1f99,
                    0xecc1_54f4_f71d_37b5,
                ],
                [30, 20, 136, 74, 130, 72, 28],
            ),
        ] {
            assert_eq!(shard_of(id(last), 3), shard);
            let hashes = hashes(id(last));
            assert_eq!(hashes, expect);
            assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|i| location(hashes, i) % 160), bits);
        }
    }

    #[test]
    fn shards_know_their_ids_and_no_others() {
        let shards = SHARDS.map(|words| BloomShard::parse("bloom", &bytes(&words)).unwrap());
        for last in 1..=3 {
            let home = usize::try_from(shard_of(id(last), 3)).unwrap();
            assert!(shards[home].may_contain(id(last)));
        }
        assert!(shards.iter().all(|shard| !shard.may_contain(id(4))));
        assert!(!shards[1].may_contain(id(1)));
    }

    #[test]
    fn broken_shards_are_corrupt() {
        let good = bytes(&SHARDS[0]);
        let with = |i: usize, word: u64| {
            let mut words = SHARDS[0];
            words[i] = word;
            bytes(&words)
        };
        for (bytes, expect) in [
            (Vec::new(), "bloom is corrupt at bytes 0..0: expected a bloom header"),
            (good[..23].to_vec(), "a bloom header of 24 bytes, found 23 bytes"),
            (good[..47].to_vec(), "expected 3 words for 160 bits, found 23 bytes"),
            (good[..40].to_vec(), "found 16 bytes"),
            (with(0, 161), "found 161 and 160"),
            (with(1, 0), "locations per id, found 0"),
            (with(1, 1 << 63), "found 9223372036854775808"),
            (bytes(&[0, 7, 0]), "found 0 and 0"),
            (bytes(&[u64::MAX, 7, u64::MAX]), "words for 18446744073709551615 bits"),
        ] {
            let error = BloomShard::parse("bloom", &bytes).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }

    /// Every trace id a block was written from is in its shards, and few others are.
    #[test]
    fn shards_written_by_tempo_know_the_ids_of_their_block() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/blocks/fixtures/vParquet5/synthetic/",
            "55555555-0000-4000-8000-000000000001"
        );
        let shards: BTreeMap<u32, BloomShard> = (0..4)
            .map(|n| {
                let bytes = std::fs::read(format!("{folder}/bloom-{n}")).unwrap();
                (n, BloomShard::parse("bloom", &bytes).unwrap())
            })
            .collect();
        let may_contain = |id| shards[&shard_of(id, 4)].may_contain(id);
        let traces = std::fs::read_to_string(format!("{folder}/traces.otlp.jsonl")).unwrap();
        // One trace a line; ids after the first in it may be those of links.
        let ids: Vec<_> = traces
            .lines()
            .map(|line| line.split_once("\"traceId\":\"").unwrap().1)
            .map(|text| u128::from_str_radix(&text[..32], 16).unwrap())
            .collect();
        assert_eq!(ids.len(), 52);
        for id in &ids {
            assert!(may_contain(TraceId(id.to_be_bytes())), "{id:032x}");
        }
        let n_false = (0..10_000_u128).filter(|n| may_contain(TraceId(n.to_be_bytes()))).count();
        assert!(n_false < 300, "{n_false} of 10000");
    }
}
