//! Canonical text (`traceql.md` section 4). In the default dialect it parses back to the same query;
//! Tempo's has a few misprints, which we reproduce under its name only.

use std::fmt;

use crate::analyze::ir::{AttributeScope, Field, FieldName, Static, Subject};
use crate::ast::{
    Aggregate, Arrangement, BinaryOp, Body, FieldExpr, FieldFunction, Hint, Level, Located,
    MetricsExpr, MetricsFunction, OrderBy, OrderKey, Pipeline, Query, ScalarExpr, SecondStage,
    SpansetExpr, Stage,
};
use crate::dialect::Dialect;
use crate::fold::{self, Powers};
use crate::parser::field::SUBJECT_INTRINSICS;
use crate::token::{Keyword, Scope, ends_name};

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.display(Dialect::Default).fmt(f)
    }
}

impl Query {
    /// Canonical text as a dialect prints it.
    #[must_use]
    pub fn display(&self, dialect: Dialect) -> impl fmt::Display + '_ {
        Displayed { query: self, dialect }
    }
}

/// A query on its way to text.
struct Displayed<'a> {
    query: &'a Query,
    dialect: Dialect,
}

impl fmt::Display for Displayed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let powers = match self.dialect {
            Dialect::Default => Powers::Exact,
            Dialect::Tempo => Powers::Swapped,
        };
        let mut query = self.query.clone();
        fold::query(&mut query, powers);
        Printer { out: f, dialect: self.dialect }.query(&query)
    }
}

/// Canonical text of an expression, which names group values in results.
pub(crate) fn field_expr_text(expr: &Located<FieldExpr>) -> String {
    print_to_string(|printer| printer.field_expr(&expr.node))
}

/// Canonical text of an aggregate, which names its value in results.
pub(crate) fn aggregate_text(aggregate: &Aggregate) -> String {
    print_to_string(|printer| printer.aggregate(aggregate))
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printer { out: f, dialect: Dialect::Default }.field(self)
    }
}

impl fmt::Display for Static {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Printer { out: f, dialect: Dialect::Default }.literal(self)
    }
}

fn print_to_string(print: impl FnOnce(&mut Printer<'_, String>) -> fmt::Result) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = print(&mut Printer { out: &mut text, dialect: Dialect::Default });
    text
}

struct Printer<'a, W> {
    out: &'a mut W,
    dialect: Dialect,
}

