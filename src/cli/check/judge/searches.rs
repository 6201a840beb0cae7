//! What is expected of a search: how many traces, which ones, what their spans have.

use std::collections::BTreeMap;

use traceql_engine::search::{SearchAnswer, SpanResult, TraceResult, Value};

use super::super::Failure;
use super::super::suite::{Expect, FieldRule};
use super::first_lines;
use crate::check::suite::value_text;
use crate::output::printable;
use crate::units::plural;

/// What does not hold.
pub(super) fn judge(expect: &Expect, answer: &SearchAnswer) -> Vec<Failure> {
    let mut failures = Vec::new();
    let n_traces = answer.traces.len() as u64;
    let found = || first_lines(answer.traces.iter().map(line));
    match expect.empty {
        Some(true) if n_traces > 0 => failures.push(
            Failure::new(format!("expected nothing, found {}", plural(n_traces, "trace")))
                .detail(found()),
        ),
        Some(false) if n_traces == 0 => {
            failures.push(Failure::new("expected something, found nothing"));
        }
        _ => {}
    }
    if let Some(bounds) = expect.count
        && !bounds.hold(n_traces)
    {
        let message = format!("expected {bounds}, found {}", plural(n_traces, "trace"));
        failures.push(Failure::new(message).detail(found()));
    }
    failures.extend(other_traces(expect, answer));
    failures.extend(expect.fields.iter().filter_map(|rule| field(rule, answer)));
    failures
}

fn line(trace: &TraceResult) -> String {
    let root = match (trace.root_service_name.as_str(), trace.root_trace_name.as_str()) {
        ("", "") => "without a root span".to_owned(),
        (service, name) => format!("{}: {}", printable(service), printable(name)),
    };
    format!("{} {root}", trace.trace_id)
}

/// How the traces found differ from those expected.
fn other_traces(expect: &Expect, answer: &SearchAnswer) -> Option<Failure> {
    let wanted = expect.traces.as_ref()?;
    let found: BTreeMap<_, _> = answer.traces.iter().map(|trace| (trace.trace_id, trace)).collect();
    let missing: Vec<String> =
        wanted.iter().filter(|id| !found.contains_key(id)).map(|id| format!("-{id}")).collect();
    let extra: Vec<String> = found
        .iter()
        .filter(|(id, _)| !wanted.contains(id))
        .map(|(_, trace)| format!("+{}", line(trace)))
        .collect();
    if missing.is_empty() && extra.is_empty() {
        return None;
    }
    let of = |n: usize, what: &str| (n > 0).then(|| format!("{n} {what}"));
    let counts: Vec<String> = [of(missing.len(), "missing"), of(extra.len(), "not expected")]
        .into_iter()
        .flatten()
        .collect();
    let lines: Vec<String> = missing.into_iter().chain(extra).collect();
    let message = format!("these are other traces: {}", counts.join(", "));
    Some(Failure::new(message).detail(first_lines(lines.into_iter())))
}

/// The spans on which a field is not as it must be.
fn field(rule: &FieldRule, answer: &SearchAnswer) -> Option<Failure> {
    let mut n_spans = 0;
    let mut wrong = Vec::new();
    for trace in &answer.traces {
        for span in trace.spansets.iter().flat_map(|spanset| &spanset.spans) {
            n_spans += 1;
            let values = values(rule, span);
            let holds = match values.as_slice() {
                [] => rule.predicate.holds(None),
                values => values.iter().any(|value| rule.predicate.holds(Some(value))),
            };
            if !holds {
                let shown = match values.first() {
                    None => "nothing".to_owned(),
                    Some(value) => printable(&value_text(value)),
                };
                let id: String = span.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
                wrong.push(format!("{shown}  trace {} span {id}", trace.trace_id));
            }
        }
    }
    if wrong.is_empty() {
        return None;
    }
    let message = format!(
        "expected {} to be {} on each span; on {} of {} it is not",
        rule.field,
        rule.predicate,
        wrong.len(),
        plural(n_spans, "span"),
    );
    Some(Failure::new(message).detail(first_lines(wrong.into_iter())))
}

