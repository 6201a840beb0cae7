//! The tables of SQL and their columns: name, Arrow type, which columns of a batch they are made of,
//! and which field of TraceQL says the same. `grammar/sql.md` is their reference for people.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use traceql_blocks::model::trace::SERVICE_NAME;
use traceql_blocks::schema::{Column, Level};
use traceql_language::analyze::ir::{AttributeScope, Field, Intrinsic};

/// Zone of all times; that of `now()`, so that they compare without a cast.
pub(super) const ZONE: &str = "+00:00";

/// A table over the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TableKind {
    Spans,
    Traces,
    Events,
    Links,
    Resources,
}

/// A type an attribute can be asked for as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum AttributeType {
    /// Any value as text.
    Text,
    /// Integers; other values are null.
    Int,
    /// Doubles, and integers as doubles.
    Float,
    /// Truth values.
    Bool,
}

/// What a column's values are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Hex, 32 digits.
    TraceId(Column),
    /// Hex, 16 digits; null where there is none.
    SpanId(Column),
    Text(Column),
    /// The word of a number.
    Kind,
    Status,
    Time(Column),
    /// Start and duration of the span.
    EndTime,
    /// Start of the span and the event's distance from it.
    EventTime,
    Duration(Column),
    Int(Column),
    Attribute(Column, AttributeType),
    /// Spans of the row's trace or resource.
    SpanCount,
    /// Spans with status error of the row's trace.
    ErrorCount,
    /// Different service names of the row's trace.
    ServiceCount,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableColumn {
    pub(super) name: String,
    pub(super) shape: Shape,
}

/// An attribute that a statement asks for: `attr(span, 'http.route')`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AskedAttribute {
    /// `None`: the level of the table's own rows.
    pub(super) level: Option<Level>,
    pub(super) key: String,
    pub(super) as_type: AttributeType,
}

impl fmt::Display for AttributeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
        })
    }
}

/// The name of the column behind the call, as plans show it: `span.http.route:text`. Nobody would
/// choose it for an alias, which would hide behind it.
impl fmt::Display for AskedAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level.map_or("attr", level_word);
        write!(f, "{level}.{}:{}", self.key, self.as_type)
    }
}

/// The word of a level, as `attr()` takes it.
pub(super) fn level_word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Resource => "resource",
        Level::Scope => "instrumentation",
        Level::Span => "span",
        Level::Event => "event",
        Level::Link => "link",
    }
}

/// The level that a word names, as `attr()` takes it.
pub(super) fn level_of_word(word: &str) -> Option<Level> {
    [Level::Resource, Level::Scope, Level::Span, Level::Event, Level::Link]
        .into_iter()
        .find(|level| level_word(*level).eq_ignore_ascii_case(word))
        .or_else(|| word.eq_ignore_ascii_case("scope").then_some(Level::Scope))
}

