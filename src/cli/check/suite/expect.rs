//! What is expected of an answer: nothing, a number of traces, exactly these, and what each matching
//! span has.

use std::collections::BTreeSet;
use std::fmt;

use regex::Regex;
use traceql_blocks::model::TraceId;
use traceql_engine::search::Value;
use traceql_language::ir::{FieldName, Stage as TypedStage};
use traceql_language::{Dialect, ast};

use crate::document::{Content, Fields, File, Node};
use crate::error::Result;
use crate::{settings, units};

/// What is expected; nothing if all of it is absent.
#[derive(Debug, Default)]
pub(crate) struct Expect {
    /// Whether there is no trace, or no series.
    pub(crate) empty: Option<bool>,
    /// How many traces, or series.
    pub(crate) count: Option<Bounds>,
    /// Exactly these traces.
    pub(crate) traces: Option<BTreeSet<TraceId>>,
    /// What each matching span has.
    pub(crate) fields: Vec<FieldRule>,
}

/// Bounds on a number, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// At least so many.
    pub(crate) min: Option<u64>,
    /// At most so many.
    pub(crate) max: Option<u64>,
}

/// What a field of each matching span must be.
#[derive(Debug)]
pub(crate) struct FieldRule {
    /// The field as it was written.
    pub(crate) field: String,
    /// What answers call it.
    pub(crate) key: String,
    /// What its value must be.
    pub(crate) predicate: Predicate,
}

/// What a value must be.
#[derive(Debug)]
pub(crate) enum Predicate {
    /// One of these.
    OneOf(Vec<String>),
    /// None of these; a missing value will do.
    NoneOf(Vec<String>),
    /// Before or after this one.
    Order(Order, String),
    /// Matched whole.
    Match {
        /// The pattern, anchored.
        regex: Regex,
        /// As it was written.
        text: String,
        /// Whether it must not match; a missing value will do.
        negated: bool,
    },
}

/// Comparisons of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
}

impl Expect {
    /// Reads the value of `expect`.
    pub(super) fn read(file: &File, node: &Node) -> Result<Self> {
        let keys = ["empty", "count", "traces", "fields"];
        let fields = Fields::of(file, node, "`expect`", &keys)?;
        let expect = Self {
            empty: fields.flag("empty")?,
            count: fields.get("count")?.map(|node| Bounds::read(file, node)).transpose()?,
            traces: fields.get("traces")?.map(|node| trace_ids(file, node)).transpose()?,
            fields: match fields.get("fields")? {
                Some(node) => field_rules(file, node)?,
                None => Vec::new(),
            },
        };
        if expect.is_nothing() {
            let wrong = fields.wrong("`expect` expects nothing");
            return Err(file.error(wrong.hint(format!("its keys are: {}", keys.join(", ")))));
        }
        if expect.empty == Some(true)
            && (expect.count.is_some() || expect.traces.is_some() || !expect.fields.is_empty())
        {
            let message = "nothing else can be expected of an answer that is empty";
            return Err(file.error(fields.wrong(message)));
        }
        Ok(expect)
    }

    /// Whether nothing is expected.
    pub(crate) fn is_nothing(&self) -> bool {
        self.empty.is_none()
            && self.count.is_none()
            && self.traces.is_none()
            && self.fields.is_empty()
    }

    /// Whether an answer without data is what is expected, or may be.
    pub(crate) fn allows_empty(&self) -> bool {
        self.empty == Some(true)
            || self.count.is_some_and(|count| count.min == Some(0) || count.max == Some(0))
            || self.traces.as_ref().is_some_and(BTreeSet::is_empty)
    }
}

impl Bounds {
    /// A number, or `min` and `max`.
    fn read(file: &File, node: &Node) -> Result<Self> {
        if let Some(text) = node.text() {
            let exact = text.parse().ok();
            return match exact {
                Some(_) => Ok(Self { min: exact, max: exact }),
                None => {
                    let message =
                        format!("`count` is a whole number, or min and max; found {text:?}");
                    Err(file.error(node.wrong(message)))
                }
            };
        }
        let fields = Fields::of(file, node, "`count`", &["min", "max"])?;
        let bounds = Self { min: fields.count("min")?, max: fields.count("max")? };
        match bounds {
            Self { min: None, max: None } => {
                Err(file.error(fields.wrong("`count` needs min or max")))
            }
            Self { min: Some(min), max: Some(max) } if min > max => {
                Err(file.error(fields.wrong("`min` is larger than `max`")))
            }
            bounds => Ok(bounds),
        }
    }

    /// Whether a number lies between them.
    pub(crate) fn hold(self, n: u64) -> bool {
        self.min.is_none_or(|min| n >= min) && self.max.is_none_or(|max| n <= max)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (Some(min), Some(max)) if min == max => write!(f, "exactly {min}"),
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("any number"),
        }
    }
}

