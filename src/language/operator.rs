//! Operators: which symbol spells which, and how tightly each binds. Parser and printer read the same
//! tables, so they cannot disagree.

use std::fmt;

use crate::analyze::ir::{
    AggregateFunction, Arithmetic, Comparison, Relation, SpansetOp, StructuralMode,
};
use crate::token::{Keyword, Symbol};

/// Operators between two field expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `&&`.
    And,
    /// `||`.
    Or,
    /// `=` and kin.
    Compare(Comparison),
    /// `=~`, `!~`.
    Match {
        /// True for `!~`.
        negated: bool,
    },
    /// `+` and kin.
    Arithmetic(Arithmetic),
}

/// Precedence levels, loosest first (`grammar/precedence.md`). Spansets, scalars, fields and metrics
/// math share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// `&&` and `||`, one shared level.
    Boolean,
    /// Comparisons, nil tests and structural operators.
    Comparison,
    /// `+ -`, and prefix `-` of fields.
    Additive,
    /// Prefix `!`.
    Not,
    /// `* / %`.
    Multiplicative,
    /// `^`, grouped to the right.
    Power,
}

impl BinaryOp {
    /// How tightly it binds.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::And | Self::Or => Level::Boolean,
            Self::Compare(_) | Self::Match { .. } => Level::Comparison,
            Self::Arithmetic(op) => op.level(),
        }
    }
}

impl Arithmetic {
    /// How tightly it binds.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::Add | Self::Subtract => Level::Additive,
            Self::Multiply | Self::Divide | Self::Modulo => Level::Multiplicative,
            Self::Power => Level::Power,
        }
    }
}

impl SpansetOp {
    /// How tightly it binds.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::And | Self::Or => Level::Boolean,
            Self::Structural { .. } => Level::Comparison,
        }
    }
}

impl Level {
    /// The least level of a right operand of an operator that groups to the left.
    #[must_use]
    pub(crate) fn tighter(self) -> Self {
        match self {
            Self::Boolean => Self::Comparison,
            Self::Comparison => Self::Additive,
            Self::Additive => Self::Not,
            Self::Not => Self::Multiplicative,
            Self::Multiplicative | Self::Power => Self::Power,
        }
    }

    /// The level of a symbol that stands between operands, whatever they are.
    pub(crate) fn of(symbol: Symbol) -> Option<Self> {
        BinaryOp::of(symbol)
            .map(BinaryOp::level)
            .or_else(|| SpansetOp::of(symbol).map(SpansetOp::level))
    }
}

impl Comparison {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Equal,
        Self::NotEqual,
        Self::Less,
        Self::LessEqual,
        Self::Greater,
        Self::GreaterEqual,
    ];

    /// How it is spelled.
    #[must_use]
    pub fn symbol(self) -> Symbol {
        match self {
            Self::Equal => Symbol::Equal,
            Self::NotEqual => Symbol::NotEqual,
            Self::Less => Symbol::Less,
            Self::LessEqual => Symbol::LessEqual,
            Self::Greater => Symbol::Greater,
            Self::GreaterEqual => Symbol::GreaterEqual,
        }
    }

    /// The comparison spelled so.
    #[must_use]
    pub fn of(symbol: Symbol) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.symbol() == symbol)
    }

    /// The comparison that holds between exchanged operands.
    #[must_use]
    pub fn mirrored(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
        }
    }

    /// Whether it asks which operand is larger.
    #[must_use]
    pub fn is_ordering(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

impl Arithmetic {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::Modulo, Self::Power];

    /// How it is spelled.
    #[must_use]
    pub fn symbol(self) -> Symbol {
        match self {
            Self::Add => Symbol::Plus,
            Self::Subtract => Symbol::Minus,
            Self::Multiply => Symbol::Star,
            Self::Divide => Symbol::Slash,
            Self::Modulo => Symbol::Percent,
            Self::Power => Symbol::Caret,
        }
    }

    /// The operator spelled so.
    #[must_use]
    pub fn of(symbol: Symbol) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.symbol() == symbol)
    }
}

impl BinaryOp {
    /// How it is spelled.
    #[must_use]
    pub fn symbol(self) -> Symbol {
        match self {
            Self::And => Symbol::And,
            Self::Or => Symbol::Or,
            Self::Compare(op) => op.symbol(),
            Self::Match { negated: false } => Symbol::Match,
            Self::Match { negated: true } => Symbol::NotMatch,
            Self::Arithmetic(op) => op.symbol(),
        }
    }

