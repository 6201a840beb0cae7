//! Metrics queries (`metrics.md`): spans become series. This file holds the question and the answer as
//! plain data; the others, in the order of the data: `answer` (the whole way), `query` (the selections
//! of a query), `intervals` (the time axis), `observe` and `compare` (spans of a batch), `groups`
//! (which series), `state` (what is added up, in `cells`, `buckets`, `ranks`, within a `budget`), `wire` (between
//! operators), `merge`, `second_stage`, `math`, `exec`, the operators that do it, and `partials`, what is
//! told before the end.

mod answer;
mod buckets;
mod budget;
mod cells;
mod compare;
pub(crate) mod exec;
mod exemplars;
mod groups;
pub mod intervals;
mod math;
mod merge;
mod observe;
mod partials;
mod query;
mod ranks;
mod samples;
mod second_stage;
pub(crate) mod spec;
mod state;
#[cfg(test)]
mod tests;
mod weight;
pub(crate) mod wire;

use std::cmp::Ordering;

pub(crate) use answer::{answer, execute, plan, sketched_warning};
pub use intervals::{AxisError, TimeAxis};
pub use partials::Partials;
pub use samples::Samples;
pub(crate) use spec::{columns, program};

/// What a metrics query is asked with, apart from its text, its source and
/// [`crate::QueryOptions`], whose time range and limits do not apply.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsRequest {
    /// Start and end, unix nanoseconds; `None`: everything the source holds.
    pub range: Option<(u64, u64)>,
    /// One value over the whole range, or one a step.
    pub kind: MetricsKind,
    /// Exemplars wanted unless the query's hint says otherwise. An instant query has none.
    pub exemplars: u32,
    /// Most exemplars, whatever the query says.
    pub max_exemplars: u32,
    /// Most series of the answer; 0 is all. What is left out makes the answer partial.
    pub max_series: usize,
    /// Most intervals of the time axis; 0 for no bound.
    pub max_intervals: u64,
}

/// The two shapes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsKind {
    /// A sample per interval.
    Range {
        /// Nanoseconds; `None`: by the length of the range (1.3).
        step_nanos: Option<u64>,
    },
    /// One sample.
    Instant,
}

impl Default for MetricsRequest {
    fn default() -> Self {
        Self {
            range: None,
            kind: MetricsKind::Range { step_nanos: None },
            exemplars: 0,
            max_exemplars: 100,
            max_series: 0,
            max_intervals: 10_000,
        }
    }
}

/// The answer of a metrics query.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricsAnswer {
    /// Which time each sample stands for. An instant query has one interval.
    pub axis: TimeAxis,
    /// In the order of 6.1. A series has at least one sample.
    pub series: Vec<Series>,
}

/// One series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// In the order of 2.5: groupings, then `__bucket` or `p`. Part of the series' identity.
    pub labels: Vec<Label>,
    /// One value per interval, some absent.
    pub samples: Samples,
    /// By ascending time.
    pub exemplars: Vec<Exemplar>,
}

/// A label of a series or exemplar.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Canonical name of the field, or `__name__`, `__bucket`, `p`, `__meta_type`.
    pub name: String,
    /// Its value, typed.
    pub value: LabelValue,
}

/// The value of a label. Statuses, kinds, durations, ids and lists are strings (2.5).
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the types of the language")]
pub enum LabelValue {
    String(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

/// A span that stands for a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// `trace:id` and what the query asked of the span.
    pub labels: Vec<Label>,
    /// The span's own value, or that of its sample (section 5).
    pub value: f64,
    /// Start of the span, unix nanoseconds.
    pub timestamp_unix_nanos: u64,
}

impl Label {
    /// A label.
    #[must_use]
    pub fn new(name: impl Into<String>, value: LabelValue) -> Self {
        Self { name: name.into(), value }
    }

    /// A label whose value is text.
    #[must_use]
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::new(name, LabelValue::String(value.into()))
    }
}

impl LabelValue {
    /// The value as text, without its type.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::String(text) => text.clone(),
            Self::Int(v) => v.to_string(),
            Self::Float(v) => v.to_string(),
            Self::Bool(v) => v.to_string(),
        }
    }

    /// Rank of the type in the order of 6.1, which is that of the protocol's type names.
    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Float(_) => 1,
            Self::Int(_) => 2,
            Self::String(_) => 3,
        }
    }
}

/// The order of series in an answer (6.1): fewer labels first, then name by name and value by value,
/// values by type and then as text.
#[must_use]
pub fn series_order(a: &[Label], b: &[Label]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| {
        a.iter()
            .zip(b)
            .map(|(a, b)| a.name.cmp(&b.name).then_with(|| value_order(&a.value, &b.value)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    })
}

/// Values by type and then as the protocol's text form shows them: strings in quotes, floats with an
/// exponent where they are small or large.
fn value_order(a: &LabelValue, b: &LabelValue) -> Ordering {
    match (a, b) {
        (LabelValue::String(a), LabelValue::String(b)) => quoted(a).cmp(quoted(b)),
        (LabelValue::Float(a), LabelValue::Float(b)) => {
            traceql_language::float_text(*a).cmp(&traceql_language::float_text(*b))
        }
        _ => a.rank().cmp(&b.rank()).then_with(|| a.to_text().cmp(&b.to_text())),
    }
}

/// A string of the protocol's text form, but for the quote that it begins with: the one at its end
/// puts `GET /` before `GET`, and all that is not ASCII is an octal escape.
fn quoted(text: &str) -> impl Iterator<Item = u8> + '_ {
    let escaped = text.bytes().flat_map(|byte| {
        let octal = |shift: u8| b'0' + (byte >> shift & 7);
        let (escape, len) = match byte {
            b'\n' => ([b'\\', b'n', 0, 0], 2),
            b'\r' => ([b'\\', b'r', 0, 0], 2),
            b'\t' => ([b'\\', b't', 0, 0], 2),
            b'"' | b'\\' => ([b'\\', byte, 0, 0], 2),
            b' '..=b'~' => ([byte, 0, 0, 0], 1),
            _ => ([b'\\', octal(6), octal(3), octal(0)], 4),
        };
        escape.into_iter().take(len)
    });
    escaped.chain([b'"'])
}
