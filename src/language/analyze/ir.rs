//! The typed query: what analysis hands to the engine. Every name is resolved, every literal is
//! folded and stands on the right of its comparison where it can, every type rule has been checked.
//! It knows nothing of text positions, storage or execution.

use std::fmt;

/// A query that passed analysis, ready to be planned.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedQuery {
    /// What selects spans: the whole query for a search, the part before the first metrics
    /// function for a metrics query. Math over several metrics queries has one pipeline each,
    /// inside [`MetricsExpr`], and this one is the leftmost.
    pub pipeline: Pipeline,
    /// The metrics part, if the query is a metrics query.
    pub metrics: Option<MetricsExpr>,
    /// What orders the traces of a search, first key first (`grammar/extensions.md`). Empty: traces
    /// come in the order in which they are found, or newest first by hint.
    pub order_by: Vec<OrderKey>,
    /// Most traces of one answer, at least 1; what is asked beside the query may lower it.
    pub limit: Option<u64>,
    /// Hints that were understood; unknown ones are ignored as the language demands.
    pub hints: Hints,
    /// Canonical text (`traceql.md` section 4, with our escapes so that it parses again).
    pub canonical: String,
}

/// One key of `order_by`.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderKey {
    /// What is compared.
    pub by: OrderBy,
    /// Greatest first. What has no value comes last either way.
    pub descending: bool,
}

/// What `order_by` compares.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderBy {
    /// A value of each span; spansets and traces count by their first span.
    Span(FieldExpr),
    /// A value of each spanset.
    Spanset(Aggregate),
}

/// Stages in order; each maps a list of spansets of one trace to a list of spansets.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// At least one stage.
    pub stages: Vec<Stage>,
}

/// One link of the `|` chain.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// Keeps the spans the expression yields.
    Spanset(SpansetExpr),
    /// Keeps a spanset when the comparison of its aggregates holds.
    ScalarFilter {
        /// Left operand.
        left: ScalarExpr,
        /// Comparison, never a regex.
        op: Comparison,
        /// Right operand.
        right: ScalarExpr,
    },
    /// Splits each spanset by the value of an expression.
    By {
        /// The group key.
        key: FieldExpr,
        /// Name of the group value in results, `by(…)` in canonical text.
        label: String,
    },
    /// Merges all spansets into one, dropping group values.
    Coalesce,
    /// Adds fields to the returned spans.
    Select(Vec<Field>),
}

/// An expression that maps a spanset to a spanset.
#[derive(Clone, Debug, PartialEq)]
pub enum SpansetExpr {
    /// `{ … }`: spans for which the expression is true.
    Filter(FieldExpr),
    /// A parenthesised pipeline used as an operand.
    Pipeline(Pipeline),
    /// `left op right`.
    Operation {
        /// Left operand.
        left: Box<Self>,
        /// The operator.
        op: SpansetOp,
        /// Right operand.
        right: Box<Self>,
    },
    /// `not x`: holds for a trace in which `x`, judged over the whole trace, finds nothing. It adds
    /// no spans; where nothing else of the expression does either, all spans of the input stand.
    Not(Box<Self>),
}

/// Operators between spansets (`traceql.md` 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpansetOp {
    /// `&&`: the union if both sides are non-empty, else nothing.
    And,
    /// `||`: the union.
    Or,
    /// A structural operator.
    Structural {
        /// Which relation is looked for.
        relation: Relation,
        /// How it selects.
        mode: StructuralMode,
    },
}

/// A relation between two spans of one trace, named for the span on the right of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `>`: the right span is a child of the left one.
    Child,
    /// `>>`: the right span is a descendant of the left one.
    Descendant,
    /// `<`: the right span is the parent of the left one.
    Parent,
    /// `<<`: the right span is an ancestor of the left one.
    Ancestor,
    /// `~`: the two have the same parent and are not the same span.
    Sibling,
}

/// How a structural operator selects spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StructuralMode {
    /// `op`: right spans with a witness on the left.
    Plain,
    /// `!op`: right spans without a witness.
    Negated,
    /// `&op`: both spans of every related pair.
    Union,
}

/// A number computed from a spanset.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarExpr {
    /// A literal; int, float or duration.
    Static(Static),
    /// An aggregate of the current spanset.
    Aggregate(Aggregate),
    /// The aggregate of another pipeline's result over the same input: `({…} | … | count())`.
    Pipeline {
        /// The pipeline; its input is the whole trace.
        pipeline: Pipeline,
        /// The aggregate taken of its result.
        aggregate: Aggregate,
    },
    /// Arithmetic on two scalars.
    Arithmetic {
        /// Left operand.
        left: Box<Self>,
        /// The operator.
        op: Arithmetic,
        /// Right operand.
        right: Box<Self>,
    },
}

