//! Settings from a file: `~/.config/traceql/config.toml`, where profiles gather what belongs together.
//! An option of the command line comes before the environment, the environment before the profile, the
//! profile before what the file says for all, and that before the defaults.
//!
//! What the file says becomes defaults of the arguments, so that every command and the prompt read it
//! as they read their options. Secrets do not stand in it: it names who knows them.

mod keys;
mod read;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use crate::args::{Command as Asked, CommandLine, CommonArgs, ReplArgs};
use crate::error::{Error, Result};
use crate::serve_config::{Given, ServeFile};
pub(crate) use keys::KEYS;
use keys::{Key, Meaning};
use read::ConfigFile;

/// The name of the file in the folder of settings.
const FILE_NAME: &str = "config.toml";

/// The key whose values belong to a source.
const TENANT: &str = "tenant";
/// The argument that they belong to.
const SOURCE: &str = "source";
/// What names a source in the environment.
const SOURCE_VARIABLE: &str = "TRACEQL_SOURCE";

/// Commands whose questions name their own data.
const SELF_CONTAINED: [&str; 2] = ["test", "lint"];

/// What the file says, with a profile chosen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// The environment without what the profile adds.
    environment: Vec<(String, String)>,
    file: Option<ConfigFile>,
    profile: Option<String>,
    /// What is in force.
    settings: Vec<Setting>,
}

/// A setting that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Which.
    pub(crate) key: &'static str,
    /// Its values; all but tenants have one.
    pub(crate) values: Vec<String>,
    /// Who says so.
    pub(crate) origin: Origin,
}

/// Who says what a setting is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A variable of the environment, whose value only the commands look at.
    Environment(&'static str),
    /// The profile.
    Profile,
    /// The file, for all profiles.
    File,
}

/// A folder of ours below one of the user's: by its variable, or below the home.
pub(crate) fn user_folder<'a>(
    variable: impl Fn(&str) -> Option<&'a str>,
    name: &str,
    below_home: &str,
) -> Option<PathBuf> {
    let set = variable(name).filter(|path| Path::new(path).is_absolute());
    let base = match set {
        Some(path) => PathBuf::from(path),
        None => Path::new(variable("HOME").filter(|home| !home.is_empty())?).join(below_home),
    };
    Some(base.join("traceql"))
}

impl Config {
    /// Reads the file that the options name, or the user's, and chooses the profile.
    ///
    /// # Errors
    /// A file that is named and not there; anything in it that is not understood; a profile that it
    /// does not have.
    pub(crate) fn load(args: &CommonArgs, environment: &[(String, String)]) -> Result<Self> {
        let variable = |name: &str| find(environment, name);
        let usual = user_folder(variable, "XDG_CONFIG_HOME", ".config");
        let usual = usual.map(|folder| folder.join(FILE_NAME));
        let named = args.config.as_ref().filter(|path| !path.as_os_str().is_empty());
        let file = match (named, usual) {
            (Some(named), _) => Some(ConfigFile::read(named)?),
            (None, Some(path)) if path.exists() => Some(ConfigFile::read(&path)?),
            (None, _) => None,
        };
        let config = Self { environment: environment.to_vec(), file, ..Self::default() };
        let usual = config.file.as_ref().and_then(|file| file.profile.clone());
        let named = args.profile.clone().filter(|name| !name.is_empty());
        match named.or(usual) {
            Some(name) => config.with_profile(&name),
            None => Ok(config.settled()),
        }
    }

