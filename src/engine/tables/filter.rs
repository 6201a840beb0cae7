//! Conditions of SQL as conditions of TraceQL, so that the scan skips what cannot match. What is
//! handed down holds wherever the SQL condition does, and sometimes more often: DataFusion filters
//! again unless the two are known to be the same.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, Like, Operator, TableProviderFilterPushDown,
};
use traceql_blocks::model::TraceId;
use traceql_blocks::schema::Column;
use traceql_language::Dialect;
use traceql_language::analyze::ir::{FieldName, Intrinsic, Static};

use super::columns::{AttributeType, Shape, TableColumn, TableKind};

/// Longest text of one condition: beyond it, a list is long enough to be filtered by DataFusion.
const MAX_CONDITION_BYTES: usize = 4 << 10;

/// Longest text of all conditions together, well below what the language accepts.
const MAX_QUERY_BYTES: usize = 32 << 10;

/// A condition for the scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// A TraceQL condition.
    pub(super) text: String,
    /// It holds for a row exactly if the SQL condition does.
    pub(super) is_exact: bool,
}

/// The condition that the scan can test of a SQL condition, if there is one.
pub(super) fn push(table: TableKind, columns: &[TableColumn], filter: &Expr) -> Option<Pushed> {
    let mut pushed = Translator { columns }.condition(filter)?;
    // Of events and links a span is asked for as a whole; one row of them may fail.
    pushed.is_exact &= table == TableKind::Spans;
    let fits = pushed.text.len() <= MAX_CONDITION_BYTES;
    (fits && traceql_language::compile(&query(&pushed.text), Dialect::Default).is_ok())
        .then_some(pushed)
}

/// How far a table takes over some filters, in their order.
pub(super) fn support(
    table: TableKind,
    columns: &[TableColumn],
    filters: &[&Expr],
) -> Vec<TableProviderFilterPushDown> {
    use TableProviderFilterPushDown as Support;
    let all: Vec<Expr> = filters.iter().map(|filter| (*filter).clone()).collect();
    let text = query_of(table, columns, &all);
    let is_query = traceql_language::compile(&text, Dialect::Default).is_ok();
    let each = all.iter().map(|filter| {
        let pushed = push(table, columns, filter).filter(|_| is_query);
        let range = start_range(columns, std::slice::from_ref(filter));
        match (pushed, range) {
            (Some(pushed), _) if pushed.is_exact => Support::Exact,
            (Some(_), _) | (None, Some(_)) => Support::Inexact,
            (None, None) => Support::Unsupported,
        }
    });
    each.collect()
}

/// The query of a scan with the conditions it can test. Exact ones are among them whatever their
/// length, as DataFusion does not test those again.
pub(super) fn query_of(table: TableKind, columns: &[TableColumn], filters: &[Expr]) -> String {
    let mut pushed: Vec<Pushed> =
        filters.iter().filter_map(|filter| push(table, columns, filter)).collect();
    pushed.sort_by_key(|pushed| !pushed.is_exact);
    let mut text = String::new();
    for Pushed { text: condition, is_exact } in pushed {
        if is_exact || text.len() + condition.len() <= MAX_QUERY_BYTES {
            if !text.is_empty() {
                text.push_str(" && ");
            }
            text.push_str(&condition);
        }
    }
    query(&text)
}

fn query(condition: &str) -> String {
    match condition {
        "" => "{ }".to_owned(),
        condition => format!("{{ {condition} }}"),
    }
}

/// The range of unix nanoseconds, both ends inclusive, in which spans (traces) start that satisfy
/// all filters, as far as they say.
pub(super) fn start_range(columns: &[TableColumn], filters: &[Expr]) -> Option<(u64, u64)> {
    let mut range = (0, u64::MAX);
    for filter in filters {
        narrow(columns, filter, &mut range);
    }
    (range != (0, u64::MAX)).then_some(range)
}

fn narrow(columns: &[TableColumn], filter: &Expr, range: &mut (u64, u64)) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            narrow(columns, left, range);
            narrow(columns, right, range);
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            bound(columns, expr, Operator::GtEq, low, range);
            bound(columns, expr, Operator::LtEq, high, range);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            bound(columns, left, *op, right, range);
            if let Some(op) = op.swap() {
                bound(columns, right, op, left, range);
            }
        }
        _ => {}
    }
}

