//! Random metrics queries as text, and ranges to ask them over: every function, grouped by up to three
//! fields, after pipelines of every kind, with second stages, math and hints.
//!
//! Sums of floats depend in their last digits on the order of addition, which nobody defines. A query
//! that could show such a digit to a decision is not drawn: what was summed or averaged, and quantiles,
//! are not chosen among, subtracted or divided by, and compared only with constants far from any value.
//! [`Precision`] keeps account.

use super::super::evaluate::metrics::When;
use super::queries::{self, attribute, attribute_text, filter, intrinsic};
use super::vocabulary::Vocabulary;
use super::{Dice, NANOS};

/// Lengths of ranges, and of what lies between their edges and spans, nanoseconds.
const LENGTHS: &[u64] = &[
    1,
    500_000_000,
    1_000_000_000,
    7_000_000_000,
    10_000_000_000,
    15_000_000_000,
    60_000_000_000,
    300_000_000_000,
];

/// Steps, nanoseconds: some divide by 15, 60, 300 and 3600 seconds, and some are awkward.
const STEPS: &[u64] = &[
    50_000_000,
    500_000_000,
    999_999_999,
    1_000_000_000,
    1_500_000_000,
    7_000_000_000,
    15_000_000_000,
    30_000_000_000,
    60_000_000_000,
    300_000_000_000,
    3_600_000_000_000,
];

/// Most intervals of a range.
const MOST_INTERVALS: u64 = 400;

/// Fields whose sums are whole numbers far below 2^53.
const COUNTS: &[&str] = &["span:childCount", "nestedSetLeft", "nestedSetRight", "nestedSetParent"];

/// Numbers that no sample is equal or near to.
const ODD_NUMBERS: &[&str] =
    &["-0.31783", "0.0213717", "0.517831", "1.37119", "3.70117", "91.00713"];

/// Numbers that samples may be equal to.
const EVEN_NUMBERS: &[&str] = &["0", "1", "2", "3", "5", "500", "0.5", "-1", "1ms", "1 + 2 * 2"];

/// The common ones more often.
const COMPARISONS: &[&str] = &[">", ">", ">", ">=", ">=", "<", "<=", "=", "!=", "!="];

/// How far the samples of a query are the same for every right engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    /// To 1e-9 of their size.
    Close,
    /// Two samples that are equal for one are equal for all.
    Ordered,
    /// To the bit.
    Exact,
}

/// A metrics query without hints.
#[derive(Clone, Debug)]
struct Drawn {
    /// Its text, to be put in parentheses as an operand.
    text: String,
    /// How exact it is.
    precision: Precision,
}

/// A metrics query over traces with the given vocabulary.
pub(crate) fn metrics_query(dice: &mut Dice, words: &Vocabulary) -> String {
    let extrapolate = dice.once_in(5);
    let is_weighted = extrapolate && words.has_uneven_weights;
    let text = if !is_weighted && dice.once_in(8) {
        compare(dice, words)
    } else if dice.once_in(4) {
        let math = math(dice, words, is_weighted, 2);
        followed(dice, math).text
    } else {
        let one = one(dice, words, is_weighted);
        followed(dice, one).text
    };
    let mut hints = Vec::new();
    if extrapolate {
        hints.push("extrapolate=true".to_owned());
    }
    if dice.once_in(4) {
        hints.push(
            dice.word(&[
                "exemplars=3",
                "exemplars=false",
                "sample=true",
                "sample=0.1",
                "span_sample=0.5",
                "trace_sample=0.5",
                "most_recent=true",
                "nosuch=1",
            ])
            .to_owned(),
        );
    }
    if hints.is_empty() { text } else { format!("{text} with ({})", hints.join(", ")) }
}

