//! The settings of `serve`: a file with Tempo's names where the meaning is the same, whose values become
//! defaults of the options, so that options come first and are read in one way; what is in force, as
//! `/status/config` shows it; and which options belong to which role.
//!
//! `table` is the source of all: files, options, the status page and `src/server/configuration.md` are
//! held against it by tests.

mod expand;
mod foreign;
mod manual;
mod overrides;
mod places;
mod read;
mod setting;
mod source;
mod structures;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use traceql_blocks::write::block::BlockSettings;
use traceql_server::generator::{GeneratorOptions, RemoteWriteOptions};
use traceql_server::{IngestLimits, Limits, Roles, ShownSetting};

use crate::args::{Command as Asked, CommandLine};
use crate::document::File;
use crate::error::{Error, Result};
use crate::role_args::Role;
pub(crate) use manual::manual;
pub(crate) use overrides::read_overrides;
use places::Place;
use read::{Scope, read};
use setting::{Sets, Setting};
use table::{OPTIONS, settings};
use value::{Form, Value};

/// The command whose options these are.
const SERVE: &str = "serve";

/// What a file says.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServeFile {
    read: Vec<(&'static Setting, Value)>,
    /// Values of arguments.
    arguments: Vec<(&'static str, Vec<String>)>,
    places: Vec<Place>,
    /// What was passed over, and why.
    pub(crate) warnings: Vec<String>,
}

/// What is in force, by the ids of arguments: as options have it, and whether options said it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    arguments: BTreeMap<String, (Vec<String>, bool)>,
}

impl ServeFile {
    /// Reads a file; with `environment`, variables in it are put in first.
    ///
    /// # Errors
    /// Whatever in it is not understood, drawn where it stands.
    pub(crate) fn load(path: &Path, environment: Option<&[(String, String)]>) -> Result<Self> {
        let mut file = File::read(path)?;
        if let Some(environment) = environment {
            expand::expand(&mut file, environment)?;
        }
        Self::of(&file)
    }

    /// The same of a text that was read.
    pub(crate) fn of(file: &File) -> Result<Self> {
        let root = file.yaml()?;
        let said = read(file, &root, Scope::Server)?;
        let mut arguments = source::arguments(file, &said.read)?;
        let mut halves: BTreeMap<&str, [Option<String>; 2]> = BTreeMap::new();
        for read in &said.read {
            match read.setting.sets {
                // It has a form of its own.
                Sets::Argument("s3_endpoint") => {}
                Sets::Argument(id) => arguments.push((id, read.value.texts())),
                Sets::Host(id) => {
                    halves.entry(id).or_default()[0] = Some(read.value.clone().text());
                }
                Sets::Port(id) => {
                    halves.entry(id).or_default()[1] = Some(read.value.clone().count().to_string());
                }
                _ => {}
            }
        }
        for (id, [host, port]) in halves {
            let default = if id == "listen" { "3200" } else { "9095" };
            let host = host.filter(|host| !host.is_empty());
            let host = host.unwrap_or_else(|| "127.0.0.1".to_owned());
            let port = port.unwrap_or_else(|| default.to_owned());
            let id = if id == "listen" { "listen" } else { "grpc_listen" };
            arguments.push((id, vec![format!("{host}:{port}")]));
        }
        let places = said.read.iter().map(|read| Place::of(file, read)).collect();
        let read = said.read.into_iter().map(|read| (read.setting, read.value)).collect();
        Ok(Self { read, arguments, places, warnings: said.warnings })
    }

    /// Whether it says what the argument of this id is.
    pub(crate) fn says_argument(&self, id: &str) -> bool {
        self.arguments.iter().any(|(said, _)| *said == id)
    }

    /// Gives what the file says to the arguments of `serve`, and to those of all commands.
    pub(crate) fn with_defaults(&self, mut command: Command) -> Command {
        let serve = command.find_subcommand(SERVE).cloned();
        for (id, values) in &self.arguments {
            let set = |argument: clap::Arg| argument.default_values(values.clone());
            let has = |command: &Command| {
                command.get_arguments().any(|argument| argument.get_id() == *id)
            };
            if has(&command) {
                command = command.mut_arg(*id, set);
            } else if serve.as_ref().is_some_and(has) {
                command = command.mut_subcommand(SERVE, |serve| serve.mut_arg(*id, set));
            }
        }
        taking_back(command)
    }

