//! Answers of metrics queries kept until their data changes. A dashboard asks the same again and again
//! while its window moves, and everybody who looks at it asks the same: windows are aligned to their
//! step, so what they ask is one question until the next step is over.
//!
//! Searches are not kept: their windows are not aligned, so no two of them ask the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::read::open::CacheCount;
use traceql_engine::metrics::{
    Label, LabelValue, MetricsAnswer, MetricsKind, MetricsRequest, TimeAxis,
};
use traceql_engine::{Outcome, QueryStats};

type Answer = Arc<Outcome<MetricsAnswer>>;

/// A cache in bytes.
#[derive(Debug)]
pub(crate) struct Answers {
    /// `None` keeps nothing.
    kept: Option<Cache<Question, Answer, Weight>>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Everything that an answer depends on, besides what is the same for all queries of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    tenants: Vec<TenantId>,
    /// Of their block lists, in the same order.
    versions: Vec<u64>,
    /// The typed query as text.
    canonical: String,
    is_instant: bool,
    /// Start, step, number of intervals.
    axis: (u64, u64, usize),
    exemplars: (u32, u32),
    max_series: usize,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Question, Answer> for Weight {
    fn weight(&self, question: &Question, outcome: &Answer) -> u64 {
        (question.canonical.len() + size_of::<Question>() + answer_bytes(&outcome.answer)) as u64
    }
}

impl Question {
    /// The question of a request; `None` if what it asks depends on more.
    pub(super) fn new(
        tenants: &[TenantId],
        versions: Vec<u64>,
        canonical: &str,
        request: &MetricsRequest,
    ) -> Option<Self> {
        let (start, end) = request.range?;
        let (is_instant, axis) = match request.kind {
            MetricsKind::Instant => (true, TimeAxis::instant(start, end)),
            MetricsKind::Range { step_nanos } => {
                (false, TimeAxis::range(start, end, step_nanos?, request.max_intervals))
            }
        };
        let axis = axis.ok()?;
        Some(Self {
            tenants: tenants.to_vec(),
            versions,
            canonical: canonical.to_owned(),
            is_instant,
            axis: (axis.start_unix_nanos, axis.step_nanos, axis.n_intervals),
            exemplars: (request.exemplars, request.max_exemplars),
            max_series: request.max_series,
        })
    }

    pub(super) fn versions(&self) -> &Vec<u64> {
        &self.versions
    }
}

impl Answers {
    /// A cache that keeps so many bytes.
    pub(crate) fn within(bytes: usize) -> Self {
        /// So few that the cache is not cut into parts, which would bound the size of an answer.
        const EXPECTED: usize = 32;
        let kept = (bytes > 0).then(|| Cache::with_weighter(EXPECTED, bytes as u64, Weight));
        Self { kept, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// A kept answer.
    pub(super) fn get(&self, question: &Question) -> Option<Answer> {
        let found = self.kept.as_ref()?.get(question);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps an answer, unless it is not whole or there is more to say of it.
    pub(super) fn keep(&self, question: Question, outcome: &Answer) {
        let Some(kept) = &self.kept else { return };
        if outcome.partial.is_some() || !outcome.warnings.is_empty() {
            return;
        }
        let stats = QueryStats {
            // Whoever gets it from here has read nothing.
            bytes_read: 0,
            requests: 0,
            pages_read: 0,
            ..outcome.stats.clone()
        };
        kept.insert(question, Arc::new(Outcome { stats, ..Outcome::clone(outcome) }));
    }

    /// What it has been good for.
    pub(crate) fn count(&self) -> CacheCount {
        CacheCount {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            bytes: self.kept.as_ref().map_or(0, Cache::weight),
        }
    }
}

/// What holding an answer takes, about.
fn answer_bytes(answer: &MetricsAnswer) -> usize {
    /// A value in a list of pairs.
    const SAMPLE_BYTES: usize = 16;
    let labels = |labels: &[Label]| -> usize {
        let each = labels.iter().map(|label| {
            let text = match &label.value {
                LabelValue::String(text) => text.len(),
                _ => 0,
            };
            size_of::<Label>() + label.name.len() + text
        });
        each.sum()
    };
    let series = answer.series.iter().map(|series| {
        let exemplars = series.exemplars.iter().map(|e| size_of_val(e) + labels(&e.labels));
        size_of_val(series)
            + labels(&series.labels)
            + series.samples.present().count() * SAMPLE_BYTES
            + exemplars.sum::<usize>()
    });
    series.sum()
}

#[cfg(test)]
mod tests {
    use traceql_engine::metrics::{Samples, Series};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn request(start: u64, end: u64) -> MetricsRequest {
        MetricsRequest {
            range: Some((start * SECOND, end * SECOND)),
            kind: MetricsKind::Range { step_nanos: Some(60 * SECOND) },
            ..MetricsRequest::default()
        }
    }

    fn question(version: u64, request: &MetricsRequest) -> Question {
        let tenants = [TenantId::parse("a").unwrap()];
        Question::new(&tenants, vec![version], "{ } | rate()", request).unwrap()
    }

    fn answer(n_series: usize) -> Answer {
        let series = Series { samples: Samples::dense(vec![1.0; 100]), ..Series::default() };
        let axis = TimeAxis { start_unix_nanos: 0, step_nanos: 1, n_intervals: 100 };
        Arc::new(Outcome {
            answer: MetricsAnswer { axis, series: vec![series; n_series] },
            stats: QueryStats { bytes_read: 5, inspected_spans: 7, ..QueryStats::default() },
            partial: None,
            warnings: Vec::new(),
        })
    }

    #[test]
    fn a_window_that_moves_within_a_step_asks_the_same() {
        let answers = Answers::within(1 << 20);
        answers.keep(question(1, &request(600, 1200)), &answer(1));
        let get = |version, request: &MetricsRequest| answers.get(&question(version, request));
        let found = get(1, &request(659, 1141)).unwrap();
        assert_eq!(found.answer, answer(1).answer);
        assert_eq!((found.stats.bytes_read, found.stats.inspected_spans), (0, 7));
        assert!(get(2, &request(600, 1200)).is_none(), "the blocks are others");
        assert!(get(1, &request(660, 1200)).is_none());
        assert!(get(1, &request(600, 1201)).is_none());
        let fewer = MetricsRequest { exemplars: 3, ..request(600, 1200) };
        assert!(get(1, &fewer).is_none());
        let count = answers.count();
        assert_eq!((count.hits, count.misses), (1, 4));
        assert!(count.bytes > 1600);
        let timeless = MetricsRequest { range: None, ..request(0, 1) };
        assert_eq!(Question::new(&[], Vec::new(), "", &timeless), None);
    }

    #[test]
    fn what_is_not_whole_or_too_large_is_not_kept() {
        let answers = Answers::within(10_000);
        let question = question(1, &request(600, 1200));
        let keeps = |outcome: Answer| {
            answers.keep(question.clone(), &outcome);
            answers.get(&question).is_some()
        };
        let partial = Outcome { partial: Some("cut".to_owned()), ..Outcome::clone(&answer(1)) };
        assert!(!keeps(Arc::new(partial)));
        let warned = Outcome { warnings: vec!["x".to_owned()], ..Outcome::clone(&answer(1)) };
        assert!(!keeps(Arc::new(warned)));
        assert!(!keeps(answer(1000)));
        assert!(keeps(answer(1)));
        let none = Answers::within(0);
        none.keep(question.clone(), &answer(1));
        assert!(none.get(&question).is_none());
    }
}
