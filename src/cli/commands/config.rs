//! `traceql config`: the settings that are in force, and who says so.

use crate::Success;
use crate::config::{KEYS, Origin};
use crate::config_args::ConfigArgs;
use crate::error::Result;
use crate::output::sheet::{Cell, Column, Sheet, Tone};
use crate::settings::World;
use crate::units::plural;

pub(crate) fn run(world: &World, args: &ConfigArgs) -> Result<Success> {
    let config = &world.config;
    let columns = vec![
        Column::text("Setting", "setting"),
        Column::text("Value", "value"),
        Column::text("From", "from"),
    ];
    let rows = KEYS.iter().map(|key| {
        let setting = config.settings().iter().find(|setting| setting.key == key.name);
        let Some(setting) = setting else {
            return vec![Cell::text(key.name), Cell::empty(), Cell::text("default")];
        };
        let value = match setting.origin {
            // What the environment holds may be a secret.
            Origin::Environment(_) => Cell::empty(),
            _ => Cell::text(setting.values.join("|")),
        };
        let from = match setting.origin {
            Origin::Environment(variable) => format!("environment: {variable}"),
            Origin::Profile => format!("profile {}", config.profile().unwrap_or_default()),
            Origin::File => "file".to_owned(),
        };
        vec![Cell::text(key.name).tone(Tone::Key), value, Cell::text(from)]
    });
    let sheet = Sheet { columns, rows: rows.collect() };
    let format = world.output(args.output.output);
    world.print(|out| sheet.write(out, format, &world.terminal))?;
    let terminal = &world.terminal;
    match config.path() {
        None => terminal.note("there is no file of settings; `traceql config --help` shows one"),
        Some(path) => {
            let profiles = config.profiles();
            let named = match profiles.is_empty() {
                true => String::new(),
                false => format!(": {}", profiles.join(", ")),
            };
            let n = plural(profiles.len() as u64, "profile");
            terminal.note(&format!("{} has {n}{named}", path.display()));
        }
    }
    config.missing().iter().for_each(|missing| terminal.warn(missing));
    Ok(Success::Answered)
}
