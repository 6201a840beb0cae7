//! The command line as clap sees it: names, help, raw values. What values mean is decided in
//! [`crate::settings`]; nothing here is acted on.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::check_args::{LINT_HELP, LintArgs, TEST_EXAMPLE, TEST_HELP, TestArgs};
use crate::compact_args::{COMPACT_HELP, CompactArgs};
use crate::config_args::{CONFIG_HELP, ConfigArgs};
use crate::diff_args::{DIFF_EXAMPLES, DIFF_HELP, DiffArgs};
use crate::page_args::PageArgs;
use crate::serve_args::ServeArgs;
use crate::sql_args::SqlArgs;
use crate::write_args::{ConvertArgs, ExportArgs};

const STORES: &str = "Object stores (besides AWS_*, GOOGLE_* and AZURE_* of the environment)";
const TIME: &str = "Time range (none: the whole source)";
const METRICS: &str = "Metrics queries";
pub(crate) const RUNNING: &str = "Running";
const COMMON: &str = "Every command";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

const EXIT_CODES: &str = "\
Exit codes:
  0    answered; a closed pipe counts as answered
  1    nothing matched, or sides differ, with --exit-status; a check of `test` or `lint` failed
  2    the command line or the query is wrong
  3    the source cannot be reached, or not with these credentials
  4    the answer is partial
  5    failed: corrupt data, a limit, or a bug
  6    a block of a format this build does not read
  124  out of time (--timeout); what was found is printed
  130  interrupted; what was found is printed";

const SOURCES: &str = "\
Sources:
  sample:                       built-in data of a small web shop
  PATH, file:///PATH            folder of tenants, a tenant, a block, a data.parquet
  s3://, gs://, az://           the same in a bucket, below any prefix
  https://                      one block, one data.parquet, or a tenant with an index
  FILE.json, .jsonl, .pb [.gz]  traces as OTLP; `-` reads them from standard input";

