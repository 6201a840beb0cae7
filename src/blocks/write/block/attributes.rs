//! Attributes to levels and values (`blocks.md` 4.5 to 4.7): those with a column of their own, and
//! the generic list of the others.

use super::leaf::LeafColumn;
use super::places::{OwnForm, OwnPlace, Owner};
use crate::model::{AttributeValue, KeyValue};
use crate::write::otlp::attribute_value_to_json;

/// Room to sort attributes in, used again and again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Which attribute each column of its own gets.
    own: Vec<Option<usize>>,
    /// Which attributes go to the generic list.
    generic: Vec<usize>,
}

impl Owner {
    /// Writes the attributes of one resource, scope, span, event or link, whose repetition level is
    /// `rep`.
    ///
    /// Of several values under the key of a column the last that it can hold counts; the earlier
    /// ones are lost, as the format has no place for them that is looked at.
    pub(super) fn write(
        &self,
        attributes: &[KeyValue],
        n_dropped: u32,
        rep: i16,
        scratch: &mut Scratch,
        to: &mut [LeafColumn],
    ) {
        scratch.own.clear();
        scratch.own.resize(self.own.len(), None);
        scratch.generic.clear();
        for (at, KeyValue { key, value }) in attributes.iter().enumerate() {
            let own = self.own_by_key.get(key).filter(|own| self.own[**own].accepts(value));
            match own {
                Some(own) => scratch.own[*own] = Some(at),
                None => scratch.generic.push(at),
            }
        }
        if scratch.generic.is_empty() {
            absent(&mut to[self.all_attributes.clone()], rep, self.level);
        }
        let mut rep_of_next = rep;
        for &at in &scratch.generic {
            self.write_generic(&attributes[at], rep_of_next, to);
            rep_of_next = self.level + 1;
        }
        for (own, at) in self.own.iter().zip(&scratch.own) {
            own.write(at.map(|at| &attributes[at].value), rep, self.level, &mut to[own.leaf]);
        }
        to[self.dropped].u32(rep, n_dropped);
    }

    fn write_generic(&self, KeyValue { key, value }: &KeyValue, rep: i16, to: &mut [LeafColumn]) {
        to[self.key].text(rep, key);
        let is_array = matches!(value, AttributeValue::Array(values) if is_homogeneous(values));
        to[self.is_array].bool(rep, is_array);
        let values = match value {
            AttributeValue::Array(values) if is_array => values.as_slice(),
            scalar => std::slice::from_ref(scalar),
        };
        // The type of an array is that of its first element; an empty one has none.
        let column = match values.first() {
            Some(AttributeValue::String(_)) => Some(self.string),
            Some(AttributeValue::Int(_)) => Some(self.int),
            Some(AttributeValue::Double(_)) => Some(self.double),
            Some(AttributeValue::Bool(_)) => Some(self.bool),
            _ => None,
        };
        for list in [self.string, self.int, self.double, self.bool] {
            if column != Some(list) {
                to[list].absent(rep, self.level + 1);
            }
        }
        let mut rep_of_next = rep;
        if let Some(column) = column {
            for value in values {
                push(value, rep_of_next, &mut to[column]);
                rep_of_next = self.level + 2;
            }
        }
        if column.is_none() && !is_array {
            to[self.other].text(rep, &attribute_value_to_json(value));
        } else {
            to[self.other].absent(rep, self.level + 1);
        }
    }
}

impl OwnPlace {
    /// Whether the column can hold the value. Of an empty array it would keep nothing, so that goes
    /// to the generic list.
    fn accepts(self, value: &AttributeValue) -> bool {
        let is_of_type = |value: &AttributeValue| match value {
            AttributeValue::String(_) => !self.is_int,
            AttributeValue::Int(_) => self.is_int,
            _ => false,
        };
        match value {
            AttributeValue::Array(values) if self.form == OwnForm::Repeated => {
                !values.is_empty() && values.iter().all(is_of_type)
            }
            scalar => is_of_type(scalar),
        }
    }

    fn write(self, value: Option<&AttributeValue>, rep: i16, level: i16, to: &mut LeafColumn) {
        match (value, self.form) {
            (None, OwnForm::Required) => to.text(rep, ""),
            (None, _) => to.absent(rep, level),
            (Some(AttributeValue::Array(values)), _) => {
                for (at, value) in values.iter().enumerate() {
                    push(value, if at == 0 { rep } else { level + 1 }, to);
                }
            }
            (Some(value), _) => push(value, rep, to),
        }
    }
}

/// Writes a value to the column of its type.
fn push(value: &AttributeValue, rep: i16, to: &mut LeafColumn) {
    match value {
        AttributeValue::String(text) => to.text(rep, text),
        AttributeValue::Int(number) => to.i64(rep, *number),
        AttributeValue::Double(number) => to.f64(rep, *number),
        AttributeValue::Bool(truth) => to.bool(rep, *truth),
        // Nothing else has a column.
        _ => {}
    }
}

/// Whether there is a column for a value of the generic list; there is JSON for the others.
pub(crate) fn has_column(value: &AttributeValue) -> bool {
    match value {
        AttributeValue::Array(values) => is_homogeneous(values),
        scalar => is_scalar(scalar),
    }
}

/// Whether an array has a column for its elements: all of them of one type that has.
fn is_homogeneous(values: &[AttributeValue]) -> bool {
    let of_type = |value: &AttributeValue| std::mem::discriminant(value);
    values.first().is_none_or(|first| {
        is_scalar(first) && values.iter().all(|value| of_type(value) == of_type(first))
    })
}

fn is_scalar(value: &AttributeValue) -> bool {
    matches!(
        value,
        AttributeValue::String(_)
            | AttributeValue::Int(_)
            | AttributeValue::Double(_)
            | AttributeValue::Bool(_)
    )
}

/// Says in all of these leaves that an ancestor of this definition level has nothing.
pub(super) fn absent(leaves: &mut [LeafColumn], rep: i16, def: i16) {
    for leaf in leaves {
        leaf.absent(rep, def);
    }
}
