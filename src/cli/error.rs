//! What the command line says when something goes wrong, and with which exit code it ends. Knows
//! where errors come from; does not print them.

use std::fmt;
use std::time::Duration;

use traceql_blocks::bucket::path;
use traceql_engine as engine;

/// The crate's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What an error means to whoever called; chooses the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command line or the query is wrong.
    Usage,
    /// The source cannot be reached, does not exist, or refuses us.
    Unreachable,
    /// The answer is not whole.
    Partial,
    /// Data is corrupt, a limit was reached, or we have a bug.
    Failed,
    /// A block of a format this build does not read.
    UnsupportedBlock,
    /// `--timeout` is over.
    Timeout,
    /// Ctrl-C.
    Interrupted,
    /// Whoever reads our output has closed it: no error at all.
    BrokenPipe,
}

impl Kind {
    /// The documented exit code.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Partial => 4,
            Self::Failed => 5,
            Self::UnsupportedBlock => 6,
            Self::Timeout => 124,
            Self::Interrupted => 130,
        }
    }
}

/// An error as a person reads it.
#[derive(Debug)]
pub(crate) struct Error {
    /// What it means.
    pub(crate) kind: Kind,
    /// One clause, or the whole drawing of a ranged error.
    pub(crate) message: Message,
    /// Facts that help to understand.
    pub(crate) notes: Vec<String>,
    /// What to do.
    pub(crate) hints: Vec<String>,
}

/// The body of an error.
#[derive(Debug)]
pub(crate) enum Message {
    /// One clause.
    Text(String),
    /// A refused query, to be drawn under its text.
    Query {
        /// What is the query called.
        name: String,
        /// Its text.
        text: String,
        /// What is wrong with it, and where.
        error: Box<traceql_language::Error>,
    },
}

impl Error {
    /// An error without notes and hints.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: Message::Text(message.into()), notes: Vec::new(), hints: Vec::new() }
    }

    /// A wrong command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A refused query.
    pub(crate) fn query(name: &str, text: &str, error: traceql_language::Error) -> Self {
        Self {
            kind: Kind::Usage,
            message: Message::Query {
                name: name.to_owned(),
                text: text.to_owned(),
                error: Box::new(error),
            },
            notes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Out of time.
    pub(crate) fn timeout(after: Duration) -> Self {
        Self::new(Kind::Timeout, format!("no complete answer within {after:?}"))
            .hint("allow more with --timeout, or ask for less with --since, --start and --end")
    }

    /// Interrupted by the user.
    pub(crate) fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }

    /// The same with a fact.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The same with advice.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Message::Text(text) => f.write_str(text),
            Message::Query { error, .. } => error.fmt(f),
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Kind::BrokenPipe, "the output was closed");
        }
        Self::new(Kind::Failed, format!("cannot write the answer: {error}"))
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        use engine::Error as Engine;
        let message = error.to_string();
        match error {
            Engine::Storage(error) => {
                let is_of_block = is_of_block(&error);
                let error = Self::from(error);
                match is_of_block {
                    true => error.hint("--skip-unreadable leaves such blocks out and says so"),
                    false => error,
                }
            }
            Engine::Query(_) => Self::usage(message),
            Engine::Axis(_) => {
                Self::usage(message).hint("--step, --since, --start and --end say which steps")
            }
            Engine::Unsupported(_) => {
                Self::usage(message).hint("grammar/compatibility.md lists what is supported")
            }
            Engine::Timeout(after) => Self::timeout(after),
            Engine::Memory { .. } => {
                Self::new(Kind::Failed, message).hint("allow more with --memory, or ask for less")
            }
            _ => Self::new(Kind::Failed, message),
        }
    }
}

impl From<traceql_server::Error> for Error {
    fn from(error: traceql_server::Error) -> Self {
        use traceql_server::Error as Server;
        let message = error.to_string();
        match error {
            Server::Storage(error) => error.into(),
            Server::Generator(_) => Self::usage(message),
            Server::Listen { .. } => Self::new(Kind::Failed, message)
                .hint("choose another address or port with --listen; port 0 takes any free one"),
            _ => Self::new(Kind::Failed, message),
        }
    }
}

/// Whether a block is damaged, so that a query can be answered from the others.
fn is_of_block(error: &traceql_blocks::Error) -> bool {
    use traceql_blocks::Error as Blocks;
    let (Blocks::Corrupt { key, .. }
    | Blocks::Unsupported { key, .. }
    | Blocks::NotFound { what: "block data" | "bloom shard", key, .. }) = error
    else {
        return false;
    };
    let name = key.rsplit('/').next().unwrap_or_default();
    name == path::DATA || name == path::META || name.starts_with("bloom-")
}

impl From<traceql_blocks::Error> for Error {
    fn from(error: traceql_blocks::Error) -> Self {
        use traceql_blocks::Error as Blocks;
        let message = error.to_string();
        match error {
            Blocks::NotFound { what: "tenant", candidates, .. } => {
                let error = Self::new(Kind::Unreachable, message);
                match candidates.as_slice() {
                    [] => error.hint("check --source: no tenant was found there at all"),
                    [only] => {
                        error.hint(format!("the only tenant there is {only}: --tenant {only}"))
                    }
                    some => error
                        .note(format!("the tenants there are: {}", some.join(", ")))
                        .hint("choose one with --tenant"),
                }
            }
            Blocks::NotFound { what, candidates, .. } => {
                // An object that its block says it has is missing: that is damage, not a wrong address.
                let address =
                    ["source", "block", "block or tenant index", "file", "trace"].contains(&what);
                let kind = if address { Kind::Unreachable } else { Kind::Failed };
                let error = Self::new(kind, message);
                match candidates.is_empty() {
                    true => error,
                    false => error.note(format!("there are: {}", candidates.join(", "))),
                }
            }
            Blocks::Unreachable { .. } => Self::new(Kind::Unreachable, message),
            Blocks::Unauthorised { key, .. } => {
                let hint = match key.split_once("://").map(|(scheme, _)| scheme) {
                    Some("s3" | "s3a") => {
                        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile with \
                         --s3-profile, or use --unsigned for a public bucket"
                    }
                    Some("gs" | "gcs") => {
                        "name a service account file with --gcs-service-account or GOOGLE_SERVICE_ACCOUNT, \
                         or use --unsigned for a public bucket"
                    }
                    Some("az" | "azure" | "adl" | "abfs" | "abfss") => {
                        "set --azure-account and --azure-key, or AZURE_STORAGE_ACCOUNT_NAME and \
                         AZURE_STORAGE_ACCOUNT_KEY"
                    }
                    _ => "check who may read it",
                };
                Self::new(Kind::Unreachable, message).hint(hint)
            }
            Blocks::Unsupported { .. } => Self::new(Kind::UnsupportedBlock, message),
            Blocks::NotWritten { .. } => Self::new(Kind::Failed, message)
                .hint("check that there is room, and that the destination may be written to"),
            Blocks::Usage { .. } => Self::usage(message),
            _ => Self::new(Kind::Failed, message),
        }
    }
}
