//! From raw arguments to validated settings: times, sizes, tenants, stores. The environment and the
//! clock come in with [`World`], so that everything here is a pure function.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use traceql_blocks::bucket::meta::TimeRange;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::TraceId;
use traceql_engine::{Progress, QueryOptions};
use traceql_language::{Dialect, TypedQuery};

use crate::args::{
    DialectName, OutputFormat, QueryFormat, QueryText, RunArgs, SourceArgs, StoreArgs, TimeArgs,
    TraceFormat,
};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::host::Host;
use crate::output::sink::{PAGER, Sink};
use crate::terminal::Terminal;
use crate::units;

/// Most threads started, whatever is asked for: more would only wait for each other.
const MAX_THREADS: usize = 1_024;

/// Longest query file read; the language refuses far shorter ones, with a better message.
const MAX_QUERY_FILE_BYTES: u64 = 16 << 20;

/// What surrounds the process, read once.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// The environment, as far as it is UTF-8.
    pub(crate) environment: Vec<(String, String)>,
    /// The clock.
    pub(crate) now_unix_nanos: u64,
    /// The output streams.
    pub(crate) terminal: Terminal,
    /// The language.
    pub(crate) dialect: Dialect,
    /// Where answers go.
    pub(crate) sink: Sink,
    /// The file of settings.
    pub(crate) config: Arc<Config>,
    /// What the commands of a prompt share; `None` for a command by itself.
    pub(crate) host: Option<Arc<Host>>,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::Default => Self::Default,
            DialectName::Tempo => Self::Tempo,
        }
    }
}

impl World {
    /// A variable of the environment; an empty one counts as none.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let mut found = self.environment.iter().rev().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// What pages long answers: a command line.
    pub(crate) fn pager(&self) -> &str {
        self.variable("TRACEQL_PAGER").or_else(|| self.variable("PAGER")).unwrap_or(PAGER)
    }

    /// Turns a query's text into a typed query.
    pub(crate) fn compile(&self, text: &str) -> Result<TypedQuery> {
        traceql_language::compile(text, self.dialect)
            .map_err(|error| Error::query("query", text, error))
    }

    /// Writes an answer to where answers go.
    pub(crate) fn print(
        &self,
        write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>,
    ) -> Result<()> {
        self.sink.print(&self.terminal, write)
    }

    /// What `auto` means here.
    pub(crate) fn output(&self, format: OutputFormat) -> OutputFormat {
        match format {
            OutputFormat::Auto if self.terminal.stdout_is_terminal => OutputFormat::Table,
            OutputFormat::Auto => OutputFormat::Ndjson,
            other => other,
        }
    }

    /// What `auto` means here for metrics.
    pub(crate) fn metrics_output(&self, format: QueryFormat) -> QueryFormat {
        match format {
            QueryFormat::Auto if self.terminal.stdout_is_terminal => QueryFormat::Chart,
            QueryFormat::Auto => QueryFormat::Ndjson,
            other => other,
        }
    }

    /// What `auto` means here.
    pub(crate) fn trace_output(&self, format: TraceFormat) -> TraceFormat {
        match format {
            TraceFormat::Auto if self.terminal.stdout_is_terminal => TraceFormat::Waterfall,
            TraceFormat::Auto => TraceFormat::Otlp,
            other => other,
        }
    }

    /// The time range asked about.
    pub(crate) fn time_range(&self, args: &TimeArgs) -> Result<Option<(u64, u64)>> {
        let now = self.now_unix_nanos;
        let read = |option: &str, text: &Option<String>| {
            let parse = |text: &String| units::parse_time(text, now).map_err(|e| wrong(option, &e));
            text.as_ref().map(parse).transpose()
        };
        if let Some(since) = &args.since {
            let nanos = units::parse_duration(since).map_err(|e| wrong("since", &e))?;
            return Ok(Some((now.saturating_sub(nanos), now)));
        }
        let (start, end) = (read("start", &args.start)?, read("end", &args.end)?);
        match (start, end) {
            (None, None) => Ok(None),
            (start, end) => {
                let (start, end) = (start.unwrap_or(0), end.unwrap_or(u64::MAX));
                if start > end {
                    return Err(Error::usage("--start is later than --end")
                        .note(format!("start: {}", units::format_time_exact(start)))
                        .note(format!("end:   {}", units::format_time_exact(end))));
                }
                Ok(Some((start, end)))
            }
        }
    }

    /// The time range of a metrics query, whose ends are both known: it ends now unless it says when.
    pub(crate) fn metrics_range(&self, args: &TimeArgs) -> Result<Option<(u64, u64)>> {
        if args.start.is_none() && args.end.is_some() {
            return Err(Error::usage("--end alone says not where the steps of metrics begin")
                .hint("give --start as well; without both the whole source is meant"));
        }
        let range = self.time_range(args)?;
        let until_now = args.end.is_none();
        Ok(range.map(|(start, end)| (start, if until_now { self.now_unix_nanos } else { end })))
    }

