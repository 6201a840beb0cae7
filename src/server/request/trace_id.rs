//! Trace ids in paths: hexadecimal, any case, at most 32 digits, padded in front.

use traceql_blocks::model::TraceId;

use super::{BadRequest, Result};

pub(crate) fn parse(text: &str) -> Result<TraceId> {
    const MAX_DIGITS: usize = 32;
    if let Some((n, bad)) = text.chars().enumerate().find(|(_, c)| !c.is_ascii_hexdigit()) {
        return Err(BadRequest::new(format!(
            "trace IDs can only contain hex characters: invalid character '{bad}' at position {}",
            n + 1
        )));
    }
    if text.len() > MAX_DIGITS {
        return Err(BadRequest::new("trace IDs can't be larger than 128 bits"));
    }
    match u128::from_str_radix(text, 16) {
        Ok(id) => Ok(TraceId(id.to_be_bytes())),
        Err(_) => Err(BadRequest::new("please provide a trace ID")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_are_padded_and_bad_ones_named() {
        assert_eq!(parse("AbC").unwrap().to_string(), "00000000000000000000000000000abc");
        assert_eq!(
            parse("zzzz").unwrap_err().0,
            "trace IDs can only contain hex characters: invalid character 'z' at position 1"
        );
        assert_eq!(
            parse(&"0".repeat(33)).unwrap_err().0,
            "trace IDs can't be larger than 128 bits"
        );
        assert!(parse("").is_err());
        assert!(parse("+1").is_err());
    }
}