fn trace_ids(file: &File, node: &Node) -> Result<BTreeSet<TraceId>> {
    let Content::List(items) = &node.content else {
        return Err(file.error(node.wrong("`traces` is a list of trace ids")));
    };
    let id = |item: &Node| {
        let text = item.text().ok_or_else(|| file.error(item.wrong("expected a trace id")))?;
        settings::trace_id(text).map_err(|error| file.error(item.wrong(error.to_string())))
    };
    items.iter().map(id).collect()
}

fn field_rules(file: &File, node: &Node) -> Result<Vec<FieldRule>> {
    let Content::Map(entries) = &node.content else {
        return Err(file.error(node.wrong("`fields` is a mapping from fields to values")));
    };
    let mut rules: Vec<FieldRule> = Vec::new();
    for (name, value) in entries {
        let field = name.text().unwrap_or_default().to_owned();
        let key = result_key(&field).map_err(|why| file.error(name.wrong(why)))?;
        if let Some(other) = rules.iter().find(|rule| rule.key == key) {
            let message = format!("answers call both `{}` and `{field}` {key}", other.field);
            return Err(file.error(name.wrong(message)));
        }
        let predicate = Predicate::read(value).map_err(|why| file.error(value.wrong(why)))?;
        rules.push(FieldRule { field, key, predicate });
    }
    match rules.is_empty() {
        true => Err(file.error(node.wrong("`fields` names no field"))),
        false => Ok(rules),
    }
}

/// What answers call a field: its key without scope, intrinsics by their name.
fn result_key(field: &str) -> std::result::Result<String, String> {
    let text = format!("{{ }} | select({field})");
    let query = traceql_language::compile(&text, Dialect::Default)
        .map_err(|error| format!("`{field}` is no field: {error}"))?;
    match query.pipeline.stages.last() {
        Some(TypedStage::Select(fields)) => match fields.as_slice() {
            [only] => Ok(match &only.name {
                FieldName::Parent => "parent".to_owned(),
                FieldName::Attribute { key, .. } => key.clone(),
                FieldName::Intrinsic(intrinsic) => intrinsic.name().to_owned(),
            }),
            _ => Err(format!("`{field}` is more than one field")),
        },
        _ => Err(format!("`{field}` is no field")),
    }
}

/// The stage that makes answers list the fields of the rules.
pub(super) fn select(rules: &[FieldRule]) -> Option<ast::Located<ast::Stage>> {
    let fields: Vec<&str> = rules.iter().map(|rule| rule.field.as_str()).collect();
    let text = format!("{{ }} | select({})", fields.join(", "));
    let query = traceql_language::parse(&text, Dialect::Default).ok()?;
    match query.body {
        ast::Body::Search(mut pipeline) => pipeline.stages.pop(),
        ast::Body::Metrics(_) => None,
    }
}

impl Predicate {
    /// Reads a value, a list of values, or an operator and a value.
    fn read(node: &Node) -> std::result::Result<Self, String> {
        let Content::List(items) = &node.content else {
            let text = node.text().filter(|_| !node.is_nothing());
            let text = text.ok_or_else(|| format!("expected a value, found {}", node.kind()))?;
            return Self::parse(text);
        };
        let texts: Option<Vec<String>> =
            items.iter().map(|item| item.text().map(str::to_owned)).collect();
        match texts {
            Some(texts) if !texts.is_empty() => Ok(Self::OneOf(texts)),
            _ => Err("expected a list of values".to_owned()),
        }
    }

    /// Reads an operator and a value, or a value alone.
    pub(crate) fn parse(text: &str) -> std::result::Result<Self, String> {
        let after = |op: &str| Some(text.strip_prefix(op)?.trim().to_owned());
        let pattern = |value: String, negated| {
            let regex = Regex::new(&format!("^(?:{value})$")).map_err(|error| error.to_string())?;
            Ok(Self::Match { regex, text: value, negated })
        };
        if let Some(value) = after("=~") {
            return pattern(value, false);
        }
        if let Some(value) = after("!~") {
            return pattern(value, true);
        }
        if let Some(value) = after("!=") {
            return Ok(Self::NoneOf(vec![value]));
        }
        const ORDERS: [(&str, Order); 4] = [
            ("<=", Order::LessEqual),
            (">=", Order::GreaterEqual),
            ("<", Order::Less),
            (">", Order::Greater),
        ];
        for (op, order) in ORDERS {
            if let Some(value) = after(op) {
                return match units::parse_duration(&value).is_ok() || value.parse::<f64>().is_ok() {
                    true => Ok(Self::Order(order, value)),
                    false => Err(format!("{value:?} is neither a number nor a duration")),
                };
            }
        }
        Ok(Self::OneOf(vec![after("=").unwrap_or_else(|| text.to_owned())]))
    }

