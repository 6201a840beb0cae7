//! The arguments by which `serve` takes traces in, as clap sees them, and what they mean to the
//! server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use traceql_blocks::bucket::destination::Destination;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::store::SourceOptions;
use traceql_blocks::bucket::url::SourceUrl;
use traceql_blocks::write::block::BlockSettings;
use traceql_server::{CutSettings, IngestLimits, IngestOptions, Step};
use uuid::Uuid;

use crate::error::{Error, Kind, Result};
use crate::session::SessionOptions;
use crate::settings;
use crate::write_args::BlockFormat;

const INGEST: &str = "Taking traces in";
const INGEST_LIMITS: &str = "Limits of what is taken in (0: none)";

/// How traces are taken in.
#[derive(Args, Debug)]
pub(crate) struct IngestArgs {
    /// Take OTLP over gRPC here
    #[arg(help_heading = INGEST, long, value_name = "ADDR")]
    pub(crate) otlp_grpc: Option<String>,
    /// Take OTLP over HTTP here
    #[arg(help_heading = INGEST, long, value_name = "ADDR")]
    pub(crate) otlp_http: Option<String>,
    /// Take spans of Zipkin here: JSON and protobuf over HTTP
    #[arg(help_heading = INGEST, long, value_name = "ADDR")]
    pub(crate) zipkin: Option<String>,
    /// Take spans of Jaeger here: Thrift over HTTP
    #[arg(help_heading = INGEST, long, value_name = "ADDR")]
    pub(crate) jaeger_http: Option<String>,
    /// Take spans of Jaeger over gRPC here
    #[arg(help_heading = INGEST, long, value_name = "ADDR")]
    pub(crate) jaeger_grpc: Option<String>,
    /// Folder of the write-ahead log, which holds what is not in blocks yet
    #[arg(help_heading = INGEST, long, value_name = "DIR")]
    pub(crate) wal: Option<PathBuf>,
    /// A trace is cut that got no span for this long [default: 5s]
    #[arg(help_heading = INGEST, long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) trace_idle: Option<String>,
    /// A trace this old is cut though it grows [default: 30s]
    #[arg(help_heading = INGEST, long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) trace_age: Option<String>,
    /// Cut traces become a block when the first of them has waited this long [default: 30s]
    #[arg(help_heading = INGEST, long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) block_age: Option<String>,
    /// Cut traces become a block when they have this many bytes [default: 50MB]
    #[arg(help_heading = INGEST, long, value_name = "SIZE", hide_short_help = true)]
    pub(crate) block_size: Option<String>,
    /// Format of the blocks that are written
    #[arg(help_heading = INGEST, long, value_enum, default_value = "vparquet5", value_name = "FORMAT", hide_short_help = true)]
    pub(crate) block_format: BlockFormat,
    /// Bytes a tenant may send in a second [default: 30MB]
    #[arg(help_heading = INGEST_LIMITS, long, value_name = "SIZE", hide_short_help = true)]
    pub(crate) ingest_rate: Option<String>,
    /// Bytes a tenant may send at once [default: 30MB]
    #[arg(help_heading = INGEST_LIMITS, long, value_name = "SIZE", hide_short_help = true)]
    pub(crate) ingest_burst: Option<String>,
    /// Traces of a tenant that are live at a time; spans of others are dropped
    #[arg(help_heading = INGEST_LIMITS, long, default_value_t = 10_000, value_name = "N", hide_short_help = true)]
    pub(crate) max_live_traces: usize,
    /// Bytes of a live trace; spans beyond are dropped [default: 5MB]
    #[arg(help_heading = INGEST_LIMITS, long, value_name = "SIZE", hide_short_help = true)]
    pub(crate) max_trace_size: Option<String>,
    /// Bytes of an attribute's key or text; what is longer is cut
    #[arg(help_heading = INGEST_LIMITS, long, default_value_t = 2048, value_name = "N", hide_short_help = true)]
    pub(crate) max_attribute_bytes: usize,
    /// Bytes of spans in memory, of all tenants; senders wait when they are used up [default: 250MB]
    #[arg(help_heading = INGEST_LIMITS, long, value_name = "SIZE", hide_short_help = true)]
    pub(crate) max_live_size: Option<String>,
    /// End the process at a step, the n-th time it is come to: for tests of what a crash leaves
    #[arg(long, value_name = "STEP[:N]", hide = true)]
    pub(crate) crash_at: Option<String>,
}

impl IngestArgs {
    /// Whether traces are taken in.
    pub(crate) fn is_wanted(&self) -> bool {
        self.addresses().iter().any(|(_, address)| address.is_some())
    }

