//! Random traces and random queries, searches and metrics, from a seed: small, and heavy on what is awkward. Traces and
//! queries draw keys and values from the same few, so that conditions meet data. The same seed gives
//! the same output on every machine. It must not know how anything is evaluated.

mod metrics;
mod queries;
mod traces;
mod vocabulary;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

pub(crate) use self::metrics::{metrics_query, when};
pub(crate) use self::queries::query;
pub(crate) use self::traces::{sampled, smaller, traces};
pub(crate) use self::vocabulary::Vocabulary;

/// Durations of spans, and of literals near them, in nanoseconds.
const NANOS: &[u64] = &[0, 1, 1_000, 2_500_000, 100_000_000, 1_000_000_000, 90_000_000_000];

/// A random source.
#[derive(Debug)]
pub(crate) struct Dice(StdRng);

impl Dice {
    /// The source that belongs to a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// True once in `times`.
    fn once_in(&mut self, times: u32) -> bool {
        self.0.random_range(0..times) == 0
    }

    /// A number below a bound.
    fn below(&mut self, bound: usize) -> usize {
        self.0.random_range(0..bound)
    }

    /// One of several.
    fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        choices.choose(&mut self.0).expect("there is something to choose from")
    }

    /// One of several texts.
    fn word<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices.choose(&mut self.0).expect("there is something to choose from")
    }
}