/// The values an answer lists under a key: two scopes may share it.
fn values(rule: &FieldRule, span: &SpanResult) -> Vec<Value> {
    let listed = span.attributes.iter().filter(|attribute| attribute.key == rule.key);
    let mut values: Vec<Value> = listed.map(|attribute| attribute.value.clone()).collect();
    if values.is_empty() {
        match rule.key.as_str() {
            "name" => values.extend(span.name.clone().map(Value::String)),
            "duration" => {
                values.extend(i64::try_from(span.duration_nanos).ok().map(Value::Duration));
            }
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use traceql_blocks::model::TraceId;
    use traceql_engine::search::{ResultAttribute, SpansetResult};

    use super::*;
    use crate::check::suite::Bounds;

    fn answer(ids: &[u8]) -> SearchAnswer {
        let trace = |id: &u8| TraceResult {
            trace_id: TraceId::from_bytes(&[*id]),
            root_service_name: "shop".to_owned(),
            root_trace_name: "GET /".to_owned(),
            spansets: vec![SpansetResult {
                matched: 1,
                spans: vec![SpanResult {
                    span_id: vec![*id],
                    attributes: vec![ResultAttribute {
                        key: "n".to_owned(),
                        value: Value::Int(i64::from(*id)),
                    }],
                    ..SpanResult::default()
                }],
                ..SpansetResult::default()
            }],
            ..TraceResult::default()
        };
        SearchAnswer { traces: ids.iter().map(trace).collect(), next: None }
    }

    fn messages(expect: &Expect, ids: &[u8]) -> Vec<String> {
        judge(expect, &answer(ids)).into_iter().map(|failure| failure.message).collect()
    }

    #[test]
    fn counts_are_bounded() {
        let expect = |min, max| Expect { count: Some(Bounds { min, max }), ..Expect::default() };
        assert!(messages(&expect(Some(1), Some(2)), &[1, 2]).is_empty());
        assert_eq!(
            messages(&expect(Some(1), Some(2)), &[1, 2, 3]),
            ["expected 1 to 2, found 3 traces"]
        );
        assert_eq!(messages(&expect(Some(2), None), &[1]), ["expected at least 2, found 1 trace"]);
        let empty = Expect { empty: Some(true), ..Expect::default() };
        assert_eq!(messages(&empty, &[1]), ["expected nothing, found 1 trace"]);
        assert!(messages(&empty, &[]).is_empty());
        let some = Expect { empty: Some(false), ..Expect::default() };
        assert_eq!(messages(&some, &[]), ["expected something, found nothing"]);
    }

    #[test]
    fn sets_of_traces_are_exact() {
        let traces = [1, 2].map(|id| TraceId::from_bytes(&[id]));
        let expect = Expect { traces: Some(traces.into()), ..Expect::default() };
        assert!(messages(&expect, &[2, 1]).is_empty());
        let failures = judge(&expect, &answer(&[2, 3]));
        assert_eq!(failures[0].message, "these are other traces: 1 missing, 1 not expected");
        assert_eq!(
            failures[0].detail,
            "-00000000000000000000000000000001\n+00000000000000000000000000000003 shop: GET /"
        );
    }

    #[test]
    fn fields_are_looked_at_on_each_span() {
        let rule = |text: &str| FieldRule {
            field: "span.n".to_owned(),
            key: "n".to_owned(),
            predicate: crate::check::suite::Predicate::parse(text).unwrap(),
        };
        let expect = |text: &str| Expect { fields: vec![rule(text)], ..Expect::default() };
        assert!(messages(&expect("< 3"), &[1, 2]).is_empty());
        let failures = judge(&expect("1"), &answer(&[1, 2]));
        assert_eq!(
            failures[0].message,
            "expected span.n to be 1 on each span; on 1 of 2 spans it is not"
        );
        assert_eq!(failures[0].detail, "2  trace 00000000000000000000000000000002 span 02");
    }
}
