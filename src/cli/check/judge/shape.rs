//! The shape of a trace: who calls whom, with kinds and statuses, without ids and times. Siblings are in
//! the order of their text, equal ones are folded, so that two runs of one program have one shape.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::Write as _;

use traceql_blocks::model::{Trace, TraceId};
use traceql_engine::search::{SearchAnswer, TraceResult};

use super::super::suite::Pick;
use crate::output::printable;
use crate::output::tree::{Node, Place, forest};

/// Deepest shape: indentation alone would otherwise fill a disk.
const MAX_DEPTH: usize = 1_000;

/// A trace's shape as text, or why it has none.
pub(crate) type Shape = Result<String, String>;

/// The trace whose shape is asked for; `None` if there is none at all.
pub(crate) fn pick(answer: &SearchAnswer, pick: Pick) -> Option<TraceId> {
    // Of equals the one that began first, then the one with the smaller id.
    let by_start = |a: &TraceResult, b: &TraceResult| {
        a.start_unix_nanos.cmp(&b.start_unix_nanos).then(a.trace_id.cmp(&b.trace_id))
    };
    let order = |a: &&TraceResult, b: &&TraceResult| -> Ordering {
        match pick {
            Pick::Slowest => b.duration_nanos.cmp(&a.duration_nanos).then(by_start(a, b)),
            Pick::Fastest => a.duration_nanos.cmp(&b.duration_nanos).then(by_start(a, b)),
            Pick::Newest => {
                b.start_unix_nanos.cmp(&a.start_unix_nanos).then(a.trace_id.cmp(&b.trace_id))
            }
            Pick::Oldest => by_start(a, b),
        }
    };
    answer.traces.iter().min_by(order).map(|trace| trace.trace_id)
}

/// A subtree, each once: what stands at its top, and its children with how often they stand there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Subtree {
    label: String,
    children: Vec<(usize, usize)>,
}

/// Writes the shape of a trace.
pub(crate) fn shape(trace: &Trace) -> Shape {
    let nodes = forest(trace);
    if nodes.iter().any(|node| node.depth >= MAX_DEPTH) {
        return Err(format!("the trace is deeper than {MAX_DEPTH} levels"));
    }
    let mut shapes = Shapes::default();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut tops = Vec::new();
    // Children stand behind their parents, so from the end each node finds its children done.
    for (at, node) in nodes.iter().enumerate().rev() {
        let below = shapes.fold(std::mem::take(&mut children[at]));
        let subtree = shapes.number(Subtree { label: label(node), children: below });
        match node.parent {
            Some(parent) => children[parent].push(subtree),
            None => tops.push(subtree),
        }
    }
    let mut text = String::new();
    for (top, count) in shapes.fold(tops) {
        shapes.write(&mut text, top, count, 0);
    }
    Ok(text)
}

#[derive(Default)]
struct Shapes {
    all: Vec<Subtree>,
    numbers: HashMap<Subtree, usize>,
    /// Something to order subtrees by that have one label: the same in every run.
    fingerprints: Vec<u64>,
}

impl Shapes {
    fn number(&mut self, subtree: Subtree) -> usize {
        if let Some(number) = self.numbers.get(&subtree) {
            return *number;
        }
        let mut print = fnv(FNV_START, subtree.label.as_bytes());
        for (child, count) in &subtree.children {
            print = fnv(print, &self.fingerprints[*child].to_le_bytes());
            print = fnv(print, &(*count as u64).to_le_bytes());
        }
        let number = self.all.len();
        self.fingerprints.push(print);
        self.all.push(subtree.clone());
        self.numbers.insert(subtree, number);
        number
    }

    /// Subtrees in order, equal ones once with their number.
    fn fold(&self, mut subtrees: Vec<usize>) -> Vec<(usize, usize)> {
        subtrees.sort_by(|a, b| {
            let key = |at: usize| (&self.all[at].label, self.fingerprints[at], at);
            key(*a).cmp(&key(*b))
        });
        let mut folded: Vec<(usize, usize)> = Vec::new();
        for subtree in subtrees {
            match folded.last_mut() {
                Some((last, count)) if *last == subtree => *count += 1,
                _ => folded.push((subtree, 1)),
            }
        }
        folded
    }