fn bound(
    columns: &[TableColumn],
    column: &Expr,
    op: Operator,
    literal: &Expr,
    range: &mut (u64, u64),
) {
    let (Expr::Column(column), Expr::Literal(literal, _)) = (column, literal) else { return };
    let Some(known) = columns.iter().find(|known| known.name == column.name) else { return };
    if !matches!(known.shape, Shape::Time(Column::SpanStart | Column::TraceStart)) {
        return;
    }
    let ScalarValue::TimestampNanosecond(Some(nanos), _) = literal else { return };
    let nanos = u64::try_from(*nanos).unwrap_or(0);
    match op {
        Operator::Gt | Operator::GtEq => range.0 = range.0.max(nanos),
        Operator::Lt | Operator::LtEq => range.1 = range.1.min(nanos),
        Operator::Eq => *range = (range.0.max(nanos), range.1.min(nanos)),
        _ => {}
    }
}

/// The traces that alone can satisfy all filters, as far as they name any.
pub(super) fn trace_ids(columns: &[TableColumn], filters: &[Expr]) -> Option<Vec<TraceId>> {
    filters.iter().filter_map(|filter| ids_of(columns, filter)).min_by_key(Vec::len)
}

fn ids_of(columns: &[TableColumn], filter: &Expr) -> Option<Vec<TraceId>> {
    let is_id = |expr: &Expr| {
        Translator { columns }
            .column(expr)
            .is_some_and(|column| column.shape == Shape::TraceId(Column::TraceId))
    };
    let of_literal = |expr: &Expr| match expr {
        Expr::Literal(literal, _) => literal.try_as_str()?.map(id_of_text),
        _ => None,
    };
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Eq if is_id(left) => Some(of_literal(right)?.into_iter().collect()),
            Operator::Eq if is_id(right) => Some(of_literal(left)?.into_iter().collect()),
            Operator::Or => {
                let (mut ids, more) = (ids_of(columns, left)?, ids_of(columns, right)?);
                ids.extend(more);
                Some(ids)
            }
            Operator::And => ids_of(columns, left).or_else(|| ids_of(columns, right)),
            _ => None,
        },
        Expr::InList(InList { expr, list, negated: false }) if is_id(expr) => {
            let ids: Option<Vec<_>> = list.iter().map(of_literal).collect();
            Some(ids?.into_iter().flatten().collect())
        }
        _ => None,
    }
}

/// The id that is shown as this text, if any is.
fn id_of_text(text: &str) -> Option<TraceId> {
    let id = TraceId(u128::from_str_radix(text, 16).ok()?.to_be_bytes());
    (id.to_string() == text).then_some(id)
}

struct Translator<'a> {
    columns: &'a [TableColumn],
}

fn inexact(text: String) -> Pushed {
    Pushed { text, is_exact: false }
}

