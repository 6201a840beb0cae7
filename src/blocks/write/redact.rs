//! Takes out of traces what must not leave: attributes dropped, or their values replaced by keyed
//! hashes, so that equal values can still be told to be equal. Knows traces, not where they go.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use ring::hmac;

use super::otlp::attribute_value_to_json;
use crate::error::{Error, Result};
use crate::model::trace::SERVICE_NAME;
use crate::model::{AttributeValue, KeyValue, Trace};
use crate::schema::Level;

/// Bytes of a hash that are kept: too many to collide by chance, few enough to read.
const KEPT_BYTES: usize = 16;

/// Which attributes a rule is for: those of one scope under a key, or of any scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttributeName {
    /// Whose attributes; `None`: everyone's.
    pub level: Option<Level>,
    /// The key.
    pub key: String,
}

/// `span.key`, `resource.key`, `event.key`, `link.key`, `instrumentation.key`, or `.key` for all.
impl FromStr for AttributeName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |reason: &str| Error::Usage {
            what: "attribute",
            value: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (scope, key) = text.split_once('.').ok_or_else(|| {
            refuse("write scope and key, or a dot before the key: span.user.email, .user.email")
        })?;
        let level = match scope {
            "" => None,
            "resource" => Some(Level::Resource),
            "instrumentation" => Some(Level::Scope),
            "span" => Some(Level::Span),
            "event" => Some(Level::Event),
            "link" => Some(Level::Link),
            _ => {
                return Err(refuse(
                    "its scope is none of resource, span, event, link and instrumentation; for a \
                     key of any scope write a dot before it",
                ));
            }
        };
        match key {
            "" => Err(refuse("it names no attribute")),
            key => Ok(Self { level, key: key.to_owned() }),
        }
    }
}

/// As it is written.
impl fmt::Display for AttributeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match self.level {
            None => "",
            // It has no attributes, and no text names it.
            Some(Level::Trace) => "trace",
            Some(Level::Resource) => "resource",
            Some(Level::Scope) => "instrumentation",
            Some(Level::Span) => "span",
            Some(Level::Event) => "event",
            Some(Level::Link) => "link",
        };
        write!(f, "{scope}.{}", self.key)
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The attribute goes.
    Drop,
    /// Its value is replaced by a text: the hash of type and value under the redaction's key.
    Hash,
}

/// Rules, and the key of their hashes.
#[derive(Debug)]
pub struct Redaction {
    /// By key of the attribute.
    rules: HashMap<String, Vec<Rule>>,
    key: hmac::Key,
}

#[derive(Debug)]
struct Rule {
    name: AttributeName,
    action: Action,
    /// Something was redacted by it, or would have been by it alone.
    is_used: AtomicBool,
}

