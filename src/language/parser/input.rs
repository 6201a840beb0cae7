//! What the parser reads: tokens, and what it must remember while it reads them. Copying it is how
//! nom looks ahead, so it stays small.

use crate::dialect::Dialect;
use crate::lexer::{Lexed, Token};
use crate::range::TextRange;
use crate::token::{Keyword, Symbol};

/// The tokens that are left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    /// Never empty: the last one is [`Token::End`] and is never passed.
    pub(super) tokens: &'a [Lexed],
    /// The text they came from, for messages.
    pub(super) source: &'a str,
    /// What is accepted.
    pub(super) dialect: Dialect,
    /// How many productions are open ([`crate::MAX_DEPTH`]).
    pub(super) depth: u16,
    /// The token passed last.
    pub(super) last: TextRange,
}

impl<'a> Input<'a> {
    pub(super) fn new(tokens: &'a [Lexed], source: &'a str, dialect: Dialect) -> Self {
        Self { tokens, source, dialect, depth: 0, last: TextRange::default() }
    }

    /// The next token.
    pub(super) fn token(self) -> &'a Token {
        &self.tokens[0].token
    }

    /// Where the next token stands.
    pub(super) fn range(self) -> TextRange {
        self.tokens[0].range
    }

    /// The token `n` further on.
    pub(super) fn nth(self, n: usize) -> &'a Lexed {
        &self.tokens[n.min(self.tokens.len() - 1)]
    }

    /// Whether the token `n` further on follows the one before it without white space.
    pub(super) fn is_adjacent(self, n: usize) -> bool {
        n > 0 && self.nth(n - 1).range.end == self.nth(n).range.start
    }

    /// Without the next token.
    pub(super) fn advance(self) -> Self {
        if self.tokens.len() == 1 {
            return self;
        }
        Self { tokens: &self.tokens[1..], last: self.range(), ..self }
    }

    /// The next token, if it is a symbol.
    pub(super) fn symbol(self) -> Option<Symbol> {
        match self.token() {
            Token::Symbol(symbol) => Some(*symbol),
            _ => None,
        }
    }

    /// The next token, if it is a reserved word.
    pub(super) fn keyword(self) -> Option<Keyword> {
        match self.token() {
            Token::Keyword(keyword) => Some(*keyword),
            _ => None,
        }
    }

    /// The text of a range.
    pub(super) fn text(self, range: TextRange) -> &'a str {
        self.source.get(range.bytes()).unwrap_or_default()
    }

    /// The next token as a message names it.
    pub(super) fn found(self) -> String {
        match self.token() {
            Token::End => "the end of the query".to_owned(),
            _ => {
                let text = self.text(self.range());
                let shown: String = text.chars().take(40).collect();
                if shown.len() < text.len() {
                    format!("`{shown}…`")
                } else {
                    format!("`{shown}`")
                }
            }
        }
    }
}
