//! Values of the language as Tempo's API writes them: OTLP values, with durations, statuses and
//! kinds as strings.

use std::fmt::{self, Write as _};

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use traceql_engine::search::{ResultAttribute, Value};

/// An attribute as `{"key":…,"value":{…}}`.
#[derive(serde::Serialize)]
pub(super) struct AttributeJson<'a> {
    key: &'a str,
    value: ValueJson<'a>,
}

impl<'a> From<&'a ResultAttribute> for AttributeJson<'a> {
    fn from(attribute: &'a ResultAttribute) -> Self {
        Self { key: &attribute.key, value: ValueJson(&attribute.value) }
    }
}

/// A value as an object with its type and itself: `{"intValue":"5"}`.
pub(super) struct ValueJson<'a>(pub(super) &'a Value);

impl Serialize for ValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(1))?;
        match self.0 {
            Value::Nil => object.serialize_entry("stringValue", "nil")?,
            Value::Int(value) => object.serialize_entry("intValue", &Text(value))?,
            Value::Float(value) => object.serialize_entry("doubleValue", &Double(*value))?,
            Value::Duration(nanos) => {
                object.serialize_entry("stringValue", &Text(duration_text(*nanos)))?;
            }
            Value::String(text) => object.serialize_entry("stringValue", text)?,
            Value::Bool(value) => object.serialize_entry("boolValue", value)?,
            Value::Status(status) => object.serialize_entry("stringValue", &Text(status))?,
            Value::Kind(kind) => object.serialize_entry("stringValue", &Text(kind))?,
            Value::Array(values) => object.serialize_entry("arrayValue", &ArrayJson(values))?,
        }
        object.end()
    }
}

struct ArrayJson<'a>(&'a [Value]);

impl Serialize for ArrayJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Elements<'a>(&'a [Value]);
        impl Serialize for Elements<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.0.iter().map(ValueJson))
            }
        }
        let mut object = serializer.serialize_map(None)?;
        if !self.0.is_empty() {
            object.serialize_entry("values", &Elements(self.0))?;
        }
        object.end()
    }
}

/// Writes what it displays as a JSON string: 64-bit integers are strings in this API.
pub(super) struct Text<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A double as protobuf's JSON has it: infinities and NaN, which JSON lacks, by name; whole numbers
/// without a fraction.
pub(super) struct Double(pub(super) f64);

impl Serialize for Double {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.0;
        if value.is_nan() {
            return serializer.serialize_str("NaN");
        }
        if value.is_infinite() {
            return serializer.serialize_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
        }
        /// Up to here every whole number is exactly its double.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if value.fract() == 0.0
            && value.abs() <= EXACT
            && !(value == 0.0 && value.is_sign_negative())
        {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "it is a whole number below 2^53"
            )]
            return serializer.serialize_i64(value as i64);
        }
        serializer.serialize_f64(value)
    }
}

/// A duration in Go's notation: the largest unit that gives a digit before the point, down to the
/// nanosecond, above a minute split into hours, minutes and seconds: `62.666666ms`, `1h30m0s`.
pub fn duration_text(nanos: i64) -> impl fmt::Display + Copy + fmt::Debug {
    DurationText(nanos)
}

#[derive(Clone, Copy, Debug)]
struct DurationText(i64);

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MICRO: u64 = 1_000;
        const MILLI: u64 = 1_000_000;
        const SECOND: u64 = 1_000_000_000;
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_char('-')?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..MICRO => write!(f, "{nanos}ns"),
            MICRO..MILLI => decimal(f, nanos, MICRO, "µs"),
            MILLI..SECOND => decimal(f, nanos, MILLI, "ms"),
            _ => {
                let minutes = nanos / (60 * SECOND);
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes > 0 {
                    write!(f, "{}m", minutes % 60)?;
                }
                decimal(f, nanos % (60 * SECOND), SECOND, "s")
            }
        }
    }
}

/// `value / unit` with as many decimals as it takes.
fn decimal(f: &mut fmt::Formatter<'_>, value: u64, unit: u64, name: &str) -> fmt::Result {
    write!(f, "{}", value / unit)?;
    let mut rest = value % unit;
    if rest > 0 {
        f.write_char('.')?;
    }
    let mut place = unit;
    while rest > 0 {
        place /= 10;
        write!(f, "{}", rest / place)?;
        rest %= place;
    }
    f.write_str(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (1_001, "1.001µs"),
            (62_666_666, "62.666666ms"),
            (120_000_000, "120ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (10_005_000_000, "10.005s"),
            (5_400_000_000_000, "1h30m0s"),
            (-1, "-1ns"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(duration_text(nanos).to_string(), text);
        }
    }

    #[test]
    fn values_carry_their_type() {
        let check = |value: Value, json: &str| {
            assert_eq!(serde_json::to_string(&ValueJson(&value)).unwrap(), json);
        };
        check(Value::Int(0), r#"{"intValue":"0"}"#);
        check(Value::Float(1.0), r#"{"doubleValue":1}"#);
        check(Value::Float(0.25), r#"{"doubleValue":0.25}"#);
        check(Value::Float(-0.0), r#"{"doubleValue":-0.0}"#);
        check(Value::Float(f64::NEG_INFINITY), r#"{"doubleValue":"-Infinity"}"#);
        check(Value::Float(f64::NAN), r#"{"doubleValue":"NaN"}"#);
        check(Value::Duration(1_500_000_000), r#"{"stringValue":"1.5s"}"#);
        check(Value::Nil, r#"{"stringValue":"nil"}"#);
        check(Value::Bool(false), r#"{"boolValue":false}"#);
        check(
            Value::Status(traceql_language::analyze::ir::Status::Error),
            r#"{"stringValue":"error"}"#,
        );
        check(
            Value::Array(vec![Value::String("x".into()), Value::String("\"".into())]),
            r#"{"arrayValue":{"values":[{"stringValue":"x"},{"stringValue":"\""}]}}"#,
        );
        check(Value::Array(Vec::new()), r#"{"arrayValue":{}}"#);
    }
}
