//! What the commands that read data share: an engine, an opened source, the tenants to ask.

use std::path::{Path, PathBuf};

use tokio::runtime::Handle;
use traceql_blocks::bucket::source::{Source, SourceKind};
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::bucket::url::SourceUrl;
use traceql_engine::{Engine, EngineConfig};

use crate::args::SourceArgs;
use crate::error::{Error, Kind, Result};
use crate::settings::{self, World};

/// Entries of a folder named when something was not found in it.
const MAX_ENTRIES: usize = 10;

/// How to open a session; validated, nothing opened yet.
#[derive(Clone, Debug)]
pub(crate) struct SessionOptions {
    source: String,
    stores: SourceOptions,
    tenants: Vec<TenantId>,
    io: Handle,
    world: World,
}

/// An engine and what to ask it about.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Answers queries.
    pub(crate) engine: Engine,
    /// The data.
    pub(crate) source: Source,
    /// Whose data; at least one.
    pub(crate) tenants: Vec<TenantId>,
}

impl SessionOptions {
    /// Checks the arguments.
    pub(crate) fn new(world: &World, args: &SourceArgs, io: &Handle) -> Result<Self> {
        Ok(Self {
            source: settings::source(args)?.to_owned(),
            stores: world.source_options(&args.stores, io)?,
            tenants: settings::tenants(args)?,
            io: io.clone(),
            world: world.clone(),
        })
    }

    /// What is to be opened: equal for equal options.
    pub(crate) fn name(&self) -> String {
        format!("{:?}", (&self.source, &self.tenants))
    }

    /// Opens the source and finds out whom to ask.
    pub(crate) async fn open(self) -> Result<Session> {
        let source = self.open_source().await?;
        let tenants = self.tenants(&source).await?;
        Ok(Session { engine: self.engine(), source, tenants })
    }

    /// An engine that reads on the I/O threads.
    pub(crate) fn engine(&self) -> Engine {
        let config = EngineConfig { io_runtime: Some(self.io.clone()), ..EngineConfig::default() };
        Engine::new(config)
    }

    /// Opens the source; what does not exist is explained by what does.
    pub(crate) async fn open_source(&self) -> Result<Source> {
        Source::open(&self.source, &self.stores).await.map_err(|error| {
            let missing = matches!(error, traceql_blocks::Error::NotFound { .. });
            let error = Error::from(error);
            match SourceUrl::parse(&self.source, self.stores.home().as_deref()) {
                Ok(SourceUrl::Local(path)) if missing => explain_missing(error, &path),
                _ => error,
            }
        })
    }

    /// The tenants asked for. If none was and a bucket has exactly one, that one is meant.
    pub(crate) async fn tenants(&self, source: &Source) -> Result<Vec<TenantId>> {
        if !self.tenants.is_empty() {
            return Ok(self.tenants.clone());
        }
        let default = source.tenant(None).await?;
        if *source.kind() == SourceKind::Bucket {
            // Who may read objects but not list them can still ask the default tenant.
            let there = source.tenants().await.unwrap_or_default();
            if let [only] = there.as_slice()
                && *only != default
            {
                self.world.terminal.note(&format!("asking tenant {only}, the only one there is"));
                return Ok(vec![only.clone()]);
            }
        }
        Ok(vec![default])
    }
}

impl Session {
    /// The only tenant, where a command makes sense for one at a time.
    pub(crate) fn tenant(&self) -> Result<&TenantId> {
        match self.tenants.as_slice() {
            [only] => Ok(only),
            _ => Err(Error::usage("this command looks at one tenant at a time")),
        }
    }
}

/// Says how far a path exists and what is there instead.
fn explain_missing(error: Error, path: &Path) -> Error {
    let Some(there) = path.ancestors().skip(1).find(|folder| folder.is_dir()) else { return error };
    let mut entries: Vec<String> = std::fs::read_dir(there)
        .map(|entries| {
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.filter(|name| !name.starts_with('.')).collect()
        })
        .unwrap_or_default();
    entries.sort();
    let missing = path.strip_prefix(there).ok().and_then(|rest| rest.components().next());
    let missing: PathBuf = missing.iter().collect();
    let held = match entries.len() {
        0 => "is empty".to_owned(),
        n if n > MAX_ENTRIES => {
            format!("holds {}, … ({n} in all)", entries[..MAX_ENTRIES].join(", "))
        }
        _ => format!("holds {}", entries.join(", ")),
    };
    let error = error.note(format!("{} {held}", there.display()));
    match traceql_language::nearest(&missing.to_string_lossy(), &entries) {
        Some(near) => error.hint(format!("did you mean {}?", there.join(near).display())),
        None => error,
    }
}

/// The block whose id begins with the given text; the only one if no text is given.
pub(crate) fn pick<'a, T>(
    blocks: &'a [T],
    id: impl Fn(&T) -> String,
    wanted: Option<&str>,
) -> Result<&'a T> {
    let found: Vec<&T> = match wanted {
        Some(start) => {
            let start = start.to_ascii_lowercase();
            blocks.iter().filter(|block| id(block).starts_with(&start)).collect()
        }
        None => blocks.iter().collect(),
    };
    let list = |blocks: &[&T]| {
        let ids: Vec<_> = blocks.iter().take(MAX_ENTRIES).map(|block| id(block)).collect();
        let more = if blocks.len() > MAX_ENTRIES { ", …" } else { "" };
        format!("{}{more}", ids.join(", "))
    };
    let all: Vec<&T> = blocks.iter().collect();
    match (found.as_slice(), wanted) {
        ([only], _) => Ok(only),
        ([], None) => Err(Error::new(Kind::Unreachable, "the tenant has no blocks")),
        ([], Some(start)) => Err(Error::new(
            Kind::Unreachable,
            format!("no live block has an id that begins with {start:?}"),
        )
        .note(format!("the blocks there are: {}", list(&all)))),
        (some, None) => {
            Err(Error::usage("there are several blocks; name one by the beginning of its id")
                .note(format!("the blocks there are: {}", list(some))))
        }
        (some, Some(start)) => {
            Err(Error::usage(format!("several blocks have ids that begin with {start:?}"))
                .note(format!("they are: {}", list(some))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_picked_by_the_beginning_of_their_id() {
        let ids = ["aa1".to_owned(), "aa2".to_owned(), "b".to_owned()];
        let pick = |wanted| pick(&ids, Clone::clone, wanted).map(String::as_str);
        assert_eq!(pick(Some("b")).unwrap(), "b");
        assert_eq!(pick(Some("AA2")).unwrap(), "aa2");
        assert_eq!(pick(Some("aa")).unwrap_err().kind, Kind::Usage);
        assert_eq!(pick(Some("c")).unwrap_err().kind, Kind::Unreachable);
        assert_eq!(pick(None).unwrap_err().kind, Kind::Usage);
    }
}