impl<W: fmt::Write> Printer<'_, W> {
    fn query(&mut self, query: &Query) -> fmt::Result {
        match &query.body {
            Body::Search(pipeline) => self.pipeline(pipeline)?,
            Body::Metrics(expr) => self.metrics(&expr.node)?,
        }
        self.arrangement(&query.arrangement)?;
        if query.hints.is_empty() {
            return Ok(());
        }
        self.out.write_str(" with(")?;
        self.list(&query.hints, ",", Self::hint)?;
        self.out.write_char(')')
    }

    fn arrangement(&mut self, arrangement: &Arrangement) -> fmt::Result {
        if !arrangement.order_by.is_empty() {
            write!(self.out, "|{}(", Keyword::OrderBy)?;
            self.list(&arrangement.order_by, ", ", |printer, key| printer.order_key(&key.node))?;
            self.out.write_char(')')?;
        }
        match &arrangement.limit {
            Some(limit) => write!(self.out, "|{}({})", Keyword::Limit, limit.node),
            None => Ok(()),
        }
    }

    fn order_key(&mut self, key: &OrderKey) -> fmt::Result {
        match &key.by {
            OrderBy::Span(expr) => self.field_expr(&expr.node)?,
            OrderBy::Spanset(aggregate) => self.aggregate(&aggregate.node)?,
        }
        match key.descending {
            true => write!(self.out, " {}", Keyword::Descending),
            false => Ok(()),
        }
    }

    fn hint(&mut self, hint: &Hint) -> fmt::Result {
        write!(self.out, "{}=", hint.name.node)?;
        self.literal(&hint.value.node)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> fmt::Result {
        self.list(&pipeline.stages, "|", |printer, stage| printer.stage(&stage.node))
    }

    fn stage(&mut self, stage: &Stage) -> fmt::Result {
        match stage {
            Stage::Spanset(expr @ SpansetExpr::Pipeline(_)) => self.operand_spanset(expr),
            Stage::Spanset(expr) => self.spanset(expr),
            Stage::ScalarFilter { left, op, right } => {
                self.scalar_operand(&left.node)?;
                write!(self.out, " {op} ")?;
                self.scalar_operand(&right.node)
            }
            Stage::By(key) => {
                self.out.write_str("by(")?;
                self.field_expr(&key.node)?;
                self.out.write_char(')')
            }
            Stage::Coalesce => self.out.write_str("coalesce()"),
            Stage::Select(fields) => {
                self.out.write_str("select(")?;
                self.list(fields, ", ", |printer, field| printer.field(&field.node))?;
                self.out.write_char(')')
            }
        }
    }

    fn spanset(&mut self, expr: &SpansetExpr) -> fmt::Result {
        match expr {
            SpansetExpr::Filter(filter) => self.filter(&filter.node),
            SpansetExpr::Pipeline(pipeline) => self.pipeline(pipeline),
            SpansetExpr::Operation { first, rest } => self.chain(
                rest,
                |printer| printer.operand_spanset(&first.node),
                |printer, operand| printer.operand_spanset(operand),
            ),
            SpansetExpr::Not(operand) => {
                write!(self.out, "{} ", Keyword::Not)?;
                self.operand_spanset(&operand.node)
            }
        }
    }

    fn operand_spanset(&mut self, expr: &SpansetExpr) -> fmt::Result {
        self.out.write_char('(')?;
        self.spanset(expr)?;
        self.out.write_char(')')
    }

    fn filter(&mut self, expr: &FieldExpr) -> fmt::Result {
        self.out.write_str("{ ")?;
        self.field_expr(expr)?;
        self.out.write_str(" }")
    }

    /// A flat chain with the parentheses of its grouping to the left.
    fn chain<O: fmt::Display, T>(
        &mut self,
        rest: &[(O, Located<T>)],
        first: impl FnOnce(&mut Self) -> fmt::Result,
        mut operand: impl FnMut(&mut Self, &T) -> fmt::Result,
    ) -> fmt::Result {
        for _ in 1..rest.len() {
            self.out.write_char('(')?;
        }
        first(self)?;
        for (at, (op, right)) in rest.iter().enumerate() {
            if at > 0 {
                self.out.write_char(')')?;
            }
            write!(self.out, " {op} ")?;
            operand(self, &right.node)?;
        }
        Ok(())
    }

    fn scalar(&mut self, expr: &ScalarExpr) -> fmt::Result {
        match expr {
            ScalarExpr::Static(value) => self.literal(value),
            ScalarExpr::Aggregate(aggregate) => self.aggregate(aggregate),
            ScalarExpr::Pipeline { pipeline, aggregate } => {
                self.pipeline(pipeline)?;
                self.out.write_char('|')?;
                self.aggregate(aggregate)
            }
            ScalarExpr::Arithmetic { first, rest } => self.chain(
                rest,
                |printer| printer.scalar_operand(&first.node),
                |printer, operand| printer.scalar_operand(operand),
            ),
        }
    }

    fn scalar_operand(&mut self, expr: &ScalarExpr) -> fmt::Result {
        if let ScalarExpr::Static(value) = expr {
            return self.literal(value);
        }
        self.out.write_char('(')?;
        self.scalar(expr)?;
        self.out.write_char(')')
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> fmt::Result {
        write!(self.out, "{}(", aggregate.function.keyword())?;
        if let Some(operand) = &aggregate.operand {
            self.field_expr(&operand.node)?;
        }
        self.out.write_char(')')
    }

    fn field_expr(&mut self, expr: &FieldExpr) -> fmt::Result {
        match expr {
            FieldExpr::Static(value) => self.literal(value),
            FieldExpr::Field(field) => self.field(field),
            FieldExpr::Not(operand) => {
                self.out.write_char('!')?;
                self.field_operand(&operand.node)
            }
            FieldExpr::Negate(operand) => {
                self.out.write_char('-')?;
                self.field_operand(&operand.node)
            }
            FieldExpr::Exists(operand) => {
                self.field_operand(&operand.node)?;
                self.out.write_str(" != nil")
            }
            FieldExpr::Missing(operand) => {
                self.field_operand(&operand.node)?;
                self.out.write_str(" = nil")
            }
            FieldExpr::Binary { first, rest } => {
                let op = rest.first().map(|(op, _)| *op);
                self.chain(
                    rest,
                    |printer| printer.left_operand(&first.node, op),
                    |printer, operand| printer.field_operand(operand),
                )
            }
        }
    }

    /// A prefix minus binds looser than `*` and `^`, so a negative literal before one of them needs
    /// parentheses to stay what it is. Tempo prints none.
    fn left_operand(&mut self, expr: &FieldExpr, op: Option<BinaryOp>) -> fmt::Result {
        let is_negative = match expr {
            // The smallest integer is a word.
            FieldExpr::Static(Static::Int(value)) => *value < 0 && *value != i64::MIN,
            FieldExpr::Static(Static::Duration(nanos)) => *nanos < 0,
            FieldExpr::Static(Static::Float(value)) => value.is_sign_negative(),
            _ => false,
        };
        let is_tight = op.is_some_and(|op| op.level() >= Level::Multiplicative);
        if !is_negative || !is_tight || self.dialect == Dialect::Tempo {
            return self.field_operand(expr);
        }
        self.out.write_char('(')?;
        self.field_expr(expr)?;
        self.out.write_char(')')
    }

    fn field_operand(&mut self, expr: &FieldExpr) -> fmt::Result {
        if matches!(expr, FieldExpr::Static(_) | FieldExpr::Field(_)) {
            return self.field_expr(expr);
        }
        self.out.write_char('(')?;
        self.field_expr(expr)?;
        self.out.write_char(')')
    }

    fn field(&mut self, field: &Field) -> fmt::Result {
        match &field.name {
            FieldName::Parent => return write!(self.out, "{}", Keyword::Parent),
            FieldName::Intrinsic(intrinsic) => {
                if let Some(subject) = subject_word(field.of) {
                    write!(self.out, "{subject}.")?;
                }
                return self.out.write_str(intrinsic.name());
            }
            FieldName::Attribute { .. } => {}
        }
        let FieldName::Attribute { scope, key } = &field.name else { return Ok(()) };
        if let Some(subject) = subject_word(field.of) {
            write!(self.out, "{subject}.")?;
        }
        match scope_word(*scope) {
            Some(scope) => write!(self.out, "{scope}.")?,
            None if !field.is_own() => {}
            None => self.out.write_char('.')?,
        }
        if !needs_quotes(field, *scope, key, self.dialect) {
            return self.out.write_str(key);
        }
        self.out.write_char('"')?;
        for c in key.chars() {
            if matches!(c, '"' | '\\') {
                self.out.write_char('\\')?;
            }
            self.out.write_char(c)?;
        }
        self.out.write_char('"')
    }

    fn literal(&mut self, value: &Static) -> fmt::Result {
        match value {
            Static::Int(i64::MIN) if self.dialect == Dialect::Default => {
                write!(self.out, "{}", Keyword::MinInt)
            }
            Static::Int(value) => write!(self.out, "{value}"),
            Static::Float(value) => self.float(*value),
            Static::Duration(nanos) => write!(self.out, "{}", duration_text(*nanos)),
            Static::String(text) => self.string(text),
            Static::Bool(value) => write!(self.out, "{value}"),
            Static::Status(status) => write!(self.out, "{status}"),
            Static::Kind(kind) => write!(self.out, "{kind}"),
        }
    }

    fn float(&mut self, value: f64) -> fmt::Result {
        let text = float_text(value);
        let suffix = if text.contains(['.', 'e']) { "" } else { ".0" };
        write!(self.out, "{text}{suffix}")
    }

    /// Backticks, unless the text holds what they cannot.
    fn string(&mut self, text: &str) -> fmt::Result {
        if self.dialect == Dialect::Tempo || !text.contains(['`', '\r', '\0']) {
            return write!(self.out, "`{text}`");
        }
        self.out.write_char('"')?;
        for c in text.chars() {
            match c {
                '"' | '\\' => write!(self.out, "\\{c}")?,
                '\n' => self.out.write_str("\\n")?,
                '\r' => self.out.write_str("\\r")?,
                '\t' => self.out.write_str("\\t")?,
                c if c.is_control() => write!(self.out, "\\u{:04x}", u32::from(c))?,
                c => self.out.write_char(c)?,
            }
        }
        self.out.write_char('"')
    }

    fn metrics(&mut self, expr: &MetricsExpr) -> fmt::Result {
        match expr {
            MetricsExpr::Query { pipeline, function, by, second } => {
                self.pipeline(pipeline)?;
                self.out.write_str(" | ")?;
                self.function(&function.node)?;
                if !by.is_empty() {
                    self.out.write_str("by(")?;
                    self.list(by, ",", |printer, field| printer.field(&field.node))?;
                    self.out.write_char(')')?;
                }
                self.second_stages(second)
            }
            MetricsExpr::Math { first, rest, second } => {
                self.chain(
                    rest,
                    |printer| printer.math_operand(&first.node),
                    |printer, operand| printer.math_operand(operand),
                )?;
                self.second_stages(second)
            }
            MetricsExpr::Constant(value) => self.number(*value),
        }
    }

    fn math_operand(&mut self, expr: &MetricsExpr) -> fmt::Result {
        if let MetricsExpr::Constant(value) = expr {
            return self.number(*value);
        }
        self.out.write_char('(')?;
        self.metrics(expr)?;
        self.out.write_char(')')
    }

    fn second_stages(&mut self, stages: &[Located<SecondStage>]) -> fmt::Result {
        for stage in stages {
            match &stage.node {
                SecondStage::TopK(n) => write!(self.out, " | {}({n})", Keyword::TopK)?,
                SecondStage::BottomK(n) => write!(self.out, " | {}({n})", Keyword::BottomK)?,
                SecondStage::Filter(op, value) => {
                    write!(self.out, " {op} ")?;
                    self.number(*value)?;
                }
            }
        }
        Ok(())
    }

    fn function(&mut self, function: &MetricsFunction) -> fmt::Result {
        match function {
            MetricsFunction::Rate => write!(self.out, "{}()", Keyword::Rate),
            MetricsFunction::CountOverTime => write!(self.out, "{}()", Keyword::CountOverTime),
            MetricsFunction::OfField(function, of) => {
                write!(self.out, "{}(", field_function_keyword(*function))?;
                self.field(&of.node)?;
                self.out.write_char(')')
            }
            MetricsFunction::QuantileOverTime { of, quantiles } => {
                write!(self.out, "{}(", Keyword::QuantileOverTime)?;
                self.field(&of.node)?;
                for quantile in quantiles {
                    self.out.write_char(',')?;
                    self.quantile(quantile.node)?;
                }
                self.out.write_char(')')
            }
            MetricsFunction::Compare { selection, top_n, window } => {
                write!(self.out, "{}(", Keyword::Compare)?;
                self.filter(&selection.node)?;
                if self.dialect == Dialect::Tempo {
                    // Tempo drops the other arguments and closes with the wrong sign.
                    return self.out.write_char('}');
                }
                if let Some(top_n) = top_n {
                    write!(self.out, ", {}", top_n.node)?;
                }
                if let Some((start, end)) = window {
                    write!(self.out, ", {}, {}", start.node, end.node)?;
                }
                self.out.write_char(')')
            }
        }
    }

    /// Five decimals, as Tempo does, unless they are not enough to read the same number back.
    fn quantile(&mut self, value: f64) -> fmt::Result {
        let rounded = format!("{value:.5}");
        if self.dialect == Dialect::Tempo || rounded.parse() == Ok(value) {
            return self.out.write_str(&rounded);
        }
        self.float(value)
    }

    /// A number of metrics math and filters: whole numbers without decimals.
    fn number(&mut self, value: f64) -> fmt::Result {
        // Every whole number below is exact as an integer, too.
        const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0 && value.abs() <= LARGEST_WHOLE {
            // Integers have no negative zero.
            return write!(self.out, "{:.0}", value + 0.0);
        }
        self.out.write_str(&float_text(value))
    }

    fn list<T>(
        &mut self,
        items: &[T],
        separator: &str,
        mut print: impl FnMut(&mut Self, &T) -> fmt::Result,
    ) -> fmt::Result {
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.out.write_str(separator)?;
            }
            print(self, item)?;
        }
        Ok(())
    }
}

