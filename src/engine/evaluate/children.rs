//! Events and links where one of them must stand for its span: as a group key, as the value that is
//! aggregated (`metrics.md` section 0, row 16; `traceql.md` 5.10). Filters look at all of them.

use traceql_blocks::read::leaf::Demand;
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::structure::Offsets;
use traceql_blocks::read::values::ColumnData;
use traceql_blocks::schema::Level;
use traceql_language::analyze::ir::Field;

use super::columns::field_level;
use super::compile::{self};
use super::field::{Batch, FieldReader, NONE, row_number};

impl Batch<'_> {
    /// Prepares a field of which each span shows one value: of several events (links) the first
    /// that has the field and is among those of the first of `satisfied`, then of the second and so
    /// on; else the first that has it.
    pub(crate) fn standing_in(
        &self,
        field: &Field,
        satisfied: impl FnOnce(Level) -> Demand<Vec<Mask>>,
    ) -> Demand<FieldReader> {
        let level = field_level(field);
        if !matches!(level, Level::Event | Level::Link) || !field.is_own() {
            return self.field(field, &self.span_rows());
        }
        let children = match level {
            Level::Event => self.data.span_events(),
            _ => self.data.span_links(),
        };
        let rows = self.child_rows(level);
        let satisfied = satisfied(level);
        let (children, reader) = (children?, self.field(field, &rows?)?);
        let satisfied = satisfied?;
        // An attribute whose value cannot be seen is there nevertheless.
        let has = |child: usize| match &reader {
            FieldReader::Attribute { data, .. } => match &**data {
                ColumnData::Attribute(column) => {
                    column.rows.binary_search(&row_number(child)).is_ok()
                }
                _ => true,
            },
            reader => !reader.get(child).is_nil(),
        };
        let chosen = (0..self.n_spans())
            .map(|span| {
                let having = || children.range(span).filter(|child| has(*child));
                let offered = satisfied.iter();
                let best = offered
                    .filter_map(|mask| having().find(|child| mask.get(*child)))
                    .next()
                    .or_else(|| having().next());
                best.map_or(NONE, row_number)
            })
            .collect();
        Ok(match reader {
            FieldReader::Attribute { data, .. } => {
                FieldReader::Attribute { data, map: Some(chosen) }
            }
            FieldReader::Intrinsic { intrinsic, data, .. } => {
                FieldReader::Intrinsic { intrinsic, data, map: Some(chosen) }
            }
            other => other,
        })
    }

    /// Events (links) that make a filter true which can have let their span through: one mask for
    /// each such filter that reads them, in the order of the text.
    pub(crate) fn satisfying_children(&self, level: Level) -> Demand<Vec<Mask>> {
        let mut filters = Vec::new();
        compile::passing_filters(&self.program.stages, &mut filters);
        filters.retain(|filter| match level {
            Level::Event => filter.over_events,
            _ => filter.over_links,
        });
        if filters.is_empty() {
            return Ok(Vec::new());
        }
        let children = match level {
            Level::Event => self.data.span_events()?,
            _ => self.data.span_links()?,
        };
        let mut masks = Vec::with_capacity(filters.len());
        for filter in filters {
            let mut satisfying = Mask::none(children.n_children());
            let rows = self.rows(filter.over_events, filter.over_links)?;
            let truth = self.bool(&filter.body, &rows)?;
            let of_row = match level {
                Level::Event => &rows.events,
                _ => &rows.links,
            };
            if let Some(of_row) = of_row {
                for row in truth.yes.ones().filter(|row| of_row[*row] != NONE) {
                    satisfying.set(of_row[row] as usize);
                }
            }
            masks.push(satisfying);
        }
        Ok(masks)
    }

    /// For each span the first event (link) that has the key; [`NONE`] if none has.
    pub(super) fn first_with_key(&self, data: &ColumnData, children: &Offsets) -> Vec<u32> {
        let mut first = vec![NONE; self.n_spans()];
        let ColumnData::Attribute(column) = data else { return first };
        let mut rows = column.rows.iter().copied().peekable();
        for (span, first) in first.iter_mut().enumerate() {
            let range = children.range(span);
            while rows.peek().is_some_and(|row| (*row as usize) < range.start) {
                rows.next();
            }
            if let Some(row) = rows.peek().filter(|row| (**row as usize) < range.end) {
                *first = *row;
            }
        }
        first
    }
}
