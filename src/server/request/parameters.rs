//! The parameters of a URL. Blank ones count as absent: `tempo-cli` sends many of them.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

use super::{BadRequest, Result};

/// The parameters of a request, decoded, in the order they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        Self(
            pairs
                .filter(|(_, value)| !value.trim().is_empty())
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The parameters that have these values.
    pub(crate) fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let said = pairs.into_iter().filter(|(_, value)| !value.trim().is_empty());
        Self(said.map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The first value of a parameter that is not blank.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A whole number.
    pub(crate) fn number<T: FromStr<Err = ParseIntError>>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().map_err(|error: ParseIntError| {
            BadRequest::new(match error.kind() {
                IntErrorKind::PosOverflow => format!("invalid {name}: {text} is too large"),
                IntErrorKind::NegOverflow => format!("invalid {name}: {text} is too small"),
                _ => format!("invalid {name}: {text:?} is not a whole number"),
            })
        });
        number.map(Some)
    }

    /// A truth value in any of the spellings Go takes.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some(other) => {
                Err(BadRequest::new(format!("invalid {name}: neither true nor false: {other:?}")))
            }
        }
    }

    /// The most results wanted: at least 1, at most `max` if there is a maximum.
    pub(crate) fn limit(&self, max: Option<usize>) -> Result<Option<usize>> {
        let Some(limit) = self.number::<i64>("limit")? else { return Ok(None) };
        let limit = usize::try_from(limit)
            .ok()
            .filter(|limit| *limit > 0)
            .ok_or_else(|| BadRequest::new("invalid limit: must be a positive number"))?;
        match max.filter(|max| limit > *max) {
            Some(max) => Err(BadRequest::new(format!("limit {limit} exceeds max limit {max}"))),
            None => Ok(Some(limit)),
        }
    }

    /// The most spans wanted per spanset; 0 asks for the default.
    pub(crate) fn spans_per_spanset(&self, max: Option<usize>) -> Result<Option<usize>> {
        let Some(spans) = self.number::<i64>("spss")? else { return Ok(None) };
        let spans = usize::try_from(spans)
            .map_err(|_| BadRequest::new("invalid spss: must be a non-negative number"))?;
        match max.filter(|max| spans > *max) {
            Some(max) => {
                Err(BadRequest::new(format!("spans per span set exceeds {max}. received {spans}")))
            }
            None => Ok(Some(spans).filter(|spans| *spans > 0)),
        }
    }
}

/// Name and value of each, unescaped: for people.
impl Display for Parameters {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "&" };
            write!(f, "{separator}{name}={value}")?;
        }
        Ok(())
    }
}

/// Decodes one piece of a path.
pub(crate) fn decode_path(piece: &str) -> Result<Cow<'_, str>> {
    // `+` is itself in a path, so the decoder for forms must not see it.
    if !piece.contains('%') {
        return Ok(Cow::Borrowed(piece));
    }
    let mut bytes = Vec::with_capacity(piece.len());
    let mut rest = piece.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let byte =
            digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(16 * high + low).ok());
        let Some(byte) = byte else {
            return Err(BadRequest::new(format!("invalid URL escape in {piece:?}")));
        };
        bytes.push(byte);
        rest = &tail[2..];
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) => Err(BadRequest::new(format!("{piece:?} is not UTF-8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_parameters_are_absent() {
        let parameters = Parameters::parse("blockID=&q=%7B+%7D&limit=%20&q=second");
        assert_eq!(parameters.get("q"), Some("{ }"));
        assert_eq!(parameters.get("blockID"), None);
        assert_eq!(parameters.limit(None), Ok(None));
    }

    #[test]
    fn limits_are_bounded_with_tempos_words() {
        let check = |query: &str, text: &str| {
            assert_eq!(Parameters::parse(query).limit(Some(262_144)).unwrap_err().0, text);
        };
        check("limit=0", "invalid limit: must be a positive number");
        check("limit=-3", "invalid limit: must be a positive number");
        check("limit=300000", "limit 300000 exceeds max limit 262144");
        assert_eq!(Parameters::parse("limit=300000").limit(None), Ok(Some(300_000)));
        let spans = |query: &str, max| Parameters::parse(query).spans_per_spanset(max);
        assert_eq!(spans("spss=0", Some(100)), Ok(None));
        assert_eq!(spans("spss=101", None), Ok(Some(101)));
        assert_eq!(
            spans("spss=101", Some(100)).unwrap_err().0,
            "spans per span set exceeds 100. received 101"
        );
    }

    #[test]
    fn paths_are_decoded_but_plus_stays() {
        assert_eq!(decode_path("span.%22a%20b%22").unwrap(), "span.\"a b\"");
        assert_eq!(decode_path("a+b").unwrap(), "a+b");
        for bad in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert!(decode_path(bad).is_err(), "{bad}");
        }
    }
}
