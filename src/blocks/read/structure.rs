//! Which span belongs to which trace, resource and scope, decoded once per batch from the levels of
//! one span leaf.

/// Start of each owner's children in a flat list of them, and the end: `n + 1` ascending numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offsets(Vec<u32>);

impl Offsets {
    /// No owners yet.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![0])
    }

    /// Closes an owner whose children end at `end`.
    pub fn push_end(&mut self, end: u32) {
        self.0.push(end);
    }

    /// Number of owners.
    #[must_use]
    pub fn n_owners(&self) -> usize {
        self.0.len() - 1
    }

    /// Number of children of all owners.
    #[must_use]
    pub fn n_children(&self) -> usize {
        self.0.last().map_or(0, |end| *end as usize)
    }

    /// The children of an owner.
    #[must_use]
    pub fn range(&self, owner: usize) -> std::ops::Range<usize> {
        self.0[owner] as usize..self.0[owner + 1] as usize
    }

    /// Number of children of each owner.
    pub fn counts(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.0.windows(2).map(|pair| pair[1] - pair[0])
    }

    /// The first child of an owner, or of the next one that has any.
    #[must_use]
    pub fn start(&self, owner: usize) -> u32 {
        self.0[owner]
    }
}

impl Default for Offsets {
    fn default() -> Self {
        Self::new()
    }
}

/// The shape of the traces of one batch. Resources, scopes and spans are counted over the batch, in
/// storage order; a resource without spans and a scope without spans count too.
#[derive(Clone, Debug, Default)]
pub struct Structure {
    /// Spans of each trace.
    pub trace_spans: Offsets,
    /// Resources of each trace.
    pub trace_resources: Offsets,
    /// Scopes of each trace.
    pub trace_scopes: Offsets,
    /// Trace of each span.
    pub span_trace: Vec<u32>,
    /// Resource of each span.
    pub span_resource: Vec<u32>,
    /// Scope of each span.
    pub span_scope: Vec<u32>,
}

impl Structure {
    /// Number of traces.
    #[must_use]
    pub fn n_traces(&self) -> usize {
        self.trace_spans.n_owners()
    }

    /// Number of spans.
    #[must_use]
    pub fn n_spans(&self) -> usize {
        self.span_trace.len()
    }

    /// Number of resources.
    #[must_use]
    pub fn n_resources(&self) -> usize {
        self.trace_resources.n_children()
    }

    /// Number of scopes.
    #[must_use]
    pub fn n_scopes(&self) -> usize {
        self.trace_scopes.n_children()
    }

    /// Adds whole traces from the levels of a span leaf (repetition 1, 2, 3 = resource, scope, span;
    /// a definition level below 3 stands for an empty list). The first entry starts a trace.
    pub(crate) fn extend_from_levels(&mut self, rep: &[u8], def: &[u8]) {
        let mut resource = count(self.n_resources());
        let mut scope = count(self.n_scopes());
        let mut trace = count(self.n_traces());
        // Every entry is written as if it were a span; the next one takes its place if it is not.
        let mut n_spans = self.n_spans();
        for spans in [&mut self.span_trace, &mut self.span_resource, &mut self.span_scope] {
            spans.resize(n_spans + rep.len(), 0);
        }
        for (at, (&rep, &def)) in rep.iter().zip(def).enumerate() {
            if rep == 0 && at > 0 {
                self.close_trace(n_spans, resource, scope);
                trace += 1;
            }
            resource += u32::from(rep <= 1) & u32::from(def >= 1);
            scope += u32::from(rep <= 2) & u32::from(def >= 2);
            self.span_trace[n_spans] = trace;
            self.span_resource[n_spans] = resource.wrapping_sub(1);
            self.span_scope[n_spans] = scope.wrapping_sub(1);
            n_spans += usize::from(def >= 3);
        }
        for spans in [&mut self.span_trace, &mut self.span_resource, &mut self.span_scope] {
            spans.truncate(n_spans);
        }
        if !rep.is_empty() {
            self.close_trace(n_spans, resource, scope);
        }
    }

    fn close_trace(&mut self, n_spans: usize, resource: u32, scope: u32) {
        self.trace_spans.push_end(count(n_spans));
        self.trace_resources.push_end(resource);
        self.trace_scopes.push_end(scope);
    }
}

/// Counts in a batch fit 32 bits: a batch is bounded far below.
pub(crate) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::Structure;

    #[test]
    fn empty_lists_make_no_spans_but_keep_their_place() {
        let mut structure = Structure::default();
        // Trace 0: no resources. Trace 1: two resources, the first with one scope of two spans and
        // an empty scope, the second without scopes. Trace 2: one span.
        structure.extend_from_levels(&[0, 0, 3, 2, 1, 0], &[0, 3, 3, 2, 1, 3]);
        assert_eq!(structure.n_traces(), 3);
        assert_eq!(structure.trace_spans.range(0), 0..0);
        assert_eq!(structure.trace_spans.range(1), 0..2);
        assert_eq!(structure.trace_spans.range(2), 2..3);
        assert_eq!(structure.span_trace, [1, 1, 2]);
        assert_eq!(structure.span_resource, [0, 0, 2]);
        assert_eq!(structure.span_scope, [0, 0, 2]);
        assert_eq!((structure.n_resources(), structure.n_scopes()), (3, 3));
    }
}