/// An aggregate over the spans of one spanset.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// Which one.
    pub function: AggregateFunction,
    /// What is aggregated; `None` exactly for `count()`.
    pub operand: Option<FieldExpr>,
    /// Name of the value in results, canonical text: `avg(duration)`.
    pub label: String,
}

/// Aggregate functions (`traceql.md` 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggregateFunction {
    /// Number of spans.
    Count,
    /// Number of different values, told apart as `by` does; spans without a value add nothing.
    CountDistinct,
    /// Mean of the numeric values.
    Avg,
    /// Largest value.
    Max,
    /// Smallest value.
    Min,
    /// Sum of the numeric values.
    Sum,
}

/// An expression over one span (and, existentially, one of its events and one of its links).
#[derive(Clone, Debug, PartialEq)]
pub enum FieldExpr {
    /// A literal.
    Static(Static),
    /// A field of the span.
    Field(Field),
    /// `!x`: true for false, false for true, nil for everything else.
    Not(Box<Self>),
    /// `-x`.
    Negate(Box<Self>),
    /// `a && b`; an operand that is not a bool makes it false.
    And(Box<Self>, Box<Self>),
    /// `a || b`; an operand that is not a bool makes it false.
    Or(Box<Self>, Box<Self>),
    /// `a cmp b`, always a bool. A literal stands on the right if only one side is a literal.
    Compare {
        /// Left operand.
        left: Box<Self>,
        /// The comparison.
        op: Comparison,
        /// Right operand.
        right: Box<Self>,
    },
    /// `a =~ pattern` or `a !~ pattern`, always a bool.
    Match {
        /// Left operand.
        left: Box<Self>,
        /// True for `!~`.
        negated: bool,
        /// The pattern.
        pattern: Pattern,
    },
    /// `a + b` and kin.
    Arithmetic {
        /// Left operand.
        left: Box<Self>,
        /// The operator.
        op: Arithmetic,
        /// Right operand.
        right: Box<Self>,
    },
    /// `x != nil`, always a bool.
    Exists(Box<Self>),
    /// `x = nil`, always a bool.
    Missing(Box<Self>),
}

/// A regular expression as written, in RE2's syntax.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The pattern as written, unanchored.
    pub source: String,
    /// The same for the `regex` crate, anchored at both ends, `.` matching newline, ASCII classes.
    pub translated: String,
}

/// Comparisons that are not regular expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

/// Arithmetic operators; integer power is a to the b in every dialect's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

/// A literal. Nil is not a value here: see [`FieldExpr::Exists`] and [`FieldExpr::Missing`].
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the types of the language")]
pub enum Static {
    Int(i64),
    Float(f64),
    /// Signed nanoseconds.
    Duration(i64),
    String(String),
    Bool(bool),
    Status(Status),
    Kind(Kind),
}

/// Span status (OTLP codes in 5.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the words of the language")]
pub enum Status {
    Unset = 0,
    Ok = 1,
    Error = 2,
}

/// Span kind (OTLP codes in 5.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the words of the language")]
pub enum Kind {
    Unspecified = 0,
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// Whose field is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The span's own.
    #[default]
    Itself,
    /// `parent.x`: the parent span's (`traceql.md` 7.2 rule 3), nil without one.
    Parent,
    /// `root.x`: that of the span that names the trace (`traceql.md` 5.12), nil without one.
    Root,
}

/// A field: of the span itself, with `parent.` of its parent, with `root.` of the trace's root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Field {
    /// Whose it is.
    pub of: Subject,
    /// What is read.
    pub name: FieldName,
}

/// What a field reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FieldName {
    /// A built-in field.
    Intrinsic(Intrinsic),
    /// A custom attribute; `service.name` of the resource is one too.
    Attribute {
        /// Where it is looked for.
        scope: AttributeScope,
        /// Its key.
        key: String,
    },
    /// The parent span itself; only `parent = nil` and `parent != nil` make sense of it.
    Parent,
}

/// Where an attribute is looked for (`traceql.md` 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the scopes of the language")]
pub enum AttributeScope {
    /// `.x`: the span's attribute, else the resource's.
    Unscoped,
    Span,
    Resource,
    Event,
    Link,
    Instrumentation,
}

/// Built-in fields (`traceql.md` 1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "1.6 describes them; the names are the canonical ones")]
pub enum Intrinsic {
    Duration,
    Name,
    Status,
    StatusMessage,
    Kind,
    SpanId,
    SpanParentId,
    SpanChildCount,
    /// `span:gap`, an extension (`grammar/extensions.md`).
    Gap,
    TraceDuration,
    RootName,
    RootServiceName,
    TraceId,
    EventName,
    EventTimeSinceStart,
    LinkSpanId,
    LinkTraceId,
    InstrumentationName,
    InstrumentationVersion,
    NestedSetLeft,
    NestedSetRight,
    NestedSetParent,
}

