//! The rules: what there is to say about one query. Knows the language and, if it is given, which
//! attributes there are; nothing of files.

use std::collections::BTreeSet;

use traceql_engine::tags::TagNames;
use traceql_language::ast::{AttributeScope, Field, FieldName, Located};
use traceql_language::ir::{FieldExpr, MetricsExpr, Pipeline, ScalarExpr, SpansetExpr, Stage};
use traceql_language::{Dialect, Error as QueryError, TextRange, TypedQuery};

use super::{Finding, Found, Level, Origin, Rule};

/// What queries are held against.
#[derive(Debug)]
pub(crate) struct Against {
    /// The language.
    pub(crate) dialect: Dialect,
    /// The attributes there are, if a source was given.
    pub(crate) names: Option<TagNames>,
}

impl Against {
    /// What there is to say, in the order of the text.
    pub(crate) fn judge(&self, found: &Found) -> Vec<Finding> {
        if let Some(range) = found.variable {
            return vec![Finding {
                rule: Rule::Template,
                level: Level::Note,
                range,
                message: "this variable is no part of a text, so the query was not checked".into(),
                hints: Vec::new(),
            }];
        }
        let text = found.text.as_str();
        let parsed = traceql_language::parse(text, self.dialect);
        let typed = parsed
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|query| traceql_language::analyze(query, self.dialect));
        let (parsed, typed) = match (parsed, typed) {
            (Ok(parsed), Ok(typed)) => (parsed, typed),
            (_, Err(error)) | (Err(error), _) => {
                return vec![refused(Rule::Syntax, Level::Error, error)];
            }
        };
        let whole = TextRange::new(beginning(text), text.trim_end().len());
        let mut findings = Vec::new();
        findings.extend(self.tempo(found));
        findings.extend(full_scan(&typed, whole));
        for field in traceql_language::mentions(&parsed) {
            findings.extend(unscoped(&field));
            findings.extend(self.unknown(&field));
        }
        // Letters in place of a variable are nothing to give advice about.
        if !found.is_masked {
            findings.extend(doubtful(&typed, whole));
        }
        findings.sort_by_key(|finding| (finding.range.start, std::cmp::Reverse(finding.level)));
        findings
    }

    /// What Tempo would refuse.
    fn tempo(&self, found: &Found) -> Option<Finding> {
        let level = match found.origin {
            Origin::Query { extended: true } => return None,
            Origin::Query { extended: false } | Origin::Suite => Level::Warning,
            Origin::Grafana => Level::Error,
        };
        let error = traceql_language::compile(&found.text, Dialect::Tempo).err()?;
        let error =
            QueryError { message: format!("Tempo refuses this: {}", error.message), ..error };
        Some(refused(Rule::Tempo, level, error))
    }

    /// An attribute that no span has.
    fn unknown(&self, field: &Located<Field>) -> Option<Finding> {
        let names = self.names.as_ref()?;
        let FieldName::Attribute { scope, key } = &field.node.name else { return None };
        let scopes: &[AttributeScope] = match scope {
            AttributeScope::Unscoped => &[AttributeScope::Span, AttributeScope::Resource],
            scope => std::slice::from_ref(scope),
        };
        let of = |scope: &AttributeScope| names.get(scope).into_iter().flatten();
        let known: BTreeSet<&String> = scopes.iter().flat_map(of).collect();
        if known.contains(key) {
            return None;
        }
        let elsewhere = names.iter().find(|(_, names)| names.contains(key));
        let named = |scope: AttributeScope, key: &str| {
            let name = FieldName::Attribute { scope, key: key.to_owned() };
            Field { of: field.node.of, name }
        };
        let hint = match elsewhere {
            Some((scope, _)) => Some(format!("there is `{}`", named(*scope, key))),
            None => {
                let known: Vec<&String> = known.into_iter().collect();
                let near = traceql_language::nearest(key, &known);
                near.map(|near| format!("did you mean `{}`?", named(*scope, near)))
            }
        };
        Some(Finding {
            rule: Rule::UnknownAttribute,
            level: Level::Error,
            range: field.range,
            message: format!("no span has `{}`", field.node),
            hints: hint.into_iter().collect(),
        })
    }
}

fn refused(rule: Rule, level: Level, error: QueryError) -> Finding {
    let QueryError { range, message, hints, .. } = error;
    Finding { rule, level, range, message, hints }
}

/// Where the query begins after its comments.
fn beginning(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start();
        if !(content.is_empty() || content.starts_with("//")) {
            return at + line.len() - content.len();
        }
        at += line.len();
    }
    0
}

/// Advice of the language, which is about the query as a whole.
fn doubtful(query: &TypedQuery, range: TextRange) -> impl Iterator<Item = Finding> {
    let finding = move |message| Finding {
        rule: Rule::Doubtful,
        level: Level::Warning,
        range,
        message,
        hints: Vec::new(),
    };
    traceql_language::advice(query).into_iter().map(finding)
}

/// An attribute without scope.
fn unscoped(field: &Located<Field>) -> Option<Finding> {
    let FieldName::Attribute { scope: AttributeScope::Unscoped, key } = &field.node.name else {
        return None;
    };
    Some(Finding {
        rule: Rule::Unscoped,
        level: Level::Warning,
        range: field.range,
        message: format!("`{}` is looked for in spans and in resources", field.node),
        hints: vec![format!("write `span.{key}` or `resource.{key}`")],
    })
}