    /// Whether a value is as it must be; `None` is a missing one.
    pub(crate) fn holds(&self, value: Option<&Value>) -> bool {
        let any = |test: &dyn Fn(&Value) -> bool| match value {
            None | Some(Value::Nil) => false,
            Some(Value::Array(elements)) => elements.iter().any(test),
            Some(value) => test(value),
        };
        match self {
            Self::OneOf(texts) => any(&|value| texts.iter().any(|text| equals(value, text))),
            Self::NoneOf(texts) => !any(&|value| texts.iter().any(|text| equals(value, text))),
            Self::Order(order, bound) => any(&|value| {
                compare(value, bound).is_some_and(|ordering| match order {
                    Order::Less => ordering.is_lt(),
                    Order::LessEqual => ordering.is_le(),
                    Order::Greater => ordering.is_gt(),
                    Order::GreaterEqual => ordering.is_ge(),
                })
            }),
            Self::Match { regex, negated, .. } => {
                any(&|value| regex.is_match(&value_text(value))) != *negated
            }
        }
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(texts) if texts.len() == 1 => f.write_str(&texts[0]),
            Self::OneOf(texts) => write!(f, "one of {}", texts.join(", ")),
            Self::NoneOf(texts) => write!(f, "!= {}", texts.join(", ")),
            Self::Order(order, bound) => {
                let op = match order {
                    Order::Less => "<",
                    Order::LessEqual => "<=",
                    Order::Greater => ">",
                    Order::GreaterEqual => ">=",
                };
                write!(f, "{op} {bound}")
            }
            Self::Match { text, negated, .. } => {
                write!(f, "{} {text}", if *negated { "!~" } else { "=~" })
            }
        }
    }
}

/// A pattern that matches whole values.
pub(super) fn whole(pattern: &str) -> std::result::Result<Regex, String> {
    // The library draws the pattern over several lines; the last one says what is wrong.
    let told = |error: regex::Error| {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default();
        format!("no regular expression: {}", last.trim_start_matches("error: "))
    };
    let checked = Regex::new(pattern).map_err(told)?;
    Regex::new(&format!("^(?:{checked})$")).map_err(told)
}

/// Whether a value is what a text says, read by the value's own type.
fn equals(value: &Value, text: &str) -> bool {
    match value {
        Value::Int(_) | Value::Float(_) | Value::Duration(_) => {
            compare(value, text).is_some_and(std::cmp::Ordering::is_eq)
        }
        value => value_text(value) == text,
    }
}

fn compare(value: &Value, text: &str) -> Option<std::cmp::Ordering> {
    let number: Option<f64> = text.parse().ok();
    match value {
        Value::Int(v) => match text.parse::<i64>() {
            Ok(bound) => Some(v.cmp(&bound)),
            #[expect(
                clippy::cast_precision_loss,
                reason = "the bound is no integer, so it is near"
            )]
            Err(_) => (*v as f64).partial_cmp(&number?),
        },
        Value::Float(v) => v.partial_cmp(&number?),
        Value::Duration(v) => Some(v.cmp(&i64::try_from(units::parse_duration(text).ok()?).ok()?)),
        _ => None,
    }
}

/// A value as suites write it.
pub(crate) fn value_text(value: &Value) -> String {
    match value {
        Value::Nil => "nothing".to_owned(),
        Value::Int(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Duration(v) => match u64::try_from(*v) {
            Ok(nanos) => units::format_duration(nanos),
            Err(_) => format!("-{}", units::format_duration(v.unsigned_abs())),
        },
        Value::String(v) => v.clone(),
        Value::Bool(v) => v.to_string(),
        Value::Status(v) => v.to_string(),
        Value::Kind(v) => v.to_string(),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(value_text).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicates_read_values_by_their_type() {
        let check = |text: &str, value: Option<Value>, expect: bool| {
            let predicate = Predicate::parse(text).unwrap();
            assert_eq!(predicate.holds(value.as_ref()), expect, "{text} of {value:?}");
        };
        let text = |text: &str| Some(Value::String(text.to_owned()));
        check("/cart", text("/cart"), true);
        check("/cart", text("/"), false);
        check("/cart", None, false);
        check("500", Some(Value::Int(500)), true);
        check("500", text("500"), true);
        check("500", Some(Value::Int(501)), false);
        check(">= 500", Some(Value::Int(500)), true);
        check("> 0.5", Some(Value::Float(0.6)), true);
        check("> 0.5", Some(Value::Int(1)), true);
        check("< 300ms", Some(Value::Duration(299_999_999)), true);
        check("< 300ms", Some(Value::Duration(300_000_000)), false);
        check("< 300ms", None, false);
        check("!= x", None, true);
        check("!= x", text("x"), false);
        check("=~ GET .*", text("GET /"), true);
        check("!~ GET .*", text("GET /"), false);
        check("= > x", text("> x"), true);
        check("true", Some(Value::Bool(true)), true);
        check(
            "b",
            Some(Value::Array(vec![Value::String("a".into()), Value::String("b".into())])),
            true,
        );
        assert!(Predicate::parse("< soon").is_err());
        assert!(Predicate::parse("=~ (").is_err());
    }

    #[test]
    fn answers_name_fields_without_scope() {
        assert_eq!(result_key("resource.service.name").as_deref(), Ok("service.name"));
        assert_eq!(result_key("duration").as_deref(), Ok("duration"));
        assert!(result_key("a b").is_err());
        assert!(result_key("span.a, span.b").is_err());
    }
}
