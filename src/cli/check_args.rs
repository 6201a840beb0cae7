//! The arguments of `test` and `lint` as clap sees them, and their longer help. As in [`crate::args`],
//! nothing here is acted on.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use crate::args::{RUNNING, StoreArgs};

const REPORTS: &str = "Reports";
const CAPTURE: &str = "Checking what a command sends";

/// What follows the short help of `test`.
pub(crate) const TEST_EXAMPLE: &str = "\
Example: traceql test checks/shop.yaml --junit report.xml
How to write a suite: traceql test --reference";

/// What follows the long help of `test`: how a suite looks.
pub(crate) const TEST_HELP: &str = "\
A suite is a YAML file:
  source: 'sample:'                # whatever --source takes, paths beside the suite; or spans:
  now: 2026-01-01T01:05:00Z        # stops the clock
  tests:
    - name: checkout never fails
      query: '{ span.http.route = \"/cart/checkout\" && status = error }'
      since: 1h
      expect: { empty: true }      # or count: { min: 1, max: 20 }, traces: [ids], fields: {…}
    - name: p95 of checkout
      query: '{ name = \"POST /cart/checkout\" } | quantile_over_time(duration, .95)'
      threshold: value < 300ms
    - name: shape of the slowest checkout
      query: '{ name = \"POST /cart/checkout\" }'
      snapshot: snapshots/checkout.tree

Every key: traceql test --reference

Example: traceql test checks/shop.yaml --junit report.xml
         traceql test checks/sent.yaml --listen 127.0.0.1:4317 -- ./integration-tests";

/// What follows the long help of `lint`: the rules.
pub(crate) const LINT_HELP: &str = "\
Rules, and how much they weigh:
  syntax             error    the query is refused
  tempo              warning  Grafana's Tempo would refuse it (error in dashboards and alerts)
  unknown-attribute  error    no span of --source has it
  unscoped           warning  `.name` is looked for in two scopes
  full-scan          warning  no condition limits what is read
  doubtful           warning  it can match nothing, or not what it seems to
  template           note     a variable of Grafana stands where the query cannot be checked

Exit code 1 if there is an error, with --deny-warnings also if there is a warning.";

/// Arguments of `test`.
#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// Suites, YAML files
    #[arg(value_name = "FILE", required_unless_present = "reference")]
    pub(crate) files: Vec<PathBuf>,
    /// Ask this in place of the sources that the suites name
    #[arg(long, short, value_name = "URL", conflicts_with = "listen")]
    pub(crate) source: Option<String>,
    /// Whose traces of --source; several as `a|b` [default: as the suite says]
    #[arg(long, short, value_name = "TENANT", value_delimiter = '|', requires = "source")]
    pub(crate) tenant: Vec<String>,
    /// Only tests whose names match
    #[arg(long, value_name = "REGEX")]
    pub(crate) run: Option<String>,
    /// Write snapshots anew
    #[arg(long)]
    pub(crate) update: bool,
    /// Ask nothing after the first test that fails
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Ask again so often before a test has failed: data may still be arriving
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retry: u32,
    /// Time between two attempts [default: 1s]
    #[arg(long, value_name = "DURATION", requires = "retry")]
    pub(crate) wait: Option<String>,
    /// Print how a suite is written
    #[arg(long)]
    pub(crate) reference: bool,
    /// Take OTLP here, gRPC and HTTP, while COMMAND runs, then check what it sent
    #[arg(help_heading = CAPTURE, long, value_name = "ADDR", requires = "command")]
    pub(crate) listen: Option<String>,
    /// The command; it finds the address in OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(help_heading = CAPTURE, last = true, value_name = "COMMAND", requires = "listen")]
    pub(crate) command: Vec<OsString>,
    /// Write a JUnit report
    #[arg(help_heading = REPORTS, long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Write a report as JSON
    #[arg(help_heading = REPORTS, long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Print TAP 14 in place of the list
    #[arg(help_heading = REPORTS, long)]
    pub(crate) tap: bool,
    /// Threads that decode and evaluate [default: all cores]
    #[arg(help_heading = RUNNING, long, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Memory of one query: 256MiB, 1GB [default: 512MiB]
    #[arg(help_heading = RUNNING, long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// End after this long, COMMAND not counted, with exit code 124
    #[arg(help_heading = RUNNING, long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    #[command(flatten)]
    pub(crate) stores: StoreArgs,
}

/// Arguments of `lint`.
#[derive(Args, Debug)]
pub(crate) struct LintArgs {
    /// Files, and folders that are searched for them
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Data whose attributes are the ones there are
    #[arg(long, short, value_name = "URL")]
    pub(crate) source: Option<String>,
    /// Whose traces; several as `a|b` [default: single-tenant, or the only one there is]
    #[arg(long, short, value_name = "TENANT", value_delimiter = '|', requires = "source")]
    pub(crate) tenant: Vec<String>,
    /// Let warnings fail as errors do
    #[arg(long)]
    pub(crate) deny_warnings: bool,
    /// Print SARIF 2.1.0, or write it to a file besides the text
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(crate) sarif: Option<Option<PathBuf>>,
    #[command(flatten)]
    pub(crate) stores: StoreArgs,
}
