//! Bounds on samples as text: `value < 300ms`, for some series alone
//! `{ resource.service.name = "cart" } value < 1s`. Knows units, not where samples come from.

use std::fmt;

use regex::Regex;
use traceql_engine::metrics::{Label, Series};

use super::expect::whole;
use crate::output::metrics::unit::Unit;
use crate::units;

/// A bound on every sample of the series it is for.
#[derive(Clone, Debug)]
pub(crate) struct Threshold {
    /// As it was written.
    pub(crate) text: String,
    matchers: Vec<Matcher>,
    comparison: Comparison,
    bound: f64,
}

#[derive(Clone, Debug)]
struct Matcher {
    label: String,
    negated: bool,
    value: Pattern,
}

#[derive(Clone, Debug)]
enum Pattern {
    Equal(String),
    Match(Regex),
}

/// Comparisons of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
}

/// What a written number is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Plain,
    Duration,
    Bytes,
    Percent,
    PerSecond,
}

const FORM: &str = "write `value < 300ms`, or for some series `{ label = \"x\" } value < 300ms`";

impl PartialEq for Threshold {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Threshold {
    /// Reads a bound on values of a unit.
    pub(crate) fn parse(text: &str, unit: Unit) -> Result<Self, String> {
        let mut rest = text.trim();
        let mut matchers = Vec::new();
        if let Some(inner) = rest.strip_prefix('{') {
            (matchers, rest) = parse_matchers(inner)?;
        }
        let after = rest
            .trim_start()
            .strip_prefix("value")
            .ok_or_else(|| format!("a threshold is about `value`; {FORM}"))?;
        let (comparison, number) = Comparison::split(after.trim_start())
            .ok_or_else(|| format!("expected < <= > >= == or != after `value`; {FORM}"))?;
        let bound = parse_bound(number.trim(), unit)?;
        Ok(Self { text: text.trim().to_owned(), matchers, comparison, bound })
    }

    /// Whether it is for all series that no other bound names.
    pub(crate) fn is_general(&self) -> bool {
        self.matchers.is_empty()
    }

    /// Whether it names this series.
    pub(crate) fn names(&self, series: &Series) -> bool {
        !self.is_general() && self.matchers.iter().all(|matcher| matcher.holds(&series.labels))
    }

    /// Whether a sample keeps to it.
    pub(crate) fn holds(&self, value: f64) -> bool {
        match self.comparison {
            Comparison::Less => value < self.bound,
            Comparison::LessEqual => value <= self.bound,
            Comparison::Greater => value > self.bound,
            Comparison::GreaterEqual => value >= self.bound,
            Comparison::Equal => value == self.bound,
            Comparison::NotEqual => value != self.bound,
        }
    }
}

impl Comparison {
    fn split(text: &str) -> Option<(Self, &str)> {
        const ALL: [(&str, Comparison); 7] = [
            ("<=", Comparison::LessEqual),
            (">=", Comparison::GreaterEqual),
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
            ("=", Comparison::Equal),
        ];
        ALL.iter().find_map(|(symbol, op)| Some((*op, text.strip_prefix(symbol)?)))
    }
}

impl Matcher {
    fn holds(&self, labels: &[Label]) -> bool {
        let label = labels.iter().find(|label| label.name == self.label);
        // As in Prometheus, a label that is missing is an empty one.
        let text = label.map(|label| label.value.to_text()).unwrap_or_default();
        let is_match = match &self.value {
            Pattern::Equal(value) => *value == text,
            Pattern::Match(regex) => regex.is_match(&text),
        };
        is_match != self.negated
    }
}

/// Reads matchers up to the closing brace; returns what follows it.
fn parse_matchers(text: &str) -> Result<(Vec<Matcher>, &str), String> {
    let mut matchers = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '=' | '!' | '}' | ',' | '"'))
            .unwrap_or(rest.len());
        let (label, after) = rest.split_at(end);
        let after = after.trim_start();
        let op = ["=~", "!~", "!=", "="].into_iter().find(|op| after.starts_with(op));
        let (Some(op), false) = (op, label.is_empty()) else {
            return Err(format!("expected a label and =, !=, =~ or !~ between the braces; {FORM}"));
        };
        let (value, after) = parse_value(after[op.len()..].trim_start())?;
        let negated = op.starts_with('!');
        let value = match op.ends_with('~') {
            false => Pattern::Equal(value),
            true => Pattern::Match(whole(&value)?),
        };
        matchers.push(Matcher { label: label.to_owned(), negated, value });
        let after = after.trim_start();
        if let Some(after) = after.strip_prefix('}') {
            return Ok((matchers, after));
        }
        rest = after
            .strip_prefix(',')
            .ok_or_else(|| format!("expected `,` or `}}` after the value of {label}; {FORM}"))?
            .trim_start();
    }
}

