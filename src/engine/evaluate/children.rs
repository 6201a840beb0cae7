//! Events and links where one of them must stand for its span: as a group key, as the value that is
//! aggregated (`metrics.md` section 0, row 16; `traceql.md` 5.10). Filters look at all of them.

use traceql_blocks::read::leaf::Demand;
use traceql_blocks::read::mask::Mask;
use traceql_blocks::read::structure::Offsets;
use traceql_blocks::read::values::ColumnData;
use traceql_blocks::schema::Level;
use traceql_language::analyze::ir::Field;

use super::compile::{self, field_level};
use super::field::{Batch, FieldReader, NONE, row_number};

impl Batch<'_> {
    /// Prepares a field of which each span shows one value: of several events (links) the first
    /// that is among `satisfied` and has the field, else the first that has it.
    pub(crate) fn standing_in(
        &self,
        field: &Field,
        satisfied: impl FnOnce(Level) -> Demand<Option<Mask>>,
    ) -> Demand<FieldReader> {
        let level = field_level(field);
        if !matches!(level, Level::Event | Level::Link) || field.of_parent {
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
        let chosen = (0..self.n_spans())
            .map(|span| {
                let mut having = children.range(span).filter(|child| !reader.get(*child).is_nil());
                let first = having.next();
                let best = match &satisfied {
                    Some(mask) => first
                        .filter(|child| mask.get(*child))
                        .or_else(|| having.find(|child| mask.get(*child)))
                        .or(first),
                    None => first,
                };
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

    /// Events (links) that make some filter of the pipeline true; none if no filter reads them.
    pub(crate) fn satisfying_children(&self, level: Level) -> Demand<Option<Mask>> {
        let mut filters = Vec::new();
        compile::filters(&self.program.stages, &mut filters);
        filters.retain(|filter| match level {
            Level::Event => filter.over_events,
            _ => filter.over_links,
        });
        if filters.is_empty() {
            return Ok(None);
        }
        let children = match level {
            Level::Event => self.data.span_events()?,
            _ => self.data.span_links()?,
        };
        let mut satisfying = Mask::none(children.n_children());
        for filter in filters {
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
        }
        Ok(Some(satisfying))
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