/// The word before the fields of another span.
fn subject_word(subject: Subject) -> Option<Scope> {
    match subject {
        Subject::Itself => None,
        Subject::Parent => Some(Scope::Parent),
        Subject::Root => Some(Scope::Root),
    }
}

/// The word of an attribute's scope.
fn scope_word(scope: AttributeScope) -> Option<Scope> {
    Some(match scope {
        AttributeScope::Unscoped => return None,
        AttributeScope::Span => Scope::Span,
        AttributeScope::Resource => Scope::Resource,
        AttributeScope::Event => Scope::Event,
        AttributeScope::Link => Scope::Link,
        AttributeScope::Instrumentation => Scope::Instrumentation,
    })
}

/// Whether a name must be quoted to be read back. Tempo quotes only what would end the name.
fn needs_quotes(field: &Field, scope: AttributeScope, key: &str, dialect: Dialect) -> bool {
    if key.contains(|c| ends_name(c) || c == '"') {
        return true;
    }
    if dialect == Dialect::Tempo {
        return false;
    }
    let is_bare = scope == AttributeScope::Unscoped;
    key.is_empty()
        || is_bare && field.is_own() && key.starts_with(|c: char| c.is_ascii_digit())
        || is_bare && !field.is_own() && is_read_otherwise_after_subject(key)
}

