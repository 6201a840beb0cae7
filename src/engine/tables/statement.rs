//! The text of SQL to statements: what only reads is let through, and calls of `attr()` become
//! columns, so that DataFusion's own name resolution, projection and filters reach the scan. Pure.

use std::ops::{ControlFlow, Range};

use datafusion::error::DataFusionError;
use datafusion::sql::parser::{CopyToSource, DFParserBuilder, Statement as Parsed};
use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Query, Select, SelectItem, SetExpr, TableFactor, Value, VisitMut as _,
    VisitorMut,
};
use datafusion::sql::sqlparser::tokenizer::Span;
use traceql_blocks::schema::Level;
use traceql_language::Dialect;

use super::columns::{AskedAttribute, AttributeType, level_of_word};
use super::error::{SqlError, bytes_between, of_datafusion};
use crate::error::Result;

/// Deepest nesting accepted: every level is a level of recursion in parser and planner.
const MAX_DEPTH: usize = 50;

/// Longest text accepted, in bytes.
const MAX_SQL_BYTES: usize = 1 << 20;

/// What reads, for who wrote something else.
const READS: &str = "SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW TABLES read; COPY (SELECT …) \
                     TO 'FILE' writes their rows to a file";

/// One statement of SQL that reads.
#[derive(Clone, Debug)]
pub struct SqlStatement {
    /// The whole text it is part of: errors name places of it.
    text: String,
    pub(super) parsed: Parsed,
    pub(super) attributes: Vec<AskedAttribute>,
    /// Names of tables with their places.
    pub(super) relations: Vec<(String, Option<Range<usize>>)>,
    copy_to: Option<CopyTo>,
}

/// Where `COPY … TO` wants the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyTo {
    /// The file, as written.
    pub target: String,
    /// What follows `STORED AS`, in lower case.
    pub format: Option<String>,
}

impl SqlStatement {
    /// Reads the statements of a text, which are separated by `;`.
    ///
    /// # Errors
    /// A text that is no SQL; a statement that would change something; a call of `attr()` or
    /// `traceql()` that names nothing.
    pub fn parse(text: &str) -> Result<Vec<Self>> {
        if text.len() > MAX_SQL_BYTES {
            return Err(
                SqlError::new(format!("the text is longer than {MAX_SQL_BYTES} bytes")).into()
            );
        }
        let parsed = DFParserBuilder::new(text)
            .with_recursion_limit(MAX_DEPTH)
            .build()
            .and_then(|mut parser| parser.parse_statements())
            .map_err(|error: DataFusionError| of_datafusion(error, text))?;
        parsed.into_iter().map(|statement| Self::new(statement, text)).collect()
    }

    /// True if it shows a plan: text for people.
    #[must_use]
    pub fn is_explain(&self) -> bool {
        matches!(self.parsed, Parsed::Explain(_))
    }