/// What a query over traces with the given vocabulary is asked over.
pub(crate) fn when(dice: &mut Dice, words: &Vocabulary) -> When {
    let anchor = *dice.one_of(&words.starts);
    let edge = |dice: &mut Dice| if dice.once_in(6) { 0 } else { *dice.one_of(LENGTHS) };
    let (mut start, mut end) = match dice.below(8) {
        // A few nanoseconds around the start of a span.
        0 => (anchor.saturating_sub(below(dice, 4)), anchor.saturating_add(below(dice, 4))),
        // From one span to another and beyond.
        1..=4 => {
            let other = *dice.one_of(&words.starts);
            let (first, last) = (anchor.min(other), anchor.max(other));
            (first.saturating_sub(edge(dice)), last.saturating_add(edge(dice)))
        }
        _ => (anchor.saturating_sub(edge(dice)), anchor.saturating_add(edge(dice))),
    };
    let step = if end - start < 10 { 1 + below(dice, 4) } else { *dice.one_of(STEPS) };
    if dice.once_in(2) {
        // Edges that need no alignment.
        (start, end) = (start / step * step, end.div_ceil(step) * step);
    }
    if end == start {
        end += 1;
    }
    if dice.once_in(3) {
        return When::Instant { start, end };
    }
    let is_fine = (end - start) / step > MOST_INTERVALS;
    let step = (!is_fine && !dice.once_in(6)).then_some(step);
    When::Range { start, end, step }
}

/// A number below a bound.
fn below(dice: &mut Dice, bound: usize) -> u64 {
    u64::try_from(dice.below(bound)).expect("a small number")
}

/// `pipeline | function() by (…)`.
fn one(dice: &mut Dice, words: &Vocabulary, is_weighted: bool) -> Drawn {
    let by = grouping(dice, words);
    grouped(dice, words, is_weighted, &by)
}

/// The same with a given grouping.
fn grouped(dice: &mut Dice, words: &Vocabulary, is_weighted: bool, by: &str) -> Drawn {
    let (function, precision) = function(dice, words, is_weighted);
    Drawn { text: format!("{} | {function}{by}", pipeline(dice, words)), precision }
}

/// ` by (…)`, or nothing.
fn grouping(dice: &mut Dice, words: &Vocabulary) -> String {
    let n_fields = *dice.one_of(&[0, 0, 1, 1, 1, 2, 2, 3]);
    let fields: Vec<String> = (0..n_fields).map(|_| group_field(dice, words)).collect();
    if fields.is_empty() { String::new() } else { format!(" by ({})", fields.join(", ")) }
}

/// What selects spans: mostly much, since of nothing there is nothing to count.
fn pipeline(dice: &mut Dice, words: &Vocabulary) -> String {
    match dice.below(8) {
        0..4 => "{ }".to_owned(),
        4 | 5 => filter(dice, words),
        6 if dice.once_in(8) => "{ false }".to_owned(),
        6 if dice.once_in(2) => format!("({})", queries::pipeline(dice, words)),
        _ => queries::pipeline(dice, words),
    }
}

/// Any function but `compare()`. Weights that are not whole are summed like floats, and what a quantile
/// cuts off them is a matter of the last digit.
fn function(dice: &mut Dice, words: &Vocabulary, is_weighted: bool) -> (String, Precision) {
    let of = value_field(dice, words);
    let sums = |precision: Precision| if is_weighted { Precision::Close } else { precision };
    match dice.below(10) {
        0 => ("rate()".to_owned(), sums(Precision::Ordered)),
        1 | 2 => ("count_over_time()".to_owned(), sums(Precision::Exact)),
        3 => (format!("min_over_time({of})"), Precision::Exact),
        4 => (format!("max_over_time({of})"), Precision::Exact),
        5 => (format!("sum_over_time({})", dice.word(COUNTS)), sums(Precision::Exact)),
        6 => (format!("sum_over_time({of})"), Precision::Close),
        7 => (format!("avg_over_time({of})"), Precision::Close),
        8 if !is_weighted => {
            let quantiles: Vec<&str> = (0..=dice.below(3))
                .map(|_| dice.word(&["0", "0.1", ".25", "0.5", "0.75", "0.9", "0.99", "1"]))
                .collect();
            (format!("quantile_over_time({of}, {})", quantiles.join(", ")), Precision::Close)
        }
        _ => (format!("histogram_over_time({of})"), sums(Precision::Exact)),
    }
}

/// A field to group by: often one that some span has.
fn group_field(dice: &mut Dice, words: &Vocabulary) -> String {
    match dice.below(6) {
        0 => dice
            .word(&["duration", "traceDuration", "event:timeSinceStart", "status", "event:name"])
            .to_owned(),
        1 => intrinsic(dice),
        2 => attribute(dice, words),
        _ => present(dice, words, |_| true),
    }
}

/// A field to aggregate: often a number of some span.
fn value_field(dice: &mut Dice, words: &Vocabulary) -> String {
    match dice.below(8) {
        0 | 1 => dice.word(&["duration", "traceDuration", "event:timeSinceStart"]).to_owned(),
        2 => dice.word(COUNTS).to_owned(),
        3 => group_field(dice, words),
        _ => present(dice, words, |is_number| is_number),
    }
}

