//! What holds for single tenants, for people: `/status/runtime_config` as YAML, `/status/overrides` and
//! `/status/overrides/{tenant}` as HTML. They name tenants, so whoever asks for a tenant sees that one
//! alone; who names none is whoever runs the server.

use std::fmt::Write as _;

use traceql_blocks::bucket::tenant::TenantId;

use super::{ShownSetting, section};
use crate::options::ServeOptions;
use crate::overrides::{OverridesTable, OwnSetting};

/// What the file of overrides calls those that it does not name.
const OTHERS: &str = "*";

/// Whose overrides are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everybody's: the server is asked, not a tenant.
    Operator,
    /// Theirs.
    Tenants(Vec<TenantId>),
}

impl Audience {
    /// Whether it may know of this tenant.
    pub(crate) fn sees(&self, tenant: &TenantId) -> bool {
        match self {
            Self::Operator => true,
            Self::Tenants(tenants) => tenants.contains(tenant),
        }
    }

    /// The named tenants it sees, with what they have of their own; and what all others have.
    fn shown<'a>(&self, table: &'a OverridesTable) -> Vec<(&'a str, &'a [OwnSetting])> {
        let named = table.tenants.iter().filter(|(tenant, _)| self.sees(tenant));
        let named = named.map(|(tenant, own)| (tenant.as_str(), own.said.as_slice()));
        let sees_others = match self {
            Self::Operator => true,
            Self::Tenants(tenants) => tenants.iter().any(|id| !table.tenants.contains_key(id)),
        };
        let others = (sees_others && !table.others.said.is_empty())
            .then_some((OTHERS, table.others.said.as_slice()));
        others.into_iter().chain(named).collect()
    }
}

/// `/status/runtime_config`: what holds for all, and what holds for whom instead; with `is_diff` only
/// where that is something else.
pub(crate) fn runtime_config(
    options: &ServeOptions,
    table: &OverridesTable,
    audience: &Audience,
    is_diff: bool,
) -> String {
    let mut text = String::new();
    let defaults: Vec<_> = defaults(&options.settings).collect();
    if !is_diff {
        text.push_str("defaults:\n");
        section(&mut text, 1, defaults.iter().copied());
    }
    text.push_str("overrides:\n");
    for (name, own) in audience.shown(table) {
        let is_other =
            |own: &&OwnSetting| !is_diff || !defaults.contains(&(own.path, own.value.as_str()));
        let mut differing = own.iter().filter(is_other).peekable();
        if differing.peek().is_some() {
            // A string takes everything; in quotes YAML takes every name.
            let _written = writeln!(text, "  \"{name}\":");
            section(&mut text, 2, differing.map(|own| (own.path, own.value.as_str())));
        }
    }
    text
}

/// `/status/overrides`: who has any.
pub(crate) fn tenants(table: &OverridesTable, audience: &Audience) -> String {
    let rows: String = audience
        .shown(table)
        .into_iter()
        .map(|(name, own)| {
            let (name, n) = (escaped(name), own.len());
            format!("<tr><td><a href=\"overrides/{name}\">{name}</a></td><td>{n}</td></tr>\n")
        })
        .collect();
    let body = format!(
        "<table border=\"1\" cellpadding=\"5\">\n\
         <tr><th>Tenant</th><th>Settings of its own</th></tr>\n{rows}</table>\n"
    );
    html("Overrides: tenants", &body)
}

/// `/status/overrides/{tenant}`: what holds for one, and where that comes from. `None` is those that the
/// file does not name.
pub(crate) fn tenant(
    options: &ServeOptions,
    table: &OverridesTable,
    tenant: Option<&TenantId>,
) -> String {
    let own = tenant.and_then(|tenant| table.tenants.get(tenant));
    let (source, own) = match own {
        Some(own) => (tenant.map_or(OTHERS, TenantId::as_str), own),
        None if table.others.said.is_empty() => ("what holds for all", &table.others),
        None => (OTHERS, &table.others),
    };
    let mut said = String::new();
    section(&mut said, 0, own.said.iter().map(|own| (own.path, own.value.as_str())));
    let in_force = defaults(&options.settings).map(|(path, of_all)| {
        let own = own.said.iter().find(|own| own.path == path);
        (path, own.map_or(of_all, |own| own.value.as_str()))
    });
    let mut all = String::new();
    section(&mut all, 0, in_force);
    let name = tenant.map_or(OTHERS, TenantId::as_str);
    let body = format!(
        "<p>Tenant: <strong>{}</strong></p>\n<h3>Overrides</h3>\n\
         <p>Source: <strong>{}</strong></p>\n<pre><code>{}</code></pre>\n\
         <h3>In force</h3>\n<pre><code>{}</code></pre>\n",
        escaped(name),
        escaped(source),
        escaped(&said),
        escaped(&all)
    );
    html("Overrides: tenant", &body)
}

/// The tenant of a page's path; `None` is those that are not named.
///
/// # Errors
/// If it is no tenant.
pub(crate) fn of_path(argument: &str) -> Result<Option<TenantId>, String> {
    match argument {
        OTHERS => Ok(None),
        name => TenantId::parse(name).map(Some).map_err(|error| error.to_string()),
    }
}

/// What holds for all of what tenants may have their own of, by the places it has below a tenant.
fn defaults(settings: &[ShownSetting]) -> impl Iterator<Item = (&'static str, &str)> {
    let mut found: Vec<_> = settings
        .iter()
        .filter_map(|setting| Some((setting.of_tenants?, setting.value.as_deref()?)))
        .collect();
    // Those of one section may stand in several places of the server's file.
    found.sort_unstable();
    found.into_iter()
}

fn html(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html>\n<head><meta charset=\"UTF-8\"><title>{title}</title></head>\n\
         <body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(path: &'static str, of_tenants: Option<&'static str>, value: &str) -> ShownSetting {
        ShownSetting { path, of_tenants, value: Some(value.to_owned()), default: None }
    }

    #[test]
    fn sections_of_tenants_stand_together_whatever_the_servers_are() {
        let settings = [
            setting("a.x", Some("ingestion.x"), "1"),
            setting("b", None, "2"),
            setting("c.y", Some("read.y"), "3"),
            setting("d.z", Some("ingestion.z"), "4"),
        ];
        let found: Vec<_> = defaults(&settings).collect();
        assert_eq!(found, [("ingestion.x", "1"), ("ingestion.z", "4"), ("read.y", "3")]);
    }

    #[test]
    fn markup_in_a_value_stays_text() {
        assert_eq!(escaped("<a href='x\">&"), "&lt;a href=&#39;x&quot;&gt;&amp;");
    }

    #[test]
    fn a_tenant_sees_no_other() {
        let (a, b) = (TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap());
        let own = |value: &str| {
            let said = vec![OwnSetting { path: "read.y", value: value.to_owned() }];
            std::sync::Arc::new(crate::TenantOverrides {
                said,
                ..crate::TenantOverrides::default()
            })
        };
        let table = OverridesTable { tenants: [(a.clone(), own("1"))].into(), others: own("2") };
        let names = |audience: Audience| {
            audience.shown(&table).iter().map(|(name, _)| *name).collect::<Vec<_>>()
        };
        assert_eq!(names(Audience::Operator), ["*", "a"]);
        assert_eq!(names(Audience::Tenants(vec![a])), ["a"]);
        assert_eq!(names(Audience::Tenants(vec![b])), ["*"]);
    }
}
