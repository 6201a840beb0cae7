//! The filter of one trace's spans: which match is the engine's to say, which others stay for
//! context is decided here.

use std::collections::{BTreeMap, BTreeSet};

use traceql_blocks::model::{Span, Trace, TraceId};
use traceql_engine::QueryOptions;
use traceql_engine::search::Value;
use traceql_language::TypedQuery;

use super::trace::id_text;
use super::{Asked, Context};
use crate::reply::{Failure, Result};
use crate::request::{BadRequest, Parameters};

/// A matching span, by what tells it from others of its trace: its id as stored, and its kind.
pub(super) type Match = (Vec<u8>, i32);

/// What to keep of a trace.
#[derive(Debug)]
pub(super) struct SpanFilter {
    /// The filter as a query.
    canonical: String,
    /// Levels of ancestors kept above a match; `None` is all of them.
    ancestors: Option<usize>,
    /// Levels of descendants kept below a match; `None` is all of them.
    descendants: Option<usize>,
}

impl SpanFilter {
    pub(super) fn new(query: TypedQuery, parameters: &Parameters) -> Result<Self> {
        query
            .span_filter()
            .map_err(|error| BadRequest::new(format!("invalid TraceQL filter: {error}")))?;
        let depth = |name: &str, default: i64| match parameters.number(name)?.unwrap_or(default) {
            ..-1 => Err(BadRequest::new(format!("invalid value for {name}: must be >= -1"))),
            depth => Ok(usize::try_from(depth).ok()),
        };
        let ancestors = depth("ancestor_depth", -1)?;
        let descendants = depth("match_depth", 0)?;
        let keeps_ancestors = parameters.flag("keep_hierarchy")?;
        let ancestors = if keeps_ancestors { ancestors } else { Some(0) };
        Ok(Self { canonical: query.canonical, ancestors, descendants })
    }

    /// The matching spans.
    pub(super) async fn matches(
        &self,
        context: &Context,
        asked: &Asked,
        id: TraceId,
        options: &QueryOptions,
    ) -> Result<BTreeSet<Match>> {
        let filter = &self.canonical;
        let text = format!("{{ trace:id = \"{}\" }} | {filter} | select(kind)", id_text(id));
        let query = context.compile_own(&text)?;
        let options = QueryOptions { limit: 1, spans_per_spanset: 0, ..options.clone() };
        let search = context.engine.search(&context.source, &asked.tenants, &query, &options);
        let outcome = search.await?;
        if let Some(reason) = &outcome.partial {
            return Err(Failure::partial(reason));
        }
        let spansets = outcome.answer.traces.into_iter().flat_map(|trace| trace.spansets);
        let spans = spansets.flat_map(|spanset| spanset.spans);
        Ok(spans
            .map(|span| {
                let kind = span.attributes.iter().find_map(|attribute| match attribute.value {
                    Value::Kind(kind) => Some(kind as i32),
                    _ => None,
                });
                (span.span_id, kind.unwrap_or_default())
            })
            .collect())
    }

    /// Removes the spans that neither match nor belong to the context of one that does, and gives
    /// spans that share an id one each. Says whether any were removed.
    pub(super) fn keep(&self, trace: &mut Trace, matched: &BTreeSet<Match>) -> bool {
        let is_match = |span: &Span| {
            // Kinds that OTLP does not know are unspecified to the language.
            let kind = if (0..=5).contains(&span.kind) { span.kind } else { 0 };
            matched.contains(&(span.span_id.clone(), kind))
        };
        let matched: Vec<bool> = trace.spans().map(|place| is_match(place.span)).collect();
        trace.separate_shared_ids();
        let ids = trace.spans().map(|place| place.span.span_id.clone());
        let matched: BTreeSet<Vec<u8>> =
            ids.zip(matched).filter_map(|(id, matched)| matched.then_some(id)).collect();
        let mut parents: BTreeMap<&[u8], BTreeSet<&[u8]>> = BTreeMap::new();
        let mut children: BTreeMap<&[u8], BTreeSet<&[u8]>> = BTreeMap::new();
        for span in trace.spans().map(|place| place.span) {
            let (id, parent) = (span.span_id.as_slice(), span.parent_span_id.as_slice());
            if !parent.is_empty() {
                parents.entry(id).or_default().insert(parent);
                children.entry(parent).or_default().insert(id);
            }
        }
        let mut kept: BTreeSet<Vec<u8>> = matched.clone();
        for (relation, depth) in [(&parents, self.ancestors), (&children, self.descendants)] {
            let mut seen: BTreeSet<&[u8]> = matched.iter().map(Vec::as_slice).collect();
            let mut level: Vec<&[u8]> = seen.iter().copied().collect();
            let mut n = 0;
            while !level.is_empty() && depth.is_none_or(|depth| n < depth) {
                level = level
                    .iter()
                    .flat_map(|id| relation.get(id).into_iter().flatten().copied())
                    .filter(|id| seen.insert(id))
                    .collect();
                n += 1;
            }
            kept.extend(seen.into_iter().map(<[u8]>::to_vec));
        }
        let before = trace.span_count();
        trace.retain_spans(|span| kept.contains(&span.span_id));
        trace.span_count() < before
    }
}