impl Translator<'_> {
    fn condition(&self, expr: &Expr) -> Option<Pushed> {
        match expr {
            Expr::Alias(alias) => self.condition(&alias.expr),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                match (self.condition(left), self.condition(right)) {
                    (Some(a), Some(b)) => Some(Pushed {
                        text: format!("({} && {})", a.text, b.text),
                        is_exact: a.is_exact && b.is_exact,
                    }),
                    (Some(one), None) | (None, Some(one)) => {
                        Some(Pushed { is_exact: false, ..one })
                    }
                    (None, None) => None,
                }
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                let (a, b) = (self.condition(left)?, self.condition(right)?);
                Some(Pushed {
                    text: format!("({} || {})", a.text, b.text),
                    is_exact: a.is_exact && b.is_exact,
                })
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (&**left, &**right) {
                // The numbers of an attribute that was asked for as text.
                (Expr::TryCast(cast), Expr::Literal(..))
                | (Expr::Literal(..), Expr::TryCast(cast)) => exists(self.column(&cast.expr)?),
                (column, Expr::Literal(literal, _)) => {
                    self.comparison(self.column(column)?, *op, literal)
                }
                (Expr::Literal(literal, _), column) => {
                    self.comparison(self.column(column)?, op.swap()?, literal)
                }
                _ => None,
            },
            Expr::Between(Between { expr, negated: false, low, high }) => {
                let column = self.column(expr)?;
                let (Expr::Literal(low, _), Expr::Literal(high, _)) = (&**low, &**high) else {
                    return None;
                };
                let low = self.comparison(column, Operator::GtEq, low);
                let high = self.comparison(column, Operator::LtEq, high);
                let text = [low, high].into_iter().flatten().map(|end| end.text);
                let text = text.collect::<Vec<_>>().join(" && ");
                (!text.is_empty()).then(|| inexact(format!("({text})")))
            }
            Expr::InList(InList { expr, list, negated }) => {
                let column = self.column(expr)?;
                if *negated {
                    return exists(column);
                }
                let mut is_exact = true;
                let mut texts = Vec::with_capacity(list.len());
                for item in list {
                    let Expr::Literal(literal, _) = item else { return None };
                    let one = self.comparison(column, Operator::Eq, literal)?;
                    is_exact &= one.is_exact;
                    texts.push(one.text);
                }
                (!texts.is_empty())
                    .then(|| Pushed { text: format!("({})", texts.join(" || ")), is_exact })
            }
            Expr::IsNotNull(operand) => exists(self.column(operand)?),
            Expr::Like(Like {
                negated: false,
                expr,
                pattern,
                escape_char: None,
                case_insensitive: false,
            }) => {
                let Expr::Literal(pattern, _) = &**pattern else { return None };
                like(self.column(expr)?, pattern.try_as_str()??)
            }
            Expr::Column(_) | Expr::IsTrue(_) => truth(self.column(expr)?, true),
            Expr::Not(operand) | Expr::IsFalse(operand) => truth(self.column(operand)?, false),
            _ => None,
        }
    }

    fn column(&self, expr: &Expr) -> Option<&TableColumn> {
        match expr {
            Expr::Column(column) => self.columns.iter().find(|known| known.name == column.name),
            Expr::IsTrue(operand) => self.column(operand),
            _ => None,
        }
    }

    fn comparison(
        &self,
        column: &TableColumn,
        op: Operator,
        literal: &ScalarValue,
    ) -> Option<Pushed> {
        let sign = match op {
            Operator::Eq => "=",
            Operator::NotEq => "!=",
            Operator::Lt => "<",
            Operator::LtEq => "<=",
            Operator::Gt => ">",
            Operator::GtEq => ">=",
            _ => return None,
        };
        if literal.is_null() {
            return None;
        }
        let field = column.shape.field()?;
        let is_equality = op == Operator::Eq;
        match &column.shape {
            Shape::Text(_) => {
                let text = Static::String(literal.try_as_str()??.to_owned());
                Some(Pushed { text: format!("{field} {sign} {text}"), is_exact: true })
            }
            Shape::Kind | Shape::Status => {
                let word = literal.try_as_str()??;
                let is_word = match field.name {
                    FieldName::Intrinsic(Intrinsic::Status) => {
                        ["unset", "ok", "error"].contains(&word)
                    }
                    _ => ["unspecified", "internal", "server", "client", "producer", "consumer"]
                        .contains(&word),
                };
                let is_equal = is_equality || op == Operator::NotEq;
                (is_word && is_equal)
                    .then(|| Pushed { text: format!("{field} {sign} {word}"), is_exact: true })
            }
            Shape::TraceId(_) | Shape::SpanId(_) => {
                let id = literal.try_as_str()??;
                let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
                (is_id && is_equality).then(|| inexact(format!("{field} = \"{id}\"")))
            }
            Shape::Duration(_) => {
                let ScalarValue::DurationNanosecond(Some(nanos)) = literal else { return None };
                let text = Static::Duration(*nanos);
                Some(Pushed { text: format!("{field} {sign} {text}"), is_exact: true })
            }
            Shape::Int(_) => {
                let ScalarValue::Int64(Some(value)) = literal else { return None };
                // The smallest integer has a name in TraceQL, and nothing is below it.
                (*value != i64::MIN)
                    .then(|| Pushed { text: format!("{field} {sign} {value}"), is_exact: true })
            }
            Shape::Attribute(_, AttributeType::Text) => {
                let text = literal.try_as_str()??;
                if is_equality && is_only_text(text) {
                    let text = Static::String(text.to_owned());
                    return Some(inexact(format!("{field} = {text}")));
                }
                exists(column)
            }
            Shape::Attribute(_, AttributeType::Int) => match literal {
                ScalarValue::Int64(Some(value)) if *value != i64::MIN && op != Operator::NotEq => {
                    Some(inexact(format!("{field} {sign} {value}")))
                }
                _ => exists(column),
            },
            Shape::Attribute(_, AttributeType::Float) => match literal {
                // SQL orders NaN and the two zeros, TraceQL does not: only equality is safe.
                ScalarValue::Float64(Some(value)) if is_equality && value.is_finite() => {
                    Some(inexact(format!("{field} = {}", Static::Float(*value))))
                }
                _ => exists(column),
            },
            Shape::Attribute(_, AttributeType::Bool) => match literal {
                ScalarValue::Boolean(Some(value)) if is_equality => truth(column, *value),
                _ => exists(column),
            },
            Shape::Time(_)
            | Shape::EndTime
            | Shape::EventTime
            | Shape::SpanCount
            | Shape::ErrorCount
            | Shape::ServiceCount => None,
        }
    }
}