    /// Where they are, by the options that say it.
    pub(crate) fn addresses(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("otlp-grpc", self.otlp_grpc.as_deref()),
            ("otlp-http", self.otlp_http.as_deref()),
            ("zipkin", self.zipkin.as_deref()),
            ("jaeger-http", self.jaeger_http.as_deref()),
            ("jaeger-grpc", self.jaeger_grpc.as_deref()),
        ]
    }

    /// The folder of the write-ahead log.
    ///
    /// # Errors
    /// If none is named.
    pub(crate) fn log_folder(&self) -> Result<&Path> {
        self.wal.as_deref().ok_or_else(|| {
            Error::usage("no folder for the write-ahead log is named")
                .hint("traces are taken in with --wal DIR, beside the folder of blocks")
        })
    }

    /// Makes the folder of blocks, if it is one of this machine: a first start has none.
    ///
    /// # Errors
    /// If it cannot be made, or the log would lie in it, where a bucket has tenants.
    pub(crate) fn prepare(&self, source: &str, home: Option<&Path>) -> Result<()> {
        let Ok(SourceUrl::Local(folder)) = SourceUrl::parse(source, home) else { return Ok(()) };
        if self.wal.as_ref().is_some_and(|wal| resolved(wal).starts_with(resolved(&folder))) {
            return Err(Error::usage("the write-ahead log lies in the folder of the tenants")
                .hint("give --wal a folder of its own, beside that of the blocks"));
        }
        let is_new = !folder.exists();
        if is_new && !source.contains(".parquet") {
            std::fs::create_dir_all(&folder).map_err(|error| {
                let what = format!("cannot make {}: {error}", folder.display());
                Error::new(Kind::Failed, what)
            })?;
        }
        Ok(())
    }

    /// Opens the source. A bucket that cannot be reached keeps no server from taking traces in: they
    /// wait in the log until it can be, and until then queries say that it cannot.
    ///
    /// # Errors
    /// What else is wrong with the source.
    pub(crate) async fn open_source(
        &self,
        session: &SessionOptions,
        url: &str,
        stores: &SourceOptions,
        log: fn(&str),
    ) -> Result<Source> {
        let is_remote = matches!(SourceUrl::parse(url, None), Ok(SourceUrl::Remote(_)));
        if !self.is_wanted() || !is_remote {
            return session.open_source().await;
        }
        match Source::open(url, stores).await {
            Err(error @ traceql_blocks::Error::Unreachable { .. }) => {
                log(&format!("{error}; what is received waits until it can be reached"));
                Ok(Destination::open(url, stores).await?.source())
            }
            Ok(source) => Ok(source),
            Err(_) => session.open_source().await,
        }
    }

    /// What the server is to do; `None` if nothing is taken in.
    ///
    /// # Errors
    /// Arguments that say nothing; a source that cannot be written to.
    pub(crate) async fn options(
        &self,
        source: &str,
        stores: &SourceOptions,
    ) -> Result<Option<IngestOptions>> {
        if !self.is_wanted() {
            return Ok(None);
        }
        let wal = self.log_folder()?;
        let (limits, cut) = (IngestLimits::default(), CutSettings::default());
        let bytes = |option: &str, text: &Option<String>, default: u64| -> Result<u64> {
            match text.as_deref() {
                Some("0") => Ok(0),
                text => Ok(settings::size(option, text)?.map_or(default, |bytes| bytes as u64)),
            }
        };
        let time = |option: &str, text: &Option<String>, default| {
            settings::duration(option, text.as_deref()).map(|time| time.unwrap_or(default))
        };
        let live_bytes = bytes("max-live-size", &self.max_live_size, limits.live_bytes)?;
        let cut = CutSettings {
            idle: time("trace-idle", &self.trace_idle, cut.idle)?,
            age: time("trace-age", &self.trace_age, cut.age)?,
            block_age: time("block-age", &self.block_age, cut.block_age)?,
            block_bytes: bytes("block-size", &self.block_size, cut.block_bytes)?,
            check: cut.check,
        };
        let shortest = cut.idle.min(cut.age).min(cut.block_age);
        Ok(Some(IngestOptions {
            otlp_grpc: self.otlp_grpc.clone(),
            otlp_http: self.otlp_http.clone(),
            zipkin: self.zipkin.clone(),
            jaeger_http: self.jaeger_http.clone(),
            jaeger_grpc: self.jaeger_grpc.clone(),
            wal: wal.to_path_buf(),
            segment_bytes: 64 << 20,
            destination: Destination::open(source, stores).await?,
            block: BlockSettings::new(self.block_format.version()),
            new_block_id: Uuid::new_v4,
            limits: IngestLimits {
                rate_bytes: bytes("ingest-rate", &self.ingest_rate, limits.rate_bytes)?,
                burst_bytes: bytes("ingest-burst", &self.ingest_burst, limits.burst_bytes)?,
                live_traces: self.max_live_traces,
                trace_bytes: bytes("max-trace-size", &self.max_trace_size, limits.trace_bytes)?,
                attribute_bytes: self.max_attribute_bytes,
                live_bytes: if live_bytes == 0 { u64::MAX } else { live_bytes },
                ..limits
            },
            cut: CutSettings { check: cut.check.min(shortest / 2), ..cut },
            final_flush: std::time::Duration::from_secs(60),
            on_flush: None,
            on_step: crash_at(self.crash_at.as_deref())?,
        }))
    }
}

/// A path without links and dots, as far as it exists: two names of one place are the same.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let there = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    match there {
        Some((part, real)) => path.strip_prefix(part).map_or(real.clone(), |rest| real.join(rest)),
        None => path,
    }
}

/// What ends the process at a step, if it is to end at one.
fn crash_at(text: Option<&str>) -> Result<Arc<dyn Fn(Step) + Send + Sync>> {
    let Some(text) = text else { return Ok(Arc::new(|_| {})) };
    let (name, n) = text.split_once(':').unwrap_or((text, "1"));
    let step = Step::ALL.iter().find(|(known, _)| *known == name).map(|(_, step)| *step);
    let (Some(step), Ok(n)) = (step, n.parse::<usize>()) else {
        let names = Step::ALL.map(|(name, _)| name).join(", ");
        return Err(Error::usage(format!("--crash-at: {text:?} is none of {names}")));
    };
    let left = AtomicUsize::new(n.max(1));
    Ok(Arc::new(move |come_to| {
        if come_to == step && left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // As by `kill -9`: nothing is written, nothing is closed.
            std::process::abort();
        }
    }))
}
