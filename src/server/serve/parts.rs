//! What a server is made of, before any of it runs.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use traceql_blocks::bucket::blocklist::BlocklistOptions;
use traceql_blocks::bucket::live::LiveBlocks;
use traceql_blocks::bucket::meta::TimeRange;
use traceql_blocks::bucket::source::{Source, SourceKind};
use traceql_blocks::read::open::IoStats;
use traceql_engine::{Engine, EngineConfig};

use super::phases::Phases;
use crate::compaction::Compaction;
use crate::dispatch::Server;
use crate::error::{Error, Result};
use crate::generator::{Generator, GeneratorOptions};
use crate::handler::{Answers, Context};
use crate::live::Live;
use crate::options::{FILE_THREADS, ServeOptions, Tenancy};
use crate::overrides::Overrides;
use crate::queue::{Bounds, Queue};
use crate::task::AbortOnDrop;
use crate::telemetry::Telemetry;
use crate::telemetry::own_spans::Tracer;

/// What a server is made of.
pub(super) struct Parts {
    tracer: Tracer,
    pub(super) overrides: Arc<Overrides>,
    pub(super) live: Option<Arc<Live>>,
    pub(super) generator: Option<Arc<Generator>>,
    /// With what is live, and lists that are kept.
    pub(super) source: Source,
    engine: Engine,
}

impl Parts {
    /// Makes them; nothing is taken in and nothing read yet but the list of tenants.
    ///
    /// # Errors
    /// If metrics cannot be made as the options want them, or the one tenant to serve is not there while
    /// others are.
    pub(super) async fn make(options: &ServeOptions, tracer: Tracer) -> Result<Self> {
        let overrides = Arc::new(Overrides::new(options.overrides.as_ref()));
        let ingest = options.ingest.clone().map(|ingest| tracer.tracing_flushes(ingest));
        let engine = EngineConfig { io_runtime: Some(Handle::current()), ..options.engine.clone() };
        let engine = Engine::new(engine);
        let live = ingest.map(|ingest| {
            let (tenancy, overrides) = (options.tenancy.clone(), Arc::clone(&overrides));
            let reader = engine.clone();
            let forget = Box::new(move |file: &str| reader.forget(file));
            Live::new(ingest, tenancy, overrides, options.log, forget)
        });
        let generator = options.generator.as_ref().map(|g| make_generator(g, &options.tenancy));
        let generator = generator.transpose()?;
        if let (Some(generator), Some(overrides)) = (&generator, &options.overrides) {
            generator.set_overrides(&overrides.table)?;
        }
        let mut source = options.source.clone().keeping_blocklists();
        match &live {
            // The tenant comes with its first span.
            Some(live) => source = source.with_live(Arc::clone(live) as Arc<dyn LiveBlocks>),
            None if options.answers_queries => check_tenant(&source, options).await?,
            None => {}
        }
        Ok(Self { tracer, overrides, live, generator, source, engine })
    }

    /// Begins to compact, if that is wanted.
    ///
    /// # Errors
    /// If the bucket cannot be compacted.
    pub(super) fn compact(
        &self,
        options: &ServeOptions,
        stopped: watch::Receiver<bool>,
        compute: &Handle,
    ) -> Result<Option<(Arc<Compaction>, AbortOnDrop<()>)>> {
        let Some(compact) = &options.compact else { return Ok(None) };
        let compaction = Arc::new(Compaction::traced_by(self.tracer.clone()));
        let bucket = options.source.clone();
        let running =
            compaction.start(bucket, options, compact, &self.overrides, stopped, compute)?;
        Ok(Some((compaction, AbortOnDrop(running))))
    }

    /// Puts together what every connection shares.
    pub(super) fn server(
        &self,
        mut options: ServeOptions,
        compaction: Option<Arc<Compaction>>,
        phases: &Phases,
        compute: Handle,
    ) -> Arc<Server> {
        let io_total = Arc::<IoStats>::default();
        options.query.io_total = Some(Arc::clone(&io_total));
        let telemetry = Telemetry::new(options.request_log, (options.clock)())
            .traced_by(self.tracer.clone())
            .receiving(self.live.as_ref().map(|live| live.received()));
        Arc::new(Server {
            queue: Queue::new(Bounds {
                running: options.limits.concurrent_queries,
                running_of_tenant: options.limits.concurrent_queries_per_tenant,
                waiting_of_tenant: options.limits.queued_queries,
            }),
            telemetry: Arc::new(telemetry),
            compaction,
            leaving: phases.leaving(),
            closing: phases.stopped(),
            generator: self.generator.clone(),
            io_total,
            compute,
            context: Arc::new(Context {
                engine: self.engine.clone(),
                answers: Answers::within(options.answer_cache_bytes),
                source: self.source.clone(),
                live: self.live.clone(),
                options,
                overrides: Arc::clone(&self.overrides),
                warned: Mutex::default(),
            }),
        })
    }
}

/// The generator for the tenants of this server.
fn make_generator(options: &GeneratorOptions, tenancy: &Tenancy) -> Result<Arc<Generator>> {
    let mut options = options.clone();
    match tenancy {
        Tenancy::One(tenant) => {
            options.multitenant = false;
            options.single_tenant = tenant.clone();
        }
        Tenancy::Header => options.multitenant = true,
    }
    Ok(Arc::new(Generator::new(options)?))
}

/// Refuses to serve a tenant that is not there while others are: that is a mistake. An empty bucket
/// is none, it may fill.
async fn check_tenant(source: &Source, options: &ServeOptions) -> Result<()> {
    let (Tenancy::One(tenant), false) =
        (&options.tenancy, matches!(source.kind(), SourceKind::Otlp(_)))
    else {
        return Ok(());
    };
    let options = BlocklistOptions {
        range: Some(TimeRange { start_unix_nanos: 0, end_unix_nanos: 0 }),
        ..BlocklistOptions::default()
    };
    match source.blocks(tenant, &options).await {
        Err(error @ traceql_blocks::Error::NotFound { .. }) => match &error {
            traceql_blocks::Error::NotFound { candidates, .. } if !candidates.is_empty() => {
                Err(error.into())
            }
            _ => Ok(()),
        },
        // Damaged blocks are for queries to report.
        _ => Ok(()),
    }
}

/// The runtime of queries. A runtime must not be dropped where waiting is not allowed, so it is left
/// to end on its own.
pub(super) struct Compute(Option<Runtime>);

impl Compute {
    /// Starts its threads.
    ///
    /// # Errors
    /// If the system gives none.
    pub(super) fn start(options: &ServeOptions) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.query.threads.max(1))
            .max_blocking_threads(FILE_THREADS)
            .thread_name("query")
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        Ok(Self(Some(runtime)))
    }

    pub(super) fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is taken only when dropped").handle().clone()
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
