//! `src/server/configuration.md`: every setting with its option, default and meaning, made of the table
//! and of the help of options.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::SERVE;
use super::foreign::{FOREIGN, Verdict};
use super::setting::{DEFAULTS, OfTenant, Sets, Setting};
use super::table::{EMPTY_SECTIONS, OPTIONS, settings};
use crate::args::CommandLine;
use crate::role_args::Role;

const HEAD: &str = "\
# Configuration of `traceql serve`

`traceql serve --config-file FILE` reads settings from YAML.
They have the names of Tempo 3 where they mean the same; names that Tempo does not have are ours.
Options come before the file, the file before a profile of `config.toml`, and that before the defaults; `TRACEQL_SOURCE` comes before the file.
A flag that the file sets is taken back by `--flag=false`.

- `--check-config` reads everything, prints the settings in force as such a file, and ends: with 0 if all is well, with 2 if not.
- A key that is unknown, a value that cannot be read, and a setting that is said twice are refused, with file, line and column, and with what was probably meant.
- A setting of Tempo that means nothing here is passed over with a warning; one that asks for something that is not done here is refused, unless it only says that it is off. Both are listed [below](#settings-of-tempo-that-are-not-here).
- With `--config-expand-env`, `${NAME}` is the value of a variable of the environment, `${NAME:VALUE}` and `${NAME:-VALUE}` say what holds if it is not set, and `$$` is a dollar. Without it, dollars are dollars.
- Durations are `30s`, `15m`, `1h30m`, `7d`; sizes are bytes, or `30MB`, `256MiB`.
- `--list-settings` prints this document.
- `GET /status/config` shows the settings in force as such a file; `?mode=diff` those that differ from their defaults, `?mode=defaults` the defaults. Secrets are not shown.
- One file may serve processes of different roles: what it says of other roles than those of a process is not looked at. An option of another role is refused.

A test makes this document from the code and compares (`UPDATE_SNAPSHOTS=1 cargo test` writes it).
";

const TENANTS: &str = "
## Settings of single tenants

`overrides.per_tenant_override_config` (`--overrides`) names a file, read anew every `overrides.per_tenant_override_period`:

```yaml
overrides:
  acme:
    ingestion:
      rate_limit_bytes: 5MB
    compaction:
      block_retention: 30d
    metrics_generator:
      processors: [span-metrics]
  \"*\":
    ingestion:
      max_traces_per_user: 1000
```

The tenant `*` is every one that is not named.
What a tenant does not say is as for all.
A file that cannot be read, or in which anything is wrong, is refused at the start; later the old one stays in force, and the log says why.
A tenant whose metrics change begins to count them anew.
The same settings stand for all tenants below `overrides.defaults`.

| Below a tenant | For all tenants |
|---|---|
";

const OPTIONS_HEAD: &str = "
## Options that a file says otherwise

| Option | In a file |
|---|---|
";

const FOREIGN_HEAD: &str = "
## Settings of Tempo that are not here

*Passed over* is said with a warning; *refused* is an error unless it only says that it is off (`false`, `0`, or nothing); *elsewhere* is an error that names the setting to use.

| Setting | | Why |
|---|---|---|
";

/// The document.
pub(crate) fn manual() -> String {
    let mut command = CommandLine::command();
    command.build();
    command.find_subcommand(SERVE).map(of_command).unwrap_or_default()
}

fn of_command(command: &Command) -> String {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for setting in settings() {
        let top = setting.path.split_once('.').map_or("", |(top, _)| top);
        if top != section || text.len() == HEAD.len() {
            section = top;
            let title = if top.is_empty() { "Top level".to_owned() } else { format!("`{top}`") };
            write(&mut text, format_args!("\n## {title}\n\n"));
            text.push_str("| Setting | Option | Value | Default | For | Meaning |\n");
            text.push_str("|---|---|---|---|---|---|\n");
        }
        row(&mut text, command, setting);
    }
    write(
        &mut text,
        format_args!("\nThese sections switch a receiver on though nothing stands in them:\n\n"),
    );
    for (section, _, address) in EMPTY_SECTIONS {
        write(&mut text, format_args!("- `{section}`, on `{address}`\n"));
    }
    text.push_str(TENANTS);
    for setting in settings() {
        if let Some((own, of)) = setting.tenant {
            let all = match of {
                OfTenant::Limit(_) | OfTenant::Metrics(_) if setting.path.starts_with(DEFAULTS) => {
                    format!("`{}`", setting.path)
                }
                _ => format!("`{}`, or `{DEFAULTS}{own}`", setting.path),
            };
            write(&mut text, format_args!("| `{own}` | {all} |\n"));
        }
    }
    text.push_str(OPTIONS_HEAD);
    for option in OPTIONS {
        let argument = command.get_arguments().find(|argument| argument.get_id() == option.id);
        if argument.is_some_and(|argument| !argument.is_hide_set()) {
            let name = option.id.replace('_', "-");
            write(&mut text, format_args!("| `--{name}` | {} |\n", option.instead));
        }
    }
    text.push_str(FOREIGN_HEAD);
    for foreign in FOREIGN {
        let verdict = match foreign.verdict {
            Verdict::Meaningless => "passed over",
            Verdict::Missing => "refused",
            Verdict::Elsewhere => "elsewhere",
        };
        let (section, names) = foreign.path.rsplit_once('.').unwrap_or(("", foreign.path));
        let dot = if section.is_empty() { "" } else { "." };
        let names: Vec<_> =
            names.split('|').map(|name| format!("`{section}{dot}{name}`")).collect();
        write(
            &mut text,
            format_args!("| {} | {verdict} | {} |\n", names.join("<br>"), foreign.why),
        );
    }
    text
}

fn row(text: &mut String, command: &Command, setting: &Setting) {
    let argument = match setting.sets {
        Sets::Argument(id) => command.get_arguments().find(|argument| argument.get_id() == id),
        _ => None,
    };
    let option = argument.and_then(Arg::get_long).map(|long| format!("`--{long}`"));
    let help = argument.and_then(Arg::get_help).map(ToString::to_string);
    let meaning = help.unwrap_or_else(|| setting.meaning.to_owned());
    let (meaning, said) = match meaning.split_once(" [default: ") {
        Some((meaning, said)) => (meaning, said.trim_end_matches(']').trim_end_matches(')')),
        None => (meaning.as_str(), ""),
    };
    let default = match setting.default_value() {
        Some(value) => format!("`{}`", value.yaml()),
        None => said.to_owned(),
    };
    let role = match setting.role {
        None => "all",
        Some(Role::Ingest) => "ingest",
        Some(Role::Query) => "query",
        Some(Role::Compact) => "compact",
    };
    let mut place = format!("`{}`", setting.path);
    for also in setting.also {
        write(&mut place, format_args!(" or `{also}`"));
    }
    let (option, form) = (option.unwrap_or_default(), setting.form.name());
    let meaning = meaning.replace('\n', " ").replace('|', "\\|");
    write(text, format_args!("| {place} | {option} | {form} | {default} | {role} | {meaning} |\n"));
}

fn write(text: &mut String, what: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _written = text.write_fmt(what);
}