/// A selection of spans without a condition.
fn full_scan(query: &TypedQuery, range: TextRange) -> Option<Finding> {
    let is_limited = match &query.metrics {
        Some(metrics) => is_limited(metrics),
        None => has_condition(&query.pipeline),
    };
    (!is_limited).then(|| Finding {
        rule: Rule::FullScan,
        level: Level::Warning,
        range,
        message: "no condition limits this: every span is read".to_owned(),
        hints: vec!["name what is looked for: a service, a span's name, a status".to_owned()],
    })
}

/// Whether each selection of a metrics query has a condition.
fn is_limited(expr: &MetricsExpr) -> bool {
    match expr {
        MetricsExpr::Constant(_) => true,
        MetricsExpr::Query { pipeline, .. } => has_condition(pipeline),
        MetricsExpr::Math { left, right, .. } => is_limited(left) && is_limited(right),
    }
}

fn has_condition(pipeline: &Pipeline) -> bool {
    fn of_spanset(expr: &SpansetExpr) -> bool {
        match expr {
            SpansetExpr::Filter(body) => !matches!(body, FieldExpr::Static(_)),
            SpansetExpr::Pipeline(pipeline) => has_condition(pipeline),
            SpansetExpr::Operation { left, right, .. } => of_spanset(left) || of_spanset(right),
            // Whatever it says, every trace is looked at.
            SpansetExpr::Not(_) => false,
        }
    }
    fn of_scalar(expr: &ScalarExpr) -> bool {
        match expr {
            ScalarExpr::Static(_) | ScalarExpr::Aggregate(_) => false,
            ScalarExpr::Pipeline { pipeline, .. } => has_condition(pipeline),
            ScalarExpr::Arithmetic { left, right, .. } => of_scalar(left) || of_scalar(right),
        }
    }
    pipeline.stages.iter().any(|stage| match stage {
        Stage::Spanset(expr) => of_spanset(expr),
        Stage::ScalarFilter { left, right, .. } => of_scalar(left) || of_scalar(right),
        Stage::By { .. } | Stage::Coalesce | Stage::Select(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, origin: Origin) -> Found {
        Found {
            text: text.to_owned(),
            owner: String::new(),
            origin,
            node: None,
            variable: None,
            is_masked: false,
        }
    }

    #[track_caller]
    fn check(text: &str, origin: Origin, names: Option<TagNames>, expect: &[(&str, &str, &str)]) {
        let against = Against { dialect: Dialect::Default, names };
        let findings = against.judge(&found(text, origin));
        let told: Vec<(&str, &str, &str)> =
            findings.iter().map(|f| (f.level.name(), f.rule.name(), f.range.of(text))).collect();
        assert_eq!(told, expect, "{text}: {findings:#?}");
    }

    #[test]
    fn each_rule_has_its_place() {
        let query = Origin::Query { extended: false };
        check("{ status = error }", query, None, &[]);
        check("{ status = eror }", query, None, &[("error", "syntax", "eror")]);
        check("{ .a = 1 && span.b = 2 }", query, None, &[("warning", "unscoped", ".a")]);
        check("{ }", query, None, &[("warning", "full-scan", "{ }")]);
        check("{ true } | rate()", query, None, &[("warning", "full-scan", "{ true } | rate()")]);
        check("{ } >> { status = error }", query, None, &[]);
        check(
            "({ status = error } | rate()) / ({ } | rate())",
            query,
            None,
            &[("warning", "full-scan", "({ status = error } | rate()) / ({ } | rate())")],
        );
        check(
            "{ span.htpp.route = `x` }",
            query,
            None,
            &[("warning", "doubtful", "{ span.htpp.route = `x` }")],
        );
    }

    #[test]
    fn attributes_are_held_against_those_there_are() {
        let names: TagNames = [
            (AttributeScope::Span, BTreeSet::from(["http.route".to_owned(), "b".to_owned()])),
            (AttributeScope::Resource, BTreeSet::from(["service.name".to_owned()])),
        ]
        .into();
        let query = Origin::Query { extended: false };
        let unknown = |text: &str| {
            let against = Against { dialect: Dialect::Default, names: Some(names.clone()) };
            let findings = against.judge(&found(text, query));
            let unknown = findings.into_iter().filter(|f| f.rule == Rule::UnknownAttribute);
            unknown.map(|f| (f.message, f.hints.join(" "))).collect::<Vec<_>>()
        };
        assert!(unknown("{ span.b = 1 && .service.name = `x` && name = `y` }").is_empty());
        assert_eq!(
            unknown("{ span.http.rout = `x` }"),
            [("no span has `span.http.rout`".into(), "did you mean `span.http.route`?".into())]
        );
        assert_eq!(
            unknown("{ span.service.name = `x` }"),
            [("no span has `span.service.name`".into(), "there is `resource.service.name`".into())]
        );
        assert_eq!(
            unknown("{ span.b = 1 } | rate() by (resource.zone)"),
            [("no span has `resource.zone`".into(), String::new())]
        );
    }
}
