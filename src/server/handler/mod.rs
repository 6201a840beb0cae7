//! One file a family of endpoints: parameters to an engine call, its outcome to a body.

mod answers;
mod filter;
mod metrics;
mod search;
mod tags;
mod trace;
mod watch;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use traceql_blocks::bucket::blocklist::{BlocklistOptions, Unreadable};
use traceql_blocks::bucket::meta::TimeRange;
use traceql_blocks::bucket::source::{Source, SourceKind};
use traceql_blocks::bucket::tenant::TenantId;
use traceql_engine::{Engine, Outcome, Progress, QueryOptions};
use traceql_language::{Dialect, ErrorKind, TypedQuery};

use crate::live::Live;
use crate::options::{MetricsLimits, ServeOptions};
use crate::overrides::{self, Overrides};
use crate::reply::{Failure, Form, Reply, Result};
use crate::request::time::RangeRules;
use crate::request::{BadRequest, Parameters};
use crate::route::Query;
use crate::telemetry::own_spans::Parent;
pub(crate) use answers::Answers;
pub(crate) use watch::{News, Watch};

/// What handlers share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) engine: Engine,
    pub(crate) source: Source,
    /// What is being received, if anything is; `source` has it too.
    pub(crate) live: Option<Arc<Live>>,
    pub(crate) options: ServeOptions,
    /// What holds for single tenants.
    pub(crate) overrides: Arc<Overrides>,
    pub(crate) answers: Answers,
    /// Warnings logged since block lists were last read: every query would repeat them.
    pub(crate) warned: Mutex<BTreeSet<String>>,
}

/// A request that was understood as far as all of them are alike.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) query: Query,
    /// The variable part of the path, decoded.
    pub(crate) argument: String,
    pub(crate) parameters: Parameters,
    pub(crate) tenants: Vec<TenantId>,
    pub(crate) form: Form,
    /// Where spans of what is done for it begin.
    pub(crate) trace: Parent,
    /// Who looks on while it is answered.
    pub(crate) watch: Option<Arc<Watch>>,
}

impl Asked {
    /// What the query moves, if anybody looks.
    fn progress(&self) -> Option<&Arc<Progress>> {
        let watched = self.watch.as_ref().map(|watch| &watch.progress);
        watched.or_else(|| self.trace.progress())
    }
}

/// A handler at work. Handlers hold whole queries; without the box every request would be as large as
/// the largest of them.
type Answering<'a> = Pin<Box<dyn Future<Output = Result<Reply>> + Send + 'a>>;

