//! What `order_by` compares, as bytes: keys whose order as bytes is the order that is asked for, first
//! key first. A span has a key; spans of a spanset stand in the order of theirs, spansets of a trace
//! by their first spans, and a trace has the key of its first spanset (`grammar/extensions.md`).
//!
//! In a key each value is a byte for its type and then its own bytes; a descending one has all of them
//! inverted. What has no value comes last either way.

use super::aggregate::Aggregate;
use super::compile::OrderBy;
use super::field::{Batch, Reader};
use super::pipeline::{Run, Spanset};
use super::value::Val;

/// The byte before a value, and in place of one.
const VALUE: u8 = 1;
const MISSING: u8 = 0xff;

/// The spansets of one trace in their order, and the key of the first.
#[derive(Debug)]
pub(crate) struct OrderedTrace {
    pub(crate) key: Vec<u8>,
    pub(crate) sets: Vec<Spanset>,
}

/// What a key is made of, ready to be read.
enum KeyReader<'a> {
    Span(Reader<'a>),
    Spanset(Aggregate<'a>),
}

impl Batch<'_> {
    /// Orders the spans of spansets, which come by ascending trace, and the spansets of each trace.
    pub(crate) fn ordered(&self, sets: Vec<Spanset>) -> Run<Vec<OrderedTrace>> {
        let rows = self.span_rows();
        // All are asked before a fault is reported, so that one fetch serves them.
        let readers: Vec<Run<(KeyReader<'_>, bool)>> = self
            .program
            .order
            .iter()
            .map(|node| {
                let reader = match &node.by {
                    OrderBy::Span(value) => KeyReader::Span(self.reader(value, &rows)?),
                    OrderBy::Spanset(aggregate) => KeyReader::Spanset(self.aggregate(aggregate)?),
                };
                Ok((reader, node.descending))
            })
            .collect();
        let readers = readers.into_iter().collect::<Run<Vec<_>>>()?;
        let keyed = sets.into_iter().map(|mut set| (order_spans(&readers, &mut set), set));
        let mut keyed: Vec<(Vec<u8>, Spanset)> = keyed.collect();
        keyed.sort_by(|(a_key, a), (b_key, b)| (a.trace, a_key).cmp(&(b.trace, b_key)));
        let mut traces: Vec<OrderedTrace> = Vec::new();
        for (key, set) in keyed {
            let is_of =
                |trace: &OrderedTrace| trace.sets.first().is_some_and(|s| s.trace == set.trace);
            match traces.last_mut().filter(|trace| is_of(trace)) {
                Some(trace) => trace.sets.push(set),
                None => traces.push(OrderedTrace { key, sets: vec![set] }),
            }
        }
        Ok(traces)
    }
}

/// Orders the spans of a spanset, and names what it is ordered by; the key of the first span.
fn order_spans(readers: &[(KeyReader<'_>, bool)], set: &mut Spanset) -> Vec<u8> {
    let of_set: Vec<Option<Val<'_>>> = readers
        .iter()
        .map(|(reader, _)| match reader {
            KeyReader::Span(_) => None,
            // An aggregate that is no number is none (7.4).
            KeyReader::Spanset(aggregate) => {
                let value = aggregate.of(&set.spans);
                Some(if value.number().is_some() { value } else { Val::Nil })
            }
        })
        .collect();
    for ((reader, _), value) in readers.iter().zip(&of_set) {
        if let (KeyReader::Spanset(aggregate), Some(value)) = (reader, value)
            && !value.is_nil()
            && set.values.iter().all(|(label, _)| label != aggregate.label())
        {
            set.values.push((aggregate.label().to_owned(), value.to_value()));
        }
    }
    let key_of = |span: u32| {
        let mut key = Vec::with_capacity(24 * readers.len());
        for ((reader, descending), of_set) in readers.iter().zip(&of_set) {
            match (reader, of_set) {
                (KeyReader::Span(reader), _) => {
                    encode(&reader.get(span as usize), *descending, &mut key);
                }
                (_, Some(value)) => encode(value, *descending, &mut key),
                (_, None) => key.push(MISSING),
            }
        }
        key
    };
    if of_set.iter().all(Option::is_some) {
        return set.spans.first().map(|span| key_of(*span)).unwrap_or_default();
    }
    let mut keyed: Vec<(Vec<u8>, u32)> =
        set.spans.iter().map(|span| (key_of(*span), *span)).collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    set.spans.clear();
    set.spans.extend(keyed.iter().map(|(_, span)| *span));
    keyed.into_iter().next().map(|(key, _)| key).unwrap_or_default()
}

/// Adds a value to a key.
fn encode(value: &Val<'_>, descending: bool, key: &mut Vec<u8>) {
    if value.is_nil() {
        key.push(MISSING);
        return;
    }
    key.push(VALUE);
    let start = key.len();
    ascending(value, key);
    if descending {
        key[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// Numbers among themselves, then texts, bools, statuses, kinds and lists.
fn ascending(value: &Val<'_>, key: &mut Vec<u8>) {
    match value {
        Val::Nil => key.push(0),
        Val::Int(v) | Val::Duration(v) => number(value.number().unwrap_or(0.0), *v, key),
        #[expect(clippy::cast_possible_truncation, reason = "only tells equal doubles apart")]
        Val::Float(v) => number(*v, *v as i64, key),
        Val::Bytes(text) => {
            key.push(2);
            // No text is the beginning of another's bytes: 0 ends it, a 0 in it is followed by 1.
            for byte in text.iter() {
                key.push(*byte);
                if *byte == 0 {
                    key.push(1);
                }
            }
            key.extend([0, 0]);
        }
        Val::Bool(v) => key.extend([3, u8::from(*v)]),
        Val::Status(v) => whole(4, *v, key),
        Val::Kind(v) => whole(5, *v, key),
        Val::Array(elements) => {
            key.push(6);
            for element in elements {
                key.push(1);
                ascending(element, key);
            }
            key.push(0);
        }
    }
}

/// A number as a double and then exactly, since great integers share doubles.
fn number(double: f64, exact: i64, key: &mut Vec<u8>) {
    let double = match double {
        double if double.is_nan() => f64::NAN,
        // Zero has one sign.
        double => double + 0.0,
    };
    let bits = double.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    key.push(1);
    key.extend_from_slice(&ordered.to_be_bytes());
    key.extend_from_slice(&(exact.cast_unsigned() ^ 1 << 63).to_be_bytes());
}

fn whole(tag: u8, value: i64, key: &mut Vec<u8>) {
    key.push(tag);
    key.extend_from_slice(&(value.cast_unsigned() ^ 1 << 63).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn key(value: &Val<'_>, descending: bool) -> Vec<u8> {
        let mut key = Vec::new();
        encode(value, descending, &mut key);
        key
    }

    fn text(text: &str) -> Val<'_> {
        Val::Bytes(Cow::Borrowed(text.as_bytes()))
    }

    #[test]
    fn keys_are_ordered_as_their_values_are() {
        let ascending = [
            Val::Float(f64::NEG_INFINITY),
            Val::Int(i64::MIN),
            Val::Float(-1.5),
            Val::Int(-1),
            Val::Int(0),
            Val::Float(0.5),
            Val::Duration(1),
            Val::Float(2.5),
            Val::Int(i64::MAX - 1),
            Val::Int(i64::MAX),
            Val::Float(f64::INFINITY),
            Val::Float(f64::NAN),
            text(""),
            text("a"),
            text("a\0"),
            text("a\0\u{1}"),
            text("a\u{1}"),
            text("ab"),
            text("b"),
            Val::Bool(false),
            Val::Bool(true),
            Val::Status(0),
            Val::Status(2),
            Val::Kind(1),
            Val::Array(vec![]),
            Val::Array(vec![Val::Int(1)]),
            Val::Array(vec![Val::Int(1), Val::Int(0)]),
            Val::Array(vec![Val::Int(2)]),
        ];
        for pair in ascending.windows(2) {
            assert!(key(&pair[0], false) < key(&pair[1], false), "{pair:?}");
            assert!(key(&pair[0], true) > key(&pair[1], true), "{pair:?}");
            // Of a further key nothing is decided by the first one's length.
            let with = |value| [key(value, false), key(&Val::Int(0), false)].concat();
            assert!(with(&pair[0]) < with(&pair[1]), "{pair:?}");
        }
        assert_eq!(key(&Val::Float(-0.0), false), key(&Val::Int(0), false));
    }

    #[test]
    fn what_is_missing_comes_last_either_way() {
        for descending in [false, true] {
            for value in [Val::Int(i64::MAX), text("\u{10ffff}"), Val::Array(vec![Val::Nil])] {
                assert!(key(&value, descending) < key(&Val::Nil, descending), "{value:?}");
            }
        }
    }
}
