//! Attribute names and values that occur in the data, for completion.

use std::collections::{BTreeMap, BTreeSet};

use traceql_language::analyze::ir::{AttributeScope, Field, FieldExpr};

/// Which attribute names are wanted.
#[derive(Clone, Debug, Default)]
pub struct TagNamesRequest {
    /// One scope, or `None` for all of them.
    pub scope: Option<AttributeScope>,
    /// Only names on spans for which this is true.
    pub filter: Option<FieldExpr>,
    /// Most names per scope; 0 is no maximum.
    pub limit: usize,
}

/// Names by scope, never [`AttributeScope::Unscoped`]; scopes without names are left out.
pub type TagNames = BTreeMap<AttributeScope, BTreeSet<String>>;

/// Which values are wanted.
#[derive(Clone, Debug)]
pub struct TagValuesRequest {
    /// The field whose values are listed.
    pub field: Field,
    /// Only values on spans for which this is true.
    pub filter: Option<FieldExpr>,
    /// Most values; 0 is no maximum.
    pub limit: usize,
}

/// A value with the type word of Tempo's API.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypedTagValue {
    /// `string`, `int`, `float`, `bool`, `keyword` or `duration`.
    pub value_type: &'static str,
    /// The value as text.
    pub value: String,
}
