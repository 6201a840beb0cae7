//! Reads fields of one span and evaluates expressions over it (`traceql.md` 5.3 to 5.11, section 11).
//!
//! Choices made where the specification is silent; the engine follows them:
//! - **Repeated keys: the first one counts**, in every attribute list. A well-known or dedicated
//!   column holds the last string or int instead (`blocks.md` 4.6), and what is read back from one
//!   stands behind the generic attributes, so the first still counts there.
//! - `resource.service.name` is never nil (5.2). A value that is not a string stays generic and so
//!   counts before strings, of which the last counts; without a visible value it reads `""`.
//! - `span:parentID` of a span without parent is `"0000000000000000"`, and `!= ""` is false (1.6).
//! - `= nil` on a field of the parent (the root) holds for a span without a parent (a trace without a
//!   root), and on `span:gap` for a span without a parent.
//! - A literal compared by `=` or `!=` with an id is lower-cased; for trace ids it loses leading
//!   zeros, for span ids it is filled up with them; ordering and regular expressions see it as written (section 11, "normalise").

use std::cell::RefCell;
use std::collections::BTreeMap;

use regex::Regex;
use traceql_blocks::model::{AttributeValue, Event, KeyValue, Link, Span};
use traceql_engine::search::Value;
use traceql_language::analyze::ir::{
    AttributeScope, Comparison, Field, FieldExpr, FieldName, Intrinsic, Kind, Pattern, Static,
    Status, Subject,
};

use super::forest::Forest;
use super::values::{self, Found};

/// `span:parentID` of a span without a parent (1.6), `link:spanID` of one without links (5.10).
const NO_SPAN_ID: &str = "0000000000000000";

/// Which event and which link of a span an expression sees.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading<'t> {
    /// In a filter: one event and one link, the same for all conditions (5.10); none if the span
    /// has none, and then event or link fields are nil and not even `= nil` holds.
    One(Option<&'t Event>, Option<&'t Link>),
    /// Elsewhere: for a field the first that has it; for a condition as in a filter, any.
    First,
}

/// A place to read from: a span of a trace, with the choice of event and link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'t> {
    /// The trace.
    pub(crate) forest: &'t Forest<'t>,
    /// Which of its spans.
    pub(crate) span: usize,
    /// Which event and link.
    pub(crate) reading: Reading<'t>,
}

/// 5.7 and 5.10: whether a filter keeps a span: some event and some link make it bool true.
pub(crate) fn keeps(forest: &Forest<'_>, span: usize, filter: &FieldExpr) -> bool {
    readings(forest.spans[span].span)
        .into_iter()
        .any(|reading| evaluate(Place { forest, span, reading }, filter) == Value::Bool(true))
}

/// 5.10: every choice of one event and one link; a span without them offers the choice of none.
pub(crate) fn readings(span: &Span) -> Vec<Reading<'_>> {
    let mut events: Vec<Option<&Event>> = span.events.iter().map(Some).collect();
    if events.is_empty() {
        events.push(None);
    }
    let mut links: Vec<Option<&Link>> = span.links.iter().map(Some).collect();
    if links.is_empty() {
        links.push(None);
    }
    events
        .iter()
        .flat_map(|&event| links.iter().map(move |&link| Reading::One(event, link)))
        .collect()
}

/// Section 5: the value of an expression at a place.
pub(crate) fn evaluate(place: Place<'_>, expression: &FieldExpr) -> Value {
    if matches!(place.reading, Reading::First) && is_condition(expression) {
        return some_reading(place, expression);
    }
    match expression {
        FieldExpr::Static(literal) => values::literal(literal),
        FieldExpr::Field(field) => operand(place, field),
        // 5.4 and section 11: `!nil` is nil, and so is `!` of anything but a bool.
        FieldExpr::Not(operand) => match evaluate(place, operand) {
            Value::Bool(truth) => Value::Bool(!truth),
            _ => Value::Nil,
        },
        FieldExpr::Negate(operand) => values::negate(&evaluate(place, operand)),
        // 5.7: both operands must be bool, or the result is false.
        FieldExpr::And(left, right) => both_bool(place, left, right, |left, right| left && right),
        FieldExpr::Or(left, right) => both_bool(place, left, right, |left, right| left || right),
        FieldExpr::Compare { left, op, right } => Value::Bool(compare(place, left, *op, right)),
        FieldExpr::Match { left, negated, pattern } => {
            Value::Bool(compare_match(place, left, *negated, pattern))
        }
        FieldExpr::Arithmetic { left, op, right } => {
            values::arithmetic(&evaluate(place, left), *op, &evaluate(place, right))
        }
        FieldExpr::Exists(operand) => Value::Bool(exists(place, operand)),
        FieldExpr::Missing(operand) => Value::Bool(missing(place, operand)),
    }
}

