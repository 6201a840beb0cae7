//! Opens what suites ask, each source once. Files of traces get an engine of their own, since an engine
//! keeps the traces of a file and the file may grow between two attempts.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use traceql_blocks::bucket::source::{Source, SourceKind};
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::Trace;
use traceql_engine::Engine;

use super::suite::{Suite, SuiteSource};
use crate::args::{SourceArgs, StoreArgs};
use crate::error::{Error, Result};
use crate::session::{Session, SessionOptions};
use crate::settings::World;

/// Sources by address and tenants.
#[derive(Debug)]
pub(crate) struct Sources {
    world: World,
    stores: StoreArgs,
    io: Handle,
    instead: Instead,
    engine: Option<Engine>,
    open: BTreeMap<Key, Arc<Session>>,
}

type Key = (String, Vec<TenantId>);

/// What stands in for the sources of suites.
#[derive(Debug)]
pub(crate) enum Instead {
    /// Nothing: each suite names its own.
    Nothing,
    /// For all suites, whatever they name.
    All {
        /// Its address.
        url: String,
        /// Whose data; empty if it is up to the suite.
        tenants: Vec<TenantId>,
    },
    /// For suites that name none: what a command sent.
    Captured(Arc<Vec<Trace>>),
}

impl Sources {
    /// Nothing is opened yet.
    pub(crate) fn new(world: &World, stores: &StoreArgs, io: &Handle, instead: Instead) -> Self {
        let (world, stores, io) = (world.clone(), stores.clone(), io.clone());
        Self { world, stores, io, instead, engine: None, open: BTreeMap::new() }
    }

    /// What a suite asks.
    pub(crate) async fn of_suite(&mut self, suite: &Suite) -> Result<Arc<Session>> {
        match (&self.instead, &suite.source) {
            (Instead::All { url, tenants }, _) => {
                let tenants = if tenants.is_empty() { &suite.tenants } else { tenants };
                let key = (url.clone(), tenants.clone());
                self.at(key).await
            }
            (_, SuiteSource::Url(url)) => {
                let key = (url.clone(), suite.tenants.clone());
                self.at(key).await
            }
            (_, SuiteSource::Spans(traces)) => {
                let name = format!("spans of {}", suite.name());
                self.in_memory(name, traces).await
            }
            (Instead::Captured(traces), SuiteSource::Unnamed) => {
                let traces = Arc::clone(traces);
                self.in_memory("what the command sent".to_owned(), &traces).await
            }
            (Instead::Nothing, SuiteSource::Unnamed) => Err(unnamed(suite)),
        }
    }

    /// What an address holds.
    pub(crate) async fn at(&mut self, key: Key) -> Result<Arc<Session>> {
        if let Some(session) = self.open.get(&key) {
            return Ok(Arc::clone(session));
        }
        let (url, tenants) = key.clone();
        let args = SourceArgs {
            source: Some(url),
            tenant: tenants.iter().map(ToString::to_string).collect(),
            stores: self.stores.clone(),
        };
        let options = SessionOptions::new(&self.world, &args, &self.io)?;
        let source = options.open_source().await?;
        let tenants = options.tenants(&source).await?;
        let engine = match source.kind() {
            SourceKind::Otlp(_) => options.engine(),
            _ => self.engine.get_or_insert_with(|| options.engine()).clone(),
        };
        let session = Arc::new(Session { engine, source, tenants });
        self.open.insert(key, Arc::clone(&session));
        Ok(session)
    }

    async fn in_memory(&mut self, name: String, traces: &[Trace]) -> Result<Arc<Session>> {
        let key = (name.clone(), Vec::new());
        if let Some(session) = self.open.get(&key) {
            return Ok(Arc::clone(session));
        }
        let source = Source::of_traces(&name, traces).await?;
        let config = traceql_engine::EngineConfig {
            io_runtime: Some(self.io.clone()),
            ..traceql_engine::EngineConfig::default()
        };
        let (engine, tenants) = (Engine::new(config), vec![TenantId::single()]);
        let session = Arc::new(Session { engine, source, tenants });
        self.open.insert(key, Arc::clone(&session));
        Ok(session)
    }

    /// Forgets sources that may have changed and would not show it.
    pub(crate) fn look_again(&mut self) {
        self.open.retain(|_, session| !matches!(session.source.kind(), SourceKind::Otlp(_)));
    }
}

/// Why a suite cannot be asked.
pub(crate) fn unnamed(suite: &Suite) -> Error {
    Error::usage(format!("{} names no source", suite.name())).hint(
        "give it `source:` or `spans:`, name one with --source, or let a command send with --listen",
    )
}
