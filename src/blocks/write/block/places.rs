//! Which leaf takes what: the schema of the file under construction, looked up once. The names of
//! leaves end here.

use std::collections::HashMap;
use std::ops::Range;

use ahash::RandomState;
use parquet::basic::Type as PhysicalType;

use crate::bucket::meta::FormatVersion;
use crate::schema::{BlockSchema, LeafIndex, LeafInfo, Level, ROUNDED_STARTS, prefix};

/// The leaves of a file by what they hold.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) trace_id: LeafIndex,
    pub(super) trace_id_text: LeafIndex,
    pub(super) trace_start: LeafIndex,
    pub(super) trace_end: LeafIndex,
    pub(super) trace_duration: LeafIndex,
    pub(super) root_service_name: LeafIndex,
    pub(super) root_span_name: LeafIndex,
    pub(super) all_stats: Range<LeafIndex>,
    pub(super) stats_service: LeafIndex,
    pub(super) stats_spans: LeafIndex,
    pub(super) stats_errors: LeafIndex,
    /// Everything of resources, and so on for what is named `all_…`.
    pub(super) all_resources: Range<LeafIndex>,
    pub(super) resource: Owner,
    pub(super) all_scopes: Range<LeafIndex>,
    pub(super) scope_name: LeafIndex,
    pub(super) scope_version: LeafIndex,
    pub(super) scope: Owner,
    pub(super) scope_span_count: Option<LeafIndex>,
    pub(super) all_spans: Range<LeafIndex>,
    pub(super) span: SpanPlaces,
    pub(super) all_events: Range<LeafIndex>,
    pub(super) event_time: LeafIndex,
    pub(super) event_name: LeafIndex,
    pub(super) event: Owner,
    pub(super) all_links: Range<LeafIndex>,
    pub(super) link_trace_id: LeafIndex,
    pub(super) link_span_id: LeafIndex,
    pub(super) link_trace_state: LeafIndex,
    pub(super) link: Owner,
}

/// The leaves of a span itself.
#[derive(Debug)]
pub(super) struct SpanPlaces {
    pub(super) span_id: LeafIndex,
    pub(super) parent_span_id: LeafIndex,
    pub(super) parent_left: LeafIndex,
    pub(super) left: LeafIndex,
    pub(super) right: LeafIndex,
    pub(super) child_count: Option<LeafIndex>,
    pub(super) name: LeafIndex,
    pub(super) kind: LeafIndex,
    pub(super) trace_state: LeafIndex,
    pub(super) start: LeafIndex,
    pub(super) duration: LeafIndex,
    pub(super) status_code: LeafIndex,
    pub(super) status_message: LeafIndex,
    pub(super) dropped_events: LeafIndex,
    pub(super) dropped_links: LeafIndex,
    /// Starts by intervals of so many seconds.
    pub(super) rounded_starts: Vec<(u16, LeafIndex)>,
    pub(super) owner: Owner,
}

/// The leaves of the attributes of a level.
#[derive(Debug)]
pub(super) struct Owner {
    /// Definition and repetition level of what has the attributes.
    pub(super) level: i16,
    pub(super) all_attributes: Range<LeafIndex>,
    pub(super) key: LeafIndex,
    pub(super) is_array: LeafIndex,
    pub(super) string: LeafIndex,
    pub(super) int: LeafIndex,
    pub(super) double: LeafIndex,
    pub(super) bool: LeafIndex,
    pub(super) other: LeafIndex,
    pub(super) dropped: LeafIndex,
    /// Columns that one attribute has to itself.
    pub(super) own: Vec<OwnPlace>,
    /// Which of them an attribute has, by its key.
    pub(super) own_by_key: HashMap<String, usize, RandomState>,
}

/// A column that one attribute has to itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnPlace {
    pub(super) leaf: LeafIndex,
    pub(super) form: OwnForm,
    pub(super) is_int: bool,
}

/// What a column of its own does where there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnForm {
    /// It holds an empty text.
    Required,
    /// It holds nothing, or one value.
    Optional,
    /// It holds any number of values.
    Repeated,
}