/// Whether an expression says something true or false rather than naming a value.
fn is_condition(expression: &FieldExpr) -> bool {
    match expression {
        FieldExpr::Static(_)
        | FieldExpr::Field(_)
        | FieldExpr::Negate(_)
        | FieldExpr::Arithmetic { .. } => false,
        FieldExpr::Not(_)
        | FieldExpr::And(..)
        | FieldExpr::Or(..)
        | FieldExpr::Compare { .. }
        | FieldExpr::Match { .. }
        | FieldExpr::Exists(_)
        | FieldExpr::Missing(_) => true,
    }
}

/// 5.10, for a condition outside filters: true if one event and one link make it true, so that
/// `by(event.k = 1)` tells apart what `{ event.k = 1 }` keeps; else false if some make it false.
fn some_reading(place: Place<'_>, condition: &FieldExpr) -> Value {
    let outcomes: Vec<Value> = readings(place.forest.spans[place.span].span)
        .into_iter()
        .map(|reading| evaluate(Place { reading, ..place }, condition))
        .collect();
    [Value::Bool(true), Value::Bool(false)]
        .into_iter()
        .find(|outcome| outcomes.contains(outcome))
        .unwrap_or(Value::Nil)
}

/// 5.7.
fn both_bool(
    place: Place<'_>,
    left: &FieldExpr,
    right: &FieldExpr,
    combine: impl Fn(bool, bool) -> bool,
) -> Value {
    match (evaluate(place, left), evaluate(place, right)) {
        (Value::Bool(left), Value::Bool(right)) => Value::Bool(combine(left, right)),
        _ => Value::Bool(false),
    }
}

/// 5.5, with Q2 and the rules of 5.11 for ids.
fn compare(place: Place<'_>, left: &FieldExpr, op: Comparison, right: &FieldExpr) -> bool {
    match (left, right) {
        (FieldExpr::Field(field), FieldExpr::Static(literal)) => compare_field(
            place,
            field,
            literal,
            |value, literal| values::compare(value, op, literal),
            op,
        ),
        (FieldExpr::Static(literal), FieldExpr::Field(field)) => compare_field(
            place,
            field,
            literal,
            |value, literal| values::compare(literal, op, value),
            op,
        ),
        _ => values::compare(&evaluate(place, left), op, &evaluate(place, right)),
    }
}

/// A field against a literal, the case that Q2, 1.6 and 5.11 have rules for.
fn compare_field(
    place: Place<'_>,
    field: &Field,
    literal: &Static,
    holds: impl Fn(&Value, &Value) -> bool,
    op: Comparison,
) -> bool {
    if never_meets(field, literal) {
        return false;
    }
    if asks_for_a_parent(field, literal, op) && lacks_parent_id(place, field) {
        return false;
    }
    let literal = match literal {
        Static::String(text) if matches!(op, Comparison::Equal | Comparison::NotEqual) => {
            Value::String(normalised_id(field, text))
        }
        other => values::literal(other),
    };
    holds(&read(place, field).value(), &literal)
}

/// Q2: a duration, status or kind literal never meets a custom attribute.
pub(crate) fn never_meets(field: &Field, literal: &Static) -> bool {
    matches!(field.name, FieldName::Attribute { .. })
        && matches!(literal, Static::Duration(_) | Static::Status(_) | Static::Kind(_))
}

