//! Expressions over one span: types and rules checked, literals moved to the right, patterns
//! translated, ids brought into the form in which they are stored.

use super::Context;
use super::ir::{Field, FieldExpr, FieldName, Intrinsic, Pattern, Static};
use super::types::Type;
use crate::MAX_DEPTH;
use crate::analyze::ir::{AttributeScope, Subject};
use crate::ast::{self, BinaryOp, Comparison, Located};
use crate::error::{Code, Error, ErrorKind};
use crate::parser::suggest;
use crate::range::TextRange;

/// Chains longer than this become balanced trees, so that whoever recurses over the typed query
/// needs little stack. Shorter ones keep the shape in which they were written.
const LONGEST_UNBALANCED_CHAIN: usize = 32;

/// Deepest typed expression: a tree of the deepest query, and its longest unbalanced chains.
const MAX_HEIGHT: usize = 2 * MAX_DEPTH;

/// A typed expression.
#[derive(Debug)]
struct Typed {
    expr: FieldExpr,
    ty: Type,
    height: usize,
    range: TextRange,
}

/// An expression that must be a condition.
pub(super) fn condition(
    context: Context,
    expr: &Located<ast::FieldExpr>,
) -> Result<FieldExpr, Error> {
    let typed = field_expr(context, expr)?;
    if matches!(typed.ty, Type::Bool | Type::Any) {
        return Ok(typed.expr);
    }
    let error = Error::invalid(
        Code::Bool,
        expr.range,
        format!("a filter needs a condition, and this is {}", typed.ty),
    );
    Err(match typed.ty {
        Type::Nil => error.hint("write `parent != nil` for spans with a parent"),
        Type::Int | Type::Float => error.hint("compare it with something: `… > 1`"),
        Type::Duration => error.hint("compare it with something: `… > 100ms`"),
        Type::Status => error.hint("compare it with a status: `status = error`"),
        Type::Kind => error.hint("compare it with a kind: `kind = server`"),
        _ => error.hint("compare it with something: `… = \"value\"`"),
    })
}

/// The argument of an aggregate: a number that depends on the span.
pub(super) fn number(
    context: Context,
    expr: &Located<ast::FieldExpr>,
    place: &str,
) -> Result<FieldExpr, Error> {
    let typed = field_expr(context, expr)?;
    if typed.ty != Type::Any && !typed.ty.is_numeric() {
        return Err(Error::invalid(
            Code::Num,
            expr.range,
            format!("`{place}` needs a number, and this is {}", typed.ty),
        )
        .hint("to count spans use `count()`"));
    }
    mentions_span(&typed, place)?;
    Ok(typed.expr)
}

/// A key of groups, of an order, of what is counted once: anything that depends on the span.
pub(super) fn key(
    context: Context,
    expr: &Located<ast::FieldExpr>,
    place: &str,
) -> Result<FieldExpr, Error> {
    let typed = field_expr(context, expr)?;
    if typed.ty == Type::Nil {
        return Err(only_nil_tests(expr.range));
    }
    mentions_span(&typed, place)?;
    Ok(typed.expr)
}

fn mentions_span(typed: &Typed, place: &str) -> Result<(), Error> {
    if typed.expr.fields().next().is_some() {
        return Ok(());
    }
    Err(Error::invalid(
        Code::Ref,
        typed.range,
        format!("`{place}` needs a field of the span, and this is a constant"),
    )
    .hint(format!("write `{place}(duration)` or another field")))
}

/// A field that stands alone, in `select`.
pub(super) fn lone_field(context: Context, field: &Located<Field>) -> Result<Field, Error> {
    check_parent(context, &field.node, field.range)?;
    if field.node.name == FieldName::Parent {
        return Err(only_nil_tests(field.range));
    }
    Ok(field.node.clone())
}

fn check_parent(context: Context, field: &Field, range: TextRange) -> Result<(), Error> {
    let is_parent = field.of == Subject::Parent || field.name == FieldName::Parent;
    if is_parent && !context.dialect.has_extensions() {
        return Err(parent_extension(range));
    }
    Ok(())
}

fn parent_extension(range: TextRange) -> Error {
    Error::invalid(
        Code::Unsup,
        range,
        "reading the parent span is an extension that Tempo does not answer",
    )
    .hint("use the default dialect, or a structural operator: `{ … } > { … }`")
}

fn only_nil_tests(range: TextRange) -> Error {
    Error::invalid(Code::Type, range, "`parent` is a span, which can only be compared with nil")
        .hint("write `parent = nil` for root spans, or read a field of the parent: `parent.name`")
}