    /// Sets what no option says of queries.
    pub(crate) fn set_limits(&self, limits: &mut Limits) {
        self.each(|sets, value| {
            if let Sets::Limits(set) = sets {
                set(limits, value);
            }
        });
    }

    /// Sets what no option says of what is taken in.
    pub(crate) fn set_ingest(
        &self,
        limits: &mut IngestLimits,
        block: &mut BlockSettings,
        given: &Given,
    ) {
        // The version of blocks comes first: it has its own default columns.
        self.each_unsaid(given, |sets, value| match sets {
            Sets::Ingest(set) => set(limits, value),
            Sets::Block(set) if matches!(value, Value::Text(_)) => set(block, value),
            _ => {}
        });
        self.each_unsaid(given, |sets, value| match sets {
            Sets::Block(set) if !matches!(value, Value::Text(_)) => set(block, value),
            _ => {}
        });
    }

    /// Sets what no option has said of metrics of spans.
    pub(crate) fn set_generator(&self, options: &mut GeneratorOptions, given: &Given) {
        self.each_unsaid(given, |sets, value| match sets {
            Sets::Generator(set) => set(options, value),
            Sets::Metrics(set) => set(&mut options.defaults, value),
            _ => {}
        });
    }

    /// Receivers of remote write.
    pub(crate) fn receivers(&self) -> Vec<RemoteWriteOptions> {
        let mut receivers = Vec::new();
        self.each(|sets, value| {
            if let (Sets::Receivers, Value::RemoteWrite(read)) = (sets, value) {
                receivers = read;
            }
        });
        receivers
    }

    /// Those that no option says in other words.
    fn each_unsaid(&self, given: &Given, mut apply: impl FnMut(Sets, Value)) {
        let is_unsaid = |setting: &Setting| !setting.said_by.iter().any(|id| given.is_option(id));
        let unsaid = self.read.iter().filter(|(setting, _)| is_unsaid(setting));
        unsaid.for_each(|(setting, value)| apply(setting.sets, value.clone()));
    }

    fn each(&self, mut apply: impl FnMut(Sets, Value)) {
        self.read.iter().for_each(|(setting, value)| apply(setting.sets, value.clone()));
    }
}

/// The same command line, whose flags of `serve` can take back what a file says: `--flag=false`.
fn taking_back(command: Command) -> Command {
    let flags = settings().filter(|setting| matches!(setting.form, Form::Flag));
    let ids: Vec<_> = flags.filter_map(Setting::argument_id).collect();
    command.mut_subcommand(SERVE, |serve| {
        ids.iter().fold(serve, |serve, id| {
            serve.mut_arg(*id, |flag| {
                let flag = match flag.get_default_values().is_empty() {
                    true => flag.default_value("false"),
                    false => flag,
                };
                flag.action(ArgAction::Set)
                    .value_parser(clap::value_parser!(bool))
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
            })
        })
    })
}

/// A command line that is understood beside a file alone.
pub(crate) fn asked(arguments: &[OsString]) -> Option<CommandLine> {
    let matches = taking_back(CommandLine::command()).try_get_matches_from(arguments).ok()?;
    let line = CommandLine::from_arg_matches(&matches).ok()?;
    let has_file =
        matches!(&line.command, Some(Asked::Serve(args)) if args.config.config_file.is_some());
    has_file.then_some(line)
}

