//! Where the fields of a query are found among the columns of a batch. Knows the vocabulary of columns
//! and no storage.

use traceql_blocks::schema::{Column, Level};
use traceql_language::analyze::ir::{AttributeScope, Field, FieldName, Intrinsic, Subject};

/// The columns a field may be in; for `span:childCount` and `span:gap` those it is computed from if it
/// can be.
pub(crate) fn columns_of(field: &Field) -> Vec<Column> {
    match &field.name {
        FieldName::Attribute { scope, key } => {
            let column = |level| Column::Attribute(level, key.clone());
            match scope {
                AttributeScope::Unscoped => vec![column(Level::Span), column(Level::Resource)],
                scope => vec![column(level(*scope))],
            }
        }
        FieldName::Intrinsic(Intrinsic::SpanChildCount) => {
            vec![Column::NestedSetLeft, Column::NestedSetParent]
        }
        FieldName::Intrinsic(Intrinsic::Gap) => vec![Column::SpanStart, Column::SpanDuration],
        FieldName::Intrinsic(intrinsic) => intrinsic_column(*intrinsic).into_iter().collect(),
        FieldName::Parent => Vec::new(),
    }
}

/// The columns that tell whose field it is, and what came before a span.
pub(crate) fn kin_columns(field: &Field) -> Vec<Column> {
    let of_parents = vec![Column::SpanId, Column::ParentSpanId, Column::Kind];
    match (field.of, &field.name) {
        (Subject::Root, _) => {
            let reference = Column::Attribute(Level::Link, "opentracing.ref_type".to_owned());
            vec![Column::TraceId, Column::ParentSpanId, Column::LinkTraceId, reference]
        }
        (_, FieldName::Intrinsic(Intrinsic::Gap)) => {
            [of_parents, vec![Column::SpanStart, Column::SpanDuration]].concat()
        }
        (Subject::Parent, _) | (_, FieldName::Parent) => of_parents,
        (Subject::Itself, _) => Vec::new(),
    }
}

/// The level of a scope.
pub(crate) fn level(scope: AttributeScope) -> Level {
    match scope {
        AttributeScope::Unscoped | AttributeScope::Span => Level::Span,
        AttributeScope::Resource => Level::Resource,
        AttributeScope::Event => Level::Event,
        AttributeScope::Link => Level::Link,
        AttributeScope::Instrumentation => Level::Scope,
    }
}

/// The column of an intrinsic, where one column holds it.
pub(crate) fn intrinsic_column(intrinsic: Intrinsic) -> Option<Column> {
    Some(match intrinsic {
        Intrinsic::Duration => Column::SpanDuration,
        Intrinsic::Name => Column::Name,
        Intrinsic::Status => Column::StatusCode,
        Intrinsic::StatusMessage => Column::StatusMessage,
        Intrinsic::Kind => Column::Kind,
        Intrinsic::SpanId => Column::SpanId,
        Intrinsic::SpanParentId => Column::ParentSpanId,
        Intrinsic::TraceDuration => Column::TraceDuration,
        Intrinsic::RootName => Column::RootSpanName,
        Intrinsic::RootServiceName => Column::RootServiceName,
        Intrinsic::TraceId => Column::TraceId,
        Intrinsic::EventName => Column::EventName,
        Intrinsic::EventTimeSinceStart => Column::EventTimeSinceStart,
        Intrinsic::LinkSpanId => Column::LinkSpanId,
        Intrinsic::LinkTraceId => Column::LinkTraceId,
        Intrinsic::InstrumentationName => Column::ScopeName,
        Intrinsic::InstrumentationVersion => Column::ScopeVersion,
        Intrinsic::NestedSetLeft => Column::NestedSetLeft,
        Intrinsic::NestedSetRight => Column::NestedSetRight,
        Intrinsic::NestedSetParent => Column::NestedSetParent,
        Intrinsic::SpanChildCount | Intrinsic::Gap => return None,
    })
}

/// The level a field lives at, as far as events and links are concerned.
pub(crate) fn field_level(field: &Field) -> Level {
    match &field.name {
        FieldName::Attribute { scope, .. } => level(*scope),
        FieldName::Intrinsic(intrinsic) => {
            intrinsic_column(*intrinsic).map_or(Level::Span, |column| column.level())
        }
        FieldName::Parent => Level::Span,
    }
}