/// 1.6: `span:parentID != ""`, whatever the id of no parent reads as.
fn asks_for_a_parent(field: &Field, literal: &Static, op: Comparison) -> bool {
    field.name == FieldName::Intrinsic(Intrinsic::SpanParentId)
        && op == Comparison::NotEqual
        && *literal == Static::String(String::new())
}

/// 1.6: whether the span the field is read from has no parent id.
fn lacks_parent_id(place: Place<'_>, field: &Field) -> bool {
    subject(place, field).is_some_and(|span| place.forest.is_root(span))
}

/// Section 11, "ids with leading zero bytes, case": how an id literal is compared.
fn normalised_id(field: &Field, text: &str) -> String {
    match field.name {
        FieldName::Intrinsic(Intrinsic::TraceId | Intrinsic::LinkTraceId) => {
            text.to_lowercase().trim_start_matches('0').to_owned()
        }
        FieldName::Intrinsic(
            Intrinsic::SpanId | Intrinsic::SpanParentId | Intrinsic::LinkSpanId,
        ) if !text.is_empty() => format!("{:0>16}", text.to_lowercase()),
        _ => text.to_owned(),
    }
}

/// 5.10: a field read without a comparison with a literal: what is built in of events and links is
/// `""`, `0s` or the id of no span for a span that has none.
pub(crate) fn operand(place: Place<'_>, field: &Field) -> Value {
    let Some(span) = subject(place, field).map(|span| place.forest.spans[span].span) else {
        return read(place, field).value();
    };
    match field.name {
        FieldName::Intrinsic(Intrinsic::EventName) if span.events.is_empty() => {
            Value::String(String::new())
        }
        FieldName::Intrinsic(Intrinsic::EventTimeSinceStart) if span.events.is_empty() => {
            Value::Duration(0)
        }
        FieldName::Intrinsic(Intrinsic::LinkTraceId) if span.links.is_empty() => {
            Value::String(String::new())
        }
        FieldName::Intrinsic(Intrinsic::LinkSpanId) if span.links.is_empty() => {
            Value::String(NO_SPAN_ID.to_owned())
        }
        _ => read(place, field).value(),
    }
}

/// 5.5 and 5.8: a field or an expression against a pattern.
fn compare_match(place: Place<'_>, left: &FieldExpr, negated: bool, pattern: &Pattern) -> bool {
    let value = match left {
        FieldExpr::Field(field) => read(place, field).value(),
        other => evaluate(place, other),
    };
    matches(&value, negated, pattern)
}

/// 5.8: only strings are matched; an array by any element, for `!~` by all (5.5).
pub(crate) fn matches(value: &Value, negated: bool, pattern: &Pattern) -> bool {
    let holds = |value: &Value| match value {
        Value::String(text) => is_match(&pattern.translated, text) != negated,
        _ => false,
    };
    match value {
        Value::Array(elements) if negated => elements.iter().all(holds),
        Value::Array(elements) => elements.iter().any(holds),
        scalar => holds(scalar),
    }
}

/// Whether a pattern matches a text. Compiling one for every span would take the whole time of a
/// test, so compiled ones are kept.
fn is_match(pattern: &str, text: &str) -> bool {
    thread_local! {
        static COMPILED: RefCell<BTreeMap<String, Regex>> = const { RefCell::new(BTreeMap::new()) };
    }
    COMPILED.with_borrow_mut(|compiled| {
        compiled
            .entry(pattern.to_owned())
            .or_insert_with(|| Regex::new(pattern).expect("analysis compiled the pattern"))
            .is_match(text)
    })
}

/// 3.6 and 5.4: `x != nil`.
fn exists(place: Place<'_>, operand: &FieldExpr) -> bool {
    match operand {
        FieldExpr::Field(field) if field.name == FieldName::Parent => {
            place.forest.parent(place.span).is_some()
        }
        FieldExpr::Field(field) => read(place, field).value() != Value::Nil,
        other => evaluate(place, other) != Value::Nil,
    }
}

/// 3.6: `x = nil` asks whether a field is absent; of anything but a field it is never true.
fn missing(place: Place<'_>, operand: &FieldExpr) -> bool {
    match operand {
        FieldExpr::Field(field) if field.name == FieldName::Parent => {
            place.forest.parent(place.span).is_none()
        }
        FieldExpr::Field(field) => read(place, field) == Found::Absent,
        _ => false,
    }
}

