//! The arguments of `traceql diff` as clap sees them; see [`crate::args`].

use clap::Args;

use crate::args::{OutputArgs, RunArgs, SourceArgs, TimeArgs};

const AGAINST: &str = "What A is, where it is not what the options above say";

/// What follows the short help of `diff`.
pub(crate) const DIFF_EXAMPLES: &str = "\
Examples:
  traceql diff --source sample: 6e45a1182eae0f0f59afb8665f6fc524 29a05474238c49cf1b5e17b72f2388dc
  traceql diff main.jsonl branch.jsonl
  traceql diff --source s3://tempo --since 1h --against-offset 1d '{ kind = server }'";

/// What follows the long help of `diff`: how two sides are told apart and what counts.
pub(crate) const DIFF_HELP: &str = "\
A is what was before, B what is now. Each is
  a trace id          looked for in --source
  a file of traces    OTLP, one trace or many; - is standard input
  a query in braces   the traces that match it, whole, newest first up to --limit
With one query and no B, both sides ask it: B of --source in --since or --start and --end,
A of what the --against options say.

Spans are put together by their calls: service and name of the parent, service and name of the
span. A call differs if it is
  missing, added      made on one side only
  failing, recovered  its share of errors differs by a percentage point or more
  slower, faster      its p50 or p95 differs by more than --tolerance and --floor
  more, fewer         made more or less often in a trace by more than --tolerance
Between many traces on both sides, all of these must also differ by more than chance explains (two
standard deviations). What is worse comes first, what takes most time in a trace before what takes less.

Examples:
  traceql diff --source sample: 6e45a1182eae0f0f59afb8665f6fc524 29a05474238c49cf1b5e17b72f2388dc
  traceql diff main.jsonl branch.jsonl --exit-status
  traceql diff --source s3://tempo --since 1h --against-offset 1d '{ kind = server }'
  traceql diff --source ./after --against-source ./before --query '{ name = \"POST /cart\" }'";

#[derive(Args, Debug)]
#[command(mut_arg("exit_status", |arg| arg.help("Exit with 1 if the sides differ, or one is empty")))]
pub(crate) struct DiffArgs {
    /// Before: a trace id, a file of traces, or a query in braces
    #[arg(value_name = "A", required_unless_present = "query")]
    pub(crate) a: Option<String>,
    /// Now: a trace id, a file of traces, or a query in braces
    #[arg(value_name = "B")]
    pub(crate) b: Option<String>,
    /// Ask this on both sides, as A without B does
    #[arg(long, value_name = "QUERY", conflicts_with_all = ["a", "b"])]
    pub(crate) query: Option<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// List the calls that do not differ, too
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Differences of times and numbers that do not count
    #[arg(long, default_value = "10%", value_name = "PERCENT")]
    pub(crate) tolerance: String,
    /// Differences of times that do not count whatever they are in percent
    #[arg(long, default_value = "1ms", value_name = "DURATION")]
    pub(crate) floor: String,
    /// Most traces of a query, the newest; 0 is all
    #[arg(long, short, default_value_t = 1_000, value_name = "N")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) against: AgainstArgs,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Where A is.
#[derive(Args, Clone, Debug)]
pub(crate) struct AgainstArgs {
    /// Another source
    #[arg(help_heading = AGAINST, long, value_name = "URL")]
    pub(crate) against_source: Option<String>,
    /// Another tenant
    #[arg(help_heading = AGAINST, long, value_name = "TENANT", value_delimiter = '|')]
    pub(crate) against_tenant: Vec<String>,
    /// The same range, earlier by this
    #[arg(help_heading = AGAINST, long, value_name = "DURATION", conflicts_with_all = ["against_since", "against_start", "against_end"])]
    pub(crate) against_offset: Option<String>,
    /// From this long ago until now
    #[arg(help_heading = AGAINST, long, value_name = "DURATION", conflicts_with_all = ["against_start", "against_end"])]
    pub(crate) against_since: Option<String>,
    /// From here
    #[arg(help_heading = AGAINST, long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) against_start: Option<String>,
    /// Until here
    #[arg(help_heading = AGAINST, long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) against_end: Option<String>,
}

impl AgainstArgs {
    /// Whether A is anything else than B.
    pub(crate) fn is_any(&self) -> bool {
        let Self {
            against_source,
            against_tenant,
            against_offset,
            against_since,
            against_start,
            against_end,
        } = self;
        let texts = [against_source, against_offset, against_since, against_start, against_end];
        !against_tenant.is_empty() || texts.into_iter().any(Option::is_some)
    }
}
