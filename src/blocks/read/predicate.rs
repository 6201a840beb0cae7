//! What a condition demands of a value. It is plain data but for the compiled pattern; the rules of
//! the query language that are more than value against literal live in the engine.

use regex::bytes::Regex;

use super::values::ValueRef;

/// A test of one value against a literal.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// The value compares with the literal; values of an incomparable type never do, for `!=` too.
    /// An array satisfies `!=` if all its elements do, every other comparison if any element does.
    Compare(Comparison, Literal),
    /// The value is a string (or an array of them) that matches the pattern; with `negated`, a
    /// string that does not match (an array none of whose elements matches).
    Match {
        /// The pattern, anchored by whoever compiled it.
        regex: Regex,
        /// True for `!~`.
        negated: bool,
    },
    /// The key exists and its value is visible to queries (`traceql.md` 5.2).
    Exists,
    /// The key exists, visible value or not.
    KeyExists,
}

/// The other side of a comparison.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the types")]
pub enum Literal {
    Int(i64),
    Float(f64),
    Bool(bool),
    Bytes(Vec<u8>),
}

/// How value and literal are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Comparison {
    /// True if a value that stands in this order to the literal satisfies the comparison.
    #[must_use]
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterEqual => order.is_ge(),
        }
    }

    /// The comparison of two doubles, NaN as IEEE has it.
    #[must_use]
    pub fn holds_f64(self, left: f64, right: f64) -> bool {
        match left.partial_cmp(&right) {
            Some(order) => self.holds(order),
            None => self == Self::NotEqual,
        }
    }
}

impl Predicate {
    /// True if the predicate only asks whether something is there.
    #[must_use]
    pub fn is_presence(&self) -> bool {
        matches!(self, Self::Exists | Self::KeyExists)
    }

    /// True if only strings can satisfy it.
    #[must_use]
    pub fn wants_strings(&self) -> bool {
        matches!(self, Self::Match { .. } | Self::Compare(_, Literal::Bytes(_)))
    }

    /// True if only numbers can satisfy it.
    #[must_use]
    pub fn wants_numbers(&self) -> bool {
        matches!(self, Self::Compare(_, Literal::Int(_) | Literal::Float(_)))
    }

    /// True if only booleans can satisfy it.
    #[must_use]
    pub fn wants_bools(&self) -> bool {
        matches!(self, Self::Compare(_, Literal::Bool(_)))
    }

    /// Tests a string.
    #[must_use]
    pub fn test_bytes(&self, value: &[u8]) -> bool {
        match self {
            Self::Compare(op, Literal::Bytes(literal)) => match op {
                Comparison::Equal => value == literal.as_slice(),
                Comparison::NotEqual => value != literal.as_slice(),
                _ => op.holds(value.cmp(literal.as_slice())),
            },
            Self::Match { regex, negated } => regex.is_match(value) != *negated,
            Self::Exists | Self::KeyExists => true,
            Self::Compare(..) => false,
        }
    }

    /// Tests an integer.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "mixed numbers compare as doubles (traceql.md 5.5)"
    )]
    pub fn test_int(&self, value: i64) -> bool {
        match self {
            Self::Compare(op, Literal::Int(literal)) => op.holds(value.cmp(literal)),
            Self::Compare(op, Literal::Float(literal)) => op.holds_f64(value as f64, *literal),
            Self::Exists | Self::KeyExists => true,
            Self::Compare(..) | Self::Match { .. } => false,
        }
    }

    /// Tests a double.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "mixed numbers compare as doubles (traceql.md 5.5)"
    )]
    pub fn test_float(&self, value: f64) -> bool {
        match self {
            Self::Compare(op, Literal::Int(literal)) => op.holds_f64(value, *literal as f64),
            Self::Compare(op, Literal::Float(literal)) => op.holds_f64(value, *literal),
            Self::Exists | Self::KeyExists => true,
            Self::Compare(..) | Self::Match { .. } => false,
        }
    }

    /// Tests a truth value.
    #[must_use]
    pub fn test_bool(&self, value: bool) -> bool {
        match self {
            Self::Compare(Comparison::Equal, Literal::Bool(literal)) => value == *literal,
            Self::Compare(Comparison::NotEqual, Literal::Bool(literal)) => value != *literal,
            Self::Exists | Self::KeyExists => true,
            Self::Compare(..) | Self::Match { .. } => false,
        }
    }

    /// Tests any value, arrays included.
    #[must_use]
    pub fn test(&self, value: ValueRef<'_>) -> bool {
        match value {
            ValueRef::Nil => false,
            ValueRef::Invisible => matches!(self, Self::KeyExists),
            ValueRef::Int(v) => self.test_int(v),
            ValueRef::Float(v) => self.test_float(v),
            ValueRef::Bool(v) => self.test_bool(v),
            ValueRef::Bytes(v) => self.test_bytes(v),
            ValueRef::Array(elements) => {
                let mut elements = elements.map(|element| self.test(element));
                if self.needs_all_elements() { elements.all(|e| e) } else { elements.any(|e| e) }
            }
        }
    }

    /// True for `!=` and `!~`, which an array satisfies only with all its elements.
    #[must_use]
    pub fn needs_all_elements(&self) -> bool {
        matches!(self, Self::Compare(Comparison::NotEqual, _) | Self::Match { negated: true, .. })
    }
}
