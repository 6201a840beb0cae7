//! Where a file says what an error is about. Settings of a file become values of options, and an error
//! that comes of two of them names options, which whoever wrote the file has never seen.

use super::setting::{Sets, Setting};
use super::source::Read;
use super::{Given, ServeFile};
use crate::document::File;
use crate::error::{Error, Message};

/// A setting of a file.
#[derive(Clone, Debug)]
pub(super) struct Place {
    setting: &'static Setting,
    /// File and line.
    at: String,
}

impl Place {
    pub(super) fn of(file: &File, read: &Read<'_>) -> Self {
        let line = file.line(read.key.range.start);
        Self { setting: read.setting, at: format!("{}:{line}", file.name) }
    }

    /// The id of the argument whose value it is or has a part in.
    fn argument_id(&self) -> Option<&'static str> {
        match self.setting.sets {
            Sets::Source => Some("source"),
            _ => self.setting.argument_id(),
        }
    }
}

impl ServeFile {
    /// The same error with the places of all options that it speaks of and this file says.
    pub(crate) fn located(&self, mut error: Error, given: &Given) -> Error {
        let Message::Text(message) = &error.message else { return error };
        let texts = std::iter::once(message).chain(&error.hints);
        let spoken_of: Vec<String> = texts.flat_map(|text| options(text)).collect();
        for place in &self.places {
            let Some(id) = place.argument_id() else { continue };
            let option = id.replace('_', "-");
            if spoken_of.contains(&option) && !given.is_option(id) {
                error = error.note(format!(
                    "--{option} is what `{}` in {} says",
                    place.setting.path, place.at
                ));
            }
        }
        error
    }

    /// The same error with the place of a setting, if this file has it.
    pub(crate) fn located_at(&self, error: Error, path: &str) -> Error {
        match self.places.iter().find(|place| place.setting.path == path) {
            Some(place) => error.note(format!("`{path}` is in {}", place.at)),
            None => error,
        }
    }
}

/// The names of the options that a text mentions.
fn options(text: &str) -> impl Iterator<Item = String> {
    text.split("--").skip(1).filter_map(|rest| {
        let name: String =
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        (!name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_in_a_text() {
        let found: Vec<_> = options("--a-b without `--c=false`; give --wal, or -- none").collect();
        assert_eq!(found, ["a-b", "c", "wal"]);
    }
}
