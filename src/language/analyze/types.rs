//! What types operators take (`traceql.md` 3.1 and 3.2). An attribute's type is unknown until a span
//! is looked at, so it fits everywhere.

use std::fmt;

use super::ir::{Field, FieldName, Intrinsic, Static};
use crate::ast::BinaryOp;

/// The type of an expression, as far as it is known before any span is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// An attribute: any type.
    Any,
    /// The parent span, or none.
    Nil,
    /// A 64-bit integer.
    Int,
    /// A double.
    Float,
    /// Nanoseconds.
    Duration,
    /// Text.
    String,
    /// True or false.
    Bool,
    /// A span's status.
    Status,
    /// A span's kind.
    Kind,
}

impl Type {
    /// Whether it is a number.
    #[must_use]
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Int | Self::Float | Self::Duration)
    }

    /// Whether values of the two types can meet in one operator.
    #[must_use]
    pub fn is_compatible(self, other: Self) -> bool {
        self == other
            || self == Self::Any
            || other == Self::Any
            || self == Self::Nil
            || other == Self::Nil
            || self.is_numeric() && other.is_numeric()
    }

    /// Whether a binary operator takes operands of this type.
    #[must_use]
    pub fn takes(self, op: BinaryOp) -> bool {
        if self == Self::Any {
            return true;
        }
        match op {
            BinaryOp::And | BinaryOp::Or => self == Self::Bool,
            BinaryOp::Compare(op) if op.is_ordering() => self.is_numeric() || self == Self::String,
            BinaryOp::Compare(_) => true,
            BinaryOp::Match { .. } => self == Self::String,
            BinaryOp::Arithmetic(_) => self.is_numeric(),
        }
    }

    /// The type of a literal.
    #[must_use]
    pub fn of_static(value: &Static) -> Self {
        match value {
            Static::Int(_) => Self::Int,
            Static::Float(_) => Self::Float,
            Static::Duration(_) => Self::Duration,
            Static::String(_) => Self::String,
            Static::Bool(_) => Self::Bool,
            Static::Status(_) => Self::Status,
            Static::Kind(_) => Self::Kind,
        }
    }

    /// The type of a field.
    #[must_use]
    pub fn of_field(field: &Field) -> Self {
        match &field.name {
            FieldName::Attribute { .. } => Self::Any,
            FieldName::Parent => Self::Nil,
            FieldName::Intrinsic(intrinsic) => Self::of_intrinsic(*intrinsic),
        }
    }

    /// The type of an intrinsic.
    #[must_use]
    pub fn of_intrinsic(intrinsic: Intrinsic) -> Self {
        match intrinsic {
            Intrinsic::Duration
            | Intrinsic::Gap
            | Intrinsic::TraceDuration
            | Intrinsic::EventTimeSinceStart => Self::Duration,
            Intrinsic::Status => Self::Status,
            Intrinsic::Kind => Self::Kind,
            Intrinsic::SpanChildCount
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent => Self::Int,
            // Tempo stores the instrumentation scope among attributes, and types it so.
            Intrinsic::InstrumentationName | Intrinsic::InstrumentationVersion => Self::Any,
            Intrinsic::Name
            | Intrinsic::StatusMessage
            | Intrinsic::SpanId
            | Intrinsic::SpanParentId
            | Intrinsic::RootName
            | Intrinsic::RootServiceName
            | Intrinsic::TraceId
            | Intrinsic::EventName
            | Intrinsic::LinkSpanId
            | Intrinsic::LinkTraceId => Self::String,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "an attribute",
            Self::Nil => "a span",
            Self::Int => "an integer",
            Self::Float => "a float",
            Self::Duration => "a duration",
            Self::String => "a string",
            Self::Bool => "a condition",
            Self::Status => "a status",
            Self::Kind => "a span kind",
        })
    }
}
