//! Expressions over the spans of a batch: conditions as masks, everything else value by value. An
//! expression that reads events (links) is evaluated on rows of span and event (link): a filter
//! holds for a span if it holds for some of them (`traceql.md` 5.10).

use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;

use traceql_blocks::read::batch::TraceData;
use traceql_blocks::read::leaf::Demand;
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::structure::{Offsets, Structure};
use traceql_blocks::read::values::ValueRef;
use traceql_blocks::schema::{Column, Level};
use traceql_language::analyze::ir::{AttributeScope, Field, FieldName, Intrinsic, Subject};

use super::columns::{field_level, intrinsic_column};
use super::compile::{BoolNode, Filter, Program, TestKind, ValueNode};
pub(crate) use super::reader::{FieldReader, Reader, trace_id_text};
use super::reader::{at, test_id};
use super::value::{Val, compare, matches};

/// No row: the span has no parent, or no event.
pub(crate) const NONE: u32 = u32::MAX;

/// A batch together with the program that runs on it.
pub(crate) struct Batch<'a> {
    pub(crate) data: &'a dyn TraceData,
    pub(crate) program: &'a Program,
    /// Traces that can still be part of the answer; others are not decoded.
    pub(crate) traces: Mask,
    pub(crate) structure: Arc<Structure>,
    /// Conditions that are not tested yet: they may hold or not. For narrowing only.
    pub(crate) maybe: Option<&'a dyn Fn(&Column) -> bool>,
    pub(super) parents: OnceCell<Arc<Vec<u32>>>,
    pub(super) roots: OnceCell<Arc<Vec<u32>>>,
    pub(super) gaps: OnceCell<Arc<Vec<Option<i64>>>>,
    pub(super) child_counts: OnceCell<Arc<Vec<u32>>>,
}

/// The rows an expression is evaluated on.
pub(crate) struct Rows {
    /// Span of each row; `None`: rows are spans.
    pub(crate) spans: Option<Vec<u32>>,
    /// Event of each row, [`NONE`] for none.
    pub(super) events: Option<Vec<u32>>,
    pub(super) links: Option<Vec<u32>>,
    n: usize,
}

impl Rows {
    pub(crate) fn len(&self) -> usize {
        self.n
    }

    /// The span of a row.
    pub(crate) fn span_of(&self, row: usize) -> usize {
        self.spans.as_ref().map_or(row, |spans| spans[row] as usize)
    }
}

/// Rows for which an expression is true, and rows for which it is false; the rest is nil. When
/// narrowing, both are supersets.
pub(crate) struct Truth {
    pub(crate) yes: Mask,
    pub(crate) no: Mask,
}

impl Truth {
    fn of(yes: Mask) -> Self {
        let no = yes.clone().complement();
        Self { yes, no }
    }
}

impl<'a> Batch<'a> {
    pub(crate) fn new(data: &'a dyn TraceData, program: &'a Program, traces: Mask) -> Demand<Self> {
        let structure = data.structure()?;
        Ok(Self {
            data,
            program,
            traces,
            structure,
            maybe: None,
            parents: OnceCell::new(),
            roots: OnceCell::new(),
            gaps: OnceCell::new(),
            child_counts: OnceCell::new(),
        })
    }

    pub(crate) fn n_spans(&self) -> usize {
        self.structure.n_spans()
    }

    /// Spans of the traces that can still be part of the answer.
    pub(crate) fn candidate_spans(&self) -> Mask {
        let mut spans = Mask::none(self.n_spans());
        for trace in self.traces.ones() {
            spans.set_range(self.structure.trace_spans.range(trace));
        }
        spans
    }

    /// Spans for which a filter holds. Spans of other traces may be among them.
    pub(crate) fn filter(&self, filter: &Filter) -> Demand<Mask> {
        let rows = self.rows(filter.over_events, filter.over_links)?;
        let truth = self.bool(&filter.body, &rows)?;
        let Some(spans) = &rows.spans else { return Ok(truth.yes) };
        let mut mask = Mask::none(self.n_spans());
        truth.yes.ones().for_each(|row| mask.set(spans[row] as usize));
        Ok(mask)
    }