    /// Where its rows are to go, if it is a `COPY … TO`: that is for the caller to do.
    #[must_use]
    pub fn copy_to(&self) -> Option<&CopyTo> {
        self.copy_to.as_ref()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn new(parsed: Parsed, text: &str) -> Result<Self> {
        let (parsed, copy_to) = reading(parsed)?;
        let mut rewriter =
            Rewriter { text, attributes: Vec::new(), relations: Vec::new(), tables: Vec::new() };
        let mut parsed = parsed;
        if let ControlFlow::Break(error) = visit(&mut parsed, &mut rewriter) {
            return Err((*error).into());
        }
        let Rewriter { attributes, relations, .. } = rewriter;
        Ok(Self { text: text.to_owned(), parsed, attributes, relations, copy_to })
    }
}

/// The statement whose rows are wanted, and where they are to go; an error for what does not read.
fn reading(parsed: Parsed) -> Result<(Parsed, Option<CopyTo>)> {
    match parsed {
        Parsed::CopyTo(copy) => {
            if let Some((option, _)) = copy.options.first() {
                return Err(SqlError::new(format!("COPY knows no option {option}")).into());
            }
            if !copy.partitioned_by.is_empty() {
                return Err(SqlError::new("COPY writes one file, not a partitioned folder").into());
            }
            let query = match copy.source {
                CopyToSource::Query(query) => query,
                CopyToSource::Relation(name) => {
                    let table = format!("SELECT * FROM {name}");
                    match DFParserBuilder::new(table.as_str())
                        .build()
                        .and_then(|mut parser| parser.parse_statement())
                        .map_err(|error| of_datafusion(error, &table))?
                    {
                        Parsed::Statement(statement) => match *statement {
                            ast::Statement::Query(query) => query,
                            _ => return Err(SqlError::new("COPY takes a table or a query").into()),
                        },
                        _ => return Err(SqlError::new("COPY takes a table or a query").into()),
                    }
                }
            };
            check_query(&query)?;
            let target = CopyTo {
                target: copy.target,
                format: copy.stored_as.map(|format| format.to_lowercase()),
            };
            let statement = Parsed::Statement(Box::new(ast::Statement::Query(query)));
            Ok((statement, Some(target)))
        }
        Parsed::Explain(mut explain) => {
            let (inner, copy_to) = reading(*explain.statement)?;
            if copy_to.is_some() {
                return Err(refused("EXPLAIN COPY").into());
            }
            explain.statement = Box::new(inner);
            Ok((Parsed::Explain(explain), None))
        }
        Parsed::Statement(statement) => {
            match &*statement {
                ast::Statement::Query(query) => check_query(query)?,
                ast::Statement::ExplainTable { .. }
                | ast::Statement::ShowTables { .. }
                | ast::Statement::ShowColumns { .. }
                | ast::Statement::ShowFunctions { .. } => {}
                other => return Err(refused(&verb(&other.to_string())).into()),
            }
            Ok((Parsed::Statement(statement), None))
        }
        Parsed::CreateExternalTable(_) => Err(refused("CREATE EXTERNAL TABLE").into()),
        Parsed::Reset(_) => Err(refused("RESET").into()),
    }
}

fn check_query(query: &Query) -> Result<(), SqlError> {
    check_body(&query.body)
}

fn check_body(body: &SetExpr) -> Result<(), SqlError> {
    match body {
        SetExpr::Insert(inner)
        | SetExpr::Update(inner)
        | SetExpr::Delete(inner)
        | SetExpr::Merge(inner) => Err(refused(&verb(&inner.to_string()))),
        SetExpr::Select(select) if select.into.is_some() => Err(refused("SELECT INTO")),
        SetExpr::Query(query) => check_query(query),
        SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            check_body(right)
        }
        SetExpr::Select(_) | SetExpr::Values(_) | SetExpr::Table(_) => Ok(()),
    }
}

fn refused(what: &str) -> SqlError {
    SqlError::new(format!("{what} is refused: SQL only reads here")).hint(READS)
}

/// The words a statement begins with.
fn verb(statement: &str) -> String {
    let words = statement.split_whitespace();
    let is_keyword = |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase());
    let words: Vec<&str> = words.take_while(is_keyword).take(2).collect();
    if words.is_empty() { "this statement".to_owned() } else { words.join(" ") }
}

fn visit(statement: &mut Parsed, rewriter: &mut Rewriter<'_>) -> ControlFlow<Box<SqlError>> {
    match statement {
        Parsed::Statement(statement) => statement.visit(rewriter),
        Parsed::Explain(explain) => visit(&mut explain.statement, rewriter),
        Parsed::CopyTo(_) | Parsed::CreateExternalTable(_) | Parsed::Reset(_) => {
            ControlFlow::Continue(())
        }
    }
}

/// Rewrites what is ours and notes what it asks for.
struct Rewriter<'a> {
    text: &'a str,
    attributes: Vec<AskedAttribute>,
    relations: Vec<(String, Option<Range<usize>>)>,
    /// Names that are functions, not tables.
    tables: Vec<String>,
}

type Flow = ControlFlow<Box<SqlError>>;

