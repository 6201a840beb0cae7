//! More arguments of `serve` as clap sees them: listeners besides the first, what is said of requests,
//! and what one tenant may have. As in [`crate::args`], nothing here is acted on.

use std::num::NonZeroUsize;

use clap::{Args, ValueEnum};

/// How requests come in, and what is said of them.
#[derive(Args, Debug)]
pub(crate) struct ServingArgs {
    /// Address and port for gRPC alone [default: none, --listen takes gRPC too]
    #[arg(long, value_name = "ADDR")]
    pub(crate) grpc_listen: Option<String>,
    /// Which requests are told of on stderr when they are over
    #[arg(long, value_enum, default_value_t = LoggedRequests::Off, value_name = "WHICH")]
    pub(crate) log_requests: LoggedRequests,
    /// From when on a request is slow [default: 10s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) slow_request: Option<String>,
    /// Memory for answers of metrics queries, kept until blocks change; 0 is none [default: 32MiB]
    #[arg(help_heading = crate::args::LIMITS, long, value_name = "SIZE")]
    pub(crate) answer_cache: Option<String>,
    /// Queries of one tenant that run at once [default: all, all but one with --multitenant]
    #[arg(help_heading = crate::args::LIMITS, long, value_name = "N")]
    pub(crate) concurrent_queries_per_tenant: Option<NonZeroUsize>,
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