    /// The same with another profile.
    pub(crate) fn with_profile(&self, name: &str) -> Result<Self> {
        let profiles = self.profiles();
        if !profiles.contains(&name) {
            let error = Error::usage(format!("there is no profile {name:?}"));
            return Err(match (&self.file, traceql_language::nearest(name, &profiles)) {
                (None, _) => error.hint(format!(
                    "profiles stand in ~/.config/traceql/{FILE_NAME}, or in the file that --config names"
                )),
                (Some(_), Some(near)) => error.hint(format!("did you mean {near}?")),
                (Some(file), None) if profiles.is_empty() => {
                    error.note(format!("{} has none", file.path.display()))
                }
                (Some(file), None) => {
                    error.note(format!("{} has: {}", file.path.display(), profiles.join(", ")))
                }
            });
        }
        Ok(Self { profile: Some(name.to_owned()), ..self.clone() }.settled())
    }

    /// Finds out what is in force.
    fn settled(mut self) -> Self {
        self.settings = KEYS.iter().filter_map(|key| self.setting(key)).collect();
        self
    }

    fn setting(&self, key: &Key) -> Option<Setting> {
        let is_set = |name: &str| find(&self.environment, name).is_some_and(|v| !v.is_empty());
        if key.name == TENANT && is_set(SOURCE_VARIABLE) {
            // Tenants are the source's own, and this is another one.
            return None;
        }
        if let Some(variable) = key.environment.iter().find(|name| is_set(name)) {
            let origin = Origin::Environment(variable);
            return Some(Setting { key: key.name, values: Vec::new(), origin });
        }
        let file = self.file.as_ref()?;
        let profile = self.profile.as_deref().and_then(|name| file.of_profile(name, key.name));
        let (values, origin) = match profile {
            Some(values) => (values, Origin::Profile),
            None => (file.of_all(key.name)?, Origin::File),
        };
        Some(Setting { key: key.name, values: values.to_vec(), origin })
    }

    /// The file that was read.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// The profile that was chosen.
    pub(crate) fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// The profiles there are.
    pub(crate) fn profiles(&self) -> Vec<&str> {
        self.file.iter().flat_map(ConfigFile::profiles).collect()
    }

    /// What is in force; of the environment which variable says so.
    pub(crate) fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// What the file says of a key, if it is the file's to say.
    fn written(&self, key: &Key) -> Option<&[String]> {
        let setting = self.settings.iter().find(|setting| setting.key == key.name)?;
        let is_ours = !matches!(setting.origin, Origin::Environment(_));
        is_ours.then_some(setting.values.as_slice())
    }

