//! What a server is to do, from its options and files, with everything checked that can be before a store
//! is opened or an address taken.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use traceql_blocks::write::block::check_dedicated_columns;
use traceql_engine::QueryOptions;
use traceql_server::generator::{Generator, GeneratorOptions};
use traceql_server::{
    ANSWER_CACHE_BYTES, CompactOptions, IngestOptions, Limits, MetricsLimits, OverridesOptions,
    Patience, RequestLog, Roles, ShownSetting,
};

use super::clock;
use crate::diagnostic::{Page, render};
use crate::error::{Error, Result};
use crate::serve_args::{LoggedRequests, ServeArgs, ServeLimits, ServingArgs};
use crate::serve_config::read_overrides;
use crate::settings::{self, World};

/// How often block lists are read anew.
const POLL: Duration = Duration::from_secs(60);
/// How often overrides of tenants are read anew: as often as Tempo's.
const OVERRIDES_PERIOD: Duration = Duration::from_secs(10);
/// How long requests may go on after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// From when on a request is slow.
const SLOW_REQUEST: Duration = Duration::from_secs(10);

/// The setting of dedicated columns, which no option says.
const COLUMNS: &str = "storage.trace.block.parquet_dedicated_columns";

/// A server's options, but for what is opened.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) roles: Roles,
    pub(super) compact: Option<CompactOptions>,
    pub(super) generator: Option<GeneratorOptions>,
    pub(super) overrides: Option<OverridesOptions>,
    pub(super) settings: Vec<ShownSetting>,
    pub(super) limits: Limits,
    pub(super) query: QueryOptions,
    pub(super) answer_cache_bytes: usize,
    pub(super) poll: Duration,
    pub(super) patience: Patience,
    pub(super) shutdown_delay: Duration,
    pub(super) drain: Duration,
    pub(super) request_log: RequestLog,
    row_group_bytes: Option<usize>,
}

impl Plan {
    pub(super) fn of(world: &World, args: &ServeArgs, log: fn(&str)) -> Result<Self> {
        let (serving, file) = (&args.serving, args.file.as_deref());
        let roles = args.roles.roles(args.ingest.is_wanted())?;
        args.given.check_roles(roles)?;
        if roles.ingest {
            args.ingest.log_folder()?;
        }
        settings::address("listen", Some(&args.listen))?;
        settings::address("grpc-listen", serving.grpc_listen.as_deref())?;
        for (option, text) in args.ingest.addresses() {
            settings::address(option, text)?;
        }
        // A tenant of a profile is for whoever asks one.
        let names_tenant =
            args.given.is_option("tenant") || file.is_some_and(|file| file.says_argument("tenant"));
        if args.multitenant && names_tenant {
            return Err(Error::usage("one tenant is named, and each request is to name its own")
                .hint(
                    "leave out --tenant, or multitenancy: it is --multitenant=false for a file's",
                ));
        }
        let defaults = QueryOptions::default();
        let query = QueryOptions {
            threads: settings::threads(args.limits.threads),
            memory_bytes: settings::memory(args.limits.memory.as_deref())?
                .unwrap_or(defaults.memory_bytes),
            timeout: settings::duration_or_none("timeout", args.limits.timeout.as_deref(), None)?,
            ..defaults
        };
        let mut limits = limits(args)?;
        let generator = args.generator.options(file, &args.given, clock, log)?;
        Generator::new(generator.clone()).map_err(traceql_server::Error::from)?;
        let overrides = overrides(world, args, &generator)?;
        let makes_metrics = !args.generator.metrics_processors.is_empty() || overrides.is_some();
        if !makes_metrics {
            args.given.check_no_metrics()?;
        }
        let quoted: Vec<String> =
            roles.named().filter(|(_, has)| *has).map(|(name, _)| format!("\"{name}\"")).collect();
        let threads = settings::threads(None).to_string();
        let per_tenant = limits.concurrent_queries_per_tenant.to_string();
        let per_tenant_default = default_queries_per_tenant(args).to_string();
        let shown = args.given.shown(
            file,
            &[
                ("roles", format!("[{}]", quoted.join(", ")), None),
                ("query_frontend.query_threads", query.threads.to_string(), Some(threads)),
                (
                    "query_frontend.concurrent_queries_per_tenant",
                    per_tenant,
                    Some(per_tenant_default),
                ),
            ],
        );
        if let Some(file) = file {
            file.set_limits(&mut limits);
        }
        let delay = serving.shutdown_delay.as_deref();
        let delay = settings::duration_or_none("shutdown-delay", delay, None)?;
        let drain = settings::duration("shutdown-timeout", serving.shutdown_timeout.as_deref())?;
        let row_group = args.roles.compaction.row_group_size.as_deref();
        Ok(Self {
            roles,
            compact: roles.compact.then(|| args.roles.compact()).transpose()?,
            generator: Some(generator).filter(|_| makes_metrics && roles.ingest),
            overrides,
            settings: shown,
            limits,
            query,
            answer_cache_bytes: answer_cache_bytes(serving)?,
            poll: settings::duration("poll", args.poll.as_deref())?.unwrap_or(POLL),
            patience: patience(serving)?,
            shutdown_delay: delay.unwrap_or_default(),
            drain: drain.unwrap_or(DRAIN),
            request_log: request_log(serving)?,
            row_group_bytes: settings::size("row-group-size", row_group)?,
        })
    }

