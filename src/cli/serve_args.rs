//! The arguments of `serve` as clap sees them. As in [`crate::args`], nothing here is acted on.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};

use crate::args::SourceArgs;
use crate::generator_args::GeneratorArgs;
use crate::ingest_args::IngestArgs;
use crate::role_args::RoleArgs;
use crate::serve_config::{Given, ServeFile};
use crate::tracing_args::TracingArgs;

const FILES: &str = "Files of settings";
const LIMITS: &str = "Limits";

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Address and port to listen on
    #[arg(long, default_value = "127.0.0.1:3200", value_name = "ADDR")]
    pub(crate) listen: String,
    /// Take the tenant of each request from X-Scope-OrgID
    #[arg(long)]
    pub(crate) multitenant: bool,
    /// How often block lists are read anew [default: 1m]
    #[arg(long, value_name = "DURATION")]
    pub(crate) poll: Option<String>,
    #[command(flatten)]
    pub(crate) roles: RoleArgs,
    #[command(flatten)]
    pub(crate) ingest: IngestArgs,
    #[command(flatten)]
    pub(crate) serving: ServingArgs,
    #[command(flatten)]
    pub(crate) generator: GeneratorArgs,
    #[command(flatten)]
    pub(crate) tracing: TracingArgs,
    #[command(flatten)]
    pub(crate) limits: ServeLimits,
    #[command(flatten)]
    pub(crate) config: ServeConfigArgs,
    /// What all of them are, and which the command line says.
    #[arg(skip)]
    pub(crate) given: Given,
    /// What the file says.
    #[arg(skip)]
    pub(crate) file: Option<Arc<ServeFile>>,
}

/// What a request may ask for.
#[derive(Args, Debug)]
pub(crate) struct ServeLimits {
    /// Largest limit a search may ask for; 0 is none [default: 0]
    #[arg(help_heading = LIMITS, long, value_name = "N")]
    pub(crate) max_limit: Option<usize>,
    /// Largest number of spans per spanset a search may ask for; 0 is none [default: 0]
    #[arg(help_heading = LIMITS, long, value_name = "N")]
    pub(crate) max_spans_per_spanset: Option<usize>,
    /// Longest range a search may ask for; 0 is none [default: 0]
    #[arg(help_heading = LIMITS, long, value_name = "DURATION")]
    pub(crate) max_search_range: Option<String>,
    /// Longest range of a metrics query; 0 is none [default: 24h]
    #[arg(help_heading = LIMITS, long, value_name = "DURATION")]
    pub(crate) max_metrics_duration: Option<String>,
    /// Most steps the range of a metrics query is cut into; 0 is none
    #[arg(help_heading = LIMITS, long, default_value_t = 10_000, value_name = "N")]
    pub(crate) max_metrics_intervals: u64,
    /// Most series of a metrics query; an answer that had more is marked partial; 0 is none
    #[arg(help_heading = LIMITS, long, default_value_t = 0, value_name = "N")]
    pub(crate) max_metrics_series: usize,
    /// Most exemplars of a metrics query; 0 is off
    #[arg(help_heading = LIMITS, long, default_value_t = 100, value_name = "N")]
    pub(crate) max_exemplars: u32,
    /// The newest data, still arriving, which metrics queries leave out; 0 is none [default: 30s]
    #[arg(help_heading = LIMITS, long, value_name = "DURATION")]
    pub(crate) metrics_end_cutoff: Option<String>,
    /// Queries that run at once; more wait
    #[arg(help_heading = LIMITS, long, default_value_t = NonZeroUsize::new(4).expect("it is not zero"), value_name = "N")]
    pub(crate) concurrent_queries: NonZeroUsize,
    /// Queries of one tenant that may wait for their turn; more are refused
    #[arg(help_heading = LIMITS, long, default_value_t = 2000, value_name = "N")]
    pub(crate) queued_queries: usize,
    /// Time allowed for one request; 0 is none [default: 0]
    #[arg(help_heading = LIMITS, long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// Threads that decode and evaluate [default: all cores]
    #[arg(help_heading = LIMITS, long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Memory of one query: 256MiB, 1GB [default: 512MiB]
    #[arg(help_heading = LIMITS, long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
}

/// How requests come in, and what is said of them.
#[derive(Args, Debug)]
pub(crate) struct ServingArgs {
    /// Address and port for gRPC alone [default: none, --listen takes gRPC too]
    #[arg(long, value_name = "ADDR")]
    pub(crate) grpc_listen: Option<String>,
    /// Time for a connection's first request, and for each next piece of a body [default: 30s]
    #[arg(long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) read_timeout: Option<String>,
    /// Time for a connection's next request [default: 2m]
    #[arg(long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) idle_timeout: Option<String>,
    /// Go on for so long after being told to stop, while /ready says 503 [default: 0]
    #[arg(long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) shutdown_delay: Option<String>,
    /// How long requests may go on after that [default: 10s]
    #[arg(long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) shutdown_timeout: Option<String>,
    /// Which requests are told of on stderr when they are over
    #[arg(long, value_enum, default_value_t = LoggedRequests::Off, value_name = "WHICH")]
    pub(crate) log_requests: LoggedRequests,
    /// From when on a request is slow [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) slow_request: Option<String>,
    /// Memory for answers of metrics queries, kept until blocks change; 0 is none [default: 32MiB]
    #[arg(help_heading = LIMITS, long, value_name = "SIZE")]
    pub(crate) answer_cache: Option<String>,
    /// Queries of one tenant that run at once [default: all, all but one with --multitenant]
    #[arg(help_heading = LIMITS, long, value_name = "N")]
    pub(crate) concurrent_queries_per_tenant: Option<NonZeroUsize>,
}

/// Files of settings.
#[derive(Args, Debug)]
pub(crate) struct ServeConfigArgs {
    /// Read settings from a file, YAML with Tempo's names; options come first
    #[arg(help_heading = FILES, long, value_name = "FILE")]
    pub(crate) config_file: Option<PathBuf>,
    /// Put variables of the environment into files: ${NAME}, ${NAME:VALUE}
    #[arg(help_heading = FILES, long, hide_short_help = true)]
    pub(crate) config_expand_env: bool,
    /// Check the settings, print those in force as a file, and end
    #[arg(help_heading = FILES, long)]
    pub(crate) check_config: bool,
    /// Print every setting that a file may have, as Markdown, and end
    #[arg(help_heading = FILES, long, hide_short_help = true)]
    pub(crate) list_settings: bool,
    /// Read from a file what holds for single tenants
    #[arg(help_heading = FILES, long, value_name = "FILE")]
    pub(crate) overrides: Option<PathBuf>,
    /// How often that is read anew [default: 10s]
    #[arg(help_heading = FILES, long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) overrides_period: Option<String>,
}

/// Which requests have a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LoggedRequests {
    /// None
    Off,
    /// Those that took long
    Slow,
    /// Every one
    All,
}