    /// How a query runs, apart from its limits.
    pub(crate) fn query_options(
        &self,
        time: &TimeArgs,
        run: &RunArgs,
        progress: &Arc<Progress>,
    ) -> Result<QueryOptions> {
        let defaults = QueryOptions::default();
        Ok(QueryOptions {
            time_range: self.time_range(time)?,
            threads: threads(run.threads),
            memory_bytes: memory(run.memory.as_deref())?.unwrap_or(defaults.memory_bytes),
            // The whole command has one deadline; the supervisor keeps it, opening the source included.
            timeout: None,
            skip_unreadable: run.skip_unreadable,
            now_unix_nanos: i64::try_from(self.now_unix_nanos).ok(),
            progress: Some(Arc::clone(progress)),
            ..defaults
        })
    }

    /// How stores are reached.
    pub(crate) fn source_options(
        &self,
        args: &StoreArgs,
        io: &tokio::runtime::Handle,
    ) -> Result<SourceOptions> {
        for missing in self.config.missing() {
            self.terminal.warn(&missing);
        }
        let mut environment = self.environment.clone();
        // Of two variables of one name the last one wins, so an option overrides the environment.
        for (name, value) in [
            ("GOOGLE_SERVICE_ACCOUNT", &args.gcs_service_account),
            ("AZURE_STORAGE_ACCOUNT_NAME", &args.azure_account),
            ("AZURE_STORAGE_ACCOUNT_KEY", &args.azure_key),
            ("AZURE_STORAGE_ENDPOINT", &args.azure_endpoint),
        ] {
            if let Some(value) = value {
                environment.push((name.to_owned(), value.clone()));
            }
        }
        Ok(SourceOptions {
            environment,
            s3_endpoint: args.s3_endpoint.clone(),
            s3_region: args.s3_region.clone(),
            s3_access_key_id: args.s3_access_key_id.clone(),
            s3_secret_access_key: args.s3_secret_access_key.clone(),
            s3_session_token: args.s3_session_token.clone(),
            s3_profile: args.s3_profile.clone(),
            s3_virtual_hosted: args.s3_virtual_hosted,
            unsigned: args.unsigned,
            allow_http: args.allow_http,
            request_timeout: duration("request-timeout", args.request_timeout.as_deref())?,
            io_runtime: Some(io.clone()),
        })
    }
}

/// The source, which has no default: an answer about the wrong data is worse than a question.
pub(crate) fn source(args: &SourceArgs) -> Result<&str> {
    args.source.as_deref().filter(|source| !source.is_empty()).ok_or_else(|| {
        Error::usage("no source given")
            .hint("name one with --source or TRACEQL_SOURCE; `--source sample:` is built-in data")
    })
}

/// The tenants asked for; none if it is up to the source.
pub(crate) fn tenants(args: &SourceArgs) -> Result<Vec<TenantId>> {
    let mut tenants = args
        .tenant
        .iter()
        .map(|name| TenantId::parse(name).map_err(Error::from))
        .collect::<Result<Vec<_>>>()?;
    tenants.sort();
    tenants.dedup();
    Ok(tenants)
}

/// The text of a query, and what to call it in messages.
pub(crate) fn query_text(args: &QueryText) -> Result<(String, String)> {
    match (args.query.as_ref().or(args.named.as_ref()), &args.file) {
        (Some(text), _) => Ok(("query".to_owned(), text.clone())),
        (None, Some(path)) => read_query(path),
        (None, None) => Err(Error::usage("no query given")),
    }
}

fn read_query(path: &Path) -> Result<(String, String)> {
    let name = if path.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_QUERY_FILE_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_QUERY_FILE_BYTES).read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok((name, text)),
        Err(error) => Err(Error::usage(format!("cannot read the query from {name}: {error}"))),
    }
}

/// Reads a trace id as people paste it: hex of any case, leading zeros left out or not.
pub(crate) fn trace_id(text: &str) -> Result<TraceId> {
    let refuse = |why: &str| {
        Error::usage(format!("{text:?} is no trace id: {why}")).hint("an id is 1 to 32 hex digits")
    };
    let digits = text.trim();
    let digits = of_traceparent(digits).unwrap_or(digits);
    let digits = digits.strip_prefix("0x").unwrap_or(digits).replace('-', "");
    if digits.is_empty() || digits.len() > 32 {
        return Err(refuse(&format!("it has {} digits", digits.len())));
    }
    if let Some(other) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(refuse(&format!("{other:?} is no hex digit")));
    }
    u128::from_str_radix(&digits, 16)
        .map(|id| TraceId(id.to_be_bytes()))
        .map_err(|error| refuse(&error.to_string()))
}

/// The trace id in a header `traceparent` (W3C Trace Context, 3.2): version, trace, parent, flags.
fn of_traceparent(text: &str) -> Option<&str> {
    let fields: Vec<&str> = text.split('-').collect();
    match fields.as_slice() {
        [version, trace, parent, flags]
            if (version.len(), trace.len(), parent.len(), flags.len()) == (2, 32, 16, 2) =>
        {
            Some(trace)
        }
        _ => None,
    }
}

