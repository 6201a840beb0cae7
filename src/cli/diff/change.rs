//! What differs between the calls of two sides, and in which order people should see it.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::calls::{Call, Calls, Durations, Figures};

/// Shares of errors that differ by less are not told apart.
const ERROR_POINTS: f64 = 0.01;
/// Differences between numbers of many traces within this many standard deviations are chance.
const DEVIATIONS: f64 = 2.0;

/// What counts as different.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tolerance {
    /// Share of the value before, 0 to 1, that a time or number may differ by.
    pub(crate) relative: f64,
    /// Nanoseconds that a time may always differ by.
    pub(crate) floor_nanos: u64,
}

/// How a call differs; what is worse stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    /// It is made before, and not now.
    Missing,
    /// It is made now, and was not before.
    Added,
    /// A larger share of it fails.
    Failing,
    /// It takes longer.
    Slower,
    /// A trace makes it more often.
    More,
    /// A smaller share of it fails.
    Recovered,
    /// It takes less long.
    Faster,
    /// A trace makes it less often.
    Fewer,
}

/// A call of either side.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    /// The call.
    pub(crate) call: Call,
    /// Before; `None` if it was not made.
    pub(crate) a: Option<Figures>,
    /// Now; `None` if it is not made.
    pub(crate) b: Option<Figures>,
    /// What differs, the worst first; empty if nothing does.
    pub(crate) changes: Vec<Change>,
}

impl Change {
    /// All of them, the worst first.
    pub(crate) const ALL: [Self; 8] = [
        Self::Missing,
        Self::Added,
        Self::Failing,
        Self::Slower,
        Self::More,
        Self::Recovered,
        Self::Faster,
        Self::Fewer,
    ];

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Added => "added",
            Self::Failing => "failing",
            Self::Slower => "slower",
            Self::More => "more",
            Self::Recovered => "recovered",
            Self::Faster => "faster",
            Self::Fewer => "fewer",
        }
    }

    /// Whether it is a change for the worse.
    pub(crate) fn is_worse(self) -> bool {
        self <= Self::More && self != Self::Added
    }
}

/// Every call of either side, the worst differences first, those without one last.
pub(crate) fn compare(a: &Calls, b: &Calls, tolerance: Tolerance) -> Vec<Difference> {
    let (n_a, n_b) = (a.n_traces(), b.n_traces());
    let calls: BTreeSet<&Call> = a.by_call.keys().chain(b.by_call.keys()).collect();
    let mut differences: Vec<Difference> = calls
        .into_iter()
        .map(|call| {
            let (of_a, of_b) = (a.by_call.get(call), b.by_call.get(call));
            let changes = match (of_a, of_b) {
                (Some(_), None) => vec![Change::Missing],
                (None, Some(_)) => vec![Change::Added],
                (Some(of_a), Some(of_b)) => changes((of_a, n_a), (of_b, n_b), tolerance),
                (None, None) => Vec::new(),
            };
            let (a, b) = (of_a.map(Durations::figures), of_b.map(Durations::figures));
            Difference { call: call.clone(), a, b, changes }
        })
        .collect();
    // Calls stand in order already, so equals stay in it.
    differences.sort_by_key(|difference| {
        let time = |figures: Option<Figures>, n_traces: u64| {
            figures.map_or(0, |figures| figures.total_nanos / n_traces.max(1))
        };
        let moved = time(difference.a, n_a).abs_diff(time(difference.b, n_b));
        let worst = difference.changes.first().copied();
        (worst.is_none(), worst, Reverse(moved))
    });
    differences
}

/// How durations of a call differ, each with the number of traces it is from.
fn changes(a: (&Durations, u64), b: (&Durations, u64), tolerance: Tolerance) -> Vec<Change> {
    let ((durations_a, n_a), (durations_b, n_b)) = (a, b);
    let (a, b) = (durations_a.figures(), durations_b.figures());
    // A single trace is as it is; many are a sample of what happens.
    let is_sample = n_a > 1 && n_b > 1;
    let mut changes = Vec::new();

    let share = b.error_share() - a.error_share();
    let errors = [(a.error_count, a.count), (b.error_count, b.count)];
    if share.abs() >= ERROR_POINTS && !(is_sample && is_chance(errors)) {
        changes.push(if share > 0.0 { Change::Failing } else { Change::Recovered });
    }

    let pairs = [(a.p50_nanos, b.p50_nanos, 50), (a.p95_nanos, b.p95_nanos, 95)];
    for (nanos_a, nanos_b, percent) in pairs {
        let by = nanos_a.abs_diff(nanos_b);
        let counts = by > tolerance.floor_nanos && exceeds(by, nanos_a, tolerance.relative);
        let longer = || {
            let all = durations_a.together_with(durations_b, percent);
            [(durations_a.n_above(all), a.count), (durations_b.n_above(all), b.count)]
        };
        let change = if nanos_b > nanos_a { Change::Slower } else { Change::Faster };
        // A tail that grows while the middle shrinks is both.
        if counts && !(is_sample && is_chance(longer())) && !changes.contains(&change) {
            changes.push(change);
        }
    }

    let (rate_a, rate_b) = (rate(a.count, n_a), rate(b.count, n_b));
    let variance = rate(1, n_a) * rate_a + rate(1, n_b) * rate_b;
    let chance = if is_sample { DEVIATIONS * variance.sqrt() } else { 0.0 };
    if (rate_b - rate_a).abs() > (tolerance.relative * rate_a).max(chance) {
        changes.push(if rate_b > rate_a { Change::More } else { Change::Fewer });
    }
    changes.sort_unstable();
    changes
}