    /// The environment with what the file adds to it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut environment = self.environment.clone();
        for key in KEYS {
            let Some([value]) = self.written(key) else { continue };
            let (name, value) = match key.meaning {
                Meaning::Variable(name) => (name, value.as_str()),
                Meaning::Reference(name) => match find(&self.environment, value) {
                    Some(secret) => (name, secret),
                    None => continue,
                },
                Meaning::Argument(_) | Meaning::Limit => continue,
            };
            environment.push((name.to_owned(), value.to_owned()));
        }
        environment
    }

    /// What the file refers to in vain.
    pub(crate) fn missing(&self) -> Vec<String> {
        let references = KEYS.iter().filter(|key| matches!(key.meaning, Meaning::Reference(_)));
        let named = references.filter_map(|key| Some((key.name, self.written(key)?.first()?)));
        named
            .filter(|(_, variable)| find(&self.environment, variable).is_none())
            .map(|(name, variable)| format!("{name} names {variable}, which is not set"))
            .collect()
    }

    /// The options of a prompt that was started without any.
    pub(crate) fn repl(&self) -> Result<(CommonArgs, ReplArgs)> {
        match self.parse(&["traceql", "repl"].map(OsString::from), None) {
            Ok(CommandLine { common, command: Some(Asked::Repl(args)) }) => Ok((common, args)),
            Ok(_) => Err(Error::usage("no command given")),
            Err(error) => Err(Error::usage(error.to_string())),
        }
    }

    /// Most traces of a search, where the command line does not say.
    pub(crate) fn limit(&self) -> Option<usize> {
        let key = KEYS.iter().find(|key| key.meaning == Meaning::Limit)?;
        self.written(key)?.first()?.parse().ok()
    }

    /// Reads the command line, with what the file says as defaults, and before that what a file of
    /// `serve` says.
    pub(crate) fn parse(
        &self,
        arguments: &[OsString],
        served: Option<Arc<ServeFile>>,
    ) -> Result<CommandLine, clap::Error> {
        let mut command = CommandLine::command();
        if self.file.is_some() {
            let names_source = served.as_ref().is_some_and(|served| served.says_argument(SOURCE))
                || names_source(&command.clone().try_get_matches_from(arguments)?);
            command = self.with_defaults(command, names_source);
        }
        if let Some(served) = &served {
            command = served.with_defaults(command);
        }
        let mut matches = command.try_get_matches_from_mut(arguments)?;
        let given = Given::of(&matches);
        let line = CommandLine::from_arg_matches_mut(&mut matches);
        let mut line = line.map_err(|error| error.format(&mut command))?;
        if let Some(Asked::Serve(args)) = &mut line.command {
            (args.given, args.file) = (given, served);
        }
        Ok(line)
    }

    /// Gives the file's settings to the arguments of a command and of all below it.
    fn with_defaults(&self, mut command: Command, names_source: bool) -> Command {
        let names_own_data = SELF_CONTAINED.contains(&command.get_name());
        for key in KEYS {
            let Meaning::Argument(id) = key.meaning else { continue };
            let Some(values) = self.written(key) else { continue };
            let takes = command.get_arguments().find(|argument| argument.get_id() == id);
            // Not every command has every form of answers.
            let takes = takes.is_some_and(|argument| {
                let possible = argument.get_possible_values();
                possible.is_empty()
                    || values.iter().all(|v| possible.iter().any(|p| p.matches(v, true)))
            });
            let is_foreign = names_source && key.name == TENANT;
            if takes && !is_foreign && !(names_own_data && key.is_data()) {
                let values = values.to_vec();
                command = command.mut_arg(id, |argument| argument.default_values(values));
            }
        }
        let below: Vec<String> =
            command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
        for name in below {
            command = command.mut_subcommand(name, |below| self.with_defaults(below, names_source));
        }
        command
    }
}

/// Whether the command line names a source.
fn names_source(matches: &ArgMatches) -> bool {
    let mut matches = matches;
    while let Some((_, below)) = matches.subcommand() {
        matches = below;
    }
    matches.try_contains_id("source").is_ok_and(|is_there| is_there)
        && matches.value_source("source") == Some(ValueSource::CommandLine)
}

/// Reads a text as a file of settings would be; what is wrong with it as it is shown.
///
/// # Errors
/// As [`Config::load`].
pub(crate) fn check(file: &crate::document::File) -> Result<()> {
    ConfigFile::check(file).map(drop)
}

/// A variable; of two of one name the last.
fn find<'a>(environment: &'a [(String, String)], name: &str) -> Option<&'a str> {
    environment.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser as _;

    use super::*;
    use crate::args::DialectName;

    const FILE: &str = "