fn field_expr(context: Context, expr: &Located<ast::FieldExpr>) -> Result<Typed, Error> {
    let range = expr.range;
    let leaf = |expr, ty| Typed { expr, ty, height: 1, range };
    Ok(match &expr.node {
        ast::FieldExpr::Static(value) => {
            leaf(FieldExpr::Static(value.clone()), Type::of_static(value))
        }
        ast::FieldExpr::Field(field) => {
            check_parent(context, field, range)?;
            leaf(FieldExpr::Field(field.clone()), Type::of_field(field))
        }
        ast::FieldExpr::Not(operand) => {
            let operand = field_expr(context, operand)?;
            if !matches!(operand.ty, Type::Bool | Type::Any) {
                let error = Error::invalid(
                    Code::Op,
                    range,
                    format!("`!` needs a condition, and this is {}", operand.ty),
                );
                return Err(error
                    .hint("`!` binds tighter than a comparison: write `!(a = b)`, or `a != b`"));
            }
            unary(FieldExpr::Not, operand, range)?
        }
        ast::FieldExpr::Negate(operand) => {
            let operand = field_expr(context, operand)?;
            if operand.ty != Type::Any && !operand.ty.is_numeric() {
                return Err(Error::invalid(
                    Code::Op,
                    range,
                    format!("`-` needs a number, and this is {}", operand.ty),
                ));
            }
            unary(FieldExpr::Negate, operand, range)?
        }
        ast::FieldExpr::Exists(operand) => {
            let operand = field_expr(context, operand)?;
            Typed { ty: Type::Bool, ..unary(FieldExpr::Exists, operand, range)? }
        }
        ast::FieldExpr::Missing(operand) => {
            let operand = field_expr(context, operand)?;
            check_can_be_missing(&operand)?;
            Typed { ty: Type::Bool, ..unary(FieldExpr::Missing, operand, range)? }
        }
        ast::FieldExpr::Binary { first, rest } => chain(context, first, rest)?,
    })
}

/// Intrinsics and the service's name are never missing; those of the parent and of the root are, for
/// want of one.
fn check_can_be_missing(operand: &Typed) -> Result<(), Error> {
    let FieldExpr::Field(field) = &operand.expr else { return Ok(()) };
    // A span without a parent has no gap before it either.
    if !field.is_own() || field.name == FieldName::Intrinsic(Intrinsic::Gap) {
        return Ok(());
    }
    let (what, instead) = match &field.name {
        FieldName::Intrinsic(Intrinsic::SpanParentId) => (
            "`span:parentID` is never missing".to_owned(),
            "for root spans write `parent = nil` or `nestedSetParent = -1`".to_owned(),
        ),
        FieldName::Intrinsic(intrinsic) => {
            let instead = match Type::of_intrinsic(*intrinsic) {
                Type::String | Type::Any => {
                    format!("for an empty value write `{} = \"\"`", intrinsic.name())
                }
                Type::Status => "for spans without a status write `status = unset`".to_owned(),
                Type::Kind => "for spans without a kind write `kind = unspecified`".to_owned(),
                _ => format!("for an attribute of that name write `.{}`", intrinsic.name()),
            };
            (format!("`{}` is never missing", intrinsic.name()), instead)
        }
        FieldName::Attribute { scope: AttributeScope::Resource, key } if key == "service.name" => (
            "`resource.service.name` is never missing".to_owned(),
            "for services without a name write `resource.service.name = \"\"`".to_owned(),
        ),
        _ => return Ok(()),
    };
    Err(Error::invalid(Code::Nil, operand.range, what).hint(instead))
}

fn unary(
    make: impl FnOnce(Box<FieldExpr>) -> FieldExpr,
    operand: Typed,
    range: TextRange,
) -> Result<Typed, Error> {
    limited(Typed {
        expr: make(Box::new(operand.expr)),
        ty: operand.ty,
        height: operand.height + 1,
        range,
    })
}

fn limited(typed: Typed) -> Result<Typed, Error> {
    if typed.height <= MAX_HEIGHT {
        return Ok(typed);
    }
    Err(Error::new(
        ErrorKind::Limit,
        typed.range,
        format!("this expression is deeper than {MAX_HEIGHT} levels"),
    )
    .hint("long chains of comparisons are fine; of arithmetic and bare attributes they are not"))
}

/// Operators of one level, grouped to the left.
fn chain(
    context: Context,
    first: &Located<ast::FieldExpr>,
    rest: &[(BinaryOp, Located<ast::FieldExpr>)],
) -> Result<Typed, Error> {
    let mut left = field_expr(context, first)?;
    let mut at = 0;
    while at < rest.len() {
        let (op, _) = rest[at];
        let run = rest[at..].iter().take_while(|(next, _)| *next == op).count();
        if matches!(op, BinaryOp::And | BinaryOp::Or) && run > LONGEST_UNBALANCED_CHAIN {
            left = long_run(context, left, op, &rest[at..at + run])?;
            at += run;
            continue;
        }
        let right = field_expr(context, &rest[at].1)?;
        left = binary(left, op, right)?;
        at += 1;
    }
    Ok(left)
}

