//! `WriteRequest` as bytes, written from borrowed texts: a collection may have a million series, of
//! which only one request at a time should be in memory twice.

use std::collections::BTreeMap;

use prost::encoding::encode_varint;

use crate::generator::expose::trace_id_text;
use crate::generator::registry::{Exemplar, Native};

/// Wire types of protobuf.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

/// Largest gap between buckets that is filled with empty ones rather than starting a new span.
const SHORT_GAP: i32 = 2;

/// What a series says at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Point<'a> {
    Sample(f64),
    Histogram(&'a Native),
}

/// Labels of one entry, encoded once for all of its series. In a message labels are sorted by
/// name, so that these stand around `__name__` and `le`.
#[derive(Debug, Default)]
pub(super) struct EncodedLabels {
    before_name: Vec<u8>,
    between: Vec<u8>,
    after_le: Vec<u8>,
}

impl EncodedLabels {
    /// A series' labels and those of all series, of which its own win.
    pub(super) fn new<'a>(
        own: impl Iterator<Item = (&'a str, &'a str)>,
        external: &'a BTreeMap<String, String>,
    ) -> Self {
        let all = external.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let sorted: BTreeMap<&str, &str> = all.chain(own).collect();
        let mut labels = Self::default();
        for (name, value) in sorted {
            let to = match name {
                name if name < "__name__" => &mut labels.before_name,
                name if name < "le" => &mut labels.between,
                _ => &mut labels.after_le,
            };
            write_label(to, name, value);
        }
        labels
    }
}

/// Requests that are filled one after the other.
#[derive(Debug)]
pub(super) struct Requests {
    done: Vec<Vec<u8>>,
    current: Vec<u8>,
    samples: usize,
    most_samples: usize,
    scratch: Vec<u8>,
    part: Vec<u8>,
}

impl Requests {
    pub(super) fn new(most_samples: usize) -> Self {
        Self {
            done: Vec::new(),
            current: Vec::new(),
            samples: 0,
            most_samples,
            scratch: Vec::new(),
            part: Vec::new(),
        }
    }

    /// Adds a series with one point.
    pub(super) fn push(
        &mut self,
        labels: &EncodedLabels,
        (name, suffix, bound): (&str, &str, &str),
        point: Point<'_>,
        unix_millis: i64,
        exemplars: &mut dyn Iterator<Item = (&str, Exemplar)>,
    ) {
        let series = &mut self.scratch;
        series.clear();
        series.extend_from_slice(&labels.before_name);
        self.part.clear();
        self.part.extend_from_slice(name.as_bytes());
        self.part.extend_from_slice(suffix.as_bytes());
        write_label_bytes(series, b"__name__", &self.part);
        series.extend_from_slice(&labels.between);
        if !bound.is_empty() {
            write_label(series, "le", bound);
        }
        series.extend_from_slice(&labels.after_le);
        match point {
            Point::Sample(value) => {
                self.part.clear();
                write_double(&mut self.part, 1, value);
                write_millis(&mut self.part, 2, unix_millis);
                write_bytes(series, 2, &self.part);
            }
            Point::Histogram(native) => {
                self.part.clear();
                write_native(&mut self.part, native, unix_millis);
                write_bytes(series, 4, &self.part);
            }
        }
        for (label, exemplar) in exemplars {
            self.part.clear();
            write_label(&mut self.part, label, &trace_id_text(&exemplar));
            write_double(&mut self.part, 2, exemplar.value);
            write_millis(&mut self.part, 3, exemplar.unix_millis);
            write_bytes(series, 3, &self.part);
        }
        write_bytes(&mut self.current, 1, series);
        self.samples += 1;
        if self.samples >= self.most_samples {
            self.end_request();
        }
    }

    /// The bodies.
    pub(super) fn finish(mut self) -> Vec<Vec<u8>> {
        self.end_request();
        self.done
    }

    fn end_request(&mut self) {
        if self.samples > 0 {
            self.done.push(std::mem::take(&mut self.current));
            self.samples = 0;
        }
    }
}

fn write_key(to: &mut Vec<u8>, field: u64, wire_type: u64) {
    encode_varint(field << 3 | wire_type, to);
}

fn write_bytes(to: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    write_key(to, field, BYTES);
    encode_varint(bytes.len() as u64, to);
    to.extend_from_slice(bytes);
}

fn write_double(to: &mut Vec<u8>, field: u64, value: f64) {
    write_key(to, field, FIXED64);
    to.extend_from_slice(&value.to_le_bytes());
}

fn write_varint(to: &mut Vec<u8>, field: u64, value: u64) {
    write_key(to, field, VARINT);
    encode_varint(value, to);
}

fn write_signed(to: &mut Vec<u8>, field: u64, value: i64) {
    write_varint(to, field, zigzag(value));
}

fn write_millis(to: &mut Vec<u8>, field: u64, unix_millis: i64) {
    write_varint(to, field, unix_millis.cast_unsigned());
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

fn write_label(to: &mut Vec<u8>, name: &str, value: &str) {
    write_label_bytes(to, name.as_bytes(), value.as_bytes());
}

fn write_label_bytes(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let length =
        |text: &[u8]| 1 + prost::encoding::encoded_len_varint(text.len() as u64) + text.len();
    write_key(to, 1, BYTES);
    encode_varint((length(name) + length(value)) as u64, to);
    write_bytes(to, 1, name);
    write_bytes(to, 2, value);
}

/// A native histogram, of floats: spans may count as fractions.
fn write_native(to: &mut Vec<u8>, native: &Native, unix_millis: i64) {
    write_double(to, 2, native.count);
    write_double(to, 3, native.sum);
    write_signed(to, 4, native.schema.into());
    write_double(to, 5, Native::ZERO_THRESHOLD);
    write_double(to, 7, native.zero_count);
    let mut counts = Vec::new();
    // Offset from the end of the span before (the first: from bucket 0), and length.
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut next = 0;
    for (&idx, &count) in &native.buckets {
        let gap = idx - next;
        match spans.last_mut() {
            Some((_, length)) if gap <= SHORT_GAP => {
                for _ in 0..gap {
                    counts.extend_from_slice(&0_f64.to_le_bytes());
                    *length += 1;
                }
                *length += 1;
            }
            _ => spans.push((gap, 1)),
        }
        counts.extend_from_slice(&count.to_le_bytes());
        next = idx + 1;
    }
    let mut span = Vec::new();
    for (offset, length) in spans {
        span.clear();
        write_signed(&mut span, 1, offset.into());
        write_varint(&mut span, 2, length.into());
        write_bytes(to, 11, &span);
    }
    write_bytes(to, 13, &counts);
    write_millis(to, 15, unix_millis);
}