    /// A condition as a value. Outside a filter rows are spans, and it is judged as a filter judges
    /// it (5.10): true if some event (link) makes it true, else false if some makes it false.
    fn outcome(&self, filter: &Filter, rows: &Rows) -> Demand<Truth> {
        let is_inside = rows.spans.is_some();
        if is_inside || !(filter.over_events || filter.over_links) {
            return self.bool(&filter.body, rows);
        }
        let rows = self.rows(filter.over_events, filter.over_links)?;
        let by_row = self.bool(&filter.body, &rows)?;
        let by_span = |by_row: &Mask| {
            let mut mask = Mask::none(self.n_spans());
            by_row.ones().for_each(|row| mask.set(rows.span_of(row)));
            mask
        };
        let (yes, mut no) = (by_span(&by_row.yes), by_span(&by_row.no));
        no.and_not(&yes);
        Ok(Truth { yes, no })
    }

    /// One row per span.
    pub(crate) fn span_rows(&self) -> Rows {
        Rows { spans: None, events: None, links: None, n: self.n_spans() }
    }

    pub(super) fn rows(&self, over_events: bool, over_links: bool) -> Demand<Rows> {
        if !over_events && !over_links {
            return Ok(self.span_rows());
        }
        let events = if over_events { Some(self.data.span_events()?) } else { None };
        let links = if over_links { Some(self.data.span_links()?) } else { None };
        Ok(match (events, links) {
            (Some(events), None) => {
                let (spans, children) = self.child_rows_of(&events);
                Rows { n: spans.len(), spans: Some(spans), events: Some(children), links: None }
            }
            (None, Some(links)) => {
                let (spans, children) = self.child_rows_of(&links);
                Rows { n: spans.len(), spans: Some(spans), events: None, links: Some(children) }
            }
            (events, links) => self.paired_rows(events.as_deref(), links.as_deref()),
        })
    }

    /// The span and the child of each row, of spans that have children of one kind.
    fn child_rows_of(&self, offsets: &Offsets) -> (Vec<u32>, Vec<u32>) {
        let most = self.n_spans() + offsets.n_children();
        let (mut span_of, mut child_of) = (Vec::with_capacity(most), Vec::with_capacity(most));
        for trace in self.traces.ones() {
            for span in self.structure.trace_spans.range(trace) {
                for child in children(Some(offsets), span) {
                    span_of.push(row_number(span));
                    child_of.push(child);
                }
            }
        }
        (span_of, child_of)
    }

    /// A row for each event with each link of a span.
    fn paired_rows(&self, events: Option<&Offsets>, links: Option<&Offsets>) -> Rows {
        let (mut span_of, mut event_of, mut link_of) = (Vec::new(), Vec::new(), Vec::new());
        for trace in self.traces.ones() {
            for span in self.structure.trace_spans.range(trace) {
                for event in children(events, span) {
                    for link in children(links, span) {
                        span_of.push(row_number(span));
                        event_of.push(event);
                        link_of.push(link);
                    }
                }
            }
        }
        Rows {
            n: span_of.len(),
            spans: Some(span_of),
            events: Some(event_of),
            links: Some(link_of),
        }
    }

    /// One row per event (link) of the batch.
    pub(crate) fn child_rows(&self, level: Level) -> Demand<Rows> {
        let children = match level {
            Level::Event => self.data.span_events()?,
            _ => self.data.span_links()?,
        };
        let mut spans = Vec::with_capacity(children.n_children());
        for span in 0..self.n_spans() {
            spans.extend(children.range(span).map(|_| row_number(span)));
        }
        let own: Vec<u32> = (0..children.n_children()).map(row_number).collect();
        let (events, links) =
            if level == Level::Event { (Some(own), None) } else { (None, Some(own)) };
        Ok(Rows { n: spans.len(), spans: Some(spans), events, links })
    }

