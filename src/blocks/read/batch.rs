//! What evaluation sees of traces, wherever they come from: whole traces of a block's window, or
//! traces held in memory. A row of a column is a trace, resource, scope, span, event or link of the
//! batch, by the column's level.

use std::sync::Arc;

use super::leaf::Demand;
use super::mask::Mask;
use super::predicate::Predicate;
use super::structure::{Offsets, Structure};
use super::values::{ColumnData, ValueRef};
use crate::schema::{Column, Level};

/// A condition a plan tests: it is known by its number for the whole query, so that what is learnt
/// of it (which dictionary codes satisfy it) is kept.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Number in the query.
    pub id: usize,
    /// What is tested.
    pub column: Column,
    /// The test.
    pub predicate: Predicate,
}

/// An attribute's column under its key.
pub type NamedColumn = (String, Arc<ColumnData>);

/// Whole traces, column by column. Reads are synchronous: [`super::leaf::Fault::Missing`] asks the
/// owner to fetch and try again; what was decoded before is kept.
pub trait TraceData {
    /// Which span belongs to which trace, resource and scope.
    fn structure(&self) -> Demand<Arc<Structure>>;

    /// Events of each span.
    fn span_events(&self) -> Demand<Arc<Offsets>>;

    /// Links of each span.
    fn span_links(&self) -> Demand<Arc<Offsets>>;

    /// A column, one row per row of its level; rows of traces that are not selected hold anything.
    fn column(&self, column: &Column, traces: &Mask) -> Demand<Arc<ColumnData>>;

    /// Keys of the attributes of a level that may occur, each once; `service.name` always, since no
    /// resource lacks it.
    fn attribute_keys(&self, level: Level) -> Demand<Vec<String>>;

    /// Every attribute of a level by its key, as [`TraceData::column`] reads it, on some rows of the
    /// level; other rows may be among them.
    fn attributes(&self, level: Level, traces: &Mask, _rows: &Mask) -> Demand<Vec<NamedColumn>> {
        attributes_by_key(self, level, traces)
    }

    /// Says that a column will be wanted for the selected traces, so that it can be fetched together
    /// with others.
    fn hint(&self, _column: &Column, _traces: &Mask) {}

    /// The rows of the condition's level for which it holds, among the selected traces.
    fn test(&self, condition: &Condition, traces: &Mask) -> Demand<Mask> {
        let data = self.column(&condition.column, traces)?;
        let n_rows = self.n_rows(condition.column.level())?;
        Ok(test_column(&data, &condition.predicate, n_rows))
    }

    /// Number of rows of a level.
    fn n_rows(&self, level: Level) -> Demand<usize> {
        Ok(match level {
            Level::Trace => self.structure()?.n_traces(),
            Level::Resource => self.structure()?.n_resources(),
            Level::Scope => self.structure()?.n_scopes(),
            Level::Span => self.structure()?.n_spans(),
            Level::Event => self.span_events()?.n_children(),
            Level::Link => self.span_links()?.n_children(),
        })
    }

    /// Rows of a level that belong to a trace.
    fn rows_of_trace(&self, level: Level, trace: usize) -> Demand<std::ops::Range<usize>> {
        let structure = self.structure()?;
        let spans = structure.trace_spans.range(trace);
        let of_spans = |children: &Offsets| {
            if spans.is_empty() {
                0..0
            } else {
                children.range(spans.start).start..children.range(spans.end - 1).end
            }
        };
        Ok(match level {
            Level::Trace => trace..trace + 1,
            Level::Resource => structure.trace_resources.range(trace),
            Level::Scope => structure.trace_scopes.range(trace),
            Level::Span => spans,
            Level::Event => of_spans(&*self.span_events()?),
            Level::Link => of_spans(&*self.span_links()?),
        })
    }
}

/// Every attribute of a level, one after the other.
pub(super) fn attributes_by_key(
    data: &(impl TraceData + ?Sized),
    level: Level,
    traces: &Mask,
) -> Demand<Vec<NamedColumn>> {
    let mut found = Vec::new();
    let mut missing = None;
    for key in data.attribute_keys(level)? {
        match data.column(&Column::Attribute(level, key.clone()), traces) {
            Ok(column) => found.push((key, column)),
            Err(fault) => missing = Some(fault),
        }
    }
    // All are asked before a fault is reported, so that one fetch brings them together.
    match missing {
        None => Ok(found),
        Some(fault) => Err(fault),
    }
}

/// The rows of a decoded column that satisfy a predicate.
#[must_use]
pub fn test_column(data: &ColumnData, predicate: &Predicate, n_rows: usize) -> Mask {
    match data {
        ColumnData::Int(values) => Mask::from_fn(n_rows, |row| predicate.test_int(values[row])),
        ColumnData::Strings(strings) => {
            // Each distinct string is tested once.
            let mut verdicts: Vec<u8> = vec![0; strings.table.len()];
            Mask::from_fn(n_rows, |row| {
                let code = strings.codes[row];
                let Some(verdict) = verdicts.get_mut(code as usize) else { return false };
                if *verdict == 0 {
                    *verdict = 1 + u8::from(predicate.test_bytes(strings.table.get(code)));
                }
                *verdict == 2
            })
        }
        ColumnData::Attribute(column) => {
            let mut mask = Mask::none(n_rows);
            for (row, value) in column.iter() {
                if predicate.test(value) {
                    mask.set(row as usize);
                }
            }
            mask
        }
    }
}

/// The value of an attribute that may be kept in several places: the first that has the key.
#[must_use]
pub fn first_value<'a>(columns: &[&'a ColumnData], row: usize) -> ValueRef<'a> {
    columns
        .iter()
        .map(|column| column.get(row))
        .find(|value| !matches!(value, ValueRef::Nil))
        .unwrap_or(ValueRef::Nil)
}