/// Everything that can be written on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "traceql",
    version,
    about = "Ask TraceQL of Grafana Tempo's blocks where they lie",
    long_about = "Ask TraceQL of Grafana Tempo's blocks where they lie: in a bucket or a folder, with no \
                  server, no index and no import",
    after_help = "Try: traceql query --source sample: '{ status = error }'",
    after_long_help = format!("{SOURCES}\n\n{EXIT_CODES}\n\n\
                  Try: traceql query --source sample: '{{ status = error }}'"),
    styles = STYLES,
    max_term_width = 100
)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Without one, a terminal gets the prompt.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct CommonArgs {
    /// Language: Tempo 3.x plus our extensions, or Tempo alone
    #[arg(help_heading = COMMON, long, global = true, value_enum, default_value = "default", value_name = "DIALECT")]
    pub(crate) dialect: DialectName,
    /// When to use colour
    #[arg(help_heading = COMMON, long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    /// Settings to use, of the profiles in ~/.config/traceql/config.toml
    #[arg(help_heading = COMMON, long, global = true, env = "TRACEQL_PROFILE", hide_env_values = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Another file of settings
    #[arg(help_heading = COMMON, long, global = true, env = "TRACEQL_CONFIG", hide_env_values = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) config: Option<PathBuf>,
    /// Say nothing on standard error but errors
    #[arg(help_heading = COMMON, short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Search for traces, or compute metrics from spans
    #[command(after_help = "Examples:\n  \
                      traceql query --source sample: '{ resource.service.name = \"checkout\" && duration > 200ms }'\n  \
                      traceql query --source sample: '{ kind = server } | rate() by (resource.service.name)'")]
    Query(QueryArgs),
    /// Show one trace as a waterfall, or print it as JSON or OTLP
    Trace(TraceArgs),
    /// List the attribute names that occur
    Tags(TagsArgs),
    /// List the values of a field
    #[command(after_help = "Example: traceql values --source sample: resource.service.name")]
    Values(ValuesArgs),
    /// Show each stage of a query, from text to plan
    Explain(ExplainArgs),
    /// Ask SQL of spans, traces, events, links, resources and blocks
    #[command(after_help = "Examples:\n  \
                      traceql sql --source sample: \"SELECT name, duration FROM spans WHERE status = 'error' LIMIT 5\"\n  \
                      traceql sql --source sample: \"SELECT attr('http.route'), avg(duration) FROM spans GROUP BY 1\"\n\n\
                      grammar/sql.md lists tables, columns and functions")]
    Sql(SqlArgs),
    /// Look at blocks as such
    Blocks(BlocksArgs),
    /// Write traces into new blocks: of another format, several into one, or from OTLP
    #[command(after_help = "Examples:\n  \
                      traceql convert --source traces.otlp.json --out ./bucket\n  \
                      traceql convert --source s3://old/tempo --tenant acme --out s3://new --format vparquet4")]
    Convert(ConvertArgs),
    /// Keep a bucket: put small blocks together, give up old ones, delete what was replaced
    #[command(after_help = COMPACT_HELP)]
    Compact(CompactArgs),
    /// Export the traces that match a query, whole: as OTLP or as a block; or the spans, as Parquet
    #[command(after_help = "Examples:\n  \
                      traceql export --source sample: '{ status = error }' > failed.jsonl\n  \
                      traceql export --source sample: '{ status = error }' -o block --out ./failed --hash .user.id\n  \
                      traceql export --source sample: '{ status = error }' -o parquet --out failed.parquet\n\n\
                      grammar/sql.md lists the columns of Parquet")]
    Export(ExportArgs),
    /// Compare two traces, or two sets of traces: calls, errors, latencies
    #[command(after_help = DIFF_EXAMPLES, after_long_help = DIFF_HELP)]
    Diff(DiffArgs),
    /// Print queries in canonical form
    Fmt(FmtArgs),
    /// Ask at a prompt: history, completion from the data, commands; as plain `traceql` does
    Repl(ReplArgs),
    /// Check traces against suites of questions, for CI
    #[command(after_help = TEST_EXAMPLE, after_long_help = TEST_HELP)]
    Test(TestArgs),
    /// Check queries in files: .traceql, suites, Grafana dashboards and alerts
    #[command(after_long_help = LINT_HELP)]
    Lint(LintArgs),
    /// Answer Tempo's HTTP queries
    Serve(Box<ServeArgs>),
    /// Show the settings that are in force, and who says so
    #[command(after_long_help = CONFIG_HELP)]
    Config(ConfigArgs),
    /// Print what makes a shell complete this command line
    #[command(after_help = "Examples:\n  \
                      traceql completions bash > /etc/bash_completion.d/traceql\n  \
                      traceql completions zsh > ~/.zfunc/_traceql\n  \
                      traceql completions fish > ~/.config/fish/completions/traceql.fish")]
    Completions {
        /// The shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one a command
    Man {
        /// Folder to write them to; without, the page of `traceql` is printed
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

/// Where the data is.
#[derive(Args, Clone, Debug)]
pub(crate) struct SourceArgs {
    /// Where the traces are: `sample:`, a path, s3://, gs://, az://, https://, an OTLP file, or -
    #[arg(long, short, env = "TRACEQL_SOURCE", hide_env_values = true, value_name = "URL")]
    pub(crate) source: Option<String>,
    /// Whose traces; several as `a|b` [default: single-tenant, or the only one there is]
    #[arg(long, short, value_name = "TENANT", value_delimiter = '|')]
    pub(crate) tenant: Vec<String>,
    #[command(flatten)]
    pub(crate) stores: StoreArgs,
}

/// How to reach and sign in to object stores.
#[derive(Args, Clone, Debug)]
pub(crate) struct StoreArgs {
    /// An S3-compatible server
    #[arg(help_heading = STORES, long, value_name = "URL", hide_short_help = true)]
    pub(crate) s3_endpoint: Option<String>,
    /// Region of the bucket [default: asked of S3]
    #[arg(help_heading = STORES, long, value_name = "REGION", hide_short_help = true)]
    pub(crate) s3_region: Option<String>,
    /// Access key
    #[arg(help_heading = STORES, long, value_name = "ID", hide_short_help = true, requires = "s3_secret_access_key")]
    pub(crate) s3_access_key_id: Option<String>,
    /// Secret of the access key
    #[arg(help_heading = STORES, long, value_name = "SECRET", hide_short_help = true, requires = "s3_access_key_id")]
    pub(crate) s3_secret_access_key: Option<String>,
    /// Session token of temporary keys
    #[arg(help_heading = STORES, long, value_name = "TOKEN", hide_short_help = true)]
    pub(crate) s3_session_token: Option<String>,
    /// Profile of ~/.aws
    #[arg(help_heading = STORES, long, value_name = "NAME", hide_short_help = true)]
    pub(crate) s3_profile: Option<String>,
    /// Address the bucket as a host name, not as part of the path
    #[arg(help_heading = STORES, long, hide_short_help = true)]
    pub(crate) s3_virtual_hosted: bool,
    /// Service account file of Google Cloud
    #[arg(help_heading = STORES, long, value_name = "FILE", hide_short_help = true)]
    pub(crate) gcs_service_account: Option<String>,
    /// Storage account of Azure
    #[arg(help_heading = STORES, long, value_name = "NAME", hide_short_help = true)]
    pub(crate) azure_account: Option<String>,
    /// Key of the storage account
    #[arg(help_heading = STORES, long, value_name = "KEY", hide_short_help = true)]
    pub(crate) azure_key: Option<String>,
    /// An Azure-compatible server
    #[arg(help_heading = STORES, long, value_name = "URL", hide_short_help = true)]
    pub(crate) azure_endpoint: Option<String>,
    /// Send no credentials: public buckets
    #[arg(help_heading = STORES, long, hide_short_help = true)]
    pub(crate) unsigned: bool,
    /// Talk to stores without TLS
    #[arg(help_heading = STORES, long, hide_short_help = true)]
    pub(crate) allow_http: bool,
    /// Time allowed for one request to a store [default: 30s]
    #[arg(help_heading = STORES, long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) request_timeout: Option<String>,
}

/// Which time is asked about.
#[derive(Args, Clone, Debug)]
pub(crate) struct TimeArgs {
    /// From this long ago until now: 30m, 1h30m, 7d
    #[arg(help_heading = TIME, long, value_name = "DURATION", conflicts_with_all = ["start", "end"])]
    pub(crate) since: Option<String>,
    /// From here: RFC 3339, unix seconds or nanoseconds, `now-1h`
    #[arg(help_heading = TIME, long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) start: Option<String>,
    /// Until here
    #[arg(help_heading = TIME, long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) end: Option<String>,
}

/// What running may cost and what is told about it.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunArgs {
    /// Threads that decode and evaluate [default: all cores]
    #[arg(help_heading = RUNNING, long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Memory of one query: 256MiB, 1GB [default: 512MiB]
    #[arg(help_heading = RUNNING, long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// End after this long with what was found, and exit code 124
    #[arg(help_heading = RUNNING, long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// Leave out blocks that cannot be read, with a warning and exit code 4
    #[arg(help_heading = RUNNING, long)]
    pub(crate) skip_unreadable: bool,
    /// Say on standard error what the answer cost
    #[arg(help_heading = RUNNING, long)]
    pub(crate) stats: bool,
    /// Exit with 1 if nothing matched
    #[arg(help_heading = RUNNING, long)]
    pub(crate) exit_status: bool,
}

/// A query, from the command line or a file.
#[derive(Args, Clone, Debug)]
pub(crate) struct QueryText {
    /// The query, in quotes
    #[arg(value_name = "QUERY", required_unless_present_any = ["file", "named_query"])]
    pub(crate) query: Option<String>,
    /// The same as an option
    #[arg(id = "named_query", long = "query", value_name = "QUERY", conflicts_with_all = ["query", "file"], hide = true)]
    pub(crate) named: Option<String>,
    /// Read the query from a file; - is standard input
    #[arg(long, short, value_name = "PATH", conflicts_with = "query")]
    pub(crate) file: Option<PathBuf>,
}

/// How rows are printed.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct OutputArgs {
    /// Form of the answer
    #[arg(long, short, value_enum, default_value = "auto", value_name = "FORM")]
    pub(crate) output: OutputFormat,
}

