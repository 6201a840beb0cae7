//! Which rows can be copied from block to block leaf by leaf, without becoming traces.
//!
//! The rule: *a row is copied if taking it apart and writing it anew would give the same levels and
//! values*. So all that a writer makes of a trace is looked at here, and compared with what a row has:
//! the leaves agree about the row's structure; nested-set numbers, child counts, service statistics,
//! rounded starts, span counts, duration and id text follow from the spans; texts are UTF-8; each
//! attribute has one value, in the place where it is written. A row that fails any of it is taken
//! apart, which sets it right or says what is wrong with the block.
//!
//! One thing is left as it is: service statistics of vParquet4, a map, may come in any order.

use std::sync::Arc;

use super::attribute_lists::AttributeList;
use super::library::{LeafValues, Values};
use super::step::{Step, StepLeaf};
use super::values::StringTable;
use super::walk::{place, rank};
use crate::bucket::meta::FormatVersion;
use crate::model::nested_set::{SpanLink, number_spans};
use crate::model::trace::{STATUS_ERROR, rounded_start};
use crate::schema::{BlockSchema, LeafIndex, Level, ROUNDED_STARTS, prefix};

/// Leaves of bytes that are no text.
const RAW: [&str; 5] = [
    "TraceID",
    "rs.ss.Spans.SpanID",
    "rs.ss.Spans.ParentSpanID",
    "rs.ss.Spans.Links.TraceID",
    "rs.ss.Spans.Links.SpanID",
];
/// The leaf of each level whose levels tell how many of it there are.
const STRUCTURE: [(Level, &str); 5] = [
    (Level::Resource, "rs.Resource.ServiceName"),
    (Level::Scope, "rs.ss.Scope.Name"),
    (Level::Span, "rs.ss.Spans.StatusCode"),
    (Level::Event, "rs.ss.Spans.Events.Name"),
    (Level::Link, "rs.ss.Spans.Links.SpanID"),
];

/// What a meta says of a row that is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowFacts {
    /// Start of the trace, as it is stored.
    pub(crate) start_unix_nanos: u64,
    /// End of the trace, as it is stored.
    pub(crate) end_unix_nanos: u64,
    /// The latest start of a span.
    pub(crate) last_start_unix_nanos: u64,
    /// Number of spans.
    pub(crate) n_spans: u64,
}

/// How rows of one block are looked at.
#[derive(Debug)]
pub(crate) struct CopyRules {
    version: FormatVersion,
    /// By leaf.
    frames: Vec<Frame>,
    texts: Vec<LeafIndex>,
    /// Columns without meaning, which are written empty.
    spares: Vec<LeafIndex>,
    lists: Vec<AttributeList>,
    at: Places,
    /// Dictionaries that were found to hold nothing but text.
    checked: Vec<Option<Arc<StringTable>>>,
}

/// What a leaf's levels must agree with.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// The leaf with the levels above; `None` for those of rows.
    of: Option<LeafIndex>,
    /// Its greatest levels.
    depth: u8,
}

/// Leaves that follow from others, and those they follow from.
#[derive(Debug)]
struct Places {
    trace_id: LeafIndex,
    trace_id_text: LeafIndex,
    start: LeafIndex,
    end: LeafIndex,
    duration: LeafIndex,
    stats: [LeafIndex; 3],
    service: LeafIndex,
    scope_span_count: Option<LeafIndex>,
    span_id: LeafIndex,
    parent_span_id: LeafIndex,
    nested_set: [LeafIndex; 3],
    child_count: Option<LeafIndex>,
    kind: LeafIndex,
    status_code: LeafIndex,
    span_start: LeafIndex,
    /// By the intervals of [`ROUNDED_STARTS`].
    rounded_starts: Option<[LeafIndex; 4]>,
}