profile = \"dev\"
color = \"never\"
limit = 7
[profiles.dev]
source = \"sample:\"
output = \"csv\"
timeout = \"5s\"
[profiles.prod]
source = \"s3://traces/tempo\"
tenant = [\"a\", \"b\"]
s3_profile = \"readonly\"
unsigned = true
azure_key_env = \"OUR_KEY\"
dialect = \"tempo\"
";

    fn load(profile: Option<&str>, environment: &[(&str, &str)]) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, FILE).unwrap();
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let environment: Vec<_> = environment.iter().map(own).collect();
        let mut line = CommandLine::try_parse_from(["traceql"]).unwrap();
        line.common.config = Some(path);
        line.common.profile = profile.map(str::to_owned);
        Config::load(&line.common, &environment).unwrap()
    }

    fn parse(config: &Config, line: &[&str]) -> CommandLine {
        let line: Vec<OsString> = line.iter().map(OsString::from).collect();
        config.parse(&line, None).unwrap()
    }

    #[test]
    fn options_come_before_the_profile_and_it_before_what_holds_for_all() {
        let dev = load(None, &[]);
        let Some(Asked::Query(args)) = parse(&dev, &["traceql", "query", "{ }"]).command else {
            panic!("it is a query")
        };
        assert_eq!(args.source.source.as_deref(), Some("sample:"));
        assert_eq!(format!("{:?}", args.output), "Csv");
        assert_eq!(args.run.timeout.as_deref(), Some("5s"));
        assert_eq!(dev.limit(), Some(7));
        let line = ["traceql", "query", "-s", "x", "-o", "auto", "--timeout", "1s", "{ }"];
        let line = parse(&dev, &line);
        assert_eq!(format!("{:?}", line.common.color), "Never");
        let Some(Asked::Query(args)) = line.command else { panic!("it is a query") };
        assert_eq!(args.source.source.as_deref(), Some("x"));
        assert_eq!(format!("{:?}", args.output), "Auto");
        assert_eq!(args.run.timeout.as_deref(), Some("1s"));
    }

    #[test]
    fn a_profile_reaches_nested_commands_and_flags() {
        let prod = load(Some("prod"), &[]);
        let line = parse(&prod, &["traceql", "blocks", "list"]);
        assert_eq!(line.common.dialect, DialectName::Tempo);
        let Some(Asked::Blocks(args)) = line.command else { panic!("it is blocks") };
        let crate::args::BlocksCommand::List(args) = args.command else { panic!("it is list") };
        assert_eq!(args.source.source.as_deref(), Some("s3://traces/tempo"));
        assert_eq!(args.source.tenant, ["a", "b"]);
        assert_eq!(args.source.stores.s3_profile.as_deref(), Some("readonly"));
        assert!(args.source.stores.unsigned && !args.source.stores.allow_http);
        // Another source has tenants of its own.
        let line = parse(&prod, &["traceql", "tags", "--source", "sample:"]);
        let Some(Asked::Tags(args)) = line.command else { panic!("it is tags") };
        assert!(args.source.tenant.is_empty() && args.source.stores.unsigned);
        // A suite says itself what it asks.
        let Some(Asked::Test(args)) = parse(&prod, &["traceql", "test", "a.yaml"]).command else {
            panic!("it is test")
        };
        assert_eq!((args.source, args.stores.s3_profile.as_deref()), (None, Some("readonly")));
    }

    #[test]
    fn the_environment_comes_before_the_file() {
        let prod = load(Some("prod"), &[("AWS_PROFILE", "mine"), ("OUR_KEY", "secret")]);
        let Some(Asked::Query(args)) = parse(&prod, &["traceql", "query", "{ }"]).command else {
            panic!("it is a query")
        };
        assert_eq!(args.source.stores.s3_profile, None);
        let origin = prod.settings().iter().find(|s| s.key == "s3_profile").unwrap();
        assert_eq!(origin.origin, Origin::Environment("AWS_PROFILE"));
        assert_eq!(find(&prod.environment(), "AZURE_STORAGE_ACCOUNT_KEY"), Some("secret"));
        assert!(prod.missing().is_empty());
        let prod = load(Some("prod"), &[]);
        assert_eq!(find(&prod.environment(), "AZURE_STORAGE_ACCOUNT_KEY"), None);
        assert_eq!(prod.missing(), ["azure_key_env names OUR_KEY, which is not set"]);
    }

    #[test]
    fn every_key_names_an_argument() {
        let command = CommandLine::command();
        let query = command.find_subcommand("query").unwrap();
        for key in KEYS {
            let Meaning::Argument(id) = key.meaning else { continue };
            let mut arguments = command.get_arguments().chain(query.get_arguments());
            assert!(arguments.any(|argument| argument.get_id() == id), "{}", key.name);
        }
    }
}
