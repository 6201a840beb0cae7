//! Asking the engine of a source as the command line and the server do, for tests that compare the
//! answers of different sources. It must not know what is asked.

use std::path::Path;

use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::{Trace, TraceId};
use traceql_engine::search::SearchAnswer;
use traceql_engine::tags::{TagNames, TagNamesRequest, TagValuesRequest, TypedTagValue};
use traceql_engine::{Engine, EngineConfig, Outcome, QueryOptions, Result};
use traceql_language::Dialect;
use traceql_language::analyze::ir::Field;

/// One tenant of a source, and an engine that is asked of it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Who answers.
    pub(crate) engine: Engine,
    /// Where from.
    pub(crate) source: Source,
    /// Whose data.
    pub(crate) tenants: Vec<TenantId>,
}

impl Asked {
    /// Opens a source; the engine has read nothing yet.
    pub(crate) async fn open(url: &str, tenant: &str, options: &SourceOptions) -> Self {
        let source = Source::open(url, options).await.expect("the source opens");
        let tenants = vec![TenantId::parse(tenant).expect("a tenant id")];
        Self { engine: Engine::new(EngineConfig::default()), source, tenants }
    }

    /// Opens a folder.
    pub(crate) async fn folder(path: &Path, tenant: &str) -> Self {
        let url = path.to_str().expect("a readable path");
        Self::open(url, tenant, &SourceOptions::default()).await
    }

    /// The same source with an engine that has read nothing.
    pub(crate) fn cold(&self) -> Self {
        Self { engine: Engine::new(EngineConfig::default()), ..self.clone() }
    }

    /// A search.
    pub(crate) async fn search(
        &self,
        query: &str,
        options: &QueryOptions,
    ) -> Result<Outcome<SearchAnswer>> {
        let query = traceql_language::compile(query, Dialect::Default)
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        self.engine.search(&self.source, &self.tenants, &query, options).await
    }

    /// A trace by its id.
    pub(crate) async fn trace(
        &self,
        id: TraceId,
        options: &QueryOptions,
    ) -> Result<Outcome<Option<Trace>>> {
        self.engine.trace(&self.source, &self.tenants, id, options).await
    }

    /// All attribute names.
    pub(crate) async fn names(&self, options: &QueryOptions) -> Result<Outcome<TagNames>> {
        let request = TagNamesRequest::default();
        self.engine.tag_names(&self.source, &self.tenants, &request, options).await
    }

    /// All values of a field.
    pub(crate) async fn values(
        &self,
        field: Field,
        options: &QueryOptions,
    ) -> Result<Outcome<Vec<TypedTagValue>>> {
        let request = TagValuesRequest { field, filter: None, limit: 0 };
        self.engine.tag_values(&self.source, &self.tenants, &request, options).await
    }
}

/// All traces with all their spans.
pub(crate) fn everything() -> QueryOptions {
    QueryOptions { limit: 0, spans_per_spanset: 0, ..QueryOptions::default() }
}