impl CopyRules {
    /// The rules for rows of a block that go into a file; `None` if that is laid out otherwise, so that
    /// none can be copied.
    pub(crate) fn new(from: &BlockSchema, into: &BlockSchema) -> Option<Self> {
        if !from.is_laid_out_as(into) || from.version() == FormatVersion::VParquet3 {
            return None;
        }
        let of_level = |level: Level| {
            let path = STRUCTURE.iter().find(|structure| structure.0 == level)?.1;
            Some(from.leaf(path)?.index)
        };
        let mut frames = Vec::with_capacity(from.leaves().len());
        let (mut texts, mut spares) = (Vec::new(), Vec::new());
        for leaf in from.leaves() {
            let (level, rest) = match leaf.path.as_str() {
                // The one leaf of a scope that is beside it.
                "rs.ss.SpanCount" => (Level::Scope, "SpanCount"),
                path => place(path),
            };
            let above = match level {
                Level::Trace | Level::Resource => None,
                Level::Scope => of_level(Level::Resource),
                Level::Span => of_level(Level::Scope),
                Level::Event | Level::Link => of_level(Level::Span),
            };
            let frame = if rest.starts_with("Attrs.") && rest != "Attrs.Key" {
                Frame { of: Some(from.attributes(level)?.key), depth: rank(level) + 1 }
            } else if rest.starts_with("ServiceStats.") && rest != "ServiceStats.ServiceName" {
                Frame { of: Some(from.leaf("ServiceStats.ServiceName")?.index), depth: 1 }
            } else if of_level(level) == Some(leaf.index) {
                Frame { of: above, depth: rank(level).saturating_sub(1) }
            } else {
                Frame { of: of_level(level), depth: rank(level) }
            };
            // Deeper leaves would need more to be looked at, and no format has any.
            if !(frame.depth..=frame.depth + 1).contains(&leaf.max_def)
                || !(frame.depth..=frame.depth + 1).contains(&leaf.max_rep)
                || leaf.max_rep > leaf.max_def
            {
                return None;
            }
            frames.push(frame);
            let is_bytes = leaf.physical == parquet::basic::Type::BYTE_ARRAY;
            if is_bytes && !RAW.contains(&leaf.path.as_str()) {
                texts.push(leaf.index);
            }
            let is_own = from.own_columns().iter().any(|own| own.2 == leaf.index);
            if rest.starts_with("DedicatedAttributes.") && !is_own {
                spares.push(leaf.index);
            }
        }
        let levels = [Level::Resource, Level::Scope, Level::Span, Level::Event, Level::Link];
        Some(Self {
            version: from.version(),
            checked: vec![None; frames.len()],
            frames,
            texts,
            spares,
            lists: levels
                .into_iter()
                .map(|level| AttributeList::new(from, level))
                .collect::<Option<_>>()?,
            at: Places::new(from)?,
        })
    }

    /// What there is to say of each row that can be copied; `None` of those that cannot.
    pub(crate) fn look(&mut self, step: &Step) -> Vec<Option<RowFacts>> {
        let leaves = step.leaves();
        let is_sound = self.frames.iter().zip(leaves).all(|(frame, leaf)| {
            let above = frame.of.map(|of| leaves[of].content());
            agrees(leaf.content(), above, frame.depth)
        });
        if !is_sound
            || !self.texts_are_texts(leaves)
            || self.spares.iter().any(|leaf| leaves[*leaf].content().values.len() > 0)
        {
            return vec![None; step.n_rows()];
        }
        let mut facts = self.facts(step).unwrap_or_else(|| vec![None; step.n_rows()]);
        for list in &mut self.lists {
            list.each_unfit(leaves, |row| facts[row] = None);
        }
        facts
    }

    fn texts_are_texts(&mut self, leaves: &[StepLeaf]) -> bool {
        self.texts.iter().all(|&leaf| match &leaves[leaf].content().values {
            Values::Bytes(values) => values.is_text(),
            Values::Coded(_, table) => {
                let checked = &mut self.checked[leaf];
                if checked.as_ref().is_some_and(|checked| Arc::ptr_eq(checked, table)) {
                    return true;
                }
                let is_text = table.iter().all(|word| std::str::from_utf8(word).is_ok());
                if is_text {
                    *checked = Some(Arc::clone(table));
                }
                is_text
            }
            _ => false,
        })
    }