    fn write(&self, text: &mut String, at: usize, count: usize, depth: usize) {
        let Subtree { label, children } = &self.all[at];
        let times = if count > 1 { format!(" ×{count}") } else { String::new() };
        writeln!(text, "{:1$}{label}{times}", "", depth * 2).expect("a string takes everything");
        for (child, count) in children {
            self.write(text, *child, *count, depth + 1);
        }
    }
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// A hash that is the same on every machine and in every version.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// `service: name (kind) error`, and why it stands at the top if that is no root.
fn label(node: &Node<'_>) -> String {
    let span = node.span.span;
    let service = node.span.resource_spans.resource.service_name();
    let mut label = String::new();
    if !service.is_empty() {
        label.push_str(&printable(service));
        label.push_str(": ");
    }
    label.push_str(&printable(&span.name));
    label.push_str(match span.kind {
        1 => " (internal)",
        2 => " (server)",
        3 => " (client)",
        4 => " (producer)",
        5 => " (consumer)",
        _ => "",
    });
    label.push_str(match span.status_code {
        1 => " ok",
        2 => " error",
        _ => "",
    });
    label.push_str(match node.place {
        Place::Root | Place::Child => "",
        Place::Orphan => " [its parent is missing]",
        Place::Cycle => " [its own ancestor]",
    });
    label
}

#[cfg(test)]
mod tests {
    use traceql_blocks::model::{ResourceSpans, ScopeSpans, Span};

    use super::*;

    /// Spans as `(id, parent, name, start)`.
    fn trace(spans: &[(u8, u8, &str, u64)]) -> Trace {
        let spans = spans.iter().map(|(id, parent, name, start)| Span {
            span_id: vec![*id],
            parent_span_id: if *parent == 0 { vec![] } else { vec![*parent] },
            name: (*name).to_owned(),
            start_unix_nanos: *start,
            kind: 3,
            ..Span::default()
        });
        let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        Trace { resource_spans, ..Trace::default() }
    }

    #[test]
    fn siblings_are_ordered_and_folded_whatever_their_times() {
        let expect = "\
root (client)
  a (client) ×2
    x (client)
  a (client)
    y (client)
  b (client)
";
        let spans = [
            (1, 0, "root", 0),
            (2, 1, "b", 1),
            (3, 1, "a", 2),
            (4, 1, "a", 3),
            (5, 1, "a", 4),
            (6, 3, "x", 5),
            (7, 4, "y", 5),
            (8, 5, "x", 5),
        ];
        let mut shapes: Vec<String> = Vec::new();
        // The same calls at other times, with other ids.
        for turn in 0..4_u8 {
            let spans: Vec<_> = spans
                .iter()
                .map(|(id, parent, name, start)| {
                    let parent = if *parent == 0 { 0 } else { parent ^ (turn << 4) };
                    (id ^ (turn << 4), parent, *name, (start * u64::from(turn * 7 + 1)) % 11)
                })
                .collect();
            shapes.push(shape(&trace(&spans)).unwrap());
        }
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&shapes[0]), sorted(expect), "{}", shapes[0]);
        assert!(shapes.iter().all(|shape| *shape == shapes[0]), "{shapes:#?}");
    }

    #[test]
    fn broken_traces_have_a_shape_too() {
        let text = shape(&trace(&[(1, 0, "root", 0), (2, 9, "lost", 1)])).unwrap();
        assert_eq!(text, "lost (client) [its parent is missing]\nroot (client)\n");
        assert_eq!(shape(&Trace::default()).unwrap(), "");
    }

    #[test]
    fn one_of_the_traces_is_picked() {
        let trace = |id: u8, start, duration| TraceResult {
            trace_id: TraceId::from_bytes(&[id]),
            start_unix_nanos: start,
            duration_nanos: duration,
            ..TraceResult::default()
        };
        let answer = SearchAnswer {
            traces: vec![trace(3, 30, 5), trace(1, 10, 9), trace(2, 20, 9)],
            next: None,
        };
        let picked = |how| pick(&answer, how).unwrap().0[15];
        assert_eq!(picked(Pick::Slowest), 1);
        assert_eq!(picked(Pick::Fastest), 3);
        assert_eq!(picked(Pick::Newest), 3);
        assert_eq!(picked(Pick::Oldest), 1);
        assert_eq!(pick(&SearchAnswer::default(), Pick::Oldest), None);
    }
}