/// Many conditions joined by one of `&&` and `||`. Both are associative over operands that are always
/// true or false, so those may be grouped in halves; a bare attribute may be neither.
fn long_run(
    context: Context,
    left: Typed,
    op: BinaryOp,
    rest: &[(BinaryOp, Located<ast::FieldExpr>)],
) -> Result<Typed, Error> {
    let mut operands = vec![left];
    for (_, operand) in rest {
        operands.push(field_expr(context, operand)?);
    }
    if operands.iter().all(|operand| operand.ty == Type::Bool) {
        return balanced(operands, op);
    }
    let mut operands = operands.into_iter();
    let first =
        operands.next().ok_or_else(|| Error::parse(TextRange::default(), "an empty chain"))?;
    operands.try_fold(first, |left, right| binary(left, op, right))
}

fn balanced(mut operands: Vec<Typed>, op: BinaryOp) -> Result<Typed, Error> {
    while operands.len() > 1 {
        let mut halved = Vec::with_capacity(operands.len().div_ceil(2));
        let mut pairs = operands.into_iter();
        while let Some(left) = pairs.next() {
            halved.push(match pairs.next() {
                Some(right) => binary(left, op, right)?,
                None => left,
            });
        }
        operands = halved;
    }
    operands.pop().ok_or_else(|| Error::parse(TextRange::default(), "an empty chain"))
}

fn binary(left: Typed, op: BinaryOp, right: Typed) -> Result<Typed, Error> {
    check_types(&left, op, &right)?;
    let range = left.range.cover(right.range);
    let height = left.height.max(right.height) + 1;
    let ty = match op {
        BinaryOp::Arithmetic(_) if left.ty == Type::Any => right.ty,
        BinaryOp::Arithmetic(_) => left.ty,
        _ => Type::Bool,
    };
    let expr = match op {
        BinaryOp::And | BinaryOp::Or => return limited(boolean(left, op, right)),
        BinaryOp::Match { negated } => {
            let pattern = pattern(&right)?;
            FieldExpr::Match { left: Box::new(left.expr), negated, pattern }
        }
        BinaryOp::Compare(op) => comparison(left.expr, op, right.expr),
        BinaryOp::Arithmetic(op) => {
            FieldExpr::Arithmetic { left: Box::new(left.expr), op, right: Box::new(right.expr) }
        }
    };
    limited(Typed { expr, ty, height, range })
}

/// `&&` and `||`; a constant that cannot change a condition is left out.
fn boolean(left: Typed, op: BinaryOp, right: Typed) -> Typed {
    let range = left.range.cover(right.range);
    let neutral = FieldExpr::Static(Static::Bool(op == BinaryOp::And));
    if left.expr == neutral && right.ty == Type::Bool {
        return Typed { range, ..right };
    }
    if right.expr == neutral && left.ty == Type::Bool {
        return Typed { range, ..left };
    }
    let height = left.height.max(right.height) + 1;
    let (left, right) = (Box::new(left.expr), Box::new(right.expr));
    let expr =
        if op == BinaryOp::And { FieldExpr::And(left, right) } else { FieldExpr::Or(left, right) };
    Typed { expr, ty: Type::Bool, height, range }
}

fn check_types(left: &Typed, op: BinaryOp, right: &Typed) -> Result<(), Error> {
    let range = left.range.cover(right.range);
    for side in [left, right] {
        if side.ty == Type::Nil {
            return Err(only_nil_tests(side.range));
        }
    }
    if !left.ty.is_compatible(right.ty) {
        let verb = match op {
            BinaryOp::Arithmetic(_) => "combined",
            BinaryOp::And | BinaryOp::Or => "joined",
            _ => "compared",
        };
        let error = Error::invalid(
            Code::Type,
            range,
            format!("{} cannot be {verb} with {}", left.ty, right.ty),
        );
        return Err(type_hint(error, left, op, right));
    }
    for side in [left, right] {
        if !side.ty.takes(op) {
            let needs = match op {
                BinaryOp::And | BinaryOp::Or => "conditions",
                BinaryOp::Match { .. } => "strings",
                BinaryOp::Compare(_) => "numbers or strings",
                BinaryOp::Arithmetic(_) => "numbers",
            };
            let error = Error::invalid(
                Code::Op,
                side.range,
                format!("`{op}` works on {needs}, and this is {}", side.ty),
            );
            return Err(match (op, side.ty) {
                (BinaryOp::Compare(_), Type::Status | Type::Kind) => {
                    error.hint("a status and a kind know `=` and `!=` only")
                }
                (BinaryOp::And | BinaryOp::Or, _) => error.hint("compare it with something"),
                (BinaryOp::Match { .. }, _) => {
                    error.hint("write the pattern in quotes; only strings are ever matched")
                }
                _ => error,
            });
        }
    }
    Ok(())
}