impl Given {
    /// What the arguments of `serve` are, if it was asked for.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let mut arguments = BTreeMap::new();
        let Some((SERVE, matches)) = matches.subcommand() else { return Self::default() };
        for id in matches.ids() {
            let id = id.as_str();
            let Ok(Some(values)) = matches.try_get_raw(id) else { continue };
            let values = values.map(|value| value.to_string_lossy().into_owned()).collect();
            let is_option = matches.value_source(id) == Some(ValueSource::CommandLine);
            arguments.insert(id.to_owned(), (values, is_option));
        }
        Self { arguments }
    }

    /// Whether an option said it.
    pub(crate) fn is_option(&self, id: &str) -> bool {
        self.arguments.get(id).is_some_and(|(_, is_option)| *is_option)
    }

    fn values(&self, id: &str) -> Option<Vec<&str>> {
        let (values, _) = self.arguments.get(id)?;
        Some(values.iter().map(String::as_str).collect())
    }

    /// Refuses options of roles that the process does not have: whoever gives them expects something.
    ///
    /// # Errors
    /// Naming the first of them.
    pub(crate) fn check_roles(&self, roles: Roles) -> Result<()> {
        let of_settings =
            settings().filter_map(|setting| Some((setting.argument_id()?, setting.role?)));
        let of_options = OPTIONS.iter().filter_map(|option| Some((option.id, option.role?)));
        for (id, role) in of_settings.chain(of_options) {
            let has = match role {
                Role::Ingest => roles.ingest,
                Role::Query => roles.query,
                Role::Compact => roles.compact,
            };
            if has || !self.is_option(id) {
                continue;
            }
            let option = id.replace('_', "-");
            return Err(match (role, self.arguments.contains_key("roles")) {
                (_, true) => {
                    let role = format!("{role:?}").to_lowercase();
                    Error::usage(format!(
                        "--{option} is of the role {role}, and the roles are {roles}"
                    ))
                    .hint(format!("leave it out, or name the role {role} as well"))
                }
                (Role::Ingest, _) => {
                    Error::usage(format!("--{option} without an address to take traces in"))
                        .hint("with --otlp-grpc 127.0.0.1:4317 or --otlp-http 127.0.0.1:4318")
                }
                (Role::Compact, _) => Error::usage(format!("--{option} without --compact"))
                    .hint("with --compact the server compacts the bucket and gives up old blocks"),
                (Role::Query, _) => {
                    Error::usage(format!("--{option}, but no queries are answered here"))
                }
            });
        }
        Ok(())
    }

    /// Refuses options of metrics of spans where none are made.
    ///
    /// # Errors
    /// Naming the first of them.
    pub(crate) fn check_no_metrics(&self) -> Result<()> {
        let of_metrics = settings().filter(|setting| setting.path.contains("metrics_generator."));
        let mut ids = of_metrics.filter_map(Setting::argument_id).chain(["remote_write_header"]);
        let said = ids.find(|id| self.is_option(id));
        said.map_or(Ok(()), |id| {
            let option = id.replace('_', "-");
            Err(Error::usage(format!("--{option} without --metrics-processors"))
                .hint("write --metrics-processors span-metrics to make metrics of spans"))
        })
    }

    /// The settings in force. `computed` are those whose defaults depend on the machine and on others:
    /// path, value, and default if there is one.
    pub(crate) fn shown(
        &self,
        file: Option<&ServeFile>,
        computed: &[(&str, String, Option<String>)],
    ) -> Vec<ShownSetting> {
        let shown = |setting: &'static Setting| -> Option<ShownSetting> {
            let computed = computed.iter().find(|(path, ..)| *path == setting.path);
            let default = setting.default_value().map(|value| value.yaml());
            let default = default.or_else(|| computed.and_then(|(.., default)| default.clone()));
            let own = match setting.sets {
                Sets::Source => return None,
                _ if matches!(setting.form, Form::Secret) => return None,
                Sets::Argument(id) => {
                    self.values(id).and_then(|values| setting.form.parse(&values).ok())
                }
                Sets::Host(id) | Sets::Port(id) => {
                    let values = self.values(id)?;
                    let (host, port) = values.first()?.rsplit_once(':')?;
                    let half = if matches!(setting.sets, Sets::Host(_)) { host } else { port };
                    setting.form.parse(&[half]).ok()
                }
                Sets::Receivers if self.is_option("remote_write") => {
                    let values = self.values("remote_write").unwrap_or_default();
                    setting.form.parse(&values).ok()
                }
                _ => file.and_then(|file| {
                    let found = file.read.iter().find(|(known, _)| std::ptr::eq(*known, setting));
                    found.map(|(_, value)| value.clone())
                }),
            };
            let value =
                own.map(|value| value.yaml()).or_else(|| computed.map(|(_, v, _)| v.clone()));
            let value = value.or_else(|| default.clone());
            let of_tenants = setting.tenant.map(|(own, _)| own);
            Some(ShownSetting { path: setting.path, of_tenants, value, default })
        };
        settings().filter_map(shown).collect()
    }
}
