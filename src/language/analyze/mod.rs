//! From the tree that was written to the typed query: names resolved, constants folded, types and
//! the rules the grammar cannot state checked.

mod field;
pub mod ir;
mod metrics;
pub mod pattern;
mod pipeline;
pub mod types;
pub mod visit;

use crate::ast::{Body, Hint, Located, Query, Static};
use crate::dialect::Dialect;
use crate::error::{Code, Error};
use crate::fold::{self, Powers};
use ir::{Hints, MetricsExpr, Pipeline, TypedQuery};

/// What every check may need to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context {
    /// What is accepted.
    dialect: Dialect,
}

/// Checks a query and gives it types.
pub(crate) fn query(query: &Query, dialect: Dialect) -> Result<TypedQuery, Error> {
    let context = Context { dialect };
    let mut folded = query.clone();
    fold::query(&mut folded, Powers::Exact);
    let (pipeline, metrics) = match &folded.body {
        Body::Search(search) => (pipeline::pipeline(context, search)?, None),
        Body::Metrics(expr) => {
            let metrics = metrics::metrics(context, expr)?;
            (leftmost_pipeline(&metrics), Some(metrics))
        }
    };
    let order_by = pipeline::order_by(context, &folded.arrangement.order_by)?;
    let limit = folded.arrangement.limit.as_ref().map(limit).transpose()?;
    let hints = hints(&folded.hints);
    if hints.most_recent
        && let (Some(first), Some(last)) =
            (query.arrangement.order_by.first(), query.arrangement.order_by.last())
    {
        let range = first.range.cover(last.range);
        return Err(Error::invalid(
            Code::Op,
            range,
            "`order_by` and `with (most_recent=true)` both say which traces come first",
        )
        .hint("leave one of them out"));
    }
    Ok(TypedQuery { pipeline, metrics, order_by, limit, hints, canonical: query.to_string() })
}

/// Most traces of an answer.
fn limit(limit: &Located<i64>) -> Result<u64, Error> {
    match u64::try_from(limit.node) {
        Ok(limit @ 1..) => Ok(limit),
        _ => Err(Error::invalid(Code::Range, limit.range, "`limit` keeps at least one trace")
            .hint("leave it out to have all that are asked for")),
    }
}

/// The first pipeline of a metrics expression, which is what a search of it selects by.
fn leftmost_pipeline(expr: &MetricsExpr) -> Pipeline {
    match expr {
        MetricsExpr::Query { pipeline, .. } => pipeline.clone(),
        MetricsExpr::Math { left, right, .. } => match left.as_ref() {
            MetricsExpr::Constant(_) => leftmost_pipeline(right),
            left => leftmost_pipeline(left),
        },
        // The parser folds math of constants alone, so some operand has a pipeline.
        MetricsExpr::Constant(_) => Pipeline { stages: Vec::new() },
    }
}

/// The hints we know; of several with one name the first of the right type counts.
fn hints(hints: &[Hint]) -> Hints {
    let first = |name: &str, read: fn(&Static) -> Option<u32>| {
        hints.iter().filter(|hint| hint.name.node == name).find_map(|hint| read(&hint.value.node))
    };
    let most_recent = first("most_recent", |value| match value {
        Static::Bool(value) => Some(u32::from(*value)),
        _ => None,
    });
    let exemplars = first("exemplars", |value| match value {
        Static::Bool(true) => Some(u32::MAX),
        Static::Bool(false) => Some(0),
        Static::Int(n) if *n >= 0 => Some(u32::try_from(*n).unwrap_or(u32::MAX)),
        _ => None,
    });
    Hints {
        most_recent: most_recent == Some(1),
        exemplars,
        all: hints.iter().map(|hint| (hint.name.node.clone(), hint.value.node.clone())).collect(),
    }
}
