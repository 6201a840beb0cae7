//! Advice about a query that is valid and probably not meant: it can match nothing, or not what it
//! seems to. Never an error, since only the data knows; whoever runs a query may show it when nothing
//! was found.

use std::collections::BTreeSet;

use crate::analyze::ir::{
    AttributeScope, Field, FieldExpr, FieldName, Intrinsic, Static, TypedQuery,
};
use crate::analyze::visit::Read;
use crate::parser::suggest::{is_resource_attribute, near};

/// Names that instrumentation libraries agree on, most of them OpenTelemetry's conventions.
const KNOWN_NAMES: [&str; 72] = [
    "client.address",
    "cloud.availability_zone",
    "cloud.provider",
    "cloud.region",
    "container.id",
    "container.name",
    "db.collection.name",
    "db.name",
    "db.namespace",
    "db.operation",
    "db.operation.name",
    "db.query.text",
    "db.statement",
    "db.system",
    "db.system.name",
    "db.user",
    "deployment.environment",
    "deployment.environment.name",
    "enduser.id",
    "error.type",
    "exception.escaped",
    "exception.message",
    "exception.stacktrace",
    "exception.type",
    "faas.name",
    "host.arch",
    "host.id",
    "host.name",
    "http.host",
    "http.method",
    "http.request.body.size",
    "http.request.method",
    "http.response.body.size",
    "http.response.status_code",
    "http.route",
    "http.status_code",
    "http.target",
    "http.url",
    "k8s.cluster.name",
    "k8s.container.name",
    "k8s.deployment.name",
    "k8s.namespace.name",
    "k8s.node.name",
    "k8s.pod.name",
    "k8s.pod.uid",
    "messaging.destination.name",
    "messaging.message.id",
    "messaging.operation",
    "messaging.system",
    "net.peer.name",
    "net.peer.port",
    "network.peer.address",
    "network.protocol.version",
    "os.type",
    "peer.service",
    "process.command",
    "process.pid",
    "process.runtime.name",
    "rpc.grpc.status_code",
    "rpc.method",
    "rpc.service",
    "rpc.system",
    "server.address",
    "server.port",
    "service.instance.id",
    "service.name",
    "service.namespace",
    "service.version",
    "telemetry.sdk.language",
    "telemetry.sdk.name",
    "url.path",
    "user_agent.original",
];

/// What is doubtful about a query, each sentence once.
#[must_use]
pub fn advice(query: &TypedQuery) -> Vec<String> {
    let mut advice = Vec::new();
    query.visit_fields(&mut |field| advice.extend(misnamed(field)));
    query.visit(&mut |read| {
        if let Read::Expr(expr) = read {
            expr.walk(&mut |expr| advice.extend(never_true(expr).or_else(|| whole_value(expr))));
        }
    });
    let mut seen = BTreeSet::new();
    advice.retain(|sentence| seen.insert(sentence.clone()));
    advice
}

/// A name that is almost a well-known one, or stands in another scope than usual.
fn misnamed(field: &Field) -> Option<String> {
    let FieldName::Attribute { scope, key } = &field.name else { return None };
    if KNOWN_NAMES.contains(&key.as_str()) {
        let is_elsewhere = *scope == AttributeScope::Span && is_resource_attribute(key);
        return is_elsewhere
            .then(|| format!("`{key}` usually belongs to the resource: `resource.{key}`"));
    }
    // Short names are too easily two edits away from anything.
    let is_long = key.len() >= 6;
    let known = near(key, KNOWN_NAMES.into_iter()).filter(|_| is_long)?;
    let meant =
        Field { of: field.of, name: FieldName::Attribute { scope: *scope, key: known.to_owned() } };
    Some(format!("`{field}` looks like a misspelling of `{meant}`"))
}

/// A comparison that no value of an attribute satisfies: durations, statuses and kinds are types of
/// intrinsics only.
fn never_true(expr: &FieldExpr) -> Option<String> {
    let FieldExpr::Compare { left, right, .. } = expr else { return None };
    let (FieldExpr::Field(field), FieldExpr::Static(value)) = (left.as_ref(), right.as_ref())
    else {
        return None;
    };
    if !matches!(field.name, FieldName::Attribute { .. }) {
        return None;
    }
    let (what, meant) = match value {
        Static::Duration(_) => ("a duration", Intrinsic::Duration),
        Static::Status(_) => ("a status", Intrinsic::Status),
        Static::Kind(_) => ("a span kind", Intrinsic::Kind),
        _ => return None,
    };
    Some(format!(
        "`{field}` is an attribute and never {what}; the span's own is `{}`",
        meant.name()
    ))
}

/// A pattern without any sign of one: it has to match the whole value, and so is an equality.
fn whole_value(expr: &FieldExpr) -> Option<String> {
    let FieldExpr::Match { pattern, negated, .. } = expr else { return None };
    let source = &pattern.source;
    let is_plain = !source.is_empty() && !source.contains(|c: char| r"\.+*?()|[]{}^$".contains(c));
    let op = if *negated { "!~" } else { "=~" };
    is_plain.then(|| {
        format!(
            "`{op} \"{source}\"` matches the whole value; for a part of it write `\".*{source}.*\"`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, compile};

    fn check(text: &str, expect: &[&str]) {
        assert_eq!(advice(&compile(text, Dialect::Default).unwrap()), expect, "{text}");
    }

    #[test]
    fn near_misses_of_usual_names_are_told() {
        check(
            "{ resource.service.nam = `x` }",
            &["`resource.service.nam` looks like a misspelling of `resource.service.name`"],
        );
        check(
            "{ } | rate() by (span.http.reponse.status_code)",
            &[
                "`span.http.reponse.status_code` looks like a misspelling of `span.http.response.status_code`",
            ],
        );
        check(
            "{ .htpp.route = `x` || .htpp.route = `y` }",
            &["`.htpp.route` looks like a misspelling of `.http.route`"],
        );
        check("{ .mine = 1 && span.payment.amount > 1 && resource.service.name = `x` }", &[]);
    }

    #[test]
    fn names_in_an_unusual_scope_are_told() {
        check(
            "{ span.service.name = `x` }",
            &["`service.name` usually belongs to the resource: `resource.service.name`"],
        );
        check("{ .service.name = `x` }", &[]);
    }

    #[test]
    fn comparisons_that_never_hold_are_told() {
        check(
            "{ span.latency > 1s }",
            &["`span.latency` is an attribute and never a duration; the span's own is `duration`"],
        );
        check(
            "{ .status = error }",
            &["`.status` is an attribute and never a status; the span's own is `status`"],
        );
        check("{ span.latency + 0 > 1s && status = error && kind = server }", &[]);
    }

    #[test]
    fn patterns_that_are_plain_text_are_told() {
        check(
            "{ name =~ `GET` }",
            &["`=~ \"GET\"` matches the whole value; for a part of it write `\".*GET.*\"`"],
        );
        check("{ name =~ `GET.*` || name =~ `` }", &[]);
    }

    #[test]
    fn every_expression_is_looked_at() {
        let doubtful = "`.a` is an attribute and never a status; the span's own is `status`";
        for text in [
            "{ .b } > { .a = ok }",
            "{ } | by(.a = ok)",
            "({ .a = ok } | count()) > 2",
            "({ .b } | { .a = ok }) && ({ })",
            "{ } | compare({ .a = ok })",
            "({ } | rate()) / ({ .a = ok } | rate())",
        ] {
            check(text, &[doubtful]);
        }
    }
}