    /// The operator spelled so.
    #[must_use]
    pub fn of(symbol: Symbol) -> Option<Self> {
        match symbol {
            Symbol::And => Some(Self::And),
            Symbol::Or => Some(Self::Or),
            Symbol::Match => Some(Self::Match { negated: false }),
            Symbol::NotMatch => Some(Self::Match { negated: true }),
            symbol => Comparison::of(symbol)
                .map(Self::Compare)
                .or_else(|| Arithmetic::of(symbol).map(Self::Arithmetic)),
        }
    }
}

impl SpansetOp {
    /// How it is spelled.
    #[must_use]
    pub fn symbol(self) -> Symbol {
        use Relation::{Ancestor, Child, Descendant, Parent, Sibling};
        use StructuralMode::{Negated, Plain, Union};
        match self {
            Self::And => Symbol::And,
            Self::Or => Symbol::Or,
            Self::Structural { relation, mode } => match (mode, relation) {
                (Plain, Child) => Symbol::Greater,
                (Plain, Descendant) => Symbol::Descendant,
                (Plain, Parent) => Symbol::Less,
                (Plain, Ancestor) => Symbol::Ancestor,
                (Plain, Sibling) => Symbol::Sibling,
                (Negated, Child) => Symbol::NotChild,
                (Negated, Descendant) => Symbol::NotDescendant,
                (Negated, Parent) => Symbol::NotParent,
                (Negated, Ancestor) => Symbol::NotAncestor,
                // The lexer cannot tell it from "does not match".
                (Negated, Sibling) => Symbol::NotMatch,
                (Union, Child) => Symbol::UnionChild,
                (Union, Descendant) => Symbol::UnionDescendant,
                (Union, Parent) => Symbol::UnionParent,
                (Union, Ancestor) => Symbol::UnionAncestor,
                (Union, Sibling) => Symbol::UnionSibling,
            },
        }
    }

    /// The operator spelled so.
    #[must_use]
    pub fn of(symbol: Symbol) -> Option<Self> {
        use Relation::{Ancestor, Child, Descendant, Parent, Sibling};
        use StructuralMode::{Negated, Plain, Union};
        let (mode, relation) = match symbol {
            Symbol::And => return Some(Self::And),
            Symbol::Or => return Some(Self::Or),
            Symbol::Greater => (Plain, Child),
            Symbol::Descendant => (Plain, Descendant),
            Symbol::Less => (Plain, Parent),
            Symbol::Ancestor => (Plain, Ancestor),
            Symbol::Sibling => (Plain, Sibling),
            Symbol::NotChild => (Negated, Child),
            Symbol::NotDescendant => (Negated, Descendant),
            Symbol::NotParent => (Negated, Parent),
            Symbol::NotAncestor => (Negated, Ancestor),
            Symbol::NotMatch => (Negated, Sibling),
            Symbol::UnionChild => (Union, Child),
            Symbol::UnionDescendant => (Union, Descendant),
            Symbol::UnionParent => (Union, Parent),
            Symbol::UnionAncestor => (Union, Ancestor),
            Symbol::UnionSibling => (Union, Sibling),
            _ => return None,
        };
        Some(Self::Structural { relation, mode })
    }
}

impl AggregateFunction {
    /// All of them.
    pub(crate) const ALL: [Self; 6] =
        [Self::Count, Self::CountDistinct, Self::Avg, Self::Max, Self::Min, Self::Sum];

    /// The word that calls it.
    #[must_use]
    pub fn keyword(self) -> Keyword {
        match self {
            Self::Count => Keyword::Count,
            Self::CountDistinct => Keyword::CountDistinct,
            Self::Avg => Keyword::Avg,
            Self::Max => Keyword::Max,
            Self::Min => Keyword::Min,
            Self::Sum => Keyword::Sum,
        }
    }

    /// The function called so.
    #[must_use]
    pub fn of(keyword: Keyword) -> Option<Self> {
        Self::ALL.into_iter().find(|function| function.keyword() == keyword)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol().text())
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol().text())
    }
}

impl fmt::Display for BinaryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol().text())
    }
}

impl fmt::Display for SpansetOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol().text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_read_as_they_are_written() {
        for symbol in Symbol::ALL {
            if let Some(op) = BinaryOp::of(*symbol) {
                assert_eq!(op.symbol(), *symbol);
            }
            if let Some(op) = SpansetOp::of(*symbol) {
                assert_eq!(op.symbol(), *symbol);
                assert_eq!(Level::of(*symbol), Some(op.level()), "{symbol}");
            }
        }
    }
}
