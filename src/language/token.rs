//! Every word and sign of the language, in one table each: the lexer reads them, the printer writes
//! them, suggestions choose among them, and a test compares them with `grammar/traceql.ebnf`.

use std::fmt;

/// Declares an enum whose variants are spelled one way each.
macro_rules! spelled {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "the spelling beside each name says it")]
        $vis enum $name { $($variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// How it is written.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Which one is written so.
            #[must_use]
            pub fn of(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }
    };
}

spelled! {
    /// Punctuation and operators.
    pub enum Symbol {
        OpenBrace = "{", CloseBrace = "}", OpenParen = "(", CloseParen = ")", Comma = ",", Pipe = "|",
        Equal = "=", NotEqual = "!=", Match = "=~", NotMatch = "!~",
        Less = "<", LessEqual = "<=", Greater = ">", GreaterEqual = ">=",
        And = "&&", Or = "||", Not = "!",
        Plus = "+", Minus = "-", Star = "*", Slash = "/", Percent = "%", Caret = "^",
        Descendant = ">>", Ancestor = "<<", Sibling = "~",
        NotChild = "!>", NotDescendant = "!>>", NotParent = "!<", NotAncestor = "!<<",
        UnionChild = "&>", UnionDescendant = "&>>", UnionParent = "&<", UnionAncestor = "&<<",
        UnionSibling = "&~",
    }
}

spelled! {
    /// Reserved words. Each may still be an attribute's name, after a scope; extensions also name
    /// hints.
    pub enum Keyword {
        // Literals.
        True = "true", False = "false", Nil = "nil", MinInt = "minInt", MaxInt = "maxInt",
        Ok = "ok", Error = "error", Unset = "unset",
        Unspecified = "unspecified", Internal = "internal", Server = "server", Client = "client",
        Producer = "producer", Consumer = "consumer",
        // Intrinsics.
        Duration = "duration", Name = "name", Status = "status", StatusMessage = "statusMessage",
        Kind = "kind", RootName = "rootName", RootServiceName = "rootServiceName",
        TraceDuration = "traceDuration", NestedSetLeft = "nestedSetLeft",
        NestedSetRight = "nestedSetRight", NestedSetParent = "nestedSetParent", Parent = "parent",
        // Intrinsics after a scope and a colon.
        Id = "id", TraceId = "traceID", SpanId = "spanID", ParentId = "parentID",
        ChildCount = "childCount", TimeSinceStart = "timeSinceStart", Version = "version",
        RootService = "rootService",
        Gap = "gap",
        // Aggregates.
        Count = "count", Avg = "avg", Max = "max", Min = "min", Sum = "sum",
        CountDistinct = "count_distinct",
        // Stages and operators that are words.
        By = "by", Coalesce = "coalesce", Select = "select", Not = "not",
        OrderBy = "order_by", Ascending = "asc", Descending = "desc", Limit = "limit",
        // Metrics.
        Rate = "rate", CountOverTime = "count_over_time", MinOverTime = "min_over_time",
        MaxOverTime = "max_over_time", AvgOverTime = "avg_over_time", SumOverTime = "sum_over_time",
        QuantileOverTime = "quantile_over_time", HistogramOverTime = "histogram_over_time",
        Compare = "compare", TopK = "topk", BottomK = "bottomk",
        // Hints.
        With = "with",
    }
}

spelled! {
    /// Words that scope what follows: with `.` an attribute, with `:` an intrinsic.
    pub enum Scope {
        Span = "span", Resource = "resource", Event = "event", Link = "link",
        Instrumentation = "instrumentation", Parent = "parent", Root = "root", Trace = "trace",
    }
}

impl Keyword {
    /// Whether Tempo does not know it: it may name a hint, as any other word.
    #[must_use]
    pub fn is_extension(self) -> bool {
        matches!(
            self,
            Self::Gap
                | Self::CountDistinct
                | Self::Not
                | Self::OrderBy
                | Self::Ascending
                | Self::Descending
                | Self::Limit
        )
    }
}

impl Scope {
    /// Whether `scope.name` is an attribute.
    #[must_use]
    pub fn has_attributes(self) -> bool {
        self != Self::Trace
    }

    /// Whether `scope:word` is an intrinsic.
    #[must_use]
    pub fn has_intrinsics(self) -> bool {
        !matches!(self, Self::Resource | Self::Parent | Self::Root)
    }
}

/// Whether a rune ends an attribute's name that is not quoted.
#[must_use]
pub fn ends_name(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '{' | '}' | '(' | ')' | '=' | '~' | '!' | '<' | '>' | '&' | '|' | '^' | ',')
}

/// Whether a rune may begin a word.
#[must_use]
pub fn begins_word(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

/// Whether a rune may go on a word.
#[must_use]
pub fn continues_word(c: char) -> bool {
    begins_word(c) || c.is_numeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_an_operator_is_a_token() {
        // The lexer matches greedily and relies on it; `&` alone is the one exception it knows.
        for symbol in Symbol::ALL {
            for end in 1..symbol.text().len() {
                let prefix = &symbol.text()[..end];
                assert!(prefix == "&" || Symbol::of(prefix).is_some(), "{prefix} of {symbol}");
            }
        }
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for keyword in Keyword::ALL {
            assert_eq!(Keyword::of(keyword.text()), Some(*keyword));
        }
        assert_eq!(Keyword::of("TRUE"), None);
    }
}
