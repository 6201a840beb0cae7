//! The bloom filter of a block, in shards (`blocks.md` 2). What is asked of one is in
//! [`crate::bucket::bloom`].

use super::settings::BloomSettings;
use crate::bucket::bloom::{locations, shard_of};
use crate::model::TraceId;

/// Most shards of a block.
const MAX_SHARDS: u32 = 1000;

/// The shards of a block under construction.
#[derive(Debug)]
pub(super) struct BloomFilter {
    /// Bits of one shard.
    n_bits: u64,
    /// Locations of an id.
    n_locations: u64,
    /// The bits of each shard.
    shards: Vec<Vec<u64>>,
}

impl BloomFilter {
    /// The filter of a block with these ids.
    pub(super) fn of(ids: &[TraceId], settings: BloomSettings) -> Self {
        let mut filter = Self::new(ids.len().max(1), settings);
        ids.iter().for_each(|id| filter.add(*id));
        filter
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes of a filter are estimates, and clamped"
    )]
    fn new(n_ids: usize, settings: BloomSettings) -> Self {
        let ln_2 = std::f64::consts::LN_2;
        let n_ids = n_ids as f64;
        let wanted_bits = (-n_ids * settings.false_positive_rate.ln() / (ln_2 * ln_2)).ceil();
        let n_bits = u64::from(settings.shard_bytes) * 8;
        let n_shards = (wanted_bits / n_bits as f64).ceil().clamp(1.0, f64::from(MAX_SHARDS));
        Self {
            n_bits,
            n_locations: ((ln_2 * wanted_bits / n_ids).ceil() as u64).max(1),
            shards: vec![vec![0; n_bits.div_ceil(64) as usize]; n_shards as usize],
        }
    }

    fn add(&mut self, id: TraceId) {
        let at = shard_of(id, self.n_shards()) as usize;
        let Some(shard) = self.shards.get_mut(at) else { return };
        for bit in locations(id, self.n_locations, self.n_bits) {
            if let Some(word) = usize::try_from(bit / 64).ok().and_then(|at| shard.get_mut(at)) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// Number of shards.
    pub(super) fn n_shards(&self) -> u32 {
        u32::try_from(self.shards.len()).unwrap_or(MAX_SHARDS)
    }

    /// The object of each shard.
    pub(super) fn objects(&self) -> impl Iterator<Item = Vec<u8>> {
        self.shards.iter().map(|words| {
            let header = [self.n_bits, self.n_locations, self.n_bits];
            header.iter().chain(words).flat_map(|word| word.to_be_bytes()).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::fixtures::{all_block_folders, block_in, context, read_block};

    #[test]
    fn the_worked_example_comes_out_bit_by_bit() {
        let settings = BloomSettings { false_positive_rate: 0.01, shard_bytes: 20 };
        let mut filter = BloomFilter::new(50, settings);
        for last in 1..=3_u128 {
            filter.add(TraceId((0xa0 << 120 | last).to_be_bytes()));
        }
        let words = |object: &[u8]| -> Vec<u64> {
            object.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word)).collect()
        };
        let objects: Vec<_> = filter.objects().map(|object| words(&object)).collect();
        assert_eq!(
            objects,
            [
                vec![160, 7, 160, 0x0000_2200_0000_0000, 0x0050_4000_040c_9208, 0x0080_0000],
                vec![160, 7, 160, 0, 0, 0],
                vec![160, 7, 160, 0x5010_0000, 0x0500, 0x0104],
            ]
        );
    }

    #[test]
    fn the_number_of_shards_is_tempos() {
        for (n_ids, n_shards) in [(1, 1), (52, 1), (100_000, 2), (1_000_000, 12)] {
            let filter = BloomFilter::new(n_ids, BloomSettings::default());
            assert_eq!(filter.n_shards(), n_shards, "{n_ids}");
            assert_eq!(filter.objects().next().map(|object| object.len()), Some(102_424));
        }
        let tiny = BloomSettings { false_positive_rate: 0.000_1, shard_bytes: 1 };
        assert_eq!(BloomFilter::new(1_000_000, tiny).n_shards(), 1000);
    }

    #[tokio::test]
    async fn frozen_blocks_have_the_same_shards() {
        let mut n_blocks = 0;
        for folder in all_block_folders() {
            let block = block_in(&folder);
            let objects: Vec<_> = (0..block.meta.bloom_shards)
                .map(|n| std::fs::read(folder.join(format!("bloom-{n}"))).unwrap())
                .collect();
            let ids: Vec<_> = read_block(&block, &context()).await.iter().map(|t| t.id).collect();
            let n_bits = u64::from_be_bytes(objects[0][..8].try_into().unwrap());
            let shard_bytes = u32::try_from(n_bits / 8).unwrap();
            let settings = BloomSettings { false_positive_rate: 0.01, shard_bytes };
            let ours: Vec<_> = BloomFilter::of(&ids, settings).objects().collect();
            assert!(ours == objects, "{}", folder.display());
            n_blocks += 1;
        }
        assert!(n_blocks > 12, "{n_blocks}");
    }
}