/// An attribute that some span has, with its scope or without.
fn present(dice: &mut Dice, words: &Vocabulary, is_wanted: impl Fn(bool) -> bool) -> String {
    let wanted: Vec<&(&'static str, String, bool)> =
        words.present.iter().filter(|(_, _, is_number)| is_wanted(*is_number)).collect();
    if wanted.is_empty() {
        return attribute(dice, words);
    }
    let (scope, key, _) = *dice.one_of(&wanted);
    let is_found_unscoped = matches!(*scope, "span." | "resource.");
    let scope = if is_found_unscoped && dice.once_in(3) { "." } else { scope };
    attribute_text(scope, key)
}

/// `pipeline | compare(…)`.
fn compare(dice: &mut Dice, words: &Vocabulary) -> String {
    let selection = match dice.below(3) {
        0 => "{ status = error }".to_owned(),
        _ => filter(dice, words),
    };
    let mut arguments = vec![selection];
    if dice.once_in(2) {
        arguments.push((1 + dice.below(5)).to_string());
        if dice.once_in(2) {
            let start = dice.one_of(&words.starts).saturating_sub(*dice.one_of(NANOS)).max(1);
            let end = start.saturating_add(*dice.one_of(LENGTHS));
            // The language's ints are signed.
            if i64::try_from(end).is_ok() {
                arguments.extend([start.to_string(), end.to_string()]);
            }
        }
    }
    format!("{} | compare({})", pipeline(dice, words), arguments.join(", "))
}

/// Up to two second stages.
fn followed(dice: &mut Dice, mut drawn: Drawn) -> Drawn {
    for _ in 0..dice.below(5).saturating_sub(2) {
        let stage = match dice.below(3) {
            0 if drawn.precision >= Precision::Ordered => {
                format!(" | {}({})", dice.word(&["topk", "bottomk"]), 1 + dice.below(4))
            }
            1 if drawn.precision == Precision::Exact => {
                format!(" {} {}", dice.word(COMPARISONS), dice.word(EVEN_NUMBERS))
            }
            _ => format!(" {} {}", dice.word(COMPARISONS), dice.word(ODD_NUMBERS)),
        };
        drawn.text.push_str(&stage);
    }
    drawn
}

/// `(…) op (…)`, or one of them a number.
fn math(dice: &mut Dice, words: &Vocabulary, is_weighted: bool, depth: usize) -> Drawn {
    // Series join on equal labels only.
    let by = grouping(dice, words);
    let operand = |dice: &mut Dice| {
        if depth > 1 && dice.once_in(4) {
            return math(dice, words, is_weighted, depth - 1);
        }
        let one = match dice.below(4) {
            0 => one(dice, words, is_weighted),
            1 => grouped(dice, words, is_weighted, ""),
            _ => grouped(dice, words, is_weighted, &by),
        };
        followed(dice, one)
    };
    let left = operand(dice);
    let text = &left.text;
    if dice.once_in(3) {
        let number = dice.word(&["2", "100", "0.5", "0", "(1/2)", "(1/2.0)"]);
        // A division by nearly nothing, and a difference of nearly nothing, tell noise.
        let is_exact = left.precision == Precision::Exact;
        let text = match dice.below(6) {
            0 if is_exact => format!("{number} / ({text})"),
            1 if is_exact => format!("{number} - ({text})"),
            2 if is_exact => format!("({text}) + {number}"),
            3 => format!("({text}) / {number}"),
            4 => format!("{number} * ({text})"),
            _ => format!("({text}) * {number}"),
        };
        let precision = if is_exact { Precision::Exact } else { Precision::Close };
        return Drawn { text, precision };
    }
    // Equal operands are evaluated once.
    let right = if dice.once_in(6) { left.clone() } else { operand(dice) };
    let op = match left.precision.min(right.precision) {
        Precision::Exact => dice.word(&["+", "-", "*", "/"]),
        _ if right.precision == Precision::Exact => dice.word(&["*", "/"]),
        _ => "*",
    };
    let are_exact = left.precision.min(right.precision) == Precision::Exact;
    Drawn {
        text: format!("({text}) {op} ({})", right.text),
        precision: if are_exact { Precision::Exact } else { Precision::Close },
    }
}
