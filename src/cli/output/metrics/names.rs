//! What people call the series of an answer: the values of their labels, under one heading if they
//! have few labels. Knows no output form.

use traceql_engine::metrics::{Label, LabelValue, Series};

use super::unit::Unit;
use crate::output::printable;

/// The label that alone names a series without groupings.
pub(crate) const NAME: &str = "__name__";
/// The label of the upper bound of a bucket.
pub(crate) const BUCKET: &str = "__bucket";

/// With more labels than this a heading would say nothing, so each value names its label.
const MAX_HEADED: usize = 4;

/// Names of series, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// What the names are values of.
    pub(crate) heading: String,
    /// A name for each series.
    pub(crate) of: Vec<String>,
}

impl Names {
    /// Names each of the series. `hidden` is a label that is told elsewhere.
    pub(crate) fn new(series: &[Series], bucket: Unit, hidden: Option<&str>) -> Self {
        let is_shown = |name: &&str| Some(*name) != hidden;
        let labels: Vec<&str> = label_names(series).into_iter().filter(is_shown).collect();
        if labels.len() > MAX_HEADED || labels == [NAME] || labels.is_empty() {
            let name = |series: &Series| match series.labels.as_slice() {
                [only] if only.name == NAME => printable(&only.value.to_text()),
                labels => {
                    let labels = labels.iter().filter(|label| is_shown(&label.name.as_str()));
                    let pair = |label: &Label| {
                        format!("{} = {}", printable(&label.name), text(label, bucket))
                    };
                    labels.map(pair).collect::<Vec<_>>().join(", ")
                }
            };
            return Self { heading: "series".to_owned(), of: series.iter().map(name).collect() };
        }
        let name = |series: &Series| {
            let values = labels.iter().map(|name| match find(series, name) {
                Some(label) => text(label, bucket),
                None => "-".to_owned(),
            });
            values.collect::<Vec<_>>().join(", ")
        };
        let headings: Vec<String> = labels.iter().map(|name| heading(name)).collect();
        Self { heading: headings.join(", "), of: series.iter().map(name).collect() }
    }
}

/// The names of the labels that series have, in the order of their first appearance.
pub(crate) fn label_names(series: &[Series]) -> Vec<&str> {
    let mut seen = std::collections::BTreeSet::new();
    let labels = series.iter().flat_map(|series| &series.labels);
    labels.map(|label| label.name.as_str()).filter(|name| seen.insert(*name)).collect()
}

/// The label of this name.
pub(crate) fn find<'a>(series: &'a Series, name: &str) -> Option<&'a Label> {
    series.labels.iter().find(|label| label.name == name)
}

/// A label's name as the heading of its values.
pub(crate) fn heading(name: &str) -> String {
    match name {
        NAME => "series".to_owned(),
        BUCKET => "bucket".to_owned(),
        name => printable(name),
    }
}

/// A label's value; bounds of buckets with their unit. The empty string is shown as one.
pub(crate) fn text(label: &Label, bucket: Unit) -> String {
    match &label.value {
        LabelValue::Float(bound) if label.name == BUCKET => bucket.text(*bound),
        LabelValue::String(text) if text.is_empty() => "\"\"".to_owned(),
        value => printable(&value.to_text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)]) -> Series {
        let labels = labels.iter().map(|(name, value)| Label::text(*name, *value)).collect();
        Series { labels, ..Series::default() }
    }

    fn check(series: &[Series], heading: &str, names: &[&str]) {
        let found = Names::new(series, Unit::Seconds, None);
        assert_eq!(
            (found.heading.as_str(), found.of.iter().map(String::as_str).collect()),
            (heading, names.to_vec())
        );
    }

    #[test]
    fn few_labels_share_a_heading() {
        check(&[series(&[(NAME, "rate")])], "series", &["rate"]);
        check(
            &[series(&[("a", "x")]), series(&[("a", "y"), ("b", "")]), series(&[("b", "z\n")])],
            "a, b",
            &["x, -", "y, \"\"", "-, z "],
        );
        let bucket = Label::new(BUCKET, LabelValue::Float(0.134_217_728));
        let bucket = Series { labels: vec![bucket], ..Series::default() };
        check(&[bucket], "bucket", &["134ms"]);
        check(&[Series::default()], "series", &[""]);
    }

    #[test]
    fn many_labels_are_named_at_each_value() {
        let many: Vec<Series> =
            ["a", "b", "c", "d", "e"].map(|name| series(&[("t", "1"), (name, "x")])).into();
        check(&many[..3], "t, a, b, c", &["1, x, -, -", "1, -, x, -", "1, -, -, x"]);
        let names = Names::new(&many, Unit::Number, None);
        assert_eq!(names.of[4], "t = 1, e = x");
        let hidden = Names::new(&many[..3], Unit::Number, Some("t"));
        assert_eq!((hidden.heading.as_str(), hidden.of[0].as_str()), ("a, b, c", "x, -, -"));
    }
}