/// After `parent.` and `root.` these words and scopes are no attribute's name.
fn is_read_otherwise_after_subject(key: &str) -> bool {
    key.starts_with("span.")
        || key.starts_with("resource.")
        || SUBJECT_INTRINSICS.iter().any(|intrinsic| intrinsic.name() == key)
}

/// The word that calls a metrics function of one field.
pub(crate) fn field_function_keyword(function: FieldFunction) -> Keyword {
    match function {
        FieldFunction::MinOverTime => Keyword::MinOverTime,
        FieldFunction::MaxOverTime => Keyword::MaxOverTime,
        FieldFunction::AvgOverTime => Keyword::AvgOverTime,
        FieldFunction::SumOverTime => Keyword::SumOverTime,
        FieldFunction::HistogramOverTime => Keyword::HistogramOverTime,
    }
}

/// A float in the fewest digits that read back, with an exponent below -4 and from 6 on, as C's `%g`.
#[must_use]
pub fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// A duration as Go prints it: `1h30m0s`, `1.5s`, `500ms`, `1µs`, `0s`.
#[must_use]
pub fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let decimal = |nanos: u64, unit_nanos: u64, width: usize| {
        let (whole, fraction) = (nanos / unit_nanos, nanos % unit_nanos);
        let fraction = format!("{fraction:0width$}");
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") }
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{nanos}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(nanos, 1_000, 3)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(nanos, 1_000_000, 6)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}
