//! Regular expressions: from RE2's syntax, which TraceQL speaks, to that of the `regex` crate. The two
//! agree on most texts; this file is the list of where they do not (`traceql.md` 5.8), one test each.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::CharIndices;

use super::ir::Pattern;

/// Largest count in a repetition, and largest product of nested ones: RE2's limit.
const MAX_REPEAT: u32 = 1000;

/// Deepest nesting of groups: RE2's limit.
const MAX_GROUP_DEPTH: usize = 1000;

/// Largest compiled program in bytes. RE2's own limit is of this order.
const MAX_PROGRAM_BYTES: usize = 10 << 20;

/// What may stand in `[[:…:]]`.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// A pattern that RE2 does not accept, or that is too large.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Where in the pattern, in bytes.
    pub offset: usize,
    /// One clause, lower case, no full stop.
    pub message: String,
    /// Whether it is a limit, and not the syntax, that the pattern fails.
    pub is_limit: bool,
}

impl Pattern {
    /// Translates a pattern from RE2's syntax.
    ///
    /// # Errors
    /// If RE2 would not accept it.
    pub fn translate(source: &str) -> Result<Self, PatternError> {
        let mut translator = Translator {
            chars: source.char_indices().peekable(),
            source,
            out: String::with_capacity(source.len() + 16),
            groups: Vec::new(),
            names: BTreeSet::new(),
            atom: Atom::None,
        };
        translator.run()?;
        let translated = format!(r"\A(?s:{})\z", translator.out);
        Ok(Self { source: source.to_owned(), translated })
    }

    /// The compiled pattern; it matches whole values.
    ///
    /// # Errors
    /// If the program grows larger than a query may cost.
    pub fn compile(&self) -> Result<regex::Regex, PatternError> {
        regex::RegexBuilder::new(&self.translated)
            .size_limit(MAX_PROGRAM_BYTES)
            .nest_limit(u32::try_from(MAX_GROUP_DEPTH + 8).unwrap_or(u32::MAX))
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => PatternError {
                    offset: 0,
                    message: format!(
                        "this pattern needs more than {} MiB",
                        MAX_PROGRAM_BYTES >> 20
                    ),
                    is_limit: true,
                },
                error => PatternError {
                    offset: 0,
                    message: last_line(&error.to_string()),
                    is_limit: false,
                },
            })
    }
}

/// The sentence of the regex crate's drawing of an error.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// What a repetition would repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Atom {
    /// Nothing: the beginning of an alternative.
    None,
    /// Something; nested repetitions in it multiply to this.
    Item(u32),
    /// Something that is already repeated.
    Repeated(u32),
}

/// A group that is open.
#[derive(Clone, Copy, Debug)]
struct Group {
    offset: usize,
    /// The largest product of repetitions inside so far.
    repeats: u32,
}

struct Translator<'a> {
    chars: Peekable<CharIndices<'a>>,
    source: &'a str,
    out: String,
    groups: Vec<Group>,
    names: BTreeSet<&'a str>,
    atom: Atom,
}

impl<'a> Translator<'a> {
    fn run(&mut self) -> Result<(), PatternError> {
        while let Some((offset, c)) = self.chars.next() {
            match c {
                '\\' => self.escape(offset)?,
                '[' => self.class(offset)?,
                '(' => self.open_group(offset)?,
                ')' => self.close_group(offset)?,
                '|' => {
                    self.note_alternative();
                    self.out.push('|');
                }
                '*' | '+' | '?' => self.repeat(offset, &c.to_string(), 1)?,
                '{' => match self.counts() {
                    Some(counts) => self.counted(offset, counts)?,
                    None => self.literal('{'),
                },
                '.' | '^' | '$' => self.item(&c.to_string()),
                c => self.literal(c),
            }
        }
        match self.groups.last() {
            Some(group) => Err(error(group.offset, "this group is never closed")),
            None => Ok(()),
        }
    }

    /// Writes something that can be repeated.
    fn item(&mut self, translated: &str) {
        self.note_alternative();
        self.out.push_str(translated);
        self.atom = Atom::Item(1);
    }

    fn literal(&mut self, c: char) {
        self.note_alternative();
        push_literal(&mut self.out, c);
        self.atom = Atom::Item(1);
    }

    /// The atom so far is complete: its repetitions count for the group around it.
    fn note_alternative(&mut self) {
        if let Atom::Item(repeats) | Atom::Repeated(repeats) = self.atom
            && let Some(group) = self.groups.last_mut()
        {
            group.repeats = group.repeats.max(repeats);
        }
        self.atom = Atom::None;
    }