    /// With what a file alone says of ingest.
    pub(super) fn ingest(
        &self,
        args: &ServeArgs,
        ingest: Option<IngestOptions>,
    ) -> Result<Option<IngestOptions>> {
        let Some(mut ingest) = ingest else { return Ok(None) };
        if let Some(bytes) = self.row_group_bytes {
            ingest.block.row_group_bytes = bytes as u64;
        }
        if let Some(file) = &args.file {
            file.set_ingest(&mut ingest.limits, &mut ingest.block, &args.given);
            check_dedicated_columns(ingest.block.version, &ingest.block.dedicated_columns)
                .map_err(|error| file.located_at(Error::from(error), COLUMNS))?;
        }
        Ok(Some(ingest))
    }
}

/// What holds for single tenants, read once.
fn overrides(
    world: &World,
    args: &ServeArgs,
    generator: &GeneratorOptions,
) -> Result<Option<OverridesOptions>> {
    let period = settings::duration("overrides-period", args.config.overrides_period.as_deref())?;
    let Some(path) = args.config.overrides.clone() else { return Ok(None) };
    let environment = args.config.config_expand_env.then(|| world.environment.clone());
    let metrics = generator.defaults.clone();
    let (table, warnings) = read_overrides(&path, environment.as_deref(), &metrics)?;
    warnings.iter().for_each(|warning| world.terminal.warn(warning));
    let read = move || {
        let read = read_overrides(&path, environment.as_deref(), &metrics);
        read.map(|(table, _)| table)
            .map_err(|error| render(&error, Page::PLAIN).trim_end().to_owned())
    };
    let period = period.unwrap_or(OVERRIDES_PERIOD);
    Ok(Some(OverridesOptions { table, period, read: Arc::new(read) }))
}

fn patience(args: &ServingArgs) -> Result<Patience> {
    let defaults = Patience::default();
    let request = settings::duration("read-timeout", args.read_timeout.as_deref())?;
    let idle = settings::duration("idle-timeout", args.idle_timeout.as_deref())?;
    Ok(Patience {
        request: request.unwrap_or(defaults.request),
        idle: idle.unwrap_or(defaults.idle),
    })
}

fn limits(args: &ServeArgs) -> Result<Limits> {
    let some = |number: Option<usize>| number.filter(|number| *number > 0);
    let range = args.limits.max_search_range.as_deref();
    Ok(Limits {
        max_traces: some(args.limits.max_limit),
        max_spans_per_spanset: some(args.limits.max_spans_per_spanset),
        max_search_range: settings::duration_or_none("max-search-range", range, None)?,
        metrics: metrics_limits(&args.limits)?,
        concurrent_queries: args.limits.concurrent_queries.get(),
        concurrent_queries_per_tenant: concurrent_queries_per_tenant(args),
        queued_queries: args.limits.queued_queries,
        ..Limits::default()
    })
}

fn concurrent_queries_per_tenant(args: &ServeArgs) -> usize {
    let asked = args.serving.concurrent_queries_per_tenant;
    asked.map_or_else(|| default_queries_per_tenant(args), NonZeroUsize::get)
}

/// With several tenants none of them may have all turns for itself, however long its queries take.
fn default_queries_per_tenant(args: &ServeArgs) -> usize {
    let in_all = args.limits.concurrent_queries.get();
    if args.multitenant { in_all.saturating_sub(1).max(1) } else { in_all }
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