    /// The row of a level for each row; `None` if they are the same rows.
    fn map(&self, rows: &Rows, level: Level, of: Subject) -> Demand<Option<Vec<u32>>> {
        let by_span: Option<Cow<'_, [u32]>> = match level {
            Level::Span => None,
            Level::Trace => Some(Cow::Borrowed(&self.structure.span_trace)),
            Level::Resource => Some(Cow::Borrowed(&self.structure.span_resource)),
            Level::Scope => Some(Cow::Borrowed(&self.structure.span_scope)),
            Level::Event => {
                return Ok(Some(match &rows.events {
                    Some(events) => events.clone(),
                    None => self.first_children(&*self.data.span_events()?),
                }));
            }
            Level::Link => {
                return Ok(Some(match &rows.links {
                    Some(links) => links.clone(),
                    None => self.first_children(&*self.data.span_links()?),
                }));
            }
        };
        let subjects = match of {
            Subject::Itself => None,
            Subject::Parent => Some(self.parents()?),
            Subject::Root => Some(self.roots()?),
        };
        if by_span.is_none() && subjects.is_none() {
            return Ok(rows.spans.clone());
        }
        let of_span = |span: u32| {
            let span = match &subjects {
                Some(subjects) => subjects.get(span as usize).copied().unwrap_or(NONE),
                None => span,
            };
            match &by_span {
                Some(by_span) => by_span.get(span as usize).copied().unwrap_or(NONE),
                None => span,
            }
        };
        Ok(Some(match &rows.spans {
            Some(spans) => spans.iter().map(|span| of_span(*span)).collect(),
            None => (0..rows.n).map(|span| of_span(row_number(span))).collect(),
        }))
    }

    /// Where an expression is evaluated once per span, an event field is the first event's.
    fn first_children(&self, children: &Offsets) -> Vec<u32> {
        (0..self.n_spans())
            .map(|span| {
                let range = children.range(span);
                if range.is_empty() { NONE } else { row_number(range.start) }
            })
            .collect()
    }

    pub(crate) fn bool(&self, node: &BoolNode, rows: &Rows) -> Demand<Truth> {
        Ok(match node {
            BoolNode::Constant(true) => Truth::of(Mask::all(rows.n)),
            BoolNode::Constant(false) => Truth::of(Mask::none(rows.n)),
            BoolNode::Test(number) => {
                if self.is_maybe(*number) {
                    return Ok(Truth { yes: Mask::all(rows.n), no: Mask::all(rows.n) });
                }
                Truth::of(self.test(*number, rows)?)
            }
            // Both sides are asked before a fault is reported, so that one fetch serves both.
            BoolNode::And(left, right) => {
                let (left, right) = (self.bool(left, rows), self.bool(right, rows));
                let (mut left, right) = (left?, right?);
                left.yes.and(&right.yes);
                // An operand that is no bool makes the result false (5.7).
                let no = if self.maybe.is_some() {
                    left.no.or(&right.no);
                    left.no
                } else {
                    left.yes.clone().complement()
                };
                Truth { yes: left.yes, no }
            }
            BoolNode::Or(left, right) => {
                let (left, right) = (self.bool(left, rows), self.bool(right, rows));
                let (left, right) = (left?, right?);
                let (mut yes, mut no) = (left.yes, left.no);
                if self.maybe.is_some() {
                    yes.or(&right.yes);
                    no.and(&right.no);
                } else {
                    // `true || nil` is false: both operands must be bools.
                    let mut bools = yes.clone();
                    bools.or(&no);
                    let mut others = right.yes.clone();
                    others.or(&right.no);
                    bools.and(&others);
                    yes.or(&right.yes);
                    yes.and(&bools);
                    no = yes.clone().complement();
                }
                Truth { yes, no }
            }
            BoolNode::Not(operand) => {
                let truth = self.bool(operand, rows)?;
                Truth { yes: truth.no, no: truth.yes }
            }
            BoolNode::Truth(_)
            | BoolNode::Compare { .. }
            | BoolNode::Match { .. }
            | BoolNode::Exists(_)
                if self.maybe.is_some() =>
            {
                Truth { yes: Mask::all(rows.n), no: Mask::all(rows.n) }
            }
            BoolNode::Truth(value) => {
                let value = self.reader(value, rows)?;
                let mut truth = Truth { yes: Mask::none(rows.n), no: Mask::none(rows.n) };
                for row in 0..rows.n {
                    match value.get(row) {
                        Val::Bool(true) => truth.yes.set(row),
                        Val::Bool(false) => truth.no.set(row),
                        _ => {}
                    }
                }
                truth
            }
            BoolNode::Compare { left, op, right } => {
                let (left, right) = (self.reader(left, rows), self.reader(right, rows));
                let (left, right) = (left?, right?);
                Truth::of(Mask::from_fn(rows.n, |row| {
                    compare(&left.get(row), *op, &right.get(row))
                }))
            }
            BoolNode::Match { left, regex, negated } => {
                let left = self.reader(left, rows)?;
                Truth::of(Mask::from_fn(rows.n, |row| matches(&left.get(row), regex, *negated)))
            }
            BoolNode::Exists(value) => {
                let value = self.reader(value, rows)?;
                Truth::of(Mask::from_fn(rows.n, |row| !value.get(row).is_nil()))
            }
        })
    }

    fn is_maybe(&self, test: usize) -> bool {
        let Some(maybe) = self.maybe else { return false };
        let test = &self.program.tests[test];
        let condition = |number: usize| maybe(&self.program.conditions[number].column);
        !test.field.is_own()
            || match &test.what {
                TestKind::Column(number) => condition(*number),
                TestKind::Unscoped { span, resource, .. } => {
                    condition(*span) || condition(*resource)
                }
                TestKind::Missing { keys } => keys.iter().any(|key| condition(*key)),
                TestKind::Always | TestKind::Never => false,
                TestKind::Id { .. }
                | TestKind::ChildCount(_)
                | TestKind::Gap(_)
                | TestKind::Without(..)
                | TestKind::RowExists(_) => true,
            }
    }

    /// Rows for which a test holds.
    pub(crate) fn test(&self, number: usize, rows: &Rows) -> Demand<Mask> {
        let test = &self.program.tests[number];
        let of = test.field.of;
        match &test.what {
            TestKind::Always => Ok(Mask::all(rows.n)),
            TestKind::Never => Ok(Mask::none(rows.n)),
            TestKind::Column(number) => self.condition(*number, rows, of),
            TestKind::Unscoped { span, span_key, resource } => {
                let own = self.condition(*span, rows, of);
                let hides = self.condition(*span_key, rows, of);
                let resource = self.condition(*resource, rows, of);
                let (mut mask, hides, mut outer) = (own?, hides?, resource?);
                outer.and_not(&hides);
                mask.or(&outer);
                Ok(mask)
            }
            TestKind::Missing { keys } => {
                let have: Vec<Demand<Mask>> =
                    keys.iter().map(|key| self.condition(*key, rows, of)).collect();
                let mut mask = Mask::all(rows.n);
                for keys in have {
                    mask.and_not(&keys?);
                }
                // No event at all is not an event without the key (5.10).
                let level = field_level(&test.field);
                if matches!(level, Level::Event | Level::Link) {
                    mask.and(&self.row_exists(level, rows)?);
                }
                Ok(mask)
            }
            TestKind::RowExists(level) => self.row_exists(*level, rows),
            TestKind::Without(subject, wanted) => {
                let map = self.map(rows, Level::Span, *subject)?.unwrap_or_default();
                Ok(Mask::from_fn(rows.n, |row| (map[row] == NONE) == *wanted))
            }
            TestKind::ChildCount(predicate) => {
                let counts = self.child_counts()?;
                let map = self.map(rows, Level::Span, of)?;
                Ok(Mask::from_fn(rows.n, |row| {
                    at(map.as_deref(), row)
                        .is_some_and(|span| predicate.test_int(i64::from(counts[span])))
                }))
            }
            TestKind::Gap(predicate) => {
                let gaps = self.gaps()?;
                let map = self.map(rows, Level::Span, of)?;
                Ok(Mask::from_fn(rows.n, |row| {
                    let gap = at(map.as_deref(), row).and_then(|span| gaps[span]);
                    gap.is_some_and(|gap| predicate.test_int(gap))
                }))
            }
            TestKind::Id { id, predicate } => {
                let Some(column) = intrinsic_column(*id) else { return Ok(Mask::none(rows.n)) };
                let data = self.data.column(&column, &self.traces)?;
                let map = self.map(rows, column.level(), of)?;
                Ok(Mask::from_fn(rows.n, |row| {
                    let Some(row) = at(map.as_deref(), row) else { return false };
                    let ValueRef::Bytes(bytes) = data.get(row) else { return false };
                    test_id(*id, bytes, predicate)
                }))
            }
        }
    }

    fn row_exists(&self, level: Level, rows: &Rows) -> Demand<Mask> {
        let map = self.map(rows, level, Subject::Itself)?.unwrap_or_default();
        Ok(Mask::from_fn(rows.n, |row| map.get(row).is_some_and(|child| *child != NONE)))
    }

    fn condition(&self, number: usize, rows: &Rows, of: Subject) -> Demand<Mask> {
        let condition = &self.program.conditions[number];
        let mask = self.data.test(condition, &self.traces)?;
        Ok(match self.map(rows, condition.column.level(), of)? {
            None => mask,
            Some(map) => Mask::from_fn(rows.n, |row| {
                let child = map[row] as usize;
                child < mask.len() && mask.get(child)
            }),
        })
    }

    /// Prepares a value expression: its columns are decoded, so that reading a row cannot fail.
    pub(crate) fn reader<'b>(&'b self, node: &'b ValueNode, rows: &Rows) -> Demand<Reader<'b>> {
        Ok(match node {
            ValueNode::Static(literal) => Reader::Static(literal),
            ValueNode::Field(number) => {
                Reader::Field(self.field(&self.program.fields[*number], rows)?)
            }
            ValueNode::Negate(operand) => Reader::Negate(Box::new(self.reader(operand, rows)?)),
            ValueNode::Arithmetic { left, op, right } => {
                let (left, right) = (self.reader(left, rows), self.reader(right, rows));
                Reader::Arithmetic { left: Box::new(left?), op: *op, right: Box::new(right?) }
            }
            ValueNode::Bool(filter) => Reader::Bool(self.outcome(filter, rows)?),
        })
    }

    /// Prepares a field.
    pub(crate) fn field(&self, field: &Field, rows: &Rows) -> Demand<FieldReader> {
        let of = field.of;
        Ok(match &field.name {
            FieldName::Parent => FieldReader::Nil,
            FieldName::Attribute { scope: AttributeScope::Unscoped, key } => {
                let column =
                    |level| self.data.column(&Column::Attribute(level, key.clone()), &self.traces);
                let (span, resource) = (column(Level::Span), column(Level::Resource));
                FieldReader::Unscoped {
                    span: span?,
                    spans: self.map(rows, Level::Span, of)?,
                    resource: resource?,
                    resources: self.map(rows, Level::Resource, of)?,
                }
            }
            FieldName::Attribute { scope, key } => {
                let level = super::columns::level(*scope);
                let data =
                    self.data.column(&Column::Attribute(level, key.clone()), &self.traces)?;
                let map = match level {
                    // Once per span, the first event that has the key counts.
                    Level::Event if rows.events.is_none() => {
                        Some(self.first_with_key(&data, &*self.data.span_events()?))
                    }
                    Level::Link if rows.links.is_none() => {
                        Some(self.first_with_key(&data, &*self.data.span_links()?))
                    }
                    _ => self.map(rows, level, of)?,
                };
                FieldReader::Attribute { data, map }
            }
            FieldName::Intrinsic(Intrinsic::SpanChildCount) => FieldReader::ChildCount {
                counts: self.child_counts()?,
                map: self.map(rows, Level::Span, of)?,
            },
            FieldName::Intrinsic(Intrinsic::Gap) => {
                FieldReader::Gap { gaps: self.gaps()?, map: self.map(rows, Level::Span, of)? }
            }
            FieldName::Intrinsic(intrinsic) => {
                let Some(column) = intrinsic_column(*intrinsic) else {
                    return Ok(FieldReader::Nil);
                };
                FieldReader::Intrinsic {
                    intrinsic: *intrinsic,
                    data: self.data.column(&column, &self.traces)?,
                    map: self.map(rows, column.level(), of)?,
                }
            }
        })
    }
}

/// Children of a span as rows. A span without any still has one row, on which their fields are nil.
fn children(offsets: Option<&Offsets>, span: usize) -> std::ops::RangeInclusive<u32> {
    let range = offsets.map_or(0..0, |offsets| offsets.range(span));
    if range.is_empty() { NONE..=NONE } else { row_number(range.start)..=row_number(range.end - 1) }
}

pub(crate) fn row_number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(NONE)
}