/// The span a field is read from: the span itself, with `parent.` its parent (section 11), with `root.`
/// the span that names the trace (`grammar/extensions.md`).
fn subject(place: Place<'_>, field: &Field) -> Option<usize> {
    match field.of {
        Subject::Itself => Some(place.span),
        Subject::Parent => place.forest.parent(place.span),
        Subject::Root => place.forest.naming_root(),
    }
}

/// 5.3 and 1.6: what a field holds at a place.
pub(crate) fn read(place: Place<'_>, field: &Field) -> Found {
    let Some(span) = subject(place, field) else { return Found::Absent };
    // The chosen event is one of the span's own; of a parent's events the first is read.
    let reading = if field.is_own() { place.reading } else { Reading::First };
    let place = Place { span, reading, ..place };
    match &field.name {
        FieldName::Parent => Found::Invisible,
        FieldName::Intrinsic(intrinsic) => read_intrinsic(place, *intrinsic),
        FieldName::Attribute { scope, key } => read_attribute(place, *scope, key),
    }
}

/// 5.3: attributes by scope.
fn read_attribute(place: Place<'_>, scope: AttributeScope, key: &str) -> Found {
    let placed = place.forest.spans[place.span];
    match scope {
        AttributeScope::Span => look_up(&placed.span.attributes, key),
        AttributeScope::Resource => read_resource(place, key),
        AttributeScope::Instrumentation => look_up(&placed.scope.attributes, key),
        // 5.3: a span attribute hides the resource's, whatever its value or type.
        AttributeScope::Unscoped => match look_up(&placed.span.attributes, key) {
            Found::Absent => read_resource(place, key),
            found => found,
        },
        AttributeScope::Event => of_event(place, |event| look_up(&event.attributes, key)),
        AttributeScope::Link => of_link(place, |link| look_up(&link.attributes, key)),
    }
}

/// 5.3: attributes of the resource; 5.2, last row: its `service.name` is never nil.
fn read_resource(place: Place<'_>, key: &str) -> Found {
    let attributes = &place.forest.spans[place.span].resource.attributes;
    if key != "service.name" {
        return look_up(attributes, key);
    }
    let is_string = |attribute: &&KeyValue| matches!(attribute.value, AttributeValue::String(_));
    let named: Vec<&KeyValue> = attributes.iter().filter(|a| a.key == key).collect();
    let other = named.iter().copied().find(|attribute| !is_string(attribute));
    let string = named.iter().copied().rfind(is_string);
    [other, string]
        .into_iter()
        .flatten()
        .map(|attribute| values::stored(&attribute.value))
        .find(|found| matches!(found, Found::Value(_)))
        .unwrap_or_else(|| Found::Value(Value::String(String::new())))
}

/// The value of a key in an attribute list; of repeated keys the first one counts.
fn look_up(attributes: &[KeyValue], key: &str) -> Found {
    attributes
        .iter()
        .find(|attribute| attribute.key == key)
        .map_or(Found::Absent, |attribute| values::stored(&attribute.value))
}

/// 5.10: a field of the chosen event, or of the first event that has it.
fn of_event(place: Place<'_>, read: impl Fn(&Event) -> Found) -> Found {
    let events = &place.forest.spans[place.span].span.events;
    match place.reading {
        Reading::One(event, _) => event.map_or(Found::Invisible, read),
        Reading::First => first(events.iter().map(read)),
    }
}

/// 5.10: a field of the chosen link, or of the first link that has it.
fn of_link(place: Place<'_>, read: impl Fn(&Link) -> Found) -> Found {
    let links = &place.forest.spans[place.span].span.links;
    match place.reading {
        Reading::One(_, link) => link.map_or(Found::Invisible, read),
        Reading::First => first(links.iter().map(read)),
    }
}