#[cfg(test)]
mod tests {
    use traceql_blocks::model::{ResourceSpans, ScopeSpans};
    use traceql_language::{Dialect, compile};

    use super::*;

    /// 1 → 2 → 3 → 4, and 5 below 1.
    fn trace() -> Trace {
        let spans = [(1, 0), (2, 1), (3, 2), (4, 3), (5, 1)].map(|(id, parent)| Span {
            span_id: vec![id],
            parent_span_id: if parent == 0 { Vec::new() } else { vec![parent] },
            ..Span::default()
        });
        let scope_spans = vec![ScopeSpans { spans: spans.into(), ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        Trace { resource_spans, ..Trace::default() }
    }

    fn kept(parameters: &str) -> String {
        let query = compile("{ name = \"x\" }", Dialect::Default).unwrap();
        let filter = SpanFilter::new(query, &Parameters::parse(parameters)).unwrap();
        let mut trace = trace();
        assert!(filter.keep(&mut trace, &BTreeSet::from([(vec![3], 0)])));
        trace.spans().map(|place| place.span.span_id[0].to_string()).collect()
    }

    #[test]
    fn context_is_kept_as_deep_as_asked() {
        assert_eq!(kept(""), "3");
        assert_eq!(kept("keep_hierarchy=true"), "123");
        assert_eq!(kept("keep_hierarchy=true&ancestor_depth=1"), "23");
        assert_eq!(kept("ancestor_depth=1"), "3");
        assert_eq!(kept("match_depth=1"), "34");
        assert_eq!(kept("match_depth=-1&keep_hierarchy=1"), "1234");
    }

    #[test]
    fn of_two_spans_with_one_id_the_matching_one_is_kept() {
        let mut trace = trace();
        let spans = &mut trace.resource_spans[0].scope_spans[0].spans;
        spans[2].kind = 3;
        spans.push(Span { kind: 2, ..spans[2].clone() });
        let query = compile("{ kind = server }", Dialect::Default).unwrap();
        let filter = SpanFilter::new(query, &Parameters::default()).unwrap();
        assert!(filter.keep(&mut trace, &BTreeSet::from([(vec![3], 2)])));
        let kept: Vec<_> = trace.spans().map(|place| place.span).collect();
        let one = 1_u64.to_be_bytes();
        assert_eq!(
            (kept.len(), &kept[0].span_id[..], &kept[0].parent_span_id[..]),
            (1, &one[..], &[3][..])
        );
    }

    #[test]
    fn only_a_plain_filter_will_do() {
        let check = |query: &str, parameters: &str| {
            let query = compile(query, Dialect::Default).unwrap();
            SpanFilter::new(query, &Parameters::parse(parameters)).unwrap_err().text
        };
        for query in ["{ name = \"x\" } | count() > 1", "{ traceDuration > 1s }"] {
            assert!(check(query, "").starts_with("invalid TraceQL filter: "), "{query}");
        }
        assert_eq!(check("{ }", "match_depth=-2"), "invalid value for match_depth: must be >= -1");
    }
}