impl TableKind {
    pub(super) const ALL: [Self; 5] =
        [Self::Spans, Self::Traces, Self::Events, Self::Links, Self::Resources];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Traces => "traces",
            Self::Events => "events",
            Self::Links => "links",
            Self::Resources => "resources",
        }
    }

    /// What the table has one row per.
    fn level(self) -> Level {
        match self {
            Self::Spans => Level::Span,
            Self::Traces => Level::Trace,
            Self::Events => Level::Event,
            Self::Links => Level::Link,
            Self::Resources => Level::Resource,
        }
    }

    /// The column that an asked attribute is in this table; `None` if its rows have no such level.
    pub(super) fn attribute(self, asked: &AskedAttribute) -> Option<TableColumn> {
        let own = self.level();
        let level = asked.level.unwrap_or(own);
        let has = match level {
            Level::Trace => false,
            Level::Resource => self != Self::Traces,
            Level::Span | Level::Scope => matches!(self, Self::Spans | Self::Events | Self::Links),
            Level::Event | Level::Link => level == own,
        };
        has.then(|| TableColumn {
            name: asked.to_string(),
            shape: Shape::Attribute(Column::Attribute(level, asked.key.clone()), asked.as_type),
        })
    }

    /// The columns it always has.
    pub(super) fn columns(self) -> Vec<TableColumn> {
        use Shape as S;
        let attribute = |level, key: &str| Column::Attribute(level, key.to_owned());
        let text = |level, key: &str| S::Attribute(attribute(level, key), AttributeType::Text);
        let service = || text(Level::Resource, SERVICE_NAME);
        let columns = match self {
            Self::Spans => vec![
                ("trace_id", S::TraceId(Column::TraceId)),
                ("span_id", S::SpanId(Column::SpanId)),
                ("parent_span_id", S::SpanId(Column::ParentSpanId)),
                ("name", S::Text(Column::Name)),
                ("kind", S::Kind),
                ("status", S::Status),
                ("status_message", S::Text(Column::StatusMessage)),
                ("start_time", S::Time(Column::SpanStart)),
                ("end_time", S::EndTime),
                ("duration", S::Duration(Column::SpanDuration)),
                ("duration_nanos", S::Int(Column::SpanDuration)),
                ("service_name", service()),
                ("scope_name", S::Text(Column::ScopeName)),
                ("scope_version", S::Text(Column::ScopeVersion)),
                ("trace_state", S::Text(Column::TraceState)),
                ("root_service_name", S::Text(Column::RootServiceName)),
                ("root_name", S::Text(Column::RootSpanName)),
                ("trace_duration", S::Duration(Column::TraceDuration)),
                ("nested_set_left", S::Int(Column::NestedSetLeft)),
                ("nested_set_right", S::Int(Column::NestedSetRight)),
                ("nested_set_parent", S::Int(Column::NestedSetParent)),
                ("http_method", text(Level::Span, "http.method")),
                ("http_url", text(Level::Span, "http.url")),
                (
                    "http_status_code",
                    S::Attribute(attribute(Level::Span, "http.status_code"), AttributeType::Int),
                ),
            ],
            Self::Traces => vec![
                ("trace_id", S::TraceId(Column::TraceId)),
                ("root_service_name", S::Text(Column::RootServiceName)),
                ("root_name", S::Text(Column::RootSpanName)),
                ("start_time", S::Time(Column::TraceStart)),
                ("end_time", S::Time(Column::TraceEnd)),
                ("duration", S::Duration(Column::TraceDuration)),
                ("duration_nanos", S::Int(Column::TraceDuration)),
                ("span_count", S::SpanCount),
                ("error_count", S::ErrorCount),
                ("service_count", S::ServiceCount),
            ],
            Self::Events => vec![
                ("trace_id", S::TraceId(Column::TraceId)),
                ("span_id", S::SpanId(Column::SpanId)),
                ("span_name", S::Text(Column::Name)),
                ("service_name", service()),
                ("name", S::Text(Column::EventName)),
                ("time", S::EventTime),
                ("time_since_start", S::Duration(Column::EventTimeSinceStart)),
            ],
            Self::Links => vec![
                ("trace_id", S::TraceId(Column::TraceId)),
                ("span_id", S::SpanId(Column::SpanId)),
                ("span_name", S::Text(Column::Name)),
                ("service_name", service()),
                ("linked_trace_id", S::TraceId(Column::LinkTraceId)),
                ("linked_span_id", S::SpanId(Column::LinkSpanId)),
            ],
            Self::Resources => vec![
                ("trace_id", S::TraceId(Column::TraceId)),
                ("service_name", service()),
                ("span_count", S::SpanCount),
                ("cluster", text(Level::Resource, "cluster")),
                ("namespace", text(Level::Resource, "namespace")),
                ("pod", text(Level::Resource, "pod")),
                ("container", text(Level::Resource, "container")),
                ("k8s_cluster_name", text(Level::Resource, "k8s.cluster.name")),
                ("k8s_namespace_name", text(Level::Resource, "k8s.namespace.name")),
                ("k8s_pod_name", text(Level::Resource, "k8s.pod.name")),
                ("k8s_container_name", text(Level::Resource, "k8s.container.name")),
            ],
        };
        columns
            .into_iter()
            .map(|(name, shape)| TableColumn { name: name.to_owned(), shape })
            .collect()
    }
}

impl TableColumn {
    /// The column as Arrow has it.
    pub(super) fn arrow(&self) -> ArrowField {
        ArrowField::new(&self.name, self.shape.data_type(), self.shape.is_nullable())
    }
}

/// The schema of some columns.
pub(super) fn schema_of(columns: &[TableColumn]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(TableColumn::arrow).collect::<Vec<_>>()))
}

/// Type of a point in time.
pub(super) fn time_type() -> DataType {
    static TIME: LazyLock<DataType> =
        LazyLock::new(|| DataType::Timestamp(TimeUnit::Nanosecond, Some(ZONE.into())));
    TIME.clone()
}

impl Shape {
    fn data_type(&self) -> DataType {
        match self {
            Self::TraceId(_) | Self::SpanId(_) | Self::Text(_) | Self::Kind | Self::Status => {
                DataType::Utf8
            }
            Self::Time(_) | Self::EndTime | Self::EventTime => time_type(),
            Self::Duration(_) => DataType::Duration(TimeUnit::Nanosecond),
            Self::Int(_) | Self::SpanCount | Self::ErrorCount | Self::ServiceCount => {
                DataType::Int64
            }
            Self::Attribute(_, as_type) => match as_type {
                AttributeType::Text => DataType::Utf8,
                AttributeType::Int => DataType::Int64,
                AttributeType::Float => DataType::Float64,
                AttributeType::Bool => DataType::Boolean,
            },
        }
    }

    fn is_nullable(&self) -> bool {
        match self {
            Self::SpanId(_) | Self::Attribute(..) | Self::Text(_) => true,
            // Links may name a trace by nothing.
            Self::TraceId(column) => *column == Column::LinkTraceId,
            _ => false,
        }
    }

