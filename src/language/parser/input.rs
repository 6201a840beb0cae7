//! What the parser reads: tokens, and what it must remember while it reads them. Copying it is how
//! nom looks ahead, so it stays small.

use crate::dialect::Dialect;
use crate::lexer::{Lexed, Token};
use crate::range::TextRange;
use crate::token::{Keyword, Symbol};

/// A text and its tokens.
#[derive(Debug)]
pub(super) struct Source<'a> {
    /// Never empty: the last one is [`Token::End`] and is never passed.
    tokens: &'a [Lexed],
    /// The text they came from, for messages.
    text: &'a str,
    /// What is accepted.
    dialect: Dialect,
}

/// The tokens that are left. Every open production holds some of these, so it is small.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    source: &'a Source<'a>,
    /// The next token.
    at: u32,
    /// How many productions are open ([`crate::MAX_DEPTH`]).
    pub(super) depth: u32,
}

impl<'a> Source<'a> {
    pub(super) fn new(tokens: &'a [Lexed], text: &'a str, dialect: Dialect) -> Self {
        Self { tokens, text, dialect }
    }

    /// The whole text.
    pub(super) fn input(&'a self) -> Input<'a> {
        Input { source: self, at: 0, depth: 0 }
    }
}

impl<'a> Input<'a> {
    /// What is accepted.
    pub(super) fn dialect(self) -> Dialect {
        self.source.dialect
    }

    /// The same one production deeper, or back up.
    pub(super) fn at_depth(self, depth: u32) -> Self {
        Self { depth, ..self }
    }

    /// The next token.
    pub(super) fn token(self) -> &'a Token {
        &self.nth(0).token
    }

    /// Where the next token stands.
    pub(super) fn range(self) -> TextRange {
        self.nth(0).range
    }

    /// Where the token passed last stands.
    pub(super) fn last(self) -> TextRange {
        Self { at: self.at.saturating_sub(1), ..self }.range()
    }

    /// The token passed last.
    pub(super) fn before(self) -> &'a Token {
        Self { at: self.at.saturating_sub(1), ..self }.token()
    }

    /// The token `n` further on.
    pub(super) fn nth(self, n: usize) -> &'a Lexed {
        let tokens = self.source.tokens;
        &tokens[(self.at as usize + n).min(tokens.len() - 1)]
    }

    /// Whether the token `n` further on follows the one before it without white space.
    pub(super) fn is_adjacent(self, n: usize) -> bool {
        n > 0 && self.nth(n - 1).range.end == self.nth(n).range.start
    }

    /// Without the next token.
    pub(super) fn advance(self) -> Self {
        if *self.token() == Token::End { self } else { Self { at: self.at + 1, ..self } }
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

    /// The byte before the next token.
    pub(super) fn byte_before(self) -> Option<u8> {
        let before = (self.range().start as usize).checked_sub(1)?;
        self.source.text.as_bytes().get(before).copied()
    }

    /// The text of a range.
    pub(super) fn text(self, range: TextRange) -> &'a str {
        range.of(self.source.text)
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
