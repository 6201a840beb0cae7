//! Which spans count in span metrics: filter policies, as Tempo's documentation describes them.

use regex::Regex;
use traceql_blocks::model::AttributeValue;

use super::{Observed, kind_name, status_name};
use crate::generator::labels::find;
use crate::generator::options::{FilterPolicy, OptionsError, PolicyMatch, PolicyValue};

/// Policies ready to be asked.
#[derive(Debug, Default)]
pub(super) struct Filter {
    include: Vec<Rule>,
    include_any: Vec<Rule>,
    exclude: Vec<Rule>,
}

/// Tests of which all must hold.
#[derive(Debug)]
struct Rule(Vec<Test>);

#[derive(Debug)]
struct Test {
    key: Key,
    wanted: Wanted,
}

#[derive(Debug)]
enum Key {
    Kind,
    Name,
    Status,
    Resource(String),
    Span(String),
}

#[derive(Debug)]
enum Wanted {
    Value(PolicyValue),
    Regex(Regex),
}

impl Filter {
    pub(super) fn new(policies: &[FilterPolicy]) -> Result<Self, OptionsError> {
        let mut filter = Self::default();
        for policy in policies {
            filter.include.extend(policy.include.as_ref().map(Rule::new).transpose()?);
            filter.include_any.extend(policy.include_any.as_ref().map(Rule::new).transpose()?);
            filter.exclude.extend(policy.exclude.as_ref().map(Rule::new).transpose()?);
        }
        Ok(filter)
    }

    pub(super) fn is_kept(&self, observed: Observed<'_>) -> bool {
        let holds = |rule: &Rule| rule.holds(observed);
        if self.exclude.iter().any(holds) {
            return false;
        }
        if self.include_any.iter().any(holds) {
            return true;
        }
        // Policies that only let spans in by `include_any` let in no others.
        if self.include.is_empty() {
            self.include_any.is_empty()
        } else {
            self.include.iter().all(holds)
        }
    }
}

impl Rule {
    fn new(policy: &PolicyMatch) -> Result<Self, OptionsError> {
        let tests = policy.attributes.iter().map(|(key, value)| {
            let wanted = match (policy.is_regex, value) {
                (true, PolicyValue::String(text)) => {
                    Wanted::Regex(Regex::new(text).map_err(|error| OptionsError::Regex {
                        attribute: key.clone(),
                        error: Box::new(error),
                    })?)
                }
                (_, value) => Wanted::Value(value.clone()),
            };
            let key = match key.as_str() {
                "kind" => Key::Kind,
                "name" => Key::Name,
                "status" => Key::Status,
                other => match other.split_once('.') {
                    Some(("resource", key)) => Key::Resource(key.to_owned()),
                    Some(("span", key)) => Key::Span(key.to_owned()),
                    _ => return Err(OptionsError::PolicyKey(other.to_owned())),
                },
            };
            Ok(Test { key, wanted })
        });
        Ok(Self(tests.collect::<Result<_, _>>()?))
    }

    fn holds(&self, observed: Observed<'_>) -> bool {
        self.0.iter().all(|test| test.holds(observed))
    }
}

impl Test {
    fn holds(&self, observed: Observed<'_>) -> bool {
        let span = observed.span;
        match &self.key {
            Key::Kind => self.wanted.is_text(kind_name(span.kind)),
            Key::Name => self.wanted.is_text(&span.name),
            Key::Status => self.wanted.is_text(status_name(span.status_code)),
            Key::Resource(key) => self.wanted.is(find(observed.resource, key)),
            Key::Span(key) => self.wanted.is(find(&span.attributes, key)),
        }
    }
}

impl Wanted {
    fn is_text(&self, text: &str) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(text),
            Self::Value(PolicyValue::String(wanted)) => wanted == text,
            Self::Value(_) => false,
        }
    }

    fn is(&self, value: Option<&AttributeValue>) -> bool {
        match (self, value) {
            (wanted, Some(AttributeValue::String(text))) => wanted.is_text(text),
            (Self::Value(PolicyValue::Int(wanted)), Some(AttributeValue::Int(is))) => wanted == is,
            (Self::Value(PolicyValue::Double(wanted)), Some(AttributeValue::Double(is))) => {
                wanted == is
            }
            (Self::Value(PolicyValue::Bool(wanted)), Some(AttributeValue::Bool(is))) => {
                wanted == is
            }
            _ => false,
        }
    }
}
