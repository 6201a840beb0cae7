//! Variables of the environment in a file of settings: `${NAME}`, `${NAME:default}`, `${NAME:-default}`.
//! `$$` is a dollar.

use crate::document::File;
use crate::error::{Error, Result};

/// Puts the values of variables into the text of a file.
///
/// # Errors
/// For a variable that is not set and has no default: a setting that is empty by mistake is found late.
pub(crate) fn expand(file: &mut File, environment: &[(String, String)]) -> Result<()> {
    let mut expanded = String::with_capacity(file.text.len());
    let mut rest = file.text.as_str();
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let line = || 1 + expanded.matches('\n').count();
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let Some(inner) = after.strip_prefix('{') else {
            expanded.push('$');
            rest = after;
            continue;
        };
        let Some(end) = inner.find('}') else {
            let what = format!("{}:{}: `${{` is not closed", file.name, line());
            return Err(Error::usage(what).hint("write ${NAME}; a dollar itself is $$"));
        };
        let (name, default) = match inner[..end].split_once(':') {
            Some((name, default)) => (name, Some(default.strip_prefix('-').unwrap_or(default))),
            None => (&inner[..end], None),
        };
        let set = environment.iter().rev().find(|(known, _)| known == name);
        let value = set.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
        match value.or(default) {
            Some(value) => expanded.push_str(value),
            None => {
                let what = format!("{}:{}: the variable {name} is not set", file.name, line());
                return Err(Error::usage(what).hint(format!(
                    "set it, or write ${{{name}:VALUE}} to say what holds without"
                )));
            }
        }
        rest = &inner[end + 1..];
    }
    expanded.push_str(rest);
    file.text = expanded;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String> {
        let mut file =
            File { path: "f.yaml".into(), name: "f.yaml".to_owned(), text: text.to_owned() };
        let environment = [("A", "1"), ("E", ""), ("A", "2")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        expand(&mut file, &environment)?;
        Ok(file.text)
    }

    #[test]
    fn variables_are_put_in_once() {
        for (text, expect) in [
            ("a: ${A}\n", "a: 2\n"),
            ("${B:x y}${E:-z}", "x yz"),
            ("$A $$ $${A} 5$", "$A $ ${A} 5$"),
            ("${A:${B}", "2"),
        ] {
            assert_eq!(expanded(text).unwrap(), expect, "{text}");
        }
    }

    #[test]
    fn what_is_not_set_is_told_with_its_line() {
        let said = |text: &str| expanded(text).unwrap_err().to_string();
        assert_eq!(said("a: 1\nb: ${B}"), "f.yaml:2: the variable B is not set");
        assert_eq!(said("a: ${A"), "f.yaml:1: `${` is not closed");
    }
}