    /// Looks at what follows from the spans. `None` if a leaf has not the values that it must have.
    fn facts(&self, step: &Step) -> Option<Vec<Option<RowFacts>>> {
        let (leaves, at) = (step.leaves(), &self.at);
        let i64s = |leaf: LeafIndex| match &leaves[leaf].content().values {
            Values::I64(values) => Some(values.as_slice()),
            _ => None,
        };
        let i32s = |leaf: LeafIndex| match &leaves[leaf].content().values {
            Values::I32(values) => Some(values.as_slice()),
            _ => None,
        };
        let bytes = |leaf: LeafIndex| &leaves[leaf].content().values;
        let (starts, ends, durations) = (i64s(at.start)?, i64s(at.end)?, i64s(at.duration)?);
        let (kinds, statuses) = (i64s(at.kind)?, i64s(at.status_code)?);
        // Numbers of enumerations are 32 bits wide; a trace has no others.
        if kinds.iter().chain(statuses).any(|number| i32::try_from(*number).is_err()) {
            return None;
        }
        let span_starts = i64s(at.span_start)?;
        let [lefts, rights, parent_lefts] = at.nested_set;
        let nested = [i32s(lefts)?, i32s(rights)?, i32s(parent_lefts)?];
        let child_counts = match at.child_count {
            Some(leaf) => Some(i32s(leaf)?),
            None => None,
        };
        let rounded = match at.rounded_starts {
            Some([a, b, c, d]) => Some([i32s(a)?, i32s(b)?, i32s(c)?, i32s(d)?]),
            None => None,
        };
        let mut structure = Structure {
            status: &leaves[at.status_code],
            statuses,
            services: bytes(at.service),
            stats: &leaves[at.stats[0]],
            span_counts: i32s(at.stats[1])?,
            error_counts: i32s(at.stats[2])?,
            in_any_order: self.version == FormatVersion::VParquet4,
            scope_span_counts: match at.scope_span_count {
                Some(leaf) => Some(i32s(leaf)?),
                None => None,
            },
            resource: 0,
            scope: 0,
            span: 0,
            by_service: Vec::new(),
        };
        let mut links = Vec::new();
        let mut facts = Vec::with_capacity(step.n_rows());
        for row in 0..step.n_rows() {
            let first = structure.span;
            let mut fits = structure.row(row);
            let spans = first..structure.span;
            fits &= id_fits(bytes(at.trace_id).bytes(row), bytes(at.trace_id_text).bytes(row));
            fits &= ends[row].wrapping_sub(starts[row]) == durations[row];
            links.clear();
            links.extend(spans.clone().map(|span| SpanLink {
                span_id: bytes(at.span_id).bytes(span),
                parent_span_id: bytes(at.parent_span_id).bytes(span),
                kind: i32::try_from(kinds[span]).unwrap_or(0),
            }));
            fits &= number_spans(&links).iter().zip(spans.clone()).all(|(number, span)| {
                [number.left, number.right, number.parent_left]
                    == nested.map(|numbers| numbers[span])
                    && child_counts.is_none_or(|counts| counts[span] == number.child_count)
            });
            fits &= rounded.is_none_or(|columns| {
                columns.iter().zip(ROUNDED_STARTS).all(|(column, seconds)| {
                    spans.clone().all(|span| {
                        let start = span_starts[span].cast_unsigned();
                        rounded_start(start, seconds) == column[span].cast_unsigned()
                    })
                })
            });
            let last = span_starts[spans.clone()].iter().map(|start| start.cast_unsigned()).max();
            facts.push(fits.then_some(RowFacts {
                start_unix_nanos: starts[row].cast_unsigned(),
                end_unix_nanos: ends[row].cast_unsigned(),
                last_start_unix_nanos: last.unwrap_or(0),
                n_spans: spans.len() as u64,
            }));
        }
        Some(facts)
    }
}

impl Places {
    fn new(schema: &BlockSchema) -> Option<Self> {
        let at = |path: &str| Some(schema.leaf(path)?.index);
        let of_span = |name: &str| at(&format!("{}{name}", prefix(Level::Span)));
        let rounded = |seconds| Some(schema.rounded_start(seconds)?.index);
        let [a, b, c, d] = ROUNDED_STARTS.map(rounded);
        let is_v5 = schema.version() == FormatVersion::VParquet5;
        let only_v5 = |leaf: Option<LeafIndex>| match leaf {
            None if is_v5 => None,
            leaf => Some(leaf),
        };
        let rounded_starts = match (a, b, c, d) {
            (Some(a), Some(b), Some(c), Some(d)) => Some([a, b, c, d]),
            _ if is_v5 => return None,
            _ => None,
        };
        Some(Self {
            trace_id: at("TraceID")?,
            trace_id_text: at("TraceIDText")?,
            start: at("StartTimeUnixNano")?,
            end: at("EndTimeUnixNano")?,
            duration: at("DurationNano")?,
            stats: [
                at("ServiceStats.ServiceName")?,
                at("ServiceStats.SpanCount")?,
                at("ServiceStats.ErrorCount")?,
            ],
            service: at("rs.Resource.ServiceName")?,
            scope_span_count: only_v5(at("rs.ss.SpanCount"))?,
            span_id: of_span("SpanID")?,
            parent_span_id: of_span("ParentSpanID")?,
            nested_set: [
                of_span("NestedSetLeft")?,
                of_span("NestedSetRight")?,
                of_span("ParentID")?,
            ],
            child_count: only_v5(of_span("ChildCount"))?,
            kind: of_span("Kind")?,
            status_code: of_span("StatusCode")?,
            span_start: of_span("StartTimeUnixNano")?,
            rounded_starts,
        })
    }
}

