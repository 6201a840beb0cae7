//! The keys of the file as one table: how each is written, what it sets, and which variables of the
//! environment come before it.

use std::num::NonZeroUsize;

use clap::ValueEnum;
use traceql_blocks::bucket::tenant::TenantId;

use crate::args::{ColorChoice, DialectName, OutputFormat};
use crate::sql_args::SqlFormat;
use crate::units;

/// A key.
#[derive(Debug)]
pub(crate) struct Key {
    /// As it is written: the long option with `_` for `-`.
    pub(crate) name: &'static str,
    /// What may stand there.
    pub(super) form: Form,
    /// What it sets.
    pub(super) meaning: Meaning,
    /// Variables that come before it.
    pub(super) environment: &'static [&'static str],
}

/// What a key sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The argument of this name, of every command that has it.
    Argument(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// A variable of the environment, to the value of the one that is named.
    Reference(&'static str),
    /// Most traces of searches; other commands mean something else by a limit.
    Limit,
}

/// What may stand behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    /// One tenant or several.
    Tenants,
    Flag,
    Count,
    Threads,
    Duration,
    Size,
    Color,
    Dialect,
    Output,
    /// The name of a variable.
    VariableName,
}

const fn argument(name: &'static str, form: Form, environment: &'static [&'static str]) -> Key {
    Key { name, form, meaning: Meaning::Argument(name), environment }
}

const fn reference(
    name: &'static str,
    to: &'static str,
    environment: &'static [&'static str],
) -> Key {
    Key { name, form: Form::VariableName, meaning: Meaning::Reference(to), environment }
}

/// Whoever signs in by the environment does so whatever a profile says.
const AWS_KEYS: &[&str] = &["AWS_ACCESS_KEY_ID", "AWS_PROFILE"];

/// All of them, in the order they are shown.
pub(crate) const KEYS: &[Key] = &[
    argument("source", Form::Text, &["TRACEQL_SOURCE"]),
    argument("tenant", Form::Tenants, &[]),
    argument("dialect", Form::Dialect, &[]),
    argument("output", Form::Output, &[]),
    Key { name: "limit", form: Form::Count, meaning: Meaning::Limit, environment: &[] },
    argument("timeout", Form::Duration, &[]),
    argument("memory", Form::Size, &[]),
    argument("threads", Form::Threads, &[]),
    argument("color", Form::Color, &["NO_COLOR"]),
    Key {
        name: "pager",
        form: Form::Text,
        meaning: Meaning::Variable("TRACEQL_PAGER"),
        environment: &["TRACEQL_PAGER", "PAGER"],
    },
    argument("request_timeout", Form::Duration, &[]),
    argument(
        "s3_endpoint",
        Form::Text,
        &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"],
    ),
    argument("s3_region", Form::Text, &["AWS_REGION", "AWS_DEFAULT_REGION"]),
    argument("s3_profile", Form::Text, &["AWS_PROFILE", "AWS_ACCESS_KEY_ID"]),
    reference("s3_access_key_id_env", "AWS_ACCESS_KEY_ID", AWS_KEYS),
    reference("s3_secret_access_key_env", "AWS_SECRET_ACCESS_KEY", AWS_KEYS),
    reference("s3_session_token_env", "AWS_SESSION_TOKEN", AWS_KEYS),
    argument("s3_virtual_hosted", Form::Flag, &[]),
    argument("gcs_service_account", Form::Text, &["GOOGLE_SERVICE_ACCOUNT"]),
    argument("azure_account", Form::Text, &["AZURE_STORAGE_ACCOUNT_NAME"]),
    reference("azure_key_env", "AZURE_STORAGE_ACCOUNT_KEY", &["AZURE_STORAGE_ACCOUNT_KEY"]),
    argument("azure_endpoint", Form::Text, &["AZURE_STORAGE_ENDPOINT"]),
    argument("unsigned", Form::Flag, &[]),
    argument("allow_http", Form::Flag, &[]),
];

/// Options that are secrets, and the keys that say who knows them.
pub(super) const SECRETS: [(&str, &str); 4] = [
    ("s3_access_key_id", "s3_access_key_id_env"),
    ("s3_secret_access_key", "s3_secret_access_key_env"),
    ("s3_session_token", "s3_session_token_env"),
    ("azure_key", "azure_key_env"),
];

impl Key {
    /// Whether it says which data is asked.
    pub(super) fn is_data(&self) -> bool {
        ["source", "tenant"].contains(&self.name)
    }
}

impl Form {
    /// Why a text is none of this form, if it is not.
    pub(super) fn refuse(self, text: &str) -> Option<String> {
        let of = |words: Vec<String>| match words.iter().any(|word| word == text) {
            true => None,
            false => Some(format!("{text:?} is none of: {}", words.join(", "))),
        };
        match self {
            Self::Text => text.is_empty().then(|| "it is empty".to_owned()),
            Self::Tenants => text
                .split('|')
                .find_map(|name| TenantId::parse(name).err())
                .map(|error| error.to_string()),
            Self::Flag => of(["true", "false"].map(str::to_owned).to_vec()),
            Self::Count => match text.parse::<usize>() {
                Ok(_) => None,
                Err(_) => Some(format!("{text:?} is no whole number")),
            },
            Self::Threads => match text.parse::<NonZeroUsize>() {
                Ok(_) => None,
                Err(_) => Some(format!("{text:?} is no number of threads")),
            },
            Self::Duration => match units::parse_duration(text) {
                Ok(0) => Some("a time of 0 would allow nothing".to_owned()),
                parsed => parsed.err(),
            },
            Self::Size => units::parse_size(text).err(),
            Self::Color => of(words(ColorChoice::value_variants())),
            Self::Dialect => of(words(DialectName::value_variants())),
            Self::Output => {
                // Charts are what a terminal gets of metrics by itself.
                let mut forms = words(OutputFormat::value_variants());
                forms.extend(words(SqlFormat::value_variants()));
                forms.sort();
                forms.dedup();
                of(forms)
            }
            Self::VariableName => {
                let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let is_name = !text.is_empty()
                    && text.chars().all(is_letter)
                    && !text.starts_with(|c: char| c.is_ascii_digit());
                (!is_name).then(|| "this is no name of a variable of the environment".to_owned())
            }
        }
    }
}

fn words<T: ValueEnum>(variants: &[T]) -> Vec<String> {
    let values = variants.iter().filter_map(ValueEnum::to_possible_value);
    values.map(|value| value.get_name().to_owned()).collect()
}
