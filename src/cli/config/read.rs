//! Reads the file: keys for all at the top, profiles below, everything checked where it stands.

use std::path::{Path, PathBuf};

use super::keys::{Form, KEYS, Key, SECRETS};
use crate::document::{Content, Fields, File, Node, Wrong};
use crate::error::{Error, Result};

/// The key that names the profile taken if none is named.
const PROFILE: &str = "profile";
/// The table of profiles.
const PROFILES: &str = "profiles";

/// Values by key.
type Values = Vec<(&'static str, Vec<String>)>;

/// What a file says.
#[derive(Clone, Debug)]
pub(super) struct ConfigFile {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// The profile taken if none is named.
    pub(super) profile: Option<String>,
    all: Values,
    profiles: Vec<(String, Values)>,
}

impl ConfigFile {
    /// Reads and checks a file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        Self::check(&File::read(path)?)
    }

    /// The same of a text that was read.
    pub(super) fn check(file: &File) -> Result<Self> {
        let root = file.toml()?;
        refuse_secrets(file, &root)?;
        let mut known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
        known.extend([PROFILE, PROFILES]);
        let fields = Fields::of(file, &root, "the configuration", &known)?;
        let profile = fields.text(PROFILE)?;
        let mut profiles = Vec::new();
        if let Some(node) = fields.get(PROFILES)? {
            let Content::Map(entries) = &node.content else {
                let wrong = node.wrong("`profiles` is a table of tables");
                return Err(file.error(wrong.hint("write [profiles.NAME] and its keys below")));
            };
            for (name, node) in entries {
                refuse_secrets(file, node)?;
                let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
                let fields = Fields::of(file, node, "a profile", &known)?;
                let name = name.text().unwrap_or_default().to_owned();
                profiles.push((name, values(file, &fields)?));
            }
        }
        if let Some(named) = profile
            && !profiles.iter().any(|(name, _)| name == named.value)
        {
            let wrong = named.node.wrong(format!("there is no profile {:?}", named.value));
            return Err(file.error(wrong.hint("write [profiles.NAME] and its keys below")));
        }
        Ok(Self {
            path: file.path.clone(),
            profile: profile.map(|profile| profile.value.to_owned()),
            all: values(file, &fields)?,
            profiles,
        })
    }

    /// Names of the profiles, in the order of the file.
    pub(super) fn profiles(&self) -> impl Iterator<Item = &str> {
        self.profiles.iter().map(|(name, _)| name.as_str())
    }

    /// What is said for all.
    pub(super) fn of_all(&self, key: &str) -> Option<&[String]> {
        value(&self.all, key)
    }

    /// What a profile says.
    pub(super) fn of_profile(&self, profile: &str, key: &str) -> Option<&[String]> {
        let (_, values) = self.profiles.iter().find(|(name, _)| name == profile)?;
        value(values, key)
    }
}

fn value<'a>(values: &'a Values, key: &str) -> Option<&'a [String]> {
    values.iter().find(|(name, _)| *name == key).map(|(_, values)| values.as_slice())
}

/// Secrets are refused before anything else is said, and not shown.
fn refuse_secrets(file: &File, node: &Node) -> Result<()> {
    let Content::Map(entries) = &node.content else { return Ok(()) };
    for (key, _) in entries {
        let name = key.text().unwrap_or_default().replace('-', "_");
        if let Some((_, instead)) = SECRETS.iter().find(|(secret, _)| *secret == name) {
            // Only the key is marked; its line would show the value.
            let line = file.line(key.range.start);
            return Err(Error::usage(format!(
                "{} holds a secret in line {line}: `{name}`",
                file.name
            ))
            .hint(format!(
                "name the variable of the environment that holds it: {instead} = \"NAME\""
            )));
        }
    }
    Ok(())
}

fn values(file: &File, fields: &Fields<'_>) -> Result<Values> {
    let mut values = Values::new();
    for key in KEYS {
        let wrong = |wrong: Wrong| file.error(wrong);
        let Some(node) = fields.get(key.name)? else { continue };
        let nodes = match (&node.content, key.form) {
            (Content::List(items), Form::Tenants) => items.as_slice(),
            (Content::Scalar { .. }, _) => std::slice::from_ref(node),
            _ => return Err(wrong(node.wrong(expected(key, node)))),
        };
        let mut texts = Vec::new();
        for node in nodes {
            let Some(text) = node.text() else {
                return Err(wrong(node.wrong(expected(key, node))));
            };
            if let (Some(why), Form::VariableName) = (key.form.refuse(text), key.form) {
                // What is no name may be the secret itself: its line is not shown.
                let line = file.line(node.range.start);
                let message = format!("{}, line {line}: `{}`: {why}", file.name, key.name);
                return Err(Error::usage(message));
            }
            if let Some(why) = key.form.refuse(text) {
                return Err(wrong(node.wrong(format!("`{}`: {why}", key.name))));
            }
            match key.form {
                Form::Tenants => texts.extend(text.split('|').map(str::to_owned)),
                _ => texts.push(text.to_owned()),
            }
        }
        values.push((key.name, texts));
    }
    Ok(values)
}

fn expected(key: &Key, node: &Node) -> String {
    format!("`{}` is one value; found {}", key.name, node.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Page, render};

    #[track_caller]
    fn refused(text: &str, parts: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        let error = ConfigFile::read(&path).unwrap_err();
        let said = render(&error, Page::PLAIN);
        for part in parts {
            assert!(said.contains(part), "{part:?} in {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn mistakes_are_drawn_where_they_stand() {
        refused(
            "sourc = \"x\"",
            &["config.toml:1:1", "has no key `sourc`", "did you mean `source`?"],
        );
        refused("[profiles.a]\ns3-profile = \"x\"", &[":2:1", "did you mean `s3_profile`?"]);
        refused("timeout = \"soon\"", &[":1:11", "`timeout`", "is no duration"]);
        refused("color = \"red\"", &["none of: auto, always, never"]);
        refused("output = \"xml\"", &["\"xml\" is none of:", "parquet"]);
        refused("limit = -1", &["is no whole number"]);
        refused("threads = 0", &[":1:11", "is no number of threads"]);
        refused("timeout = \"0s\"", &["a time of 0"]);
        refused("tenant = [\"a\", \"b/c\"]", &[":1:16", "tenant"]);
        refused("output = \"chart\"", &["none of: arrow, auto"]);
        refused("unsigned = \"perhaps\"", &["none of: true, false"]);
        refused("source = [\"a\"]", &["`source` is one value; found a list"]);
        refused("source = ", &["this is no TOML", ":1:"]);
        refused("profile = \"b\"\n[profiles.a]", &[":1:11", "no profile \"b\""]);
        refused("profiles = 1", &["[profiles.NAME]"]);
    }

    #[test]
    fn secrets_are_refused_and_not_repeated() {
        refused(
            "[profiles.a]\ns3_secret_access_key = \"hunter2\"",
            &["in line 2", "s3_secret_access_key_env = \"NAME\""],
        );
        refused("azure_key_env = \"hunter2 \"", &["no name of a variable"]);
    }
}