/// Hints that were understood (`traceql.md` section 9).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// `most_recent=true`.
    pub most_recent: bool,
    /// `exemplars`: `Some(0)` for false, `Some(n)` for a count, `Some(u32::MAX)` for true.
    pub exemplars: Option<u32>,
    /// Every hint of the clause in force, in order, for reporting what was not understood.
    pub all: Vec<(String, Static)>,
}

/// A metrics query after the pipelines: one query, or math over several.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricsExpr {
    /// `pipeline | function | second stages`.
    Query {
        /// What selects the spans.
        pipeline: Pipeline,
        /// The first-stage function.
        function: MetricsFunction,
        /// Group-by fields, in order; empty for none.
        by: Vec<Field>,
        /// Second-stage functions and filters, in order.
        second: Vec<SecondStage>,
    },
    /// `left op right`, with second stages on the result.
    Math {
        /// Left operand.
        left: Box<Self>,
        /// `+ - * /` only.
        op: Arithmetic,
        /// Right operand.
        right: Box<Self>,
        /// Second-stage functions and filters, in order.
        second: Vec<SecondStage>,
    },
    /// A constant operand of math.
    Constant(f64),
}

/// First-stage metrics functions.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "the names are the functions of the language, metrics.md describes them"
)]
pub enum MetricsFunction {
    Rate,
    CountOverTime,
    MinOverTime(Field),
    MaxOverTime(Field),
    AvgOverTime(Field),
    SumOverTime(Field),
    QuantileOverTime {
        of: Field,
        quantiles: Vec<f64>,
    },
    HistogramOverTime(Field),
    Compare {
        /// Spans for which it is true form the selection.
        selection: FieldExpr,
        /// How many values of each attribute are kept.
        top_n: u32,
        /// Optional window of the selection, unix nanoseconds, half open.
        window: Option<(i64, i64)>,
    },
}

/// Second-stage metrics functions and filters.
#[derive(Clone, Debug, PartialEq)]
pub enum SecondStage {
    /// `topk(n)`.
    TopK(u32),
    /// `bottomk(n)`.
    BottomK(u32),
    /// `cmp number`; durations are already seconds.
    Filter(Comparison, f64),
}

impl Field {
    /// A field of the span itself.
    #[must_use]
    pub fn intrinsic(intrinsic: Intrinsic) -> Self {
        Self { of: Subject::Itself, name: FieldName::Intrinsic(intrinsic) }
    }

    /// An attribute of the span itself.
    #[must_use]
    pub fn attribute(scope: AttributeScope, key: impl Into<String>) -> Self {
        Self { of: Subject::Itself, name: FieldName::Attribute { scope, key: key.into() } }
    }

    /// Whether it is read from the span itself.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.of == Subject::Itself
    }
}

impl MetricsFunction {
    /// Its name, as queries write it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::CountOverTime => "count_over_time",
            Self::MinOverTime(_) => "min_over_time",
            Self::MaxOverTime(_) => "max_over_time",
            Self::AvgOverTime(_) => "avg_over_time",
            Self::SumOverTime(_) => "sum_over_time",
            Self::QuantileOverTime { .. } => "quantile_over_time",
            Self::HistogramOverTime(_) => "histogram_over_time",
            Self::Compare { .. } => "compare",
        }
    }
}

impl Intrinsic {
    /// Canonical spelling, as the printer writes it and results list it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Duration => "duration",
            Self::Name => "name",
            Self::Status => "status",
            Self::StatusMessage => "statusMessage",
            Self::Kind => "kind",
            Self::SpanId => "span:id",
            Self::SpanParentId => "span:parentID",
            Self::SpanChildCount => "span:childCount",
            Self::Gap => "span:gap",
            Self::TraceDuration => "traceDuration",
            Self::RootName => "rootName",
            Self::RootServiceName => "rootServiceName",
            Self::TraceId => "trace:id",
            Self::EventName => "event:name",
            Self::EventTimeSinceStart => "event:timeSinceStart",
            Self::LinkSpanId => "link:spanID",
            Self::LinkTraceId => "link:traceID",
            Self::InstrumentationName => "instrumentation:name",
            Self::InstrumentationVersion => "instrumentation:version",
            Self::NestedSetLeft => "nestedSetLeft",
            Self::NestedSetRight => "nestedSetRight",
            Self::NestedSetParent => "nestedSetParent",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}
