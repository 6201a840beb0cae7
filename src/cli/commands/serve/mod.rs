//! `traceql serve`: hands validated settings to the server and waits for the end.

mod plan;

use std::io::Write as _;

use tokio::runtime::Builder;
use traceql_blocks::bucket::source::SourceKind;
use traceql_engine::EngineConfig;
use traceql_server::{Listening, ServeOptions, Tenancy, settings_as_yaml};

use crate::Success;
use crate::error::{Error, Kind, Result};
use crate::serve_args::ServeArgs;
use crate::serve_config::manual;
use crate::session::SessionOptions;
use crate::settings::{self, World};
use plan::Plan;

/// Threads that hold connections and read from stores; queries run on threads of their own.
const IO_THREADS: usize = 2;

pub(crate) fn run(world: &World, args: &ServeArgs) -> Result<Success> {
    serve(world, args).map_err(|error| match &args.file {
        Some(file) => file.located(error, &args.given),
        None => error,
    })
}

fn serve(world: &World, args: &ServeArgs) -> Result<Success> {
    let log: fn(&str) = if world.terminal.quiet { |_| {} } else { log };
    if args.config.list_settings {
        world.print(|out| out.write_all(manual().as_bytes()))?;
        return Ok(Success::Answered);
    }
    for warning in args.file.iter().flat_map(|file| &file.warnings) {
        world.terminal.warn(warning);
    }
    // What can be wrong is found before anything is opened.
    let plan = Plan::of(world, args, log)?;
    if args.config.check_config {
        if settings::source(&args.source).is_err() {
            world.terminal.note("no source is named; a server needs --source besides");
        }
        let yaml = settings_as_yaml(&plan.settings);
        world.print(|out| out.write_all(yaml.as_bytes()))?;
        return Ok(Success::Answered);
    }
    let url = settings::source(&args.source)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(IO_THREADS)
        .max_blocking_threads(traceql_server::FILE_THREADS)
        .thread_name("traceql-io")
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Failed, format!("cannot start threads: {error}")))?;
    let session = SessionOptions::new(world, &args.source, runtime.handle())?;
    let stores = world.source_options(&args.source.stores, runtime.handle())?;
    if plan.roles.ingest {
        args.ingest.prepare(url, stores.home().as_deref())?;
    }
    let served = runtime.block_on(async {
        let source = args.ingest.open_source(&session, url, &stores, log).await?;
        let ingest = match plan.roles.ingest {
            true => plan.ingest(args, args.ingest.options(url, &stores).await?)?,
            false => None,
        };
        if ingest.is_some() && *source.kind() != SourceKind::Bucket {
            return Err(Error::usage(format!("{source} is no folder of tenants"))
                .hint("traces that are taken in go to a folder of tenants, or a bucket of them: name one with --source"));
        }
        let tenancy = if args.multitenant {
            Tenancy::Header
        } else {
            // Which tenant is meant can be told from what there is to read, but not where to write.
            let tenants = match plan.roles.ingest && settings::tenants(&args.source)?.is_empty() {
                true => vec![source.tenant(None).await?],
                false => session.tenants(&source).await?,
            };
            match tenants.as_slice() {
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
            answers_queries: plan.roles.query,
            ingest,
            compact: plan.compact,
            generator: plan.generator,
            tenancy,
            overrides: plan.overrides,
            settings: plan.settings,
            dialect: world.dialect,
            limits: plan.limits,
            query: plan.query,
            engine: EngineConfig::default(),
            answer_cache_bytes: plan.answer_cache_bytes,
            poll: plan.poll,
            patience: plan.patience,
            shutdown_delay: plan.shutdown_delay,
            drain: plan.drain,
            tracing: args.tracing.options(world)?,
            clock,
            request_log: plan.request_log,
            log,
        };
        let source_name = options.source.to_string();
        let on_listening = |at: Listening| {
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

fn clock() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0)
}

fn log(line: &str) {
    // There is nobody to tell if standard error is closed.
    drop(writeln!(std::io::stderr().lock(), "traceql: {line}"));
}