/// The attribute is there: true of every row whose value is not null.
fn exists(column: &TableColumn) -> Option<Pushed> {
    matches!(column.shape, Shape::Attribute(..))
        .then(|| column.shape.field())
        .flatten()
        .map(|field| inexact(format!("{field} != nil")))
}

fn truth(column: &TableColumn, value: bool) -> Option<Pushed> {
    matches!(column.shape, Shape::Attribute(_, AttributeType::Bool))
        .then(|| column.shape.field())
        .flatten()
        .map(|field| inexact(format!("{field} = {value}")))
}

/// True if no number, truth value or array is shown as this text, so that only strings equal it.
fn is_only_text(text: &str) -> bool {
    text.parse::<f64>().is_err() && !matches!(text, "true" | "false") && !text.starts_with('[')
}

/// A pattern of `LIKE` as a regular expression.
fn like(column: &TableColumn, pattern: &str) -> Option<Pushed> {
    let field = column.shape.field()?;
    match column.shape {
        Shape::Text(_) => {}
        // Numbers and arrays have a text too, but none that begins with these.
        Shape::Attribute(_, AttributeType::Text)
            if pattern.starts_with(|c: char| {
                c == '/' || c.is_ascii_alphabetic() && !"tfiN".contains(c)
            }) => {}
        _ => return exists(column),
    }
    if pattern.contains('\\') {
        return exists(column);
    }
    let mut regex = String::with_capacity(pattern.len() + 8);
    for c in pattern.chars() {
        match c {
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    Some(inexact(format!("{field} =~ {}", Static::String(regex))))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;
    use datafusion::logical_expr::{col, lit, try_cast};

    use super::super::columns::AskedAttribute;
    use super::*;

    fn check(filter: Expr, expect: &str) {
        let table = TableKind::Spans;
        let mut columns = table.columns();
        for (name, as_type) in [
            ("t", AttributeType::Text),
            ("i", AttributeType::Int),
            ("f", AttributeType::Float),
            ("b", AttributeType::Bool),
        ] {
            let asked = AskedAttribute { level: None, key: name.to_owned(), as_type };
            let column = table.attribute(&asked).unwrap();
            columns.push(TableColumn { name: name.to_owned(), ..column });
        }
        let pushed = push(table, &columns, &filter).map(|pushed| {
            format!("{}{}", if pushed.is_exact { "exactly " } else { "" }, pushed.text)
        });
        assert_eq!(pushed.as_deref().unwrap_or("nothing"), expect, "{filter}");
    }

    #[test]
    fn conditions_on_fields_are_exact() {
        check(col("name").eq(lit("a")), "exactly name = `a`");
        check(lit("a").gt(col("name")), "exactly name < `a`");
        check(col("name").not_eq(lit("a`b")), "exactly name != \"a`b\"");
        check(col("status").eq(lit("error")), "exactly status = error");
        check(col("status").gt(lit("error")), "nothing");
        check(col("kind").eq(lit("nonsense")), "nothing");
        let second = lit(ScalarValue::DurationNanosecond(Some(1_500_000_000)));
        check(col("duration").gt_eq(second), "exactly duration >= 1.5s");
        check(col("duration_nanos").lt(lit(7_i64)), "exactly duration < 7");
        check(
            col("kind").in_list(vec![lit("server"), lit("client")], false),
            "exactly (kind = server || kind = client)",
        );
        check(col("trace_id").eq(lit("00ab")), "trace:id = \"00ab\"");
        check(col("name").like(lit("GET %")), "name =~ `GET .*`");
    }

    #[test]
    fn conditions_on_attributes_may_hold_more_often() {
        check(col("t").eq(lit("/cart")), "span.t = `/cart`");
        check(col("t").eq(lit("500")), "span.t != nil");
        check(col("t").eq(lit("[1]")), "span.t != nil");
        check(col("t").not_eq(lit("a")), "span.t != nil");
        check(col("t").like(lit("/a%")), "span.t =~ `/a.*`");
        check(col("t").like(lit("5%")), "span.t != nil");
        check(col("t").is_not_null(), "span.t != nil");
        check(col("t").is_null(), "nothing");
        let number = || try_cast(col("t"), DataType::Float64);
        check(number().gt(lit(5.0)), "span.t != nil");
        check(lit(5.0).eq(number()), "span.t != nil");
        check(col("i").gt(lit(499_i64)), "span.i > 499");
        check(col("i").not_eq(lit(5_i64)), "span.i != nil");
        check(col("f").eq(lit(0.5)), "span.f = 0.5");
        check(col("f").gt(lit(0.5)), "span.f != nil");
        check(col("b"), "span.b = true");
        check(!col("b"), "span.b = false");
    }

    #[test]
    fn and_keeps_what_it_can_and_or_needs_both() {
        let known = || col("name").eq(lit("a"));
        let unknown = || col("trace_state").eq(lit("a"));
        check(known().and(unknown()), "name = `a`");
        check(known().or(unknown()), "nothing");
        check(known().or(col("i").gt(lit(1_i64))), "(name = `a` || span.i > 1)");
        check(!known(), "nothing");
    }

    #[test]
    fn long_lists_are_left_to_datafusion() {
        let list = (0..2_000).map(|n| lit(format!("name {n}"))).collect();
        check(col("name").in_list(list, false), "nothing");
    }

    #[test]
    fn ids_that_are_named_are_found() {
        let columns = TableKind::Spans.columns();
        let text = |n: u8| format!("{n:032x}");
        let one = |n: u8| col("trace_id").eq(lit(text(n)));
        let found = |filter: Expr| {
            trace_ids(&columns, &[filter])
                .map(|ids| ids.iter().map(|id| id.0[15]).collect::<Vec<_>>())
        };
        assert_eq!(found(one(7)), Some(vec![7]));
        assert_eq!(found(one(7).or(one(9))), Some(vec![7, 9]));
        assert_eq!(found(one(7).and(col("name").eq(lit("a")))), Some(vec![7]));
        let list = vec![lit(text(1)), lit(text(2))];
        assert_eq!(found(col("trace_id").in_list(list, false)), Some(vec![1, 2]));
        assert_eq!(found(col("trace_id").eq(lit("no id"))), Some(vec![]));
        assert_eq!(found(col("span_id").eq(lit(text(1)))), None);
        assert_eq!(found(one(7).or(col("name").eq(lit("a")))), None);
    }

    #[test]
    fn ranges_of_start_times_are_found_inside_conjunctions() {
        let columns = TableKind::Spans.columns();
        let at = |nanos| lit(ScalarValue::TimestampNanosecond(Some(nanos), None));
        let filter = col("start_time").gt_eq(at(5)).and(at(9).gt(col("start_time")));
        assert_eq!(start_range(&columns, &[filter]), Some((5, 9)));
        let either = col("start_time").eq(at(5)).or(col("name").eq(lit("a")));
        assert_eq!(start_range(&columns, &[either]), None);
        assert_eq!(start_range(&columns, &[col("end_time").gt(at(5))]), None);
    }
}