/// A value in quotes, or a word.
fn parse_value(text: &str) -> Result<(String, &str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', '}']).unwrap_or(text.len());
        return Ok((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    Err("a quote is not closed".to_owned())
}

/// Reads a bound; durations become seconds, as samples are.
fn parse_bound(text: &str, unit: Unit) -> Result<f64, String> {
    let (number, written) = parse_number(text)?;
    let refuse = |what: &str, write: &str| {
        Err(format!("{text:?} is {what}, and this query computes {}; {write}", unit_name(unit)))
    };
    match (unit, written) {
        (Unit::Seconds, Written::Duration)
        | (Unit::Number, Written::Plain | Written::Bytes | Written::Percent)
        | (Unit::PerSecond, Written::Plain | Written::PerSecond | Written::Percent) => Ok(number),
        (Unit::Seconds, Written::Plain) if number == 0.0 => Ok(0.0),
        // Who writes 300 means milliseconds and would be told that all is well for ever.
        (Unit::Seconds, _) => refuse("no duration", "give it a unit: 300ms, 1.5s"),
        (Unit::Number | Unit::PerSecond, _) => {
            let what = match written {
                Written::Duration => "a duration",
                Written::Bytes => "a size",
                Written::PerSecond => "a rate",
                Written::Plain | Written::Percent => "a number",
            };
            refuse(what, "write a plain number")
        }
    }
}

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Number => "numbers",
        Unit::Seconds => "durations",
        Unit::PerSecond => "rates",
    }
}

fn parse_number(text: &str) -> Result<(f64, Written), String> {
    let refuse = || format!("{text:?} is no number; write 5, 0.5, 300ms, 10MiB, 5% or 10/s");
    let sign_end = usize::from(text.starts_with('-'));
    let (sign, digits) = text.split_at(sign_end);
    let sign = if sign.is_empty() { 1.0 } else { -1.0 };
    let plain = |digits: &str| {
        let starts_well = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        digits.parse::<f64>().ok().filter(|number| starts_well && number.is_finite())
    };
    if let Some(number) = plain(digits) {
        return Ok((sign * number, Written::Plain));
    }
    if let Some(number) = digits.strip_suffix('%').and_then(|digits| plain(digits.trim_end())) {
        return Ok((sign * number / 100.0, Written::Percent));
    }
    if let Some(number) = digits.strip_suffix("/s").and_then(|digits| plain(digits.trim_end())) {
        return Ok((sign * number, Written::PerSecond));
    }
    if let Ok(nanos) = units::parse_duration(digits) {
        #[expect(clippy::cast_precision_loss, reason = "a bound has few digits")]
        return Ok((sign * nanos as f64 / 1e9, Written::Duration));
    }
    if let Ok(bytes) = units::parse_size(digits) {
        #[expect(clippy::cast_precision_loss, reason = "a bound has few digits")]
        return Ok((sign * bytes as f64, Written::Bytes));
    }
    Err(refuse())
}