impl Context {
    /// Answers a request.
    pub(crate) async fn answer(&self, mut asked: Asked) -> Result<Reply> {
        // Until the answer is there, what it was told of stays.
        let _reading = self.live.as_ref().map(Live::reading);
        // A trace is looked for in what is live first, which needs no bucket.
        if !matches!(asked.query, Query::TraceV1 | Query::TraceV2) {
            self.leave_out_unknown(&self.source, &mut asked.tenants).await?;
        }
        let work: Answering<'_> = match asked.query {
            Query::Search => Box::pin(self.search(&asked)),
            Query::TraceV1 => Box::pin(self.trace_v1(&asked)),
            Query::TraceV2 => Box::pin(self.trace_v2(&asked)),
            Query::TagNamesV1 => Box::pin(self.tag_names_v1(&asked)),
            Query::TagNamesV2 => Box::pin(self.tag_names_v2(&asked)),
            Query::TagValuesV1 => Box::pin(self.tag_values_v1(&asked)),
            Query::TagValuesV2 => Box::pin(self.tag_values_v2(&asked)),
            Query::MetricsRange => Box::pin(self.metrics_range(&asked)),
            Query::MetricsInstant => Box::pin(self.metrics_instant(&asked)),
        };
        work.await
    }

    /// A tenant without a block yet is one without data, and no error.
    async fn leave_out_unknown(&self, source: &Source, tenants: &mut Vec<TenantId>) -> Result<()> {
        if matches!(source.kind(), SourceKind::Otlp(_)) {
            return Ok(());
        }
        let options = BlocklistOptions {
            // The blocks themselves do not matter, so most of them need not be copied.
            range: Some(TimeRange { start_unix_nanos: 0, end_unix_nanos: 0 }),
            unreadable: self.unreadable(),
            now_unix_nanos: i64::try_from(self.now_unix_nanos()).ok(),
            no_index: false,
        };
        let mut known = Vec::with_capacity(tenants.len());
        for tenant in tenants.drain(..) {
            match source.blocks(&tenant, &options).await {
                Ok(_) => known.push(tenant),
                Err(traceql_blocks::Error::NotFound { what: "tenant", .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        *tenants = known;
        Ok(())
    }

    fn unreadable(&self) -> Unreadable {
        match self.options.query.skip_unreadable {
            true => Unreadable::Skip,
            false => Unreadable::Fail,
        }
    }

    /// The work of the engine, as a span with what it has cost.
    async fn executed<T>(
        &self,
        asked: &Asked,
        name: &str,
        work: impl Future<Output = traceql_engine::Result<Outcome<T>>> + Send,
    ) -> traceql_engine::Result<Outcome<T>> {
        let mut span = asked.trace.child(name);
        let begun = Instant::now();
        let outcome = work.await;
        if let Some(planned) = asked.progress().and_then(|progress| progress.planned.get()) {
            drop(span.part("plan", begun, *planned));
            drop(span.part("scan", *planned, Instant::now()));
        }
        match &outcome {
            Ok(outcome) => span.cost(&outcome.stats),
            Err(error) => span.fails(&error.to_string()),
        }
        outcome
    }

    fn now_unix_nanos(&self) -> u64 {
        (self.options.clock)()
    }

    fn range_rules(&self, tenants: &[TenantId]) -> RangeRules {
        let limits = &self.options.limits;
        let most = limits.max_search_range;
        RangeRules {
            now_unix_nanos: self.now_unix_nanos(),
            default_range: limits.default_range,
            end_cutoff: limits.end_cutoff,
            max_range: overrides::smallest(&self.overrides, tenants, most, |o| o.max_search_range),
        }
    }

    fn metrics_limits(&self, tenants: &[TenantId]) -> MetricsLimits {
        let limits = &self.options.limits.metrics;
        let most = limits.max_range;
        let max_range =
            overrides::smallest(&self.overrides, tenants, most, |o| o.max_metrics_range);
        MetricsLimits { max_range, ..limits.clone() }
    }

    fn query_options(&self, asked: &Asked, time_range: Option<(u64, u64)>) -> QueryOptions {
        QueryOptions {
            time_range,
            progress: asked.progress().map(Arc::clone),
            now_unix_nanos: i64::try_from(self.now_unix_nanos()).ok(),
            ..self.options.query.clone()
        }
    }

    /// Compiles the text of a query; the error is what Tempo answers.
    fn compile(&self, asked: &Asked, text: &str) -> Result<TypedQuery> {
        let _span = asked.trace.child("compile");
        const MAX: usize = traceql_language::MAX_QUERY_BYTES;
        if text.len() > MAX {
            return Err(BadRequest::new(format!(
                "TraceQL expression exceeds the configured maximum size of {MAX} bytes, reduce \
                 the query expression size or contact your system administrator"
            ))
            .into());
        }
        traceql_language::compile(text, self.options.dialect).map_err(|error| {
            BadRequest::new(format!("invalid TraceQL query: {}", explained(&error, text))).into()
        })
    }

    /// Compiles a query of our own making, which may use whatever the language has.
    fn compile_own(&self, text: &str) -> Result<TypedQuery> {
        traceql_language::compile(text, Dialect::Default)
            .map_err(|error| BadRequest::new(format!("{error}: {text}")).into())
    }

    /// Takes an outcome whose body has no place to say that it is not whole.
    fn whole<T>(&self, outcome: Outcome<T>) -> Result<Outcome<T>> {
        self.log_warnings(&outcome.warnings);
        match &outcome.partial {
            Some(reason) => Err(Failure::partial(reason)),
            None => Ok(outcome),
        }
    }

    /// Tells whoever runs the server of a failure that is not the client's.
    pub(crate) fn log_failure(&self, failure: &Failure) {
        if failure.status.is_server_error() {
            (self.options.log)(&format!("{}: {}", failure.status, failure.text));
        }
    }

    fn log_warnings(&self, warnings: &[String]) {
        /// More than this in one period are not told apart any longer.
        const MAX_WARNED: usize = 1000;
        if warnings.is_empty() {
            return;
        }
        let mut warned = self.warned.lock();
        for warning in warnings {
            if warned.len() < MAX_WARNED && warned.insert(warning.clone()) {
                (self.options.log)(warning);
            }
        }
    }
}

/// An error of the language on one line, with its place and the first thing that helps.
fn explained(error: &traceql_language::Error, text: &str) -> String {
    let place = match error.kind {
        ErrorKind::Parse => {
            let position = error.position(text);
            format!("parse error at line {}, col {}: ", position.line, position.column)
        }
        _ => String::new(),
    };
    let hint = error.hints.first().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{place}{error}{hint}")
}