#[derive(Args, Debug)]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    pub(crate) text: QueryText,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value = "auto", value_name = "FORM")]
    pub(crate) output: QueryFormat,
    /// Most traces; 0 is all [default: 20]
    #[arg(long, short, value_name = "N")]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    /// Most spans listed of each spanset; 0 is all [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) spans_per_spanset: Option<usize>,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What a metrics query is asked with besides.
#[derive(Args, Debug)]
pub(crate) struct MetricsArgs {
    /// Length of a step: seconds or a duration [default: by the range, about 240 steps]
    #[arg(help_heading = METRICS, long, value_name = "STEP")]
    pub(crate) step: Option<String>,
    /// One value for the whole range in place of one a step
    #[arg(help_heading = METRICS, long, conflicts_with = "step")]
    pub(crate) instant: bool,
    /// Spans named as examples, in json and ndjson [default: none, unless the query asks]
    #[arg(help_heading = METRICS, long, value_name = "N", conflicts_with = "instant")]
    pub(crate) exemplars: Option<u32>,
    /// As JSON of Prometheus' HTTP API: a matrix, with --instant a vector
    #[arg(help_heading = METRICS, long)]
    pub(crate) prometheus_json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TraceArgs {
    /// Trace id: up to 32 hex digits, leading zeros may be left out
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Form of the answer
    #[arg(long, short, value_enum, default_value = "auto", value_name = "FORM")]
    pub(crate) output: TraceFormat,
    /// List the attributes, events and links of each span
    #[arg(long, short)]
    pub(crate) attributes: bool,
    /// Width of the waterfall [default: the terminal's, or 100]
    #[arg(long, value_name = "COLUMNS")]
    pub(crate) width: Option<u16>,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct TagsArgs {
    /// Only spans of this filter count
    #[arg(value_name = "QUERY")]
    pub(crate) query: Option<String>,
    /// Only this scope
    #[arg(long, value_enum, value_name = "SCOPE")]
    pub(crate) scope: Option<ScopeName>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Most names of each scope; 0 is all
    #[arg(long, short, default_value_t = 0, value_name = "N")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ValuesArgs {
    /// The field: resource.service.name, span.http.route, .x, name, kind, status …
    #[arg(value_name = "FIELD")]
    pub(crate) field: String,
    /// Only spans of this filter count
    #[arg(value_name = "QUERY")]
    pub(crate) query: Option<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    /// Most values; 0 is all
    #[arg(long, short, default_value_t = 0, value_name = "N")]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) text: QueryText,
    /// Run the query too: rows, bytes, requests and times of each operator
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) analyze: bool,
    /// Only estimate blocks, bytes and requests
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Most traces; 0 is all [default: 20]
    #[arg(long, short, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Most spans listed of each spanset; 0 is all
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) spans_per_spanset: usize,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args, Debug)]
pub(crate) struct BlocksArgs {
    #[command(subcommand)]
    pub(crate) command: BlocksCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BlocksCommand {
    /// List the live blocks, newest first
    List(BlocksListArgs),
    /// Show what a block says of itself and how its row groups lie
    Inspect(OneBlockArgs),
    /// Check blocks against the rules of the format
    Verify(SomeBlocksArgs),
    /// Show the columns of a block
    Schema(OneBlockArgs),
    /// Show what takes the bytes: columns, attributes, services
    Analyse(SomeBlocksArgs),
}

#[derive(Args, Debug)]
pub(crate) struct BlocksListArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    /// Leave out blocks whose meta.json cannot be read, with a warning
    #[arg(long)]
    pub(crate) skip_unreadable: bool,
    /// List the folder whatever the tenant index says
    #[arg(long)]
    pub(crate) no_index: bool,
}

