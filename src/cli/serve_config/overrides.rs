//! What holds for single tenants: the file that `overrides.per_tenant_override_config` names, with
//! Tempo's structure, `overrides: {tenant: {section: {setting: value}}}`. The tenant `*` is every one that
//! is not named.

use std::path::Path;
use std::sync::Arc;

use traceql_blocks::bucket::tenant::TenantId;
use traceql_server::generator::TenantMetrics;
use traceql_server::{OverridesTable, OwnSetting, TenantOverrides};

use super::expand::expand;
use super::read::{Scope, read};
use super::setting::OfTenant;
use crate::document::{Content, Fields, File, Node};
use crate::error::Result;

/// Who is not named.
const OTHERS: &str = "*";

/// Reads a file of overrides; with `environment`, variables in it are put in first. `metrics` is what is
/// made of the spans of tenants that say nothing of it.
///
/// # Errors
/// Whatever in it is not understood, drawn where it stands.
pub(crate) fn read_overrides(
    path: &Path,
    environment: Option<&[(String, String)]>,
    metrics: &TenantMetrics,
) -> Result<(OverridesTable, Vec<String>)> {
    let mut file = File::read(path)?;
    if let Some(environment) = environment {
        expand(&mut file, environment)?;
    }
    table(&file, metrics)
}

/// The same of a text that was read.
pub(super) fn table(file: &File, metrics: &TenantMetrics) -> Result<(OverridesTable, Vec<String>)> {
    let root = file.yaml()?;
    let mut table = OverridesTable::default();
    let mut warnings = Vec::new();
    if root.is_nothing() {
        return Ok((table, warnings));
    }
    let fields = Fields::of(file, &root, "a file of overrides", &["overrides"])?;
    let Some(node) = fields.get("overrides")? else { return Ok((table, warnings)) };
    let Content::Map(entries) = &node.content else {
        let message = format!("`overrides` is a mapping of tenants; found {}", node.kind());
        return Err(file.error(node.wrong(message)));
    };
    for (key, node) in entries {
        let name = key.text().unwrap_or_default();
        let (overrides, passed_over) = tenant(file, node, metrics)?;
        warnings.extend(passed_over);
        if name == OTHERS {
            table.others = Arc::new(overrides);
            continue;
        }
        let id = TenantId::parse(name).map_err(|error| file.error(key.wrong(error.to_string())))?;
        table.tenants.insert(id, Arc::new(overrides));
    }
    Ok((table, warnings))
}

fn tenant(
    file: &File,
    node: &Node,
    metrics: &TenantMetrics,
) -> Result<(TenantOverrides, Vec<String>)> {
    let said = read(file, node, Scope::Tenant)?;
    let mut overrides = TenantOverrides::default();
    let mut own = metrics.clone();
    let mut has_own = false;
    for read in &said.read {
        match read.setting.tenant {
            Some((_, OfTenant::Limit(set))) => set(&mut overrides, read.value.clone()),
            Some((_, OfTenant::Metrics(set))) => {
                has_own = true;
                set(&mut own, read.value.clone());
            }
            None => {}
        }
    }
    overrides.metrics = has_own.then_some(own);
    let own = said.read.iter().filter_map(|read| {
        let (path, _) = read.setting.tenant?;
        Some(OwnSetting { path, value: read.value.yaml() })
    });
    overrides.said = own.collect();
    // So that those of a section stand together.
    overrides.said.sort_by_key(|own| own.path);
    Ok((overrides, said.warnings))
}
