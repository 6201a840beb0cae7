//! Which rows have attributes in their generic lists otherwise than a writer puts them there: under a
//! key that has a column of its own, with no value or several, or as a JSON text of another spelling.
//! Part of what [`super::copyable`] looks at; the levels of all leaves are known to agree.

use std::collections::HashSet;
use std::sync::Arc;

use ahash::RandomState;

use super::library::{LeafValues, Values};
use super::step::StepLeaf;
use super::values::StringTable;
use super::walk::rank;
use crate::schema::{BlockSchema, LeafIndex, Level};
use crate::write::block::has_column;
use crate::write::otlp::{attribute_value_from_json, attribute_value_to_json};

/// The generic list of one level.
#[derive(Debug)]
pub(super) struct AttributeList {
    /// Definition and repetition level of an attribute.
    depth: u8,
    key: LeafIndex,
    is_array: LeafIndex,
    /// Leaves of values, each with its greatest definition level.
    values: [(LeafIndex, u8); 4],
    other: (LeafIndex, u8),
    /// Keys that have a column of their own.
    own: HashSet<Vec<u8>, RandomState>,
    /// A dictionary of keys, and which of them are such.
    checked: Option<(Arc<StringTable>, Vec<bool>)>,
    counts: Counts,
}

/// What each attribute has; room that is used again and again.
#[derive(Debug, Default)]
struct Counts {
    /// Values in all lists together, up to some hundred.
    values: Vec<u8>,
    /// Lists that have any.
    lists: Vec<u8>,
    /// Values as JSON.
    others: Vec<u8>,
}

impl AttributeList {
    /// The list of a level; `None` if this format has it otherwise.
    pub(super) fn new(schema: &BlockSchema, level: Level) -> Option<Self> {
        let leaves = schema.attributes(level)?;
        let of = |leaf: Option<LeafIndex>| Some((leaf?, schema.leaves()[leaf?].max_def));
        let own = schema.own_columns().iter().filter(|own| own.0 == level);
        Some(Self {
            depth: rank(level) + 1,
            key: leaves.key,
            is_array: leaves.is_array?,
            values: [of(leaves.string)?, of(leaves.int)?, of(leaves.double)?, of(leaves.bool)?],
            other: of(leaves.other)?,
            own: own.map(|own| own.1.clone().into_bytes()).collect(),
            checked: None,
            counts: Counts::default(),
        })
    }

    /// Calls `unfit` with each row that has an attribute otherwise than it is written; with some more
    /// than once.
    pub(super) fn each_unfit(&mut self, leaves: &[StepLeaf], mut unfit: impl FnMut(usize)) {
        self.each_own_key(&leaves[self.key], &mut unfit);
        self.each_unfit_value(leaves, &mut unfit);
        self.each_unfit_json(&leaves[self.other.0], &mut unfit);
    }

    fn each_own_key(&mut self, key: &StepLeaf, unfit: &mut impl FnMut(usize)) {
        match &key.content().values {
            Values::Coded(codes, table) => {
                let is_known =
                    self.checked.as_ref().is_some_and(|checked| Arc::ptr_eq(&checked.0, table));
                if !is_known {
                    let is_own = table.iter().map(|word| self.own.contains(word)).collect();
                    self.checked = Some((Arc::clone(table), is_own));
                }
                let Some((_, is_own)) = self.checked.as_ref().filter(|it| it.1.contains(&true))
                else {
                    return;
                };
                for (at, code) in codes.iter().enumerate() {
                    if is_own.get(*code as usize) == Some(&true) {
                        unfit(key.row_of_value(at));
                    }
                }
            }
            keys => {
                for at in (0..keys.len()).filter(|at| self.own.contains(keys.bytes(*at))) {
                    unfit(key.row_of_value(at));
                }
            }
        }
    }

    /// An array has its elements in one list, if it has any; anything else one value.
    fn each_unfit_value(&mut self, leaves: &[StepLeaf], unfit: &mut impl FnMut(usize)) {
        let key = &leaves[self.key];
        let Values::Bool(is_array) = &leaves[self.is_array].content().values else {
            (0..key.n_rows()).for_each(unfit);
            return;
        };
        let def = &key.content().def;
        let Counts { values, lists, others } = &mut self.counts;
        for counts in [&mut *values, lists, others] {
            counts.clear();
            counts.resize(def.len(), 0);
        }
        for (leaf, max_def) in self.values {
            count(leaves[leaf].content(), self.depth, max_def, values, lists);
        }
        let (other, max_def) = self.other;
        count_json(leaves[other].content(), max_def, others);

        let mut is_array = is_array.iter();
        for (entry, def) in def.iter().enumerate() {
            if *def < self.depth {
                continue;
            }
            let fits = match is_array.next() {
                Some(true) => lists[entry] <= 1 && others[entry] == 0,
                _ => values[entry].saturating_add(others[entry]) == 1,
            };
            if !fits {
                unfit(key.row_of_entry(entry));
            }
        }
    }

    fn each_unfit_json(&self, other: &StepLeaf, unfit: &mut impl FnMut(usize)) {
        let texts = &other.content().values;
        for at in 0..texts.len() {
            let text = std::str::from_utf8(texts.bytes(at)).unwrap_or_default();
            let fits = attribute_value_from_json(text)
                .is_ok_and(|value| !has_column(&value) && attribute_value_to_json(&value) == text);
            if !fits {
                unfit(other.row_of_value(at));
            }
        }
    }
}

/// Adds the values of a leaf to those of each attribute, and whether there are any.
fn count(leaf: &LeafValues, depth: u8, max_def: u8, values: &mut [u8], lists: &mut [u8]) {
    if leaf.values.len() == 0 {
        return;
    }
    if leaf.def.len() == values.len() {
        for ((def, values), lists) in leaf.def.iter().zip(values).zip(lists) {
            let n = u8::from(*def == max_def);
            *values += n;
            *lists += n;
        }
        return;
    }
    // The attribute that a value belongs to: none before the first.
    let mut at = usize::MAX;
    let mut is_first = true;
    for (&rep, &def) in leaf.rep.iter().zip(&leaf.def) {
        if rep <= depth {
            at = at.wrapping_add(1);
            is_first = true;
        }
        if def == max_def
            && let (Some(values), Some(lists)) = (values.get_mut(at), lists.get_mut(at))
        {
            *values = values.saturating_add(1);
            *lists += u8::from(std::mem::take(&mut is_first));
        }
    }
}

/// The same of a leaf that has at most one value an attribute.
fn count_json(leaf: &LeafValues, max_def: u8, values: &mut [u8]) {
    if leaf.values.len() > 0 {
        leaf.def.iter().zip(values).for_each(|(def, n)| *n = u8::from(*def == max_def));
    }
}
