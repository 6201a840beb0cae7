//! Numbers and durations (`traceql.md` 1.4 and 1.5). Tempo's lexer is Go's scanner, hence Go's rules
//! of underscores, hexadecimal floats and leading zeros.

use nom::Parser as _;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::{opt, recognize};

use super::{LexError, LexResult, Token};

/// An integer, a float, or either with units: a duration.
pub(super) fn number(text: &str) -> LexResult<'_, Token> {
    let (rest, digits) = alt((hexadecimal, decimal)).parse(text)?;
    let (after, units) = take_while(is_duration_rune).parse(rest)?;
    if !units.is_empty() {
        let written = &text[..text.len() - after.len()];
        if let Some(nanos) = duration(written) {
            return Ok((after, Token::Duration(nanos)));
        }
        // Not a duration: a number, and then whatever the letters are, which the grammar refuses.
        if units.starts_with(|c: char| c.is_alphabetic()) {
            return Err(not_a_duration(text, written));
        }
    }
    let is_hexadecimal = digits.starts_with("0x") || digits.starts_with("0X");
    let exponent = if is_hexadecimal { ['p', 'P'] } else { ['e', 'E'] };
    let is_float = digits.contains('.') || digits.contains(exponent);
    let token = if is_float { float(text, digits)? } else { int(text, digits)? };
    Ok((rest, token))
}

/// The runes that Tempo gathers before it decides whether they are a duration.
fn is_duration_rune(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '.' | 'n' | 's' | 'u' | 'm' | 'h' | 'µ' | 'd' | 'w' | 'y')
}

fn decimal(text: &str) -> LexResult<'_, &str> {
    let digits = || take_while1(|c: char| c.is_ascii_digit() || c == '_');
    let starts_with_digit = text.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
    if !starts_with_digit || text.starts_with("..") {
        return Err(super::does_not_apply(text));
    }
    let (rest, mantissa) =
        recognize((opt(digits()), opt((char('.'), opt(digits()))))).parse(text)?;
    let Ok((after, exponent)) =
        recognize((one_of::<_, _, LexError<'_>>("eE"), opt(one_of("+-")), opt(digits())))
            .parse(rest)
    else {
        return Ok((rest, mantissa));
    };
    if !exponent.ends_with(|c: char| c.is_ascii_digit()) {
        return Err(LexError::failure(
            text,
            text.len() - after.len(),
            "this exponent has no digits",
        ));
    }
    Ok((after, &text[..text.len() - after.len()]))
}

fn hexadecimal(text: &str) -> LexResult<'_, &str> {
    recognize((
        alt((tag("0x"), tag("0X"), tag("0b"), tag("0B"), tag("0o"), tag("0O"))),
        take_while(|c: char| c.is_ascii_hexdigit() || c == '_' || c == '.'),
        opt((
            one_of("pP"),
            opt(one_of("+-")),
            take_while1(|c: char| c.is_ascii_digit() || c == '_'),
        )),
    ))
    .parse(text)
}

fn int<'a>(text: &'a str, digits: &str) -> Result<Token, nom::Err<LexError<'a>>> {
    let has_prefix = digits.starts_with('0') && digits.len() > 1;
    if digits.contains(|c: char| !c.is_ascii_digit()) {
        return Err(LexError::failure_with_hint(
            text,
            digits.len(),
            format!("`{digits}` is not an integer"),
            "integers are plain decimal digits",
        ));
    }
    if has_prefix && digits.contains(['8', '9']) {
        return Err(LexError::failure_with_hint(
            text,
            digits.len(),
            format!("`{digits}` is not an integer: a leading zero promises octal digits"),
            format!("write `{}`", digits.trim_start_matches('0')),
        ));
    }
    digits.parse().map(Token::Int).map_err(|_| {
        LexError::failure_with_hint(
            text,
            digits.len(),
            format!("`{digits}` does not fit in 64 bits"),
            "the largest integer is `maxInt`, the smallest `minInt`",
        )
    })
}

fn float<'a>(text: &'a str, digits: &str) -> Result<Token, nom::Err<LexError<'a>>> {
    let invalid = || LexError::failure(text, digits.len(), format!("`{digits}` is not a number"));
    if !underscores_separate_digits(digits) {
        return Err(invalid());
    }
    let plain = digits.replace('_', "").to_ascii_lowercase();
    let value = match plain.strip_prefix("0x") {
        Some(hex) => hexadecimal_value(hex).ok_or_else(invalid)?,
        None => plain.parse::<f64>().map_err(|_| invalid())?,
    };
    if value.is_infinite() {
        return Err(LexError::failure(
            text,
            digits.len(),
            format!("`{digits}` is larger than any float"),
        ));
    }
    Ok(Token::Float(value))
}

/// Go: an underscore stands between two digits, or between a prefix and a digit.
fn underscores_separate_digits(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    (0..bytes.len()).filter(|at| bytes[*at] == b'_').all(|at| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let is_prefix = at == 2 && bytes[0] == b'0' && bytes[1].eq_ignore_ascii_case(&b'x');
        before.is_some_and(|b| b.is_ascii_hexdigit() || is_prefix)
            && bytes.get(at + 1).is_some_and(u8::is_ascii_hexdigit)
    })
}

