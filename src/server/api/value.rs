//! Values of the language as Tempo's API writes them: OTLP values, with durations, statuses and
//! kinds as strings.

use std::fmt;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use traceql_engine::search::{ResultAttribute, Value};
use traceql_language::duration_text;

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
                object.serialize_entry("stringValue", &duration_text(*nanos))?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