/// Goes through resources, scopes and spans row by row, and counts them.
struct Structure<'a> {
    status: &'a StepLeaf,
    statuses: &'a [i64],
    services: &'a Values,
    stats: &'a StepLeaf,
    span_counts: &'a [i32],
    error_counts: &'a [i32],
    /// Whether entries of the statistics may come in any order.
    in_any_order: bool,
    scope_span_counts: Option<&'a [i32]>,
    /// The next of each.
    resource: usize,
    scope: usize,
    span: usize,
    /// Services of the row's statistics, by name, with their spans and errors so far.
    by_service: Vec<(&'a [u8], usize, u32, u32)>,
}

impl Structure<'_> {
    /// Goes through the next row, and says whether its statistics and span counts are right.
    fn row(&mut self, row: usize) -> bool {
        let mut fits = self.begin_stats(row);
        let levels = self.status.content();
        let entries = self.status.entries(row);
        // What is open, and how many spans and errors it has.
        let (mut in_scope, mut in_resource) = (None, None);
        for (&rep, &def) in levels.rep[entries.clone()].iter().zip(&levels.def[entries]) {
            if rep <= 2 {
                fits &= self.end_scope(in_scope.take());
                in_scope = (def >= 2).then_some(0);
                self.scope += usize::from(def >= 2);
            }
            if rep <= 1 {
                fits &= self.end_resource(in_resource.take());
                in_resource = (def >= 1).then_some((0, 0));
                self.resource += usize::from(def >= 1);
            }
            if def == 3
                && let (Some(in_scope), Some((n_spans, n_errors))) =
                    (&mut in_scope, &mut in_resource)
            {
                *in_scope += 1;
                *n_spans += 1;
                *n_errors += u32::from(self.statuses[self.span] == i64::from(STATUS_ERROR));
                self.span += 1;
            }
        }
        fits &= self.end_scope(in_scope) & self.end_resource(in_resource);
        fits && self.by_service.iter().all(|(_, at, n_spans, n_errors)| {
            self.span_counts[*at].cast_unsigned() == *n_spans
                && self.error_counts[*at].cast_unsigned() == *n_errors
        })
    }

    fn begin_stats(&mut self, row: usize) -> bool {
        let values = &self.stats.content().values;
        self.by_service.clear();
        self.by_service.extend(self.stats.values(row).map(|at| (values.bytes(at), at, 0, 0)));
        let ascends =
            |stats: &[(&[u8], usize, u32, u32)]| stats.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if self.in_any_order {
            self.by_service.sort_unstable_by_key(|stats| stats.0);
        }
        ascends(&self.by_service)
    }

    /// Ends the scope gone through last, which had so many spans, if it was one.
    fn end_scope(&self, n_spans: Option<i32>) -> bool {
        match (self.scope_span_counts, n_spans) {
            (Some(counts), Some(n_spans)) => counts[self.scope - 1] == n_spans,
            _ => true,
        }
    }

    fn end_resource(&mut self, n: Option<(u32, u32)>) -> bool {
        let Some((n_spans, n_errors)) = n.filter(|n| n.0 > 0) else { return true };
        let service = self.services.bytes(self.resource - 1);
        match self.by_service.binary_search_by_key(&service, |stats| stats.0) {
            Ok(at) => {
                let stats = &mut self.by_service[at];
                stats.2 += n_spans;
                stats.3 += n_errors;
                true
            }
            Err(_) => false,
        }
    }
}

/// Whether the levels of a leaf have the structure of those above it, whose greatest levels are
/// `depth`; of rows, if there are none.
fn agrees(leaf: &LeafValues, above: Option<&LeafValues>, depth: u8) -> bool {
    let LeafValues { rep, def, .. } = leaf;
    if let Some(above) = above
        && rep.len() == above.rep.len()
    {
        let cut = def.iter().map(|def| (*def).min(depth));
        return *rep == above.rep && cut.zip(&above.def).all(|(def, above)| def == *above);
    }
    let (mut n_above, mut last_def) = (0, 0);
    for (&rep, &def) in rep.iter().zip(def) {
        let fits = if rep > depth {
            // An element behind another of the same list.
            rep <= def && rep <= last_def
        } else if let Some(above) = above {
            let at = n_above;
            n_above += 1;
            above.rep.get(at) == Some(&rep) && above.def.get(at) == Some(&def.min(depth))
        } else {
            true
        };
        if !fits {
            return false;
        }
        last_def = def;
    }
    above.is_none_or(|above| n_above == above.rep.len())
}

/// Whether an id is as long as it must be, and its text is what is written of it.
fn id_fits(id: &[u8], text: &[u8]) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let Ok(id) = <&[u8; 16]>::try_from(id) else { return false };
    let digits = id.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| DIGITS[usize::from(digit)])
        .skip_while(|digit| *digit == b'0')
        .eq(text.iter().copied())
}