    fn open_group(&mut self, offset: usize) -> Result<(), PatternError> {
        self.note_alternative();
        if self.groups.len() >= MAX_GROUP_DEPTH {
            return Err(PatternError {
                is_limit: true,
                ..error(offset, "groups are nested too deeply")
            });
        }
        if self.next_if('?') {
            if self.special_group(offset)? {
                return Ok(());
            }
        } else {
            // Captures are of no use here.
            self.out.push_str("(?:");
        }
        self.groups.push(Group { offset, repeats: 1 });
        Ok(())
    }

    /// After `(?`: a name, or flags. True if it was flags for the rest of the group around, which opens none.
    fn special_group(&mut self, offset: usize) -> Result<bool, PatternError> {
        let rest = self.rest();
        if let Some(named) = rest.strip_prefix("P<").or_else(|| rest.strip_prefix('<')) {
            let prefix = rest.len() - named.len();
            if named.starts_with(['=', '!']) {
                return Err(error(offset, "there is no looking behind in RE2"));
            }
            let Some(end) = named.find('>') else {
                return Err(error(offset, "this group's name is never closed"));
            };
            let name = &named[..end];
            if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                return Err(error(offset, "a group's name consists of letters, digits and `_`"));
            }
            if !self.names.insert(name) {
                return Err(error(offset, "two groups have the same name"));
            }
            self.skip(prefix + end + 1);
            self.out.push_str("(?:");
            return Ok(false);
        }
        if rest.starts_with(['=', '!']) {
            return Err(error(offset, "there is no looking ahead in RE2"));
        }
        let mut flags = String::new();
        let mut is_negative = false;
        let mut has_flag = false;
        loop {
            match self.chars.next() {
                Some((_, c @ ('i' | 'm' | 's' | 'U'))) => {
                    flags.push(c);
                    has_flag = true;
                }
                Some((_, '-')) if !is_negative => {
                    is_negative = true;
                    has_flag = false;
                    flags.push('-');
                }
                Some((_, end @ (':' | ')'))) if !is_negative || has_flag => {
                    // `(?)` changes nothing, and the regex crate does not know it.
                    let is_empty = flags.is_empty() && end == ')';
                    self.out.push_str("(?");
                    self.out.push_str(&flags);
                    self.out.push_str(if is_empty {
                        ":)"
                    } else if end == ':' {
                        ":"
                    } else {
                        ")"
                    });
                    return Ok(end == ')');
                }
                _ => {
                    return Err(error(offset, "RE2 knows the flags `i`, `m`, `s` and `U` only"));
                }
            }
        }
    }

    fn close_group(&mut self, offset: usize) -> Result<(), PatternError> {
        self.note_alternative();
        let Some(group) = self.groups.pop() else {
            return Err(error(offset, "this closes no group"));
        };
        self.out.push(')');
        self.atom = Atom::Item(group.repeats);
        Ok(())
    }

    /// The counts after `{`, consumed, or nothing: then the brace is a literal.
    fn counts(&mut self) -> Option<(u32, Option<Option<u32>>)> {
        let rest = self.rest();
        let end = rest.find('}')?;
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            // Go takes no leading zeros here: `{01}` is a literal.
            let is_plain = text.len() == 1 || !text.starts_with('0');
            (is_number && is_plain).then(|| text.parse().unwrap_or(u32::MAX))
        };
        let counts = match rest[..end].split_once(',') {
            None => (number(&rest[..end])?, None),
            Some((least, "")) => (number(least)?, Some(None)),
            Some((least, most)) => (number(least)?, Some(Some(number(most)?))),
        };
        self.skip(end + 1);
        Some(counts)
    }

    fn counted(
        &mut self,
        offset: usize,
        (least, most): (u32, Option<Option<u32>>),
    ) -> Result<(), PatternError> {
        let largest = most.flatten().unwrap_or(least);
        if largest > MAX_REPEAT || least > MAX_REPEAT {
            return Err(error(offset, &format!("a repetition may count to {MAX_REPEAT} at most")));
        }
        if largest < least {
            return Err(error(offset, "this repetition's most is less than its least"));
        }
        let counts = match most {
            None => format!("{{{least}}}"),
            Some(None) => format!("{{{least},}}"),
            Some(Some(most)) => format!("{{{least},{most}}}"),
        };
        self.repeat(offset, &counts, largest.max(1))
    }

    /// A repetition of the atom before it, lazy or not.
    fn repeat(&mut self, offset: usize, operator: &str, count: u32) -> Result<(), PatternError> {
        let repeats = match self.atom {
            Atom::None => return Err(error(offset, "there is nothing to repeat")),
            Atom::Repeated(_) => {
                return Err(error(
                    offset,
                    "a repetition cannot be repeated; write `(?:…)` around it",
                ));
            }
            Atom::Item(repeats) => repeats.saturating_mul(count),
        };
        if repeats > MAX_REPEAT {
            return Err(error(
                offset,
                &format!("nested repetitions may count to {MAX_REPEAT} at most"),
            ));
        }
        self.out.push_str(operator);
        if self.next_if('?') {
            self.out.push('?');
        }
        self.atom = Atom::Repeated(repeats);
        Ok(())
    }

    /// An escape outside brackets.
    fn escape(&mut self, offset: usize) -> Result<(), PatternError> {
        let Some(&(_, c)) = self.chars.peek() else {
            return Err(error(offset, "a backslash at the end escapes nothing"));
        };
        match c {
            'Q' => {
                self.skip(1);
                let rest = self.rest();
                let quoted = rest.find("\\E").map_or(rest, |end| &rest[..end]);
                let consumed = (quoted.len() + 2).min(rest.len());
                for c in quoted.chars() {
                    self.literal(c);
                }
                self.skip(consumed);
            }
            // Go takes a lone `\E` for nothing at all.
            'E' => self.skip(1),
            'A' | 'z' => {
                self.skip(1);
                self.item(if c == 'A' { "\\A" } else { "\\z" });
            }
            'b' | 'B' => {
                self.skip(1);
                self.item(if c == 'b' { "(?-u:\\b)" } else { "(?-u:\\B)" });
            }
            'C' => {
                return Err(error(
                    offset,
                    "`\\C`, a single byte, is not supported: values are text",
                ));
            }
            _ => match self.class_escape(offset)? {
                Some(class) => self.item(&class),
                None => {
                    let c = self.character_escape(offset)?;
                    self.literal(c);
                }
            },
        }
        Ok(())
    }

    /// `\d`, `\pN` and kin, as a class that stands inside or outside brackets alike.
    fn class_escape(&mut self, offset: usize) -> Result<Option<String>, PatternError> {
        let Some(&(_, c)) = self.chars.peek() else { return Ok(None) };
        // RE2's classes know ASCII only.
        let class = match c {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => r"[\t\n\x0C\r ]",
            'S' => r"[^\t\n\x0C\r ]",
            'p' | 'P' => return self.unicode_class(offset, c == 'P').map(Some),
            _ => return Ok(None),
        };
        self.skip(1);
        Ok(Some(class.to_owned()))
    }

    /// `\pN`, `\p{Greek}`, `\p{^Greek}`.
    fn unicode_class(&mut self, offset: usize, is_upper: bool) -> Result<String, PatternError> {
        self.skip(1);
        let mut negated = is_upper;
        let name = match self.chars.next() {
            Some((_, '{')) => {
                let rest = self.rest();
                let Some(end) = rest.find('}') else {
                    return Err(error(offset, "this class's name is never closed"));
                };
                self.skip(end + 1);
                match rest[..end].strip_prefix('^') {
                    Some(name) => {
                        negated = !negated;
                        name
                    }
                    None => &rest[..end],
                }
            }
            Some((at, c)) => &self.source[at..at + c.len_utf8()],
            None => return Err(error(offset, "the name of a class is missing")),
        };
        let class = format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' });
        let is_word =
            !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
        if !is_word || regex_syntax::parse(&class).is_err() {
            return Err(error(offset, &format!("`{name}` is not a class of characters")));
        }
        Ok(class)
    }

    /// An escape that stands for one character; the backslash is consumed.
    fn character_escape(&mut self, offset: usize) -> Result<char, PatternError> {
        let invalid = |c: char| error(offset, &format!("`\\{c}` is not an escape of RE2"));
        let Some((_, c)) = self.chars.next() else {
            return Err(error(offset, "a backslash at the end escapes nothing"));
        };
        Ok(match c {
            '1'..='7' if !self.rest().starts_with(|c: char| c.is_digit(8)) => {
                return Err(error(offset, "there are no references to groups in RE2"));
            }
            '0'..='7' => self.octal(offset, c)?,
            'x' => self.hexadecimal(offset)?,
            'a' => '\u{7}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            c if c.is_ascii_punctuation() || c == ' ' || c.is_ascii_control() => c,
            c => return Err(invalid(c)),
        })
    }

    /// Up to three octal digits, the first of which is already read.
    fn octal(&mut self, offset: usize, first: char) -> Result<char, PatternError> {
        let mut value = first.to_digit(8).unwrap_or_default();
        for _ in 0..2 {
            let Some(digit) = self.chars.peek().and_then(|(_, c)| c.to_digit(8)) else { break };
            value = value * 8 + digit;
            self.skip(1);
        }
        char::from_u32(value).ok_or_else(|| error(offset, "this is not a character"))
    }

    /// `\x41`, `\x{1F600}`; the `x` is already read.
    fn hexadecimal(&mut self, offset: usize) -> Result<char, PatternError> {
        let rest = self.rest();
        let (digits, len) = match rest.strip_prefix('{') {
            Some(inside) => match inside.find('}') {
                Some(end) => (&inside[..end], end + 2),
                None => return Err(error(offset, "this escape is never closed")),
            },
            None => match rest.get(..2) {
                Some(digits) => (digits, 2),
                None => {
                    return Err(error(offset, "`\\x` takes two digits, or any number in braces"));
                }
            },
        };
        let is_hexadecimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let c = is_hexadecimal
            .then(|| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32))
            .flatten()
            .ok_or_else(|| error(offset, "this is not a character"))?;
        self.skip(len);
        Ok(c)
    }

    /// A class in brackets; the opening one is already read. In RE2 brackets do not nest and there
    /// are no set operators, so everything but ranges and named classes is a literal.
    fn class(&mut self, offset: usize) -> Result<(), PatternError> {
        let mut class = String::from("[");
        if self.next_if('^') {
            class.push('^');
        }
        let mut is_first = true;
        loop {
            let Some(&(at, c)) = self.chars.peek() else {
                return Err(error(offset, "these brackets are never closed"));
            };
            if c == ']' && !is_first {
                self.skip(1);
                break;
            }
            is_first = false;
            if c == '['
                && self.rest().starts_with("[:")
                && let Some(end) = self.rest()[2..].find(":]")
            {
                let name = &self.rest()[..end + 4];
                if !POSIX_CLASSES.contains(&posix_name(&name[2..end + 2])) {
                    return Err(error(at, &format!("`{name}` is not a class of characters")));
                }
                class.push_str(name);
                self.skip(end + 4);
                continue;
            }
            if c == '\\' {
                self.skip(1);
                if let Some(escaped) = self.class_escape(at)? {
                    class.push_str(&escaped);
                    continue;
                }
                let low = self.character_escape(at)?;
                self.range(&mut class, at, low)?;
            } else {
                self.skip(1);
                self.range(&mut class, at, c)?;
            }
        }
        class.push(']');
        self.item(&class);
        Ok(())
    }

    /// A character of a class, and the range it may begin.
    fn range(&mut self, class: &mut String, at: usize, low: char) -> Result<(), PatternError> {
        push_literal(class, low);
        let mut ahead = self.rest().chars();
        if ahead.next() != Some('-') || matches!(ahead.next(), Some(']') | None) {
            return Ok(());
        }
        self.skip(1);
        let high = match self.chars.next() {
            Some((at, '\\')) => self.character_escape(at)?,
            Some((_, c)) => c,
            None => return Err(error(at, "these brackets are never closed")),
        };
        if high < low {
            return Err(error(at, "this range ends before it begins"));
        }
        class.push('-');
        push_literal(class, high);
        Ok(())
    }

    /// What is left of the pattern.
    fn rest(&mut self) -> &'a str {
        let at = self.chars.peek().map_or(self.source.len(), |(at, _)| *at);
        &self.source[at..]
    }

    /// Passes over some bytes.
    fn skip(&mut self, len: usize) {
        let end = self.source.len() - self.rest().len() + len;
        while self.chars.next_if(|(at, _)| *at < end).is_some() {}
    }

    fn next_if(&mut self, c: char) -> bool {
        self.chars.next_if(|(_, found)| *found == c).is_some()
    }
}

/// The name of a POSIX class without the sign that negates it.
fn posix_name(name: &str) -> &str {
    name.strip_prefix('^').unwrap_or(name)
}

/// A character that stands for itself, inside brackets or outside.
fn push_literal(out: &mut String, c: char) {
    // The regex crate gives `\<` and `\>` a meaning of their own.
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>' | '_') {
        out.push('\\');
    }
    out.push(c);
}

fn error(offset: usize, message: &str) -> PatternError {
    PatternError { offset, message: message.to_owned(), is_limit: false }
}