#[expect(clippy::cast_precision_loss, reason = "a comparison needs no more digits")]
fn exceeds(by: u64, of: u64, relative: f64) -> bool {
    by as f64 > relative * of as f64
}

#[expect(clippy::cast_precision_loss, reason = "a comparison needs no more digits")]
fn rate(count: u64, n: u64) -> f64 {
    count as f64 / n.max(1) as f64
}

/// Whether two shares, each `(of them, all)`, differ by no more than chance explains: the deviation is
/// that of two samples of one population.
fn is_chance(shares: [(u64, u64); 2]) -> bool {
    let [(x_a, n_a), (x_b, n_b)] = shares;
    let pooled = rate(x_a + x_b, n_a + n_b);
    let deviation = (pooled * (1.0 - pooled) * (rate(1, n_a) + rate(1, n_b))).sqrt();
    (rate(x_a, n_a) - rate(x_b, n_b)).abs() <= DEVIATIONS * deviation
}

#[cfg(test)]
mod tests {
    use super::super::calls::tests::trace;
    use super::*;

    const TOLERANCE: Tolerance = Tolerance { relative: 0.1, floor_nanos: 1_000_000 };

    type Spans<'a> = &'a [(u8, u8, &'a str, u64, bool)];

    fn calls(traces: &[Spans<'_>]) -> Calls {
        let mut calls = Calls::default();
        traces.iter().for_each(|spans| calls.add(&trace(spans)));
        calls
    }

    /// `callee: changes` of each call, in order.
    fn found(a: &[Spans<'_>], b: &[Spans<'_>]) -> Vec<String> {
        compare(&calls(a), &calls(b), TOLERANCE)
            .iter()
            .map(|difference| {
                let words: Vec<_> = difference.changes.iter().map(|c| c.word()).collect();
                format!("{}: {}", difference.call.callee.service, words.join(" "))
            })
            .collect()
    }

    #[test]
    fn what_is_worse_comes_first() {
        let before: Spans<'_> = &[
            (1, 0, "web GET", 100, false),
            (2, 1, "gone Get", 10, false),
            (3, 1, "slow Get", 10, false),
            (4, 1, "fast Get", 50, false),
            (5, 1, "bad Get", 10, false),
            (6, 1, "many Get", 10, false),
            (8, 1, "same Get", 10, false),
        ];
        let now: Spans<'_> = &[
            (1, 0, "web GET", 105, false),
            (2, 1, "new Get", 10, false),
            (3, 1, "slow Get", 20, false),
            (4, 1, "fast Get", 10, false),
            (5, 1, "bad Get", 10, true),
            (6, 1, "many Get", 10, false),
            (7, 1, "many Get", 10, false),
            (8, 1, "same Get", 11, false),
        ];
        assert_eq!(
            found(&[before], &[now]),
            [
                "gone: missing",
                "new: added",
                "bad: failing",
                "slow: slower",
                "many: more",
                "fast: faster",
                "web: ",
                "same: "
            ]
        );
        assert_eq!(
            found(&[now], &[before]),
            [
                "new: missing",
                "gone: added",
                "fast: slower",
                "bad: recovered",
                "slow: faster",
                "many: fewer",
                "web: ",
                "same: "
            ]
        );
    }

    #[test]
    fn of_many_traces_chance_is_no_difference() {
        let fails: Spans<'_> = &[(1, 0, "web GET", 10, true)];
        let works: Spans<'_> = &[(1, 0, "web GET", 10, false)];
        let mixed = |n_fail: usize, n: usize| -> Vec<Spans<'_>> {
            (0..n).map(|at| if at < n_fail { fails } else { works }).collect()
        };
        assert_eq!(found(&mixed(0, 1), &mixed(1, 1)), ["web: failing"], "two traces are compared");
        assert_eq!(found(&mixed(1, 10), &mixed(2, 10)), ["web: "]);
        assert_eq!(found(&mixed(10, 100), &mixed(30, 100)), ["web: failing"]);
    }

    /// Traces of one call each, as long as given.
    fn lasting(millis: &[u64]) -> Calls {
        let mut calls = Calls::default();
        for millis in millis {
            calls.add(&trace(&[(1, 0, "web GET", *millis, false)]));
        }
        calls
    }

    #[test]
    fn a_tail_counts_once_there_are_enough_calls() {
        let check = |n: usize, n_slow: usize, expect: &[Change]| {
            let mut tail = vec![10; n];
            tail[n - n_slow..].fill(90);
            let found = compare(&lasting(&vec![10; n]), &lasting(&tail), TOLERANCE);
            assert_eq!(found[0].changes, expect, "{n}");
        };
        check(10, 1, &[]);
        check(20, 2, &[]);
        check(100, 10, &[Change::Slower]);
    }

    #[test]
    fn durations_of_few_calls_are_chance_between_many_traces_only() {
        let changes =
            |a: &[u64], b: &[u64]| compare(&lasting(a), &lasting(b), TOLERANCE)[0].changes.clone();
        assert_eq!(changes(&[10, 12], &[20, 11]), []);
        assert_eq!(changes(&[10; 10], &[20; 10]), [Change::Slower]);
        assert_eq!(changes(&[20; 10], &[10; 10]), [Change::Faster]);
        // One trace is held against what is usual.
        assert_eq!(changes(&[10, 12, 11], &[20]), [Change::Slower]);
    }

    #[test]
    fn a_side_without_traces_has_no_calls() {
        let spans: Spans<'_> = &[(1, 0, "web GET", 10, false)];
        assert_eq!(found(&[], &[spans]), ["web: added"]);
        assert_eq!(found(&[spans], &[]), ["web: missing"]);
        assert!(found(&[], &[]).is_empty());
    }
}