#[derive(Args, Debug)]
pub(crate) struct OneBlockArgs {
    /// Id of the block, or its beginning; not needed if there is only one
    #[arg(value_name = "BLOCK")]
    pub(crate) block: Option<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct SomeBlocksArgs {
    /// Ids of blocks, or their beginnings [default: all live blocks]
    #[arg(value_name = "BLOCK")]
    pub(crate) blocks: Vec<String>,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct FmtArgs {
    /// Queries; none, or -, reads one from standard input
    #[arg(value_name = "QUERY")]
    pub(crate) queries: Vec<String>,
    /// Read one JSON string per line, write one verdict per line as JSON
    #[arg(long, conflicts_with = "queries")]
    pub(crate) jsonl: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ReplArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Form of answers
    #[arg(long, short, value_enum, default_value = "auto", value_name = "FORM")]
    pub(crate) output: QueryFormat,
    /// Most traces; 0 is all [default: 20]
    #[arg(long, short, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Do not run ~/.config/traceql/startup.traceql
    #[arg(long)]
    pub(crate) no_startup: bool,
    #[command(flatten)]
    pub(crate) time: TimeArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// The two languages, as the command line names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DialectName {
    /// Tempo 3.x and our extensions
    Default,
    /// Exactly Tempo 3.x
    Tempo,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Forms of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Table on a terminal, ndjson otherwise
    Auto,
    /// Fitted to the terminal
    Table,
    /// As wide as it gets
    Wide,
    /// One document
    Json,
    /// One JSON object a line
    Ndjson,
    /// With a header
    Csv,
    /// The table as Markdown
    Markdown,
}

/// Forms of the answer of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryFormat {
    /// Table or chart on a terminal, ndjson otherwise
    Auto,
    /// One row a spanset or series, fitted to the terminal
    Table,
    /// One row a listed span, or a step, as wide as it gets
    Wide,
    /// Tempo's response, one document
    Json,
    /// One JSON object a line, a trace or series
    Ndjson,
    /// One row a listed span or sample, with a header
    Csv,
    /// The table as Markdown
    Markdown,
    /// Metrics alone: lines, bars or a heat map
    Chart,
    /// Metrics alone: Prometheus' text format with timestamps
    Prom,
}

impl QueryFormat {
    /// The same form of rows; `None` if it is one for metrics alone.
    pub(crate) fn of_rows(self) -> Option<OutputFormat> {
        match self {
            Self::Auto => Some(OutputFormat::Auto),
            Self::Table => Some(OutputFormat::Table),
            Self::Wide => Some(OutputFormat::Wide),
            Self::Json => Some(OutputFormat::Json),
            Self::Ndjson => Some(OutputFormat::Ndjson),
            Self::Csv => Some(OutputFormat::Csv),
            Self::Markdown => Some(OutputFormat::Markdown),
            Self::Chart | Self::Prom => None,
        }
    }
}

/// Forms of a single trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceFormat {
    /// Waterfall on a terminal, otlp otherwise
    Auto,
    /// Tree of spans beside bars on a time axis
    #[value(alias = "table")]
    Waterfall,
    /// Tempo's response
    Json,
    /// OTLP as JSON, one line
    #[value(alias = "ndjson")]
    Otlp,
    /// OTLP as protobuf
    OtlpProto,
}

/// Scopes of attribute names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeName {
    Resource,
    Span,
    Event,
    Link,
    Instrumentation,
    Intrinsic,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        CommandLine::command().debug_assert();
    }
}