    /// The columns of a batch that it is made of.
    pub(super) fn needs(&self) -> Vec<Column> {
        match self {
            Self::TraceId(column)
            | Self::SpanId(column)
            | Self::Text(column)
            | Self::Time(column)
            | Self::Duration(column)
            | Self::Int(column)
            | Self::Attribute(column, _) => vec![column.clone()],
            Self::Kind => vec![Column::Kind],
            Self::Status | Self::ErrorCount => vec![Column::StatusCode],
            Self::EndTime => vec![Column::SpanStart, Column::SpanDuration],
            Self::EventTime => vec![Column::SpanStart, Column::EventTimeSinceStart],
            Self::SpanCount => Vec::new(),
            Self::ServiceCount => {
                vec![Column::Attribute(Level::Resource, SERVICE_NAME.to_owned())]
            }
        }
    }

    /// The field of TraceQL that holds the same value, if there is one.
    pub(super) fn field(&self) -> Option<Field> {
        match self {
            Self::Kind => Some(Field::intrinsic(Intrinsic::Kind)),
            Self::Status => Some(Field::intrinsic(Intrinsic::Status)),
            Self::TraceId(column)
            | Self::SpanId(column)
            | Self::Text(column)
            | Self::Duration(column)
            | Self::Int(column)
            | Self::Attribute(column, _) => field_of(column),
            Self::Time(_)
            | Self::EndTime
            | Self::EventTime
            | Self::SpanCount
            | Self::ErrorCount
            | Self::ServiceCount => None,
        }
    }
}

fn field_of(column: &Column) -> Option<Field> {
    let intrinsic = match column {
        Column::TraceId => Intrinsic::TraceId,
        Column::TraceDuration => Intrinsic::TraceDuration,
        Column::RootServiceName => Intrinsic::RootServiceName,
        Column::RootSpanName => Intrinsic::RootName,
        Column::SpanId => Intrinsic::SpanId,
        Column::ParentSpanId => Intrinsic::SpanParentId,
        Column::NestedSetLeft => Intrinsic::NestedSetLeft,
        Column::NestedSetRight => Intrinsic::NestedSetRight,
        Column::NestedSetParent => Intrinsic::NestedSetParent,
        Column::Name => Intrinsic::Name,
        Column::Kind => Intrinsic::Kind,
        Column::StatusCode => Intrinsic::Status,
        Column::StatusMessage => Intrinsic::StatusMessage,
        Column::SpanDuration => Intrinsic::Duration,
        Column::ScopeName => Intrinsic::InstrumentationName,
        Column::ScopeVersion => Intrinsic::InstrumentationVersion,
        Column::EventName => Intrinsic::EventName,
        Column::EventTimeSinceStart => Intrinsic::EventTimeSinceStart,
        Column::LinkTraceId => Intrinsic::LinkTraceId,
        Column::LinkSpanId => Intrinsic::LinkSpanId,
        Column::Attribute(level, key) => {
            let scope = match level {
                Level::Trace => return None,
                Level::Resource => AttributeScope::Resource,
                Level::Scope => AttributeScope::Instrumentation,
                Level::Span => AttributeScope::Span,
                Level::Event => AttributeScope::Event,
                Level::Link => AttributeScope::Link,
            };
            return Some(Field::attribute(scope, key.as_str()));
        }
        Column::TraceStart
        | Column::TraceEnd
        | Column::SpanStart
        | Column::SpanStartRounded(_)
        | Column::TraceState => return None,
    };
    Some(Field::intrinsic(intrinsic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_has_two_columns_of_one_name_or_one_that_must_be_quoted() {
        for table in TableKind::ALL {
            let mut names: Vec<String> = table.columns().into_iter().map(|c| c.name).collect();
            let plain = |name: &String| {
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            };
            assert!(names.iter().all(plain), "{names:?}");
            let n = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), n, "{}", table.name());
        }
    }

    #[test]
    fn attributes_are_where_rows_have_their_level() {
        let asked =
            |level| AskedAttribute { level, key: "k".to_owned(), as_type: AttributeType::Int };
        let shape = |table: TableKind, level| {
            table.attribute(&asked(level)).map(|column| match column.shape {
                Shape::Attribute(Column::Attribute(level, _), _) => level,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(shape(TableKind::Events, None), Some(Level::Event));
        assert_eq!(shape(TableKind::Events, Some(Level::Span)), Some(Level::Span));
        assert_eq!(shape(TableKind::Spans, Some(Level::Event)), None);
        assert_eq!(shape(TableKind::Traces, None), None);
        assert_eq!(shape(TableKind::Resources, None), Some(Level::Resource));
        assert_eq!(asked(None).to_string(), "attr.k:int");
        assert_eq!(asked(Some(Level::Scope)).to_string(), "instrumentation.k:int");
    }
}
