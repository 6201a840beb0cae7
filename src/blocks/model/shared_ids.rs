//! Ids that a client and a server span share, in Zipkin's style, taken apart (`api.md` 2.1): clients
//! of the trace API know spans by their id alone. Storage and queries keep the ids as sent; this is
//! for traces on their way out.

use std::collections::{HashMap, HashSet};

use super::{Span, Trace, span_key};

/// OTLP number of the kind `server`.
const SERVER: i32 = 2;
/// OTLP number of the kind `client`.
const CLIENT: i32 = 3;

impl Trace {
    /// Gives every server span that has the id of a client span an id of its own. The old id
    /// becomes its parent, and the spans below it follow: those below the shared id, except server
    /// spans, which answer the client (`traceql.md` 7.2). Order and everything else stay.
    ///
    /// The new ids are the smallest numbers from 1 that the trace knows neither as id nor as parent,
    /// so that the same trace always gets the same ones.
    pub fn separate_shared_ids(&mut self) {
        let clients: HashSet<u64> = self
            .spans()
            .filter(|at| at.span.kind == CLIENT)
            .map(|at| span_key(&at.span.span_id))
            .collect();
        let is_shared =
            |span: &Span| span.kind == SERVER && clients.contains(&span_key(&span.span_id));
        if !self.spans().any(|at| is_shared(at.span)) {
            return;
        }
        let known: HashSet<u64> = self
            .spans()
            .flat_map(|at| [span_key(&at.span.span_id), span_key(&at.span.parent_span_id)])
            .collect();
        let mut fresh = (1_u64..).filter(|id| !known.contains(id)).map(|id| id.to_be_bytes());
        // By shared id, the new id of its server span. Of several servers the first gets the spans
        // below: which of them sent those is not told.
        let mut servers: HashMap<u64, [u8; 8]> = HashMap::new();
        for span in self.spans_mut().filter(|span| is_shared(span)) {
            let Some(id) = fresh.next() else { return };
            servers.entry(span_key(&span.span_id)).or_insert(id);
            span.parent_span_id = std::mem::replace(&mut span.span_id, id.to_vec());
        }
        for span in self.spans_mut().filter(|span| span.kind != SERVER) {
            if let Some(id) = servers.get(&span_key(&span.parent_span_id))
                && !span.parent_span_id.is_empty()
            {
                span.parent_span_id = id.to_vec();
            }
        }
    }

    fn spans_mut(&mut self) -> impl Iterator<Item = &mut Span> {
        let scopes = self.resource_spans.iter_mut().flat_map(|rs| &mut rs.scope_spans);
        scopes.flat_map(|ss| &mut ss.spans)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ResourceSpans, ScopeSpans};
    use super::*;

    /// `(id, parent, kind)`; parent 0 is none.
    fn check(spans: &[(u64, u64, i32)], expect: &[(u64, u64)]) {
        let bytes = |id: u64| if id == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
        let spans = spans.iter().map(|&(id, parent, kind)| Span {
            span_id: bytes(id),
            parent_span_id: bytes(parent),
            kind,
            ..Span::default()
        });
        let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
        let mut trace = Trace {
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
            ..Trace::default()
        };
        trace.separate_shared_ids();
        let found: Vec<_> = trace
            .spans()
            .map(|at| (span_key(&at.span.span_id), span_key(&at.span.parent_span_id)))
            .collect();
        assert_eq!(found, expect);
        let before = trace.clone();
        trace.separate_shared_ids();
        assert_eq!(trace, before);
    }

    #[test]
    fn a_server_span_moves_below_its_client() {
        // Root, client and server sharing id 7, a child of the server, another call and its server.
        check(
            &[(9, 0, 2), (7, 9, CLIENT), (7, 9, SERVER), (3, 7, 1), (4, 7, CLIENT), (5, 7, SERVER)],
            &[(9, 0), (7, 9), (1, 7), (3, 1), (4, 1), (5, 7)],
        );
    }

    #[test]
    fn new_ids_are_ones_the_trace_does_not_know() {
        // 1 is a span, 2 the parent of an orphan.
        check(
            &[(1, 0, 1), (5, 2, 1), (7, 1, SERVER), (7, 1, CLIENT)],
            &[(1, 0), (5, 2), (3, 7), (7, 1)],
        );
    }

    #[test]
    fn ids_shared_otherwise_stay() {
        for spans in [
            [(1, 0, 1), (7, 1, CLIENT), (7, 1, CLIENT)],
            [(1, 0, 1), (7, 1, SERVER), (7, 1, 1)],
            [(1, 0, SERVER), (7, 1, CLIENT), (8, 7, SERVER)],
        ] {
            check(&spans, &spans.map(|(id, parent, _)| (id, parent)));
        }
    }

    #[test]
    fn a_shared_root_is_one_root_less() {
        check(&[(7, 0, CLIENT), (7, 0, SERVER), (3, 7, 1)], &[(7, 0), (1, 7), (3, 1)]);
    }
}