/// What to write instead of a comparison that can never be.
fn type_hint(error: Error, left: &Typed, op: BinaryOp, right: &Typed) -> Error {
    let is_match = matches!(op, BinaryOp::Match { .. });
    let (field, literal) = match (&left.expr, &right.expr) {
        (field, FieldExpr::Static(literal)) => (field, literal),
        (FieldExpr::Static(literal), field) => (field, literal),
        _ => {
            let chains =
                matches!((op, &left.expr), (BinaryOp::Compare(_), FieldExpr::Compare { .. }));
            return if chains {
                error.hint("comparisons do not chain: write `a < b && b < c`")
            } else {
                error
            };
        }
    };
    let ty = if std::ptr::eq(field, &raw const left.expr) { left.ty } else { right.ty };
    match (ty, literal) {
        (Type::Bool, _) if matches!(op, BinaryOp::Compare(_)) => {
            error.hint("comparisons do not chain: write `a < b && b < c`")
        }
        (Type::Status, Static::String(text)) if !is_match => {
            let word = suggest::near(text, ["ok", "error", "unset"].into_iter()).unwrap_or("error");
            error.hint(format!("a status is a word without quotes: `status {op} {word}`"))
        }
        (Type::Kind, Static::String(text)) if !is_match => {
            let kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];
            let word = suggest::near(text, kinds.into_iter()).unwrap_or("server");
            error.hint(format!("a kind is a word without quotes: `kind {op} {word}`"))
        }
        (Type::Status, _) if is_match => {
            error.hint("a status is no string: write `status = ok || status = error`")
        }
        (Type::Kind, _) if is_match => {
            error.hint("a kind is no string: write `kind = client || kind = producer`")
        }
        (Type::Status, _) => error.hint("a status is `ok`, `error` or `unset`"),
        (Type::Kind, _) => error.hint(
            "a kind is `unspecified`, `internal`, `server`, `client`, `producer` or `consumer`",
        ),
        (Type::Duration, Static::String(text)) => error.hint(format!(
            "a duration has no quotes: write `{}`",
            if text.is_empty() { "100ms" } else { text }
        )),
        (Type::String, Static::Int(value)) => {
            error.hint(format!("for the text write `\"{value}\"`"))
        }
        _ => error,
    }
}

/// The right side of `=~`.
fn pattern(right: &Typed) -> Result<Pattern, Error> {
    let FieldExpr::Static(Static::String(source)) = &right.expr else {
        return Err(Error::invalid(
            Code::Regex,
            right.range,
            "the right side of a match must be a string literal",
        )
        .hint("write the pattern in quotes: `=~ \"a.*\"`"));
    };
    let pattern = Pattern::translate(source).and_then(|pattern| pattern.compile().map(|_| pattern));
    pattern.map_err(|error| {
        // Without escapes the literal is the pattern and two quotes, and the place is exact.
        let range = if right.range.len() == source.len() + 2 && error.offset < source.len() {
            let start = right.range.start as usize + 1 + error.offset;
            TextRange::new(
                start,
                start + source[error.offset..].chars().next().map_or(0, char::len_utf8),
            )
        } else {
            right.range
        };
        let kind = if error.is_limit { ErrorKind::Limit } else { ErrorKind::Invalid };
        let mut invalid = Error::invalid(Code::Regex, range, error.message);
        invalid.kind = kind;
        invalid.hint("regular expressions are RE2's and match the whole value")
    })
}

/// A comparison with its literal on the right, mirrored if it stood on the left.
fn comparison(left: FieldExpr, op: Comparison, right: FieldExpr) -> FieldExpr {
    let is_static = |expr: &FieldExpr| matches!(expr, FieldExpr::Static(_));
    let (left, op, mut right) = if is_static(&left) && !is_static(&right) {
        (right, op.mirrored(), left)
    } else {
        (left, op, right)
    };
    if let (FieldExpr::Field(field), FieldExpr::Static(Static::String(id))) = (&left, &mut right) {
        normalize_id(field, id);
    }
    FieldExpr::Compare { left: Box::new(left), op, right: Box::new(right) }
}

/// Ids are stored in lower case, those of traces without leading zeros.
fn normalize_id(field: &Field, id: &mut String) {
    let FieldName::Intrinsic(intrinsic) = field.name else { return };
    let is_trace = matches!(intrinsic, Intrinsic::TraceId | Intrinsic::LinkTraceId);
    let is_span =
        matches!(intrinsic, Intrinsic::SpanId | Intrinsic::SpanParentId | Intrinsic::LinkSpanId);
    if !(is_trace || is_span) || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return;
    }
    id.make_ascii_lowercase();
    if is_trace {
        *id = id.trim_start_matches('0').to_owned();
    }
}