impl Places {
    /// Finds the leaves of a schema that [`crate::schema::layout`] made for a format that is written.
    pub(super) fn new(schema: &BlockSchema) -> Self {
        let at = |path: &str| find(schema, path);
        Self {
            trace_id: at("TraceID"),
            trace_id_text: at("TraceIDText"),
            trace_start: at("StartTimeUnixNano"),
            trace_end: at("EndTimeUnixNano"),
            trace_duration: at("DurationNano"),
            root_service_name: at("RootServiceName"),
            root_span_name: at("RootSpanName"),
            all_stats: below(schema, "ServiceStats."),
            stats_service: at("ServiceStats.ServiceName"),
            stats_spans: at("ServiceStats.SpanCount"),
            stats_errors: at("ServiceStats.ErrorCount"),
            all_resources: below(schema, "rs."),
            resource: Owner::new(schema, Level::Resource),
            all_scopes: below(schema, "rs.ss."),
            scope_name: at("rs.ss.Scope.Name"),
            scope_version: at("rs.ss.Scope.Version"),
            scope: Owner::new(schema, Level::Scope),
            scope_span_count: schema.leaf("rs.ss.SpanCount").map(|leaf| leaf.index),
            all_spans: below(schema, "rs.ss.Spans."),
            span: SpanPlaces::new(schema),
            all_events: below(schema, "rs.ss.Spans.Events."),
            event_time: at("rs.ss.Spans.Events.TimeSinceStartNano"),
            event_name: at("rs.ss.Spans.Events.Name"),
            event: Owner::new(schema, Level::Event),
            all_links: below(schema, "rs.ss.Spans.Links."),
            link_trace_id: at("rs.ss.Spans.Links.TraceID"),
            link_span_id: at("rs.ss.Spans.Links.SpanID"),
            link_trace_state: at("rs.ss.Spans.Links.TraceState"),
            link: Owner::new(schema, Level::Link),
        }
    }
}

impl SpanPlaces {
    fn new(schema: &BlockSchema) -> Self {
        let at = |name: &str| find(schema, &format!("rs.ss.Spans.{name}"));
        Self {
            span_id: at("SpanID"),
            parent_span_id: at("ParentSpanID"),
            parent_left: at("ParentID"),
            left: at("NestedSetLeft"),
            right: at("NestedSetRight"),
            child_count: schema.leaf("rs.ss.Spans.ChildCount").map(|leaf| leaf.index),
            name: at("Name"),
            kind: at("Kind"),
            trace_state: at("TraceState"),
            start: at("StartTimeUnixNano"),
            duration: at("DurationNano"),
            status_code: at("StatusCode"),
            status_message: at("StatusMessage"),
            dropped_events: at("DroppedEventsCount"),
            dropped_links: at("DroppedLinksCount"),
            rounded_starts: ROUNDED_STARTS
                .into_iter()
                .filter_map(|seconds| Some((seconds, schema.rounded_start(seconds)?.index)))
                .collect(),
            owner: Owner::new(schema, Level::Span),
        }
    }
}

impl Owner {
    fn new(schema: &BlockSchema, of: Level) -> Self {
        let name = |name: &str| format!("{}{name}", prefix(of));
        let at = |path: &str| find(schema, &name(path));
        let level = match of {
            Level::Trace => 0,
            Level::Resource => 1,
            Level::Scope => 2,
            Level::Span => 3,
            Level::Event | Level::Link => 4,
        };
        let (mut own, mut own_by_key) = (Vec::new(), HashMap::default());
        for (_, key, leaf) in schema.own_columns().iter().filter(|own| own.0 == of) {
            let info = &schema.leaves()[*leaf];
            let form = match (i16::from(info.max_def) - level, i16::from(info.max_rep) - level) {
                (_, 1) => OwnForm::Repeated,
                (1, _) => OwnForm::Optional,
                _ => OwnForm::Required,
            };
            own_by_key.insert(key.clone(), own.len());
            let is_int = info.physical == PhysicalType::INT64;
            own.push(OwnPlace { leaf: *leaf, form, is_int });
        }
        // Before vParquet5 the spare columns are there whether they are assigned or not.
        let spares = below(schema, &name("DedicatedAttributes."));
        for leaf in
            spares.filter(|leaf| own.iter().all(|own| own.leaf != *leaf)).collect::<Vec<_>>()
        {
            debug_assert_eq!(schema.version(), FormatVersion::VParquet4);
            own.push(OwnPlace { leaf, form: OwnForm::Optional, is_int: false });
        }
        Self {
            level,
            all_attributes: below(schema, &name("Attrs.")),
            key: at("Attrs.Key"),
            is_array: at("Attrs.IsArray"),
            string: at("Attrs.Value"),
            int: at("Attrs.ValueInt"),
            double: at("Attrs.ValueDouble"),
            bool: at("Attrs.ValueBool"),
            other: at("Attrs.ValueUnsupported"),
            dropped: at("DroppedAttributesCount"),
            own,
            own_by_key,
        }
    }
}

fn find(schema: &BlockSchema, path: &str) -> LeafIndex {
    let leaf = schema.leaf(path).map(|leaf| leaf.index);
    leaf.expect("the layout has every leaf that the writer fills, in both formats it writes")
}

/// The leaves whose paths begin so: always neighbours, as they are of one group.
fn below(schema: &BlockSchema, prefix: &str) -> Range<LeafIndex> {
    let is_below = |leaf: &LeafInfo| leaf.path.starts_with(prefix);
    let first = schema.leaves().iter().position(is_below).unwrap_or(0);
    let n = schema.leaves()[first..].iter().take_while(|leaf| is_below(leaf)).count();
    first..first + n
}