/// What the first that has the key holds; without any, absent only if there is something that lacks
/// the key.
fn first(mut found: impl Iterator<Item = Found>) -> Found {
    let Some(first) = found.next() else { return Found::Invisible };
    std::iter::once(first)
        .chain(found)
        .find(|found| *found != Found::Absent)
        .unwrap_or(Found::Absent)
}

/// 1.6: the built-in fields.
fn read_intrinsic(place: Place<'_>, intrinsic: Intrinsic) -> Found {
    let forest = place.forest;
    let placed = forest.spans[place.span];
    let span = placed.span;
    Found::Value(match intrinsic {
        Intrinsic::Duration => Value::Duration(duration_nanos(span).cast_signed()),
        Intrinsic::Name => Value::String(span.name.clone()),
        Intrinsic::Status => Value::Status(status(span.status_code)),
        Intrinsic::StatusMessage => Value::String(span.status_message.clone()),
        Intrinsic::Kind => Value::Kind(kind(span.kind)),
        Intrinsic::SpanId => Value::String(span_id_text(&span.span_id)),
        Intrinsic::SpanParentId if forest.is_root(place.span) => {
            Value::String(NO_SPAN_ID.to_owned())
        }
        Intrinsic::SpanParentId => Value::String(span_id_text(&span.parent_span_id)),
        Intrinsic::Gap => match forest.gap_nanos(place.span) {
            Some(nanos) => Value::Duration(nanos),
            None => return Found::Absent,
        },
        Intrinsic::SpanChildCount => int(forest.child_count(place.span)),
        Intrinsic::TraceDuration => Value::Duration(forest.duration_nanos().cast_signed()),
        Intrinsic::RootName => Value::String(forest.root_name()),
        Intrinsic::RootServiceName => Value::String(forest.root_service_name()),
        Intrinsic::TraceId => Value::String(trace_id_text(&forest.trace.id.0)),
        Intrinsic::EventName => {
            return of_event(place, |event| Found::Value(Value::String(event.name.clone())));
        }
        Intrinsic::EventTimeSinceStart => {
            return of_event(place, |event| {
                let nanos = event.time_unix_nanos.wrapping_sub(span.start_unix_nanos);
                Found::Value(Value::Duration(nanos.cast_signed()))
            });
        }
        Intrinsic::LinkSpanId => {
            return of_link(place, |link| Found::Value(Value::String(span_id_text(&link.span_id))));
        }
        Intrinsic::LinkTraceId => {
            return of_link(place, |link| {
                Found::Value(Value::String(trace_id_text(&link.trace_id)))
            });
        }
        Intrinsic::InstrumentationName => Value::String(placed.scope.name.clone()),
        Intrinsic::InstrumentationVersion => Value::String(placed.scope.version.clone()),
        Intrinsic::NestedSetLeft => Value::Int(forest.numbers[place.span].left),
        Intrinsic::NestedSetRight => Value::Int(forest.numbers[place.span].right),
        Intrinsic::NestedSetParent => Value::Int(forest.numbers[place.span].parent),
    })
}

/// 1.6: end minus start, wrapping as it is stored (`blocks.md` 4.8).
pub(crate) fn duration_nanos(span: &Span) -> u64 {
    span.end_unix_nanos.wrapping_sub(span.start_unix_nanos)
}

/// 5.9.
pub(crate) fn status(code: i32) -> Status {
    match code {
        1 => Status::Ok,
        2 => Status::Error,
        _ => Status::Unset,
    }
}

/// 5.9.
fn kind(number: i32) -> Kind {
    match number {
        1 => Kind::Internal,
        2 => Kind::Server,
        3 => Kind::Client,
        4 => Kind::Producer,
        5 => Kind::Consumer,
        _ => Kind::Unspecified,
    }
}

/// 5.11: a span id as 16 lower-case hex digits.
fn span_id_text(id: &[u8]) -> String {
    format!("{:0>16}", hex(id))
}

/// 5.11: a trace id as lower-case hex without leading zeros.
fn trace_id_text(id: &[u8]) -> String {
    hex(id).trim_start_matches('0').to_owned()
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A count as an int.
pub(crate) fn int(count: usize) -> Value {
    Value::Int(i64::try_from(count).expect("fewer spans than an i64 can count"))
}
