//! From the tree of a file to settings: every key is known or refused where it stands, with the name
//! that was probably meant.

use super::foreign::{self, Foreign, Verdict};
use super::setting::{DEFAULTS, Setting};
use super::source::Read;
use super::table::{EMPTY_SECTIONS, settings};
use super::value::Value;
use crate::document::{Content, File, Node};
use crate::error::Result;

/// What a file says.
pub(super) struct Said<'a> {
    pub(super) read: Vec<Read<'a>>,
    /// What was passed over, and why.
    pub(super) warnings: Vec<String>,
}

/// Which settings are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Those of the server.
    Server,
    /// Those of a tenant.
    Tenant,
}

impl Scope {
    fn find(self, path: &str) -> Option<&'static Setting> {
        settings().find(|setting| match self {
            Self::Server => setting.is_at(path),
            Self::Tenant => setting.tenant.is_some_and(|(own, _)| own == path),
        })
    }

    /// All places at which settings may stand.
    fn places(self) -> Vec<String> {
        let places = |setting: &'static Setting| -> Vec<String> {
            match self {
                Self::Server => setting.places().collect(),
                Self::Tenant => setting.tenant.iter().map(|(own, _)| (*own).to_owned()).collect(),
            }
        };
        settings().flat_map(places).collect()
    }

    fn foreign(self, path: &str) -> Option<&'static Foreign> {
        match self {
            Self::Server => foreign::find(path),
            Self::Tenant => foreign::find(&format!("{DEFAULTS}{path}")),
        }
    }

    fn foreign_section(self, path: &str) -> String {
        match self {
            Self::Server => path.to_owned(),
            Self::Tenant => format!("{DEFAULTS}{path}").trim_end_matches('.').to_owned(),
        }
    }
}

/// Reads a section and all below it.
pub(super) fn read<'a>(file: &File, root: &'a Node, scope: Scope) -> Result<Said<'a>> {
    let mut reader = Reader {
        file,
        scope,
        places: scope.places(),
        said: Said { read: Vec::new(), warnings: Vec::new() },
    };
    if !root.is_nothing() {
        reader.section("", root)?;
    }
    Ok(reader.said)
}

struct Reader<'f, 'a> {
    file: &'f File,
    scope: Scope,
    places: Vec<String>,
    said: Said<'a>,
}

impl<'a> Reader<'_, 'a> {
    fn section(&mut self, section: &str, node: &'a Node) -> Result<()> {
        let Content::Map(entries) = &node.content else {
            let what = if section.is_empty() { "the file" } else { section };
            let message = format!("`{what}` has settings below it; found {}", node.kind());
            return Err(self.file.error(node.wrong(message)));
        };
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            let path = match section {
                "" => name.to_owned(),
                section => format!("{section}.{name}"),
            };
            self.entry(section, name, &path, key, value)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        section: &str,
        name: &str,
        path: &str,
        key: &'a Node,
        value: &'a Node,
    ) -> Result<()> {
        if let Some(setting) = self.scope.find(path) {
            // Tempo says so that there is none.
            if value.text() == Some("") && !value.is_nothing() && setting.form.is_text() {
                return Ok(());
            }
            let value = setting.form.read(self.file, path, value)?;
            return self.take(setting, value, path, key);
        }
        let switches = EMPTY_SECTIONS.iter().find(|(known, ..)| *known == path);
        if let (Some((_, setting, default)), Scope::Server) = (switches, self.scope)
            && let Some(setting) = self.scope.find(setting)
        {
            if !value.is_nothing() {
                self.section(path, value)?;
            }
            let is_said = self.said.read.iter().any(|read| std::ptr::eq(read.setting, setting));
            return match is_said {
                true => Ok(()),
                false => self.take(setting, Value::Text((*default).to_owned()), path, key),
            };
        }
        let foreign_path = self.scope.foreign_section(path);
        if self.is_section(path) || foreign::has_below(&foreign_path) {
            return match value.is_nothing() {
                true => Ok(()),
                false => self.section(path, value),
            };
        }
        // What is below a section that means nothing means nothing.
        let above = || {
            let above = std::iter::successors(Some(section), |path| {
                path.rsplit_once('.').map(|(above, _)| above)
            });
            let mut foreign = above.filter_map(|path| self.scope.foreign(path));
            foreign.find(|foreign| foreign.verdict == Verdict::Meaningless)
        };
        match self.scope.foreign(path).or_else(above) {
            Some(foreign) => self.foreign(foreign, path, key, value),
            None => Err(self.unknown(section, name, key)),
        }
    }

    fn take(
        &mut self,
        setting: &'static Setting,
        value: Value,
        path: &str,
        key: &'a Node,
    ) -> Result<()> {
        if let Some(before) = self.said.read.iter().find(|r| std::ptr::eq(r.setting, setting)) {
            let line = self.file.line(before.key.range.start);
            let message = format!("`{path}` is said already, by another name in line {line}");
            return Err(self.file.error(key.wrong(message)));
        }
        self.said.read.push(Read { setting, value, key });
        Ok(())
    }

    fn is_section(&self, path: &str) -> bool {
        let below =
            |place: &String| place.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        self.places.iter().any(below)
    }

    fn foreign(&mut self, foreign: &Foreign, path: &str, key: &Node, value: &Node) -> Result<()> {
        let why = foreign.why;
        match foreign.verdict {
            Verdict::Missing | Verdict::Elsewhere if foreign::is_off(value) => Ok(()),
            Verdict::Missing => {
                let wrong = key.wrong(format!("`{path}` is Tempo's, and not done here: {why}"));
                Err(self.file.error(wrong.hint("leave it out, or say that it is off")))
            }
            Verdict::Elsewhere => {
                let wrong = key.wrong(format!("`{path}` is Tempo's, and said otherwise here"));
                Err(self.file.error(wrong.hint(why)))
            }
            Verdict::Meaningless => {
                let line = self.file.line(key.range.start);
                let name = &self.file.name;
                self.said.warnings.push(format!("{name}:{line}: `{path}` is passed over: {why}"));
                Ok(())
            }
        }
    }

    fn unknown(&self, section: &str, name: &str, key: &Node) -> crate::error::Error {
        let of = match section {
            "" => "the configuration".to_owned(),
            section => format!("`{section}`"),
        };
        let wrong = key.wrong(format!("{of} has no setting `{name}`"));
        let below = |place: &String| -> Option<String> {
            let rest = match section {
                "" => place.as_str(),
                section => place.strip_prefix(section)?.strip_prefix('.')?,
            };
            rest.split('.').next().map(str::to_owned)
        };
        let mut own: Vec<String> = self.places.iter().filter_map(below).collect();
        own.sort();
        own.dedup();
        let tempos = self.scope.foreign_section(section);
        let mut known = own.clone();
        known.extend(foreign::names_in(&tempos).map(str::to_owned));
        let elsewhere = self.places.iter().find(|place| place.rsplit('.').next() == Some(name));
        let hint = match (traceql_language::nearest(name, &known), elsewhere) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(place)) => format!("there is `{place}`"),
            (None, None) if own.is_empty() => format!("Tempo has there: {}", known.join(", ")),
            (None, None) => format!("it has: {}", own.join(", ")),
        };
        self.file.error(wrong.hint(hint))
    }
}
