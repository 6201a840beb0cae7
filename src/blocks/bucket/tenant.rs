//! Names of tenants (`blocks.md` 1): checked once, trusted afterwards.

use std::{fmt, str::FromStr};

use crate::{Error, Result};

/// Longest tenant id in bytes; Tempo's own bound.
pub const MAX_TENANT_BYTES: usize = 150;

/// The owner of data. Case-sensitive; a valid segment of an object key by construction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(String);

impl TenantId {
    /// The tenant of a Tempo that runs without tenancy, and the one asked for by default.
    #[must_use]
    pub fn single() -> Self {
        Self("single-tenant".to_owned())
    }

    /// Checks a name against the rules: 1 to 150 bytes of ASCII letters, digits and `!-_.*'()`,
    /// but neither `.` nor `..`.
    pub fn parse(name: &str) -> Result<Self> {
        match refusal(name) {
            None => Ok(Self(name.to_owned())),
            Some(reason) => Err(Error::Usage { what: "tenant", value: name.to_owned(), reason }),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn refusal(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c);
    if name.is_empty() {
        Some("a tenant id is not empty".to_owned())
    } else if name.len() > MAX_TENANT_BYTES {
        Some(format!("a tenant id has at most {MAX_TENANT_BYTES} bytes, this one {}", name.len()))
    } else if name == "." || name == ".." {
        Some("this would name a folder, not a tenant".to_owned())
    } else {
        name.chars()
            .find(|c| !allowed(*c))
            .map(|c| format!("{c:?} is not allowed; letters, digits and ! - _ . * ' ( ) are"))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TenantId {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name)
    }
}

impl AsRef<str> for TenantId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_hold_at_their_edges() {
        for good in ["a", "single-tenant", "A1!-_.*'()", "...", &"x".repeat(150)] {
            assert_eq!(TenantId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "a b", "a|b", "ü", "a\0", &"x".repeat(151)] {
            assert!(matches!(TenantId::parse(bad), Err(Error::Usage { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_character() {
        assert_eq!(
            TenantId::parse("a/b").unwrap_err().to_string(),
            r#"tenant "a/b": '/' is not allowed; letters, digits and ! - _ . * ' ( ) are"#
        );
    }
}
