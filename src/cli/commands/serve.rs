//! `traceql serve`: hands validated settings to the server and waits for the end.

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::runtime::Builder;
use traceql_blocks::bucket::source::SourceKind;
use traceql_engine::{EngineConfig, QueryOptions};
use traceql_server::{
    ANSWER_CACHE_BYTES, Limits, Listening, MetricsLimits, RequestLog, ServeOptions, Tenancy,
};

use crate::Success;
use crate::args::{ServeArgs, ServeLimits};
use crate::error::{Error, Kind, Result};
use crate::serve_args::{LoggedRequests, ServingArgs};
use crate::session::SessionOptions;
use crate::settings::{self, World};

/// Threads that hold connections and read from stores; queries run on threads of their own.
const IO_THREADS: usize = 2;
/// How often block lists are read anew.
const POLL: Duration = Duration::from_secs(60);
/// How long requests may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// From when on a request is slow.
const SLOW_REQUEST: Duration = Duration::from_secs(10);

pub(crate) fn run(world: &World, args: &ServeArgs) -> Result<Success> {
    let url = settings::source(&args.source)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .thread_name("traceql-io")
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Failed, format!("cannot start threads: {error}")))?;
    let defaults = QueryOptions::default();
    let query = QueryOptions {
        threads: settings::threads(args.limits.threads),
        memory_bytes: settings::memory(args.limits.memory.as_deref())?
            .unwrap_or(defaults.memory_bytes),
        timeout: settings::duration("timeout", args.limits.timeout.as_deref())?,
        ..defaults
    };
    let session = SessionOptions::new(world, &args.source, runtime.handle())?;
    let stores = world.source_options(&args.source.stores, runtime.handle())?;
    if args.ingest.is_wanted() {
        args.ingest.prepare(url, stores.home().as_deref())?;
    }
    let served = runtime.block_on(async {
        let log: fn(&str) = if world.terminal.quiet { |_| {} } else { log };
        let source = args.ingest.open_source(&session, url, &stores, log).await?;
        let ingest = args.ingest.options(url, &stores).await?;
        if ingest.is_some() && *source.kind() != SourceKind::Bucket {
            return Err(Error::usage(format!("{source} is no folder of tenants"))
                .hint("traces that are taken in go to a folder of tenants, or a bucket of them"));
        }
        let tenancy = if args.multitenant {
            Tenancy::Header
        } else {
            match session.tenants(&source).await?.as_slice() {
                [tenant] => Tenancy::One(tenant.clone()),
                _ => {
                    return Err(Error::usage("a server without --multitenant has one tenant")
                        .hint("with --multitenant each request names its own in X-Scope-OrgID"));
                }
            }
        };
        let options = ServeOptions {
            source,
            listen: args.listen.clone(),
            grpc_listen: args.serving.grpc_listen.clone(),
            ingest,
            generator: args.generator.options(clock, log)?,
            tenancy,
            dialect: world.dialect,
            limits: Limits {
                max_traces: args.limits.max_limit,
                max_spans_per_spanset: args.limits.max_spans_per_spanset,
                max_search_range: settings::duration(
                    "max-search-range",
                    args.limits.max_search_range.as_deref(),
                )?,
                metrics: metrics_limits(&args.limits)?,
                concurrent_queries: args.limits.concurrent_queries.get(),
                concurrent_queries_per_tenant: concurrent_queries_per_tenant(args),
                queued_queries: args.limits.queued_queries,
                ..Limits::default()
            },
            query,
            engine: EngineConfig::default(),
            answer_cache_bytes: answer_cache_bytes(&args.serving)?,
            poll: settings::duration("poll", args.poll.as_deref())?.unwrap_or(POLL),
            drain: DRAIN,
            tracing: args.tracing.options(world)?,
            clock,
            request_log: request_log(&args.serving)?,
            log,
        };
        let source_name = options.source.to_string();
        let on_listening = |at: Listening| {
            if world.terminal.quiet {
                return;
            }
            log(&format!("serving {source_name} on http://{}", at.http));
            if let Some(address) = at.grpc {
                log(&format!("serving gRPC alone on {address}"));
            }
            if let Some(address) = at.otlp_grpc {
                log(&format!("taking OTLP over gRPC on {address}"));
            }
            if let Some(address) = at.otlp_http {
                log(&format!("taking OTLP over HTTP on http://{address}"));
            }
            if let Some(address) = at.zipkin {
                log(&format!("taking Zipkin over HTTP on http://{address}"));
            }
            if let Some(address) = at.jaeger_http {
                log(&format!("taking Jaeger over HTTP on http://{address}"));
            }
            if let Some(address) = at.jaeger_grpc {
                log(&format!("taking Jaeger over gRPC on {address}"));
            }
        };
        let stop = async {
            // Where no signals can be watched, the system ends the process as ever.
            if traceql_server::stop_signal().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        traceql_server::serve(options, on_listening, stop).await.map_err(Error::from)
    });
    runtime.shutdown_background();
    served.map(|()| Success::Answered)
}

/// With several tenants none of them may have all turns for itself, however long its queries take.
fn concurrent_queries_per_tenant(args: &ServeArgs) -> usize {
    let in_all = args.limits.concurrent_queries.get();
    let default = if args.multitenant { in_all.saturating_sub(1).max(1) } else { in_all };
    args.serving.concurrent_queries_per_tenant.map_or(default, NonZeroUsize::get)
}

fn answer_cache_bytes(args: &ServingArgs) -> Result<usize> {
    match args.answer_cache.as_deref() {
        Some("0") => Ok(0),
        text => Ok(settings::size("answer-cache", text)?.unwrap_or(ANSWER_CACHE_BYTES)),
    }
}

fn request_log(args: &ServingArgs) -> Result<RequestLog> {
    let slow = settings::duration("slow-request", args.slow_request.as_deref())?;
    Ok(match args.log_requests {
        LoggedRequests::Off => RequestLog::Off,
        LoggedRequests::Slow => RequestLog::Slow(slow.unwrap_or(SLOW_REQUEST)),
        LoggedRequests::All => RequestLog::All,
    })
}

fn metrics_limits(args: &ServeLimits) -> Result<MetricsLimits> {
    let defaults = MetricsLimits::default();
    let max_range = args.max_metrics_duration.as_deref();
    let end_cutoff = args.metrics_end_cutoff.as_deref();
    let end_cutoff =
        settings::duration_or_none("metrics-end-cutoff", end_cutoff, Some(defaults.end_cutoff))?;
    Ok(MetricsLimits {
        max_range: settings::duration_or_none(
            "max-metrics-duration",
            max_range,
            defaults.max_range,
        )?,
        end_cutoff: end_cutoff.unwrap_or_default(),
        max_intervals: args.max_metrics_intervals,
        max_series: args.max_metrics_series,
        max_exemplars: args.max_exemplars,
        ..defaults
    })
}

fn clock() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0)
}

fn log(line: &str) {
    // There is nobody to tell if standard error is closed.
    drop(writeln!(std::io::stderr().lock(), "traceql: {line}"));
}