/// `1.8p-2` with hexadecimal digits and a decimal power of two.
fn hexadecimal_value(hex: &str) -> Option<f64> {
    let (mantissa, exponent) = hex.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = || whole.chars().chain(fraction.chars());
    let value = digits()
        .try_fold(0.0_f64, |value, c| Some(value.mul_add(16.0, f64::from(c.to_digit(16)?))))?;
    let exponent: i32 = exponent.parse().ok()?;
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(value * f64::from(exponent.checked_sub(shift)?).exp2())
}

fn not_a_duration<'a>(text: &'a str, written: &str) -> nom::Err<LexError<'a>> {
    let unit = written.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let mut hint = "units are `ns`, `us`, `ms`, `s`, `m`, `h`, and for whole numbers `d`, `w`, `y`; there is no white space between them".to_owned();
    if unit.contains(['d', 'w', 'y']) && (written.contains('.') || unit.len() > 1) {
        hint = "`d`, `w` and `y` go with whole numbers, each unit once, largest first: `1d12h`"
            .to_owned();
    }
    LexError::failure_with_hint(text, written.len(), format!("`{written}` is not a duration"), hint)
}

/// Nanoseconds of a duration: Prometheus' reading first, then Go's.
fn duration(written: &str) -> Option<i64> {
    prometheus_duration(written).or_else(|| go_duration(written))
}

/// Whole numbers, each unit at most once, in descending order.
fn prometheus_duration(written: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 24 * 3_600_000_000_000),
        ("w", 7 * 24 * 3_600_000_000_000),
        ("d", 24 * 3_600_000_000_000),
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
    ];
    let mut total = 0_i64;
    let mut rest = written;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let (number, unit, after) = component(rest)?;
        let (_, nanos) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(*nanos)?)?;
        rest = after;
    }
    Some(total)
}

/// Decimal numbers with units in any order.
fn go_duration(written: &str) -> Option<i64> {
    let mut total = 0_u64;
    let mut rest = written;
    while !rest.is_empty() {
        let (number, unit, after) = component(rest)?;
        let nanos: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(nanos)?)?;
        total = total.checked_add(fraction_nanos(fraction, nanos)?)?;
        rest = after;
    }
    i64::try_from(total).ok()
}

/// The fraction of one unit, truncated to whole nanoseconds.
fn fraction_nanos(fraction: &str, nanos: u64) -> Option<u64> {
    // A nanosecond is at least 1/3.6e12 of a unit: digits past the 18th cannot change the result
    // but for a last nanosecond that floats would blur anyway.
    let digits = &fraction[..fraction.len().min(18)];
    if digits.is_empty() {
        return Some(0);
    }
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    u64::try_from(u128::from(digits.parse::<u64>().ok()?) * u128::from(nanos) / scale).ok()
}

/// Splits `12.5ms3s` into `12.5`, `ms`, `3s`.
fn component(text: &str) -> Option<(&str, &str, &str)> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let number = text.find(|c| !is_number(c))?;
    let unit = text[number..].find(is_number).map_or(text.len(), |len| number + len);
    (number > 0).then(|| (&text[..number], &text[number..unit], &text[unit..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The token at the beginning of a text, if it is one, and what is left.
    fn lexed(text: &str) -> Option<(Token, &str)> {
        number(text).ok().map(|(rest, token)| (token, rest))
    }

    #[test]
    fn numbers_are_those_of_go() {
        let check = |text: &str, token| assert_eq!(lexed(text), Some((token, "")), "{text}");
        check("0", Token::Int(0));
        check("017", Token::Int(17));
        check("9223372036854775807", Token::Int(i64::MAX));
        check("5.", Token::Float(5.0));
        check(".5", Token::Float(0.5));
        check("08.5", Token::Float(8.5));
        check("1e3", Token::Float(1000.0));
        check("1E-3", Token::Float(0.001));
        check("0x1p-2", Token::Float(0.25));
        check("0X1.8P1", Token::Float(3.0));
        check("1_0.5", Token::Float(10.5));
        for text in [
            "08",
            "0x10",
            "0b1",
            "0o7",
            "1_000",
            "1__0.5",
            "1_.5",
            "1e",
            "1e+",
            "1e400",
            "0x1.8",
            "9223372036854775808",
        ] {
            assert_eq!(lexed(text), None, "{text}");
        }
        assert_eq!(lexed("1.5.5"), Some((Token::Float(1.5), ".5")));
    }

    #[test]
    fn durations_are_read_as_prometheus_reads_them_and_then_as_go_does() {
        let check = |text: &str, nanos| {
            assert_eq!(lexed(text), Some((Token::Duration(nanos), "")), "{text}");
        };
        const SECOND: i64 = 1_000_000_000;
        check("1ns", 1);
        check("1us", 1_000);
        check("1µs", 1_000);
        check("1.5s", SECOND + SECOND / 2);
        check(".5s", SECOND / 2);
        check("5.s", 5 * SECOND);
        check("0.001ms", 1_000);
        check("1h1.5m", 3690 * SECOND);
        check("1ms1s", SECOND + 1_000_000);
        check("1h1h", 7200 * SECOND);
        check("1d12h", 36 * 3600 * SECOND);
        check("1y1w1d", 373 * 24 * 3600 * SECOND);
        check("2562047h47m16.854775807s", i64::MAX);
        for text in ["1.5d", "12h1d", "1e3s", "1m2", "1n", "300y", "9999999999s", "1h2562047h"] {
            assert_eq!(lexed(text), None, "{text}");
        }
        assert_eq!(lexed("1s&&.a"), Some((Token::Duration(SECOND), "&&.a")));
        assert_eq!(lexed("1sfoo"), Some((Token::Duration(SECOND), "foo")));
    }
}