impl VisitorMut for Rewriter<'_> {
    type Break = Box<SqlError>;

    /// A column of the answer is called what was written, not what stands behind it.
    fn pre_visit_select(&mut self, select: &mut Select) -> Flow {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && !has_name(expr)
            {
                let alias = Ident::with_quote('"', expr.to_string());
                *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> Flow {
        if let TableFactor::Table { name, args: Some(arguments), .. } = factor {
            self.tables.push(name.to_string());
            if name.to_string().eq_ignore_ascii_case("traceql")
                && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(literal)))) =
                    arguments.args.first()
                && let Value::SingleQuotedString(query) = &literal.value
                && let Err(error) = traceql_language::compile(query, Dialect::Default)
            {
                let place = self.place(literal.span).and_then(|literal| {
                    // Escaped quotes would shift what follows them.
                    let inside = literal.start + 1..literal.end.saturating_sub(1);
                    let range = error.range.bytes();
                    (self.text.get(inside.clone()) == Some(query.as_str()))
                        .then(|| inside.start + range.start..inside.start + range.end)
                });
                let mut refused = SqlError::new(error.message).at(place);
                refused.hints = error.hints;
                return ControlFlow::Break(Box::new(refused));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> Flow {
        let name = relation.to_string();
        if !self.tables.contains(&name) {
            let span = match relation.0.last() {
                Some(ObjectNamePart::Identifier(ident)) => ident.span,
                _ => Span::empty(),
            };
            let place = self.place(span);
            self.relations.push((name, place));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        match expr {
            Expr::Function(function) => {
                let Some((level, as_type)) = attribute_function(function) else {
                    return ControlFlow::Continue(());
                };
                match self.column(function, level, as_type) {
                    Ok(column) => *expr = column,
                    Err(error) => return ControlFlow::Break(Box::new(error)),
                }
            }
            // Two comparisons, so that `BETWEEN '1ms' AND '1s'` reads durations as they do.
            Expr::Between { expr: operand, negated, low, high }
                if matches!((&**low, &**high), (Expr::Value(_), Expr::Value(_))) =>
            {
                let compare = |op, bound: &Expr| {
                    let (left, right) = (operand.clone(), Box::new(bound.clone()));
                    Box::new(Expr::BinaryOp { left, op, right })
                };
                let both = Expr::BinaryOp {
                    left: compare(ast::BinaryOperator::GtEq, low),
                    op: ast::BinaryOperator::And,
                    right: compare(ast::BinaryOperator::LtEq, high),
                };
                let both = Expr::Nested(Box::new(both));
                *expr = match negated {
                    true => Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(both) },
                    false => both,
                };
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Columns have a name, and nobody asks for that of a query.
fn has_name(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Subquery(_))
}

/// The level and type that a function of ours asks for: `attr`, `attr_int`, `resource_attr_int` …
fn attribute_function(function: &Function) -> Option<(Option<Level>, AttributeType)> {
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let name = name.value.to_ascii_lowercase();
    let (level, rest) = match name.split_once("attr")? {
        ("", rest) => (None, rest),
        (level, rest) => (Some(level_of_word(level.strip_suffix('_')?)?), rest),
    };
    let as_type = match rest {
        "" | "_text" => AttributeType::Text,
        "_int" => AttributeType::Int,
        "_float" => AttributeType::Float,
        "_bool" => AttributeType::Bool,
        _ => return None,
    };
    Some((level, as_type))
}

impl Rewriter<'_> {
    fn place(&self, span: Span) -> Option<Range<usize>> {
        let (start, end) = (span.start, span.end);
        bytes_between(self.text, (start.line, start.column), (end.line, end.column))
    }

    /// The column that a call stands for.
    fn column(
        &mut self,
        function: &Function,
        level: Option<Level>,
        as_type: AttributeType,
    ) -> Result<Expr, SqlError> {
        let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else {
            return Err(SqlError::new("a function without a name"));
        };
        let wrong = |what: String| {
            SqlError::new(what).at(self.place(name.span)).hint(format!(
                "write {0}('http.route'), {0}(resource, 'k8s.pod.name'), or {0}(s, 'http.route') \
                 of a table called s",
                name.value
            ))
        };
        let FunctionArguments::List(list) = &function.args else {
            return Err(wrong(format!("{} needs the key of an attribute", name.value)));
        };
        if function.over.is_some() || function.filter.is_some() {
            return Err(wrong(format!("{} is no aggregate", name.value)));
        }
        let mut arguments = Vec::with_capacity(list.args.len());
        for argument in &list.args {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => arguments.push(argument),
                _ => return Err(wrong(format!("{} takes no such argument", name.value))),
            }
        }
        let (owner, key) = match arguments.as_slice() {
            [key] => (None, *key),
            [owner, key] => (Some(*owner), *key),
            other => {
                return Err(wrong(format!(
                    "{} takes a key, not {} arguments",
                    name.value,
                    other.len()
                )));
            }
        };
        let Expr::Value(literal) = key else {
            return Err(wrong(format!(
                "the key of {} must be a text in single quotes: it says what is read, \
                 before any row is",
                name.value
            )));
        };
        let Value::SingleQuotedString(key) = &literal.value else {
            return Err(wrong(format!(
                "the key of {} must be a text in single quotes",
                name.value
            )));
        };
        let (table, level) = match owner {
            None => (Vec::new(), level),
            Some(Expr::Identifier(ident)) if ident.quote_style.is_none() => {
                match level_of_word(&ident.value) {
                    Some(of) if level.is_none() => (Vec::new(), Some(of)),
                    _ => (vec![ident.clone()], level),
                }
            }
            Some(Expr::Identifier(ident)) => (vec![ident.clone()], level),
            Some(Expr::CompoundIdentifier(parts)) if level.is_none() => match parts.as_slice() {
                [table, of] if level_of_word(&of.value).is_some() => {
                    (vec![table.clone()], level_of_word(&of.value))
                }
                _ => {
                    return Err(wrong(
                        "the level of an attribute is span, resource, event, link or \
                         instrumentation"
                            .to_owned(),
                    ));
                }
            },
            Some(_) => {
                return Err(wrong(format!(
                    "{} reads an attribute of span, resource, event, link, instrumentation, or of \
                     a table",
                    name.value
                )));
            }
        };
        let asked = AskedAttribute { level, key: key.clone(), as_type };
        let column = Ident { value: asked.to_string(), quote_style: Some('"'), span: name.span };
        if !self.attributes.contains(&asked) {
            self.attributes.push(asked);
        }
        Ok(match table.as_slice() {
            [] => Expr::Identifier(column),
            table => {
                let parts = table.iter().cloned().chain([column]).collect();
                Expr::CompoundIdentifier(parts)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    fn one(text: &str) -> SqlStatement {
        SqlStatement::parse(text).unwrap().remove(0)
    }

    fn check(text: &str, expect: &str) {
        assert_eq!(one(text).parsed.to_string(), expect);
    }

    fn refuse(text: &str) -> SqlError {
        match SqlStatement::parse(text) {
            Err(Error::Sql(error)) => *error,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn calls_become_columns_and_keep_their_names() {
        check(
            "SELECT attr('a.b') FROM spans WHERE attr_int(resource, 'n') > 1",
            "SELECT \"attr.a.b:text\" AS \"attr('a.b')\" FROM spans \
             WHERE \"resource.n:int\" > 1",
        );
        check(
            "SELECT max(attr_float(s, 'x')) AS m FROM spans s GROUP BY resource_attr(s, 'y')",
            "SELECT max(s.\"attr.x:float\") AS m FROM spans s GROUP BY s.\"resource.y:text\"",
        );
        check(
            "SELECT name FROM spans s WHERE attr(s.event, 'e') IS NULL",
            "SELECT name FROM spans s WHERE s.\"event.e:text\" IS NULL",
        );
        check(
            "SELECT name FROM spans WHERE duration NOT BETWEEN '1ms' AND '1s'",
            "SELECT name FROM spans WHERE NOT (duration >= '1ms' AND duration <= '1s')",
        );
        assert_eq!(one("SELECT attr('a'), attr('a') || attr('b') FROM spans").attributes.len(), 2);
    }

    #[test]
    fn keys_must_be_known_before_rows_are() {
        let error = refuse("SELECT attr(name) FROM spans");
        assert!(error.message.contains("must be a text in single quotes"), "{error}");
        assert_eq!(error.range, Some(7..11));
        for text in ["attr()", "attr('a', 'b', 'c')", "attr(1, 'a')", "attr(a.b.c, 'k')", "attr(*)"]
        {
            let error = refuse(&format!("SELECT {text} FROM spans"));
            assert!(!error.hints.is_empty(), "{text}: {error}");
        }
    }

    #[test]
    fn what_writes_is_refused_by_name() {
        for (text, name) in [
            ("DROP TABLE spans", "DROP TABLE"),
            ("INSERT INTO spans VALUES (1)", "INSERT INTO"),
            ("CREATE TABLE a AS SELECT 1", "CREATE TABLE"),
            ("CREATE EXTERNAL TABLE a STORED AS CSV LOCATION 'x'", "CREATE EXTERNAL TABLE"),
            ("DELETE FROM spans", "DELETE FROM"),
            ("SET a = 1", "SET"),
            ("SELECT 1 INTO a", "SELECT INTO"),
            ("EXPLAIN COPY spans TO 'a.csv'", "EXPLAIN COPY"),
        ] {
            let error = refuse(text);
            assert!(error.message.starts_with(&format!("{name} is refused")), "{text}: {error}");
        }
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let error = refuse("SELECT name FORM spans WHERE");
        assert_eq!(error.range.map(|range| range.start), Some(17), "{}", error.message);
        let error = refuse("SELECT 1;\nSELEC 2");
        assert_eq!(error.range, Some(10..15), "{}", error.message);
    }

    #[test]
    fn queries_inside_are_checked_in_their_place() {
        let text = "SELECT * FROM traceql('{ duraton > 1s }')";
        let error = refuse(text);
        let range = error.range.unwrap();
        assert_eq!(&text[range], "duraton");
    }

    #[test]
    fn copies_tell_where_to() {
        let copy = one("COPY (SELECT 1) TO 'a.parquet'");
        assert_eq!(copy.copy_to(), Some(&CopyTo { target: "a.parquet".to_owned(), format: None }));
        let table = one("COPY spans TO 'a' STORED AS CSV");
        assert_eq!(table.copy_to().unwrap().format.as_deref(), Some("csv"));
        assert_eq!(table.parsed.to_string(), "SELECT * FROM spans");
    }
}
