//! What the server is, does and was told, for people: plain text, and settings as YAML with Tempo's
//! names where the meaning is the same.

pub(crate) mod overrides;

use std::fmt::Write as _;

use crate::options::ServeOptions;
use crate::route::{self, Page};

/// The version of Tempo whose API this is; old Grafana looks at it to decide what it may ask.
pub(crate) const API_VERSION: &str = "3.1.0";

/// Which settings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    All,
    /// Those that differ from their defaults.
    Changed,
    /// The defaults.
    Defaults,
}

impl Shown {
    /// Of the parameter `mode`.
    pub(crate) fn of(mode: Option<&str>) -> Option<Self> {
        match mode {
            None => Some(Self::All),
            Some("diff") => Some(Self::Changed),
            Some("defaults") => Some(Self::Defaults),
            Some(_) => None,
        }
    }
}

/// Something that runs, or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) state: &'static str,
    /// What there is to say of it; may be empty.
    pub(crate) says: String,
}

/// The text of a page.
pub(crate) fn page(
    page: Page,
    options: &ServeOptions,
    running: &[Service],
    shown: Shown,
) -> String {
    match page {
        Page::Version => version(),
        Page::Services => services(running),
        Page::Endpoints => endpoints(),
        Page::Config => yaml(&options.settings, shown),
        Page::UsageStats => "usage-stats is not enabled\n".to_owned(),
        Page::All => format!(
            "# version\n{}\n# services\n{}\n# endpoints\n{}\n# config\n{}",
            version(),
            services(running),
            endpoints(),
            yaml(&options.settings, shown)
        ),
    }
}

fn version() -> String {
    format!("traceql {}\nAPI of Tempo {API_VERSION}\n", env!("CARGO_PKG_VERSION"))
}

fn services(running: &[Service]) -> String {
    let mut text = String::new();
    for Service { name, state, says } in running {
        // A string takes everything.
        let _written = writeln!(text, "{}", format!("{name:<18}{state:<9}{says}").trim_end());
    }
    text
}

fn endpoints() -> String {
    let mut text = String::new();
    for (name, is_served) in route::table() {
        let state = if is_served { "served" } else { "not implemented" };
        // A string takes everything.
        let _written = writeln!(text, "{state:<16}{name}");
    }
    text
}

/// A setting as it is written in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSetting {
    /// Sections and name, with dots between. Those of a section stand together.
    pub path: &'static str,
    /// Its place below a tenant, in a file of overrides, if tenants may have their own.
    pub of_tenants: Option<&'static str>,
    /// Its value as YAML on one line; `None` if it has none, or is a secret.
    pub value: Option<String>,
    /// Its default, likewise.
    pub default: Option<String>,
}

/// Settings as a file has them.
#[must_use]
pub fn settings_as_yaml(settings: &[ShownSetting]) -> String {
    yaml(settings, Shown::All)
}

fn yaml(settings: &[ShownSetting], shown: Shown) -> String {
    let shown = settings.iter().filter_map(|ShownSetting { path, value, default, .. }| {
        let value = match shown {
            Shown::All => value,
            Shown::Changed if default == value => return None,
            Shown::Changed => value,
            Shown::Defaults => default,
        };
        Some((*path, value.as_deref()?))
    });
    let mut text = String::new();
    section(&mut text, 0, shown);
    text
}

/// Writes paths and values as they stand in a file, so many sections deep. Paths of a section stand
/// together.
fn section<'a>(text: &mut String, depth: usize, of: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut open: Vec<&str> = Vec::new();
    for (path, value) in of {
        let sections: Vec<&str> = path.split('.').collect();
        let (name, sections) = sections.split_last().unwrap_or((&"", &[]));
        let n_common = open.iter().zip(sections).take_while(|(a, b)| a == b).count();
        for (below, section) in sections.iter().enumerate().skip(n_common) {
            // A string takes everything.
            let _written = writeln!(text, "{:1$}{section}:", "", 2 * (depth + below));
        }
        open = sections.to_vec();
        let _written = writeln!(text, "{:1$}{name}: {value}", "", 2 * (depth + sections.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_opens_once() {
        let settings = ["a", "b.c", "b.d.e", "b.d.f", "g.h"];
        let one = || Some("1".to_owned());
        let mut settings = settings.map(|path| ShownSetting {
            path,
            of_tenants: None,
            value: one(),
            default: None,
        });
        let all = "a: 1\nb:\n  c: 1\n  d:\n    e: 1\n    f: 1\ng:\n  h: 1\n";
        assert_eq!(settings_as_yaml(&settings), all);
        assert_eq!(yaml(&settings, Shown::Defaults), "");
        settings[1].default = one();
        settings[4].value = None;
        settings[4].default = Some("2".to_owned());
        assert_eq!(yaml(&settings, Shown::Defaults), "b:\n  c: 1\ng:\n  h: 2\n");
        assert_eq!(yaml(&settings, Shown::Changed), "a: 1\nb:\n  d:\n    e: 1\n    f: 1\n");
    }
}