impl Redaction {
    /// Collects rules. Where several are for one attribute, it goes if one of them says so.
    ///
    /// Without `secret`, whoever guesses a value can compute its hash; with the same secret, equal
    /// values have equal hashes in everything that is redacted.
    #[must_use]
    pub fn new(rules: impl IntoIterator<Item = (AttributeName, Action)>, secret: &[u8]) -> Self {
        let mut by_key: HashMap<String, Vec<_>> = HashMap::new();
        for (name, action) in rules {
            let key = name.key.clone();
            by_key.entry(key).or_default().push(Rule { name, action, is_used: false.into() });
        }
        Self { rules: by_key, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Attributes that were to be redacted and have not occurred, by name: perhaps they are misspelt.
    #[must_use]
    pub fn untouched(&self) -> Vec<&AttributeName> {
        let unused = |rule: &&Rule| !rule.is_used.load(Ordering::Relaxed);
        let mut names: Vec<_> =
            self.rules.values().flatten().filter(unused).map(|rule| &rule.name).collect();
        names.sort_by_key(|name| name.to_string());
        names
    }

    /// Redacts a trace.
    pub fn apply(&self, trace: &mut Trace) {
        if self.is_empty() {
            return;
        }
        for resource_spans in &mut trace.resource_spans {
            self.redact(Level::Resource, &mut resource_spans.resource.attributes);
            for scope_spans in &mut resource_spans.scope_spans {
                self.redact(Level::Scope, &mut scope_spans.scope.attributes);
                for span in &mut scope_spans.spans {
                    self.redact(Level::Span, &mut span.attributes);
                    for event in &mut span.events {
                        self.redact(Level::Event, &mut event.attributes);
                    }
                    for link in &mut span.links {
                        self.redact(Level::Link, &mut link.attributes);
                    }
                }
            }
        }
    }

    /// The name of the root's service as the redacted trace has it.
    #[must_use]
    pub fn service_name(&self, name: &str) -> String {
        match self.action(Level::Resource, SERVICE_NAME) {
            // No name is no value, and stays none.
            _ if name.is_empty() => String::new(),
            None => name.to_owned(),
            Some(Action::Drop) => String::new(),
            Some(Action::Hash) => self.hash(&AttributeValue::String(name.to_owned())),
        }
    }

    fn redact(&self, level: Level, attributes: &mut Vec<KeyValue>) {
        attributes.retain_mut(|KeyValue { key, value }| match self.action(level, key) {
            Some(Action::Drop) => false,
            Some(Action::Hash) => {
                *value = AttributeValue::String(self.hash(value));
                true
            }
            None => true,
        });
    }

    fn action(&self, level: Level, key: &str) -> Option<Action> {
        let rules = self.rules.get(key)?;
        let fits = |rule: &&Rule| rule.name.level.is_none_or(|of| of == level);
        let mut strictest = None;
        for rule in rules.iter().filter(fits) {
            rule.is_used.store(true, Ordering::Relaxed);
            strictest = match strictest {
                Some(Action::Drop) => strictest,
                _ => Some(rule.action),
            };
        }
        strictest
    }

    /// Lower-case hex.
    fn hash(&self, value: &AttributeValue) -> String {
        // The stored JSON has the type in it: the text "1" and the number 1 differ.
        let tag = hmac::sign(&self.key, attribute_value_to_json(value).as_bytes());
        tag.as_ref().iter().take(KEPT_BYTES).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Event, Link, ResourceSpans, ScopeSpans, Span};

    fn rules(rules: &[(&str, Action)], secret: &str) -> Redaction {
        let rules = rules.iter().map(|(name, action)| (name.parse().unwrap(), *action));
        Redaction::new(rules, secret.as_bytes())
    }

    fn attributes(values: &[(&str, AttributeValue)]) -> Vec<KeyValue> {
        let pair = |(key, value): &(&str, AttributeValue)| KeyValue {
            key: (*key).to_owned(),
            value: value.clone(),
        };
        values.iter().map(pair).collect()
    }

    /// The same attributes in every place there is for some.
    fn trace() -> Trace {
        let text = |text: &str| AttributeValue::String(text.to_owned());
        let all = attributes(&[
            ("user", text("ann")),
            ("n", AttributeValue::Int(1)),
            ("keep", text("x")),
        ]);
        let mut resource_spans = ResourceSpans::default();
        resource_spans.resource.attributes = all.clone();
        let mut scope_spans = ScopeSpans::default();
        scope_spans.scope.attributes = all.clone();
        let event = Event { attributes: all.clone(), ..Event::default() };
        let link = Link { attributes: all.clone(), ..Link::default() };
        let (events, links) = (vec![event], vec![link]);
        scope_spans.spans = vec![Span { attributes: all, events, links, ..Span::default() }];
        resource_spans.scope_spans = vec![scope_spans];
        Trace { resource_spans: vec![resource_spans], ..Trace::default() }
    }

    /// Values under a key: of resource, instrumentation scope, span, event and link.
    fn values(trace: &Trace, key: &str) -> [Option<String>; 5] {
        let place = trace.spans().next().unwrap();
        [
            &place.resource_spans.resource.attributes,
            &place.scope_spans.scope.attributes,
            &place.span.attributes,
            &place.span.events[0].attributes,
            &place.span.links[0].attributes,
        ]
        .map(|attributes| {
            let found = attributes.iter().find(|kv| kv.key == key);
            found.map(|kv| match &kv.value {
                AttributeValue::String(text) => text.clone(),
                other => format!("{other:?}"),
            })
        })
    }

    #[test]
    fn attributes_go_from_one_scope_or_from_all() {
        let mut redacted = trace();
        rules(&[("span.user", Action::Drop), (".n", Action::Drop)], "").apply(&mut redacted);
        let ann = || Some("ann".to_owned());
        assert_eq!(values(&redacted, "user"), [ann(), ann(), None, ann(), ann()]);
        assert_eq!(values(&redacted, "n"), [const { None }; 5]);
        assert_eq!(values(&redacted, "keep"), values(&trace(), "keep"));
    }

    #[test]
    fn attributes_that_do_not_occur_are_named() {
        let rules = rules(&[("span.user", Action::Drop), (".usr", Action::Hash)], "");
        rules.apply(&mut trace());
        let untouched: Vec<_> = rules.untouched().iter().map(ToString::to_string).collect();
        assert_eq!(untouched, [".usr"]);
    }

    #[test]
    fn hashes_tell_equal_values_and_nothing_else() {
        let hashed = |secret| {
            let mut redacted = trace();
            rules(&[(".user", Action::Hash), (".n", Action::Hash)], secret).apply(&mut redacted);
            redacted
        };
        let one = hashed("a");
        let users = values(&one, "user");
        let first = users[0].clone().unwrap();
        // HMAC-SHA-256 of {"stringValue":"ann"} under "a", by Python's hmac.
        assert_eq!(first, "36fbca7157f11ef8969b6b2e5273a82c");
        assert!(users.iter().all(|user| user.as_ref() == Some(&first)));
        assert_ne!(values(&one, "n")[0], users[0]);
        assert_eq!(hashed("a"), one);
        assert_ne!(values(&hashed("b"), "user"), users);
        let text = |value: &str| AttributeValue::String(value.to_owned());
        assert_ne!(rules(&[], "a").hash(&text("1")), rules(&[], "a").hash(&AttributeValue::Int(1)));
    }

    #[test]
    fn of_two_rules_the_stricter_counts() {
        let mut redacted = trace();
        let both = [(".user", Action::Hash), ("span.user", Action::Drop)];
        rules(&both, "").apply(&mut redacted);
        assert_eq!(values(&redacted, "user")[2], None);
        assert!(values(&redacted, "user")[0].is_some());
    }

    #[test]
    fn the_roots_service_is_redacted_with_its_resource() {
        let drops = rules(&[("resource.service.name", Action::Drop)], "");
        assert_eq!(drops.service_name("shop"), "");
        let hashes = rules(&[(".service.name", Action::Hash)], "");
        let value = AttributeValue::String("shop".to_owned());
        assert_eq!(hashes.service_name("shop"), hashes.hash(&value));
        assert_eq!(hashes.service_name(""), "");
        assert_eq!(rules(&[("span.service.name", Action::Drop)], "").service_name("shop"), "shop");
    }

    #[test]
    fn names_are_scope_and_key() {
        for bad in ["", "user", "trace.user", "span.", "."] {
            assert!(bad.parse::<AttributeName>().is_err(), "{bad:?}");
        }
        let name: AttributeName = "instrumentation.a.b".parse().unwrap();
        assert_eq!((name.level, name.key.as_str()), (Some(Level::Scope), "a.b"));
    }
}
