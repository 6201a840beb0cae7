//! Whose data a request asks for: the tenant header, which may name several.

use std::collections::BTreeSet;

use axum::http::header::HeaderMap;
use traceql_blocks::bucket::tenant::TenantId;

use super::{BadRequest, Result};

/// The header that names the tenant, or several with `|` between.
pub(crate) const TENANT_HEADER: &str = "x-scope-orgid";

/// Reads the header of a request. Two that differ name nobody: which of them a proxy in between has
/// checked cannot be told.
pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Vec<TenantId>>> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let first = values.next();
    if values.any(|other| Some(other) != first) {
        return Err(BadRequest::new("several X-Scope-OrgID headers that differ"));
    }
    let first = first.map(|value| String::from_utf8_lossy(value.as_bytes()));
    parse(first.as_deref())
}

/// Reads the header's value: sorted, each once. `None` if nothing is named; `tempo-cli` sends the
/// header empty when it has no tenant.
fn parse(header: Option<&str>) -> Result<Option<Vec<TenantId>>> {
    let Some(text) = header.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let tenants: BTreeSet<TenantId> = text
        .split('|')
        .map(|name| TenantId::parse(name.trim()).map_err(|e| BadRequest::new(e.to_string())))
        .collect::<Result<_>>()?;
    Ok(Some(tenants.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_differ_name_nobody() {
        let n_named = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TENANT_HEADER, value.parse().unwrap());
            }
            of(&headers).map(|tenants| tenants.map_or(0, |tenants| tenants.len()))
        };
        assert_eq!(n_named(&[]), Ok(0));
        assert_eq!(n_named(&[""]), Ok(0));
        assert_eq!(n_named(&["a|b"]), Ok(2));
        assert_eq!(n_named(&["a", "a"]), Ok(1));
        assert!(n_named(&["a", "b"]).is_err());
        assert!(n_named(&["", "b"]).is_err());
    }

    #[test]
    fn several_tenants_are_sorted_and_single() {
        let names = |header| {
            parse(Some(header))
                .unwrap()
                .map(|tenants| tenants.iter().map(TenantId::as_str).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names("b|a|b").as_deref(), Some("a b"));
        assert_eq!(names(""), None);
        assert_eq!(names("  "), None);
        assert!(parse(None).unwrap().is_none());
        for bad in ["a/b", "..", "a||b", "|"] {
            assert!(parse(Some(bad)).is_err(), "{bad}");
        }
    }
}