/// Reads a share: `10%` or `0.1`.
pub(crate) fn parse_share(text: &str) -> Result<f64, String> {
    match parse_number(text.trim()) {
        Ok((share, Written::Percent | Written::Plain)) if share >= 0.0 => Ok(share),
        _ => Err(format!("{text:?} is no share; write 10% or 0.1")),
    }
}

#[cfg(test)]
mod tests {
    use traceql_engine::metrics::Label;

    use super::*;

    #[test]
    fn bounds_are_read_in_the_unit_of_the_samples() {
        let check = |text: &str, unit, expect: f64| {
            let threshold = Threshold::parse(text, unit).unwrap();
            assert!((threshold.bound - expect).abs() < 1e-12, "{text}: {}", threshold.bound);
        };
        check("value < 300ms", Unit::Seconds, 0.3);
        check("value <= 1m30s", Unit::Seconds, 90.0);
        check("value > 0", Unit::Seconds, 0.0);
        check("value == 5", Unit::Number, 5.0);
        check("value != -2.5", Unit::Number, -2.5);
        check("value < 5%", Unit::Number, 0.05);
        check("value < 1MiB", Unit::Number, 1_048_576.0);
        check("value >= 10/s", Unit::PerSecond, 10.0);
        check("value<1e3", Unit::Number, 1000.0);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let check = |text: &str, unit, expect: &str| {
            let why = Threshold::parse(text, unit).unwrap_err();
            assert!(why.contains(expect), "{text}: {why}");
        };
        check("value < 300", Unit::Seconds, "give it a unit");
        check("value < 300ms", Unit::Number, "write a plain number");
        check("value < 5GB", Unit::PerSecond, "is a size");
        check("p95 < 300ms", Unit::Seconds, "about `value`");
        check("value 300ms", Unit::Seconds, "expected < <=");
        check("value < soon", Unit::Seconds, "is no number");
        check("value < inf", Unit::Number, "is no number");
        check("{ a } value < 1", Unit::Number, "between the braces");
        check("{ a = \"x value < 1", Unit::Number, "not closed");
        check("{ a =~ \"(\" } value < 1", Unit::Number, "unclosed group");
    }

    #[test]
    fn comparisons_hold_as_they_read() {
        let holds = |text: &str, value| Threshold::parse(text, Unit::Number).unwrap().holds(value);
        assert!(holds("value < 1", 0.5) && !holds("value < 1", 1.0));
        assert!(holds("value <= 1", 1.0) && !holds("value <= 1", 1.5));
        assert!(holds("value > 1", 1.5) && !holds("value > 1", 1.0));
        assert!(holds("value >= 1", 1.0) && !holds("value >= 1", 0.5));
        assert!(holds("value == 1", 1.0) && !holds("value == 1", 2.0));
        assert!(holds("value != 1", 2.0) && !holds("value != 1", 1.0));
    }

    #[test]
    fn series_are_named_by_their_labels() {
        let labels = vec![Label::text("resource.service.name", "cart"), Label::text("p", "0.9")];
        let series = Series { labels, ..Series::default() };
        let names = |matchers: &str| {
            let text = format!("{matchers} value < 1");
            Threshold::parse(&text, Unit::Number).unwrap().names(&series)
        };
        assert!(names("{ resource.service.name = \"cart\" }"));
        assert!(names("{resource.service.name=cart, p=0.9}"));
        assert!(!names("{ resource.service.name = \"cart\", p != \"0.9\" }"));
        assert!(names("{ resource.service.name =~ \"c.*\" }"));
        assert!(!names("{ resource.service.name =~ \"c\" }"), "the whole value");
        assert!(names("{ other = \"\" }"), "a missing label is an empty one");
        assert!(!names(""), "without matchers no series is named");
    }

    #[test]
    fn shares_are_read() {
        assert_eq!(parse_share("10%"), Ok(0.1));
        assert_eq!(parse_share("0.25"), Ok(0.25));
        assert!(parse_share("-1%").is_err() && parse_share("1s").is_err());
    }
}
