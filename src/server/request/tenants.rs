//! Whose data a request asks for: the tenant header, which may name several.

use std::collections::BTreeSet;

use traceql_blocks::bucket::tenant::TenantId;

use super::{BadRequest, Result};

/// The header that names the tenant, or several with `|` between.
pub(crate) const TENANT_HEADER: &str = "x-scope-orgid";

/// Reads the header's value: sorted, each once. `None` if nothing is named; `tempo-cli` sends the
/// header empty when it has no tenant.
pub(crate) fn parse(header: Option<&str>) -> Result<Option<Vec<TenantId>>> {
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