/// The range for blocklists.
pub(crate) fn block_range(range: Option<(u64, u64)>) -> Option<TimeRange> {
    let clamp = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
    range.map(|(start, end)| TimeRange {
        start_unix_nanos: clamp(start),
        end_unix_nanos: clamp(end).saturating_add(1),
    })
}

/// Threads that decode and evaluate.
pub(crate) fn threads(asked: Option<std::num::NonZeroUsize>) -> usize {
    asked
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, std::num::NonZeroUsize::get)
        .min(MAX_THREADS)
}

/// A memory limit.
pub(crate) fn memory(text: Option<&str>) -> Result<Option<usize>> {
    size("memory", text)
}

/// A size option.
pub(crate) fn size(option: &str, text: Option<&str>) -> Result<Option<usize>> {
    text.map(|text| units::parse_size(text).map_err(|e| wrong(option, &e))).transpose()
}

/// A duration option.
pub(crate) fn duration(option: &str, text: Option<&str>) -> Result<Option<Duration>> {
    text.map(|text| {
        let nanos = units::parse_duration(text).map_err(|e| wrong(option, &e))?;
        match nanos {
            0 => Err(wrong(option, "a time of 0 would allow nothing")),
            nanos => Ok(Duration::from_nanos(nanos)),
        }
    })
    .transpose()
}

/// The length of a step: seconds, or a duration. Nanoseconds.
pub(crate) fn step(text: Option<&str>) -> Result<Option<u64>> {
    let Some(text) = text else { return Ok(None) };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let nanos = match is_number {
        true => units::parse_duration(&format!("{text}s")),
        false => units::parse_duration(text),
    };
    match nanos {
        Ok(0) => Err(wrong("step", "a step of 0 would never end")),
        Ok(nanos) => Ok(Some(nanos)),
        Err(_) => Err(wrong(
            "step",
            &format!("{text:?} is no step; write seconds or a duration: 15, 500ms, 1m30s, 1d"),
        )),
    }
}

/// A duration option for which 0 means that there is none.
pub(crate) fn duration_or_none(
    option: &str,
    text: Option<&str>,
    default: Option<Duration>,
) -> Result<Option<Duration>> {
    let Some(text) = text else { return Ok(default) };
    let nanos = match text {
        "0" => 0,
        text => units::parse_duration(text).map_err(|e| wrong(option, &e))?,
    };
    Ok(Some(Duration::from_nanos(nanos)).filter(|duration| !duration.is_zero()))
}

/// An address to listen on. Whether its host has that name, and the port is free, shows when it is
/// taken.
pub(crate) fn address(option: &str, text: Option<&str>) -> Result<()> {
    let Some(text) = text else { return Ok(()) };
    match text.rsplit_once(':') {
        Some(("", port)) if port.parse::<u16>().is_ok() => {
            let why =
                format!("{text:?} names no host; all addresses of the machine are 0.0.0.0:{port}");
            Err(wrong(option, &why))
        }
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(()),
        _ => Err(wrong(option, &format!("{text:?} is no address and port: 127.0.0.1:3200"))),
    }
}

fn wrong(option: &str, why: &str) -> Error {
    Error::new(Kind::Usage, format!("--{option}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_ids_are_read_as_pasted() {
        let id = |text: &str| trace_id(text).unwrap().to_string();
        assert_eq!(id("1"), "00000000000000000000000000000001");
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(id(header), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(id("0xABCDEF"), "00000000000000000000000000abcdef");
        assert_eq!(id(" 6a2c8773e130f7eb19731662b5e803b6 "), "6a2c8773e130f7eb19731662b5e803b6");
        assert_eq!(id("6a2c8773-e130-f7eb-1973-1662b5e803b6"), "6a2c8773e130f7eb19731662b5e803b6");
        for bad in ["", "xyz", &"1".repeat(33), "+1"] {
            assert_eq!(trace_id(bad).unwrap_err().kind, Kind::Usage, "{bad:?}");
        }
    }

    #[test]
    fn steps_are_seconds_or_durations() {
        for (text, nanos) in [
            ("15", 15_000_000_000),
            ("1.5", 1_500_000_000),
            ("500ms", 500_000_000),
            ("1m30s", 90_000_000_000),
            ("1d", 86_400_000_000_000),
        ] {
            assert_eq!(step(Some(text)).unwrap(), Some(nanos), "{text}");
        }
        assert_eq!(step(None).unwrap(), None);
        for bad in ["0", "0s", "", "-1", "1x", ".", "1..5"] {
            assert_eq!(step(Some(bad)).unwrap_err().kind, Kind::Usage, "{bad:?}");
        }
    }

    #[test]
    fn ranges_for_blocks_include_their_end() {
        let range = block_range(Some((1, 5))).unwrap();
        assert_eq!((range.start_unix_nanos, range.end_unix_nanos), (1, 6));
        let open = block_range(Some((1, u64::MAX))).unwrap();
        assert_eq!(open.end_unix_nanos, i64::MAX);
        assert_eq!(block_range(None), None);
    }
}
