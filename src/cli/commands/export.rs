//! `traceql export`: the traces that match a query, whole, as OTLP or as a block; or the spans that
//! match, as Parquet.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use traceql_blocks::bucket::blocklist::BlocklistOptions;
use traceql_blocks::bucket::destination::Destination;
use traceql_blocks::bucket::source::SourceKind;
use traceql_blocks::model::Trace;
use traceql_blocks::model::trace::TraceFields;
use traceql_blocks::write::block::{BlockPlace, BlockWriter, WrittenBlock};
use traceql_blocks::write::redact::{Action, AttributeName, Redaction};
use traceql_blocks::write::{convert, otlp};
use traceql_engine::QueryOptions;
use traceql_engine::search::TraceResult;
use uuid::Uuid;

use super::convert::NewBlocks;
use super::{Asking, Told, split, whole};
use crate::Success;
use crate::error::{Error, Kind, Result};
use crate::output::rows::{Output, RowsWriter};
use crate::output::sink::Screen;
use crate::output::spans::{Matched, SpanRows};
use crate::output::to_stdout;
use crate::session::Session;
use crate::settings::{self, World};
use crate::sql_args::SqlFormat;
use crate::terminal::Terminal;
use crate::units::plural;
use crate::write_args::{ExportArgs, ExportFormat};

/// Traces that are fetched at a time.
const CONCURRENT_TRACES: usize = 8;

pub(crate) fn run(world: &World, args: &ExportArgs) -> Result<Success> {
    let (_, text) = settings::query_text(&args.text)?;
    let query = world.compile(&text)?;
    if query.metrics.is_some() {
        return Err(Error::usage("a query that computes metrics selects no traces")
            .hint("leave out the metrics function: its filter alone says which traces"));
    }
    let redaction = redaction(args)?;
    let to_block = match args.output {
        ExportFormat::Block => Some(NewBlocks::new(&args.blocks)?),
        ExportFormat::Parquet => {
            let is_shown = args.out.is_none() && world.terminal.stdout_is_terminal;
            if is_shown {
                return Err(Error::usage("Parquet is no text for a terminal")
                    .hint("write it with --out FILE, or pipe it on"));
            }
            None
        }
        _ if args.out.is_some() => {
            return Err(Error::usage("--out is where a block or a Parquet file goes")
                .hint("use -o block or -o parquet, or send standard output to a file"));
        }
        _ => None,
    };
    if args.all_spans && args.output != ExportFormat::Parquet {
        return Err(Error::usage("--all-spans is for -o parquet")
            .hint("as OTLP and as a block, traces are always whole"));
    }
    let mut asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    asking.options.limit = args.limit;
    // Rows are the spans that match; otherwise one shows that the trace does.
    let is_parquet = args.output == ExportFormat::Parquet;
    asking.options.spans_per_spanset = if is_parquet { 0 } else { 1 };
    let options = asking.options.clone();
    let stores = asking.source_options(&args.source)?;
    let (out, format, all) = (args.out.clone(), args.output, args.all_spans);
    let terminal = world.terminal;
    let ended = asking.ask(move |session| async move {
        // What cannot be written to is said before anything is read.
        let destination = match &to_block {
            Some(_) => Some(Destination::open(out.as_deref().unwrap_or_default(), &stores).await?),
            None => None,
        };
        let file = match (is_parquet, &out) {
            (true, Some(out)) => Some(Output::file(Path::new(out))?),
            (true, None) => Some(Output::screen(Screen::Stdout)),
            (false, _) => None,
        };
        let outcome =
            session.engine.search(&session.source, &session.tenants, &query, &options).await?;
        let (mut answer, told) = split(outcome);
        answer.traces.sort_by_key(|trace| trace.trace_id);
        let export =
            Export { session, options, redaction, found: answer.traces, told: told.into() };
        let mut written = Written { n_traces: export.found.len(), ..Written::default() };
        match (to_block, destination, file) {
            (Some(blocks), Some(destination), _) => {
                written.block = export.to_block(&blocks, &destination).await?;
            }
            (_, _, Some(file)) => {
                written.n_rows = Some(export.to_parquet(file, all, &terminal).await?);
            }
            _ => export.to_otlp(format).await?,
        }
        written.untouched = export.redaction.untouched().iter().map(ToString::to_string).collect();
        Ok::<(Written, Told), Error>((written, export.told.into_inner()))
    });
    let (Written { n_traces, block, n_rows, untouched }, told) = whole(ended)?;
    for name in untouched {
        world
            .terminal
            .note(&format!("{name}, which is to be redacted, occurs in none of the traces"));
    }
    if let (Some(n_rows), Some(out)) = (n_rows, &args.out) {
        let (n_rows, n_traces) = (plural(n_rows, "span"), plural(n_traces as u64, "trace"));
        world.terminal.note(&format!("{n_rows} of {n_traces} written to {out}"));
    }
    if let Some(block) = &block {
        let id = block.meta.block_id;
        to_stdout(|out| writeln!(out, "{id}"))?;
        world.terminal.note(&format!(
            "{} with {} written for tenant {}",
            plural(block.meta.total_objects, "trace"),
            plural(block.span_count, "span"),
            block.meta.tenant
        ));
    }
    asking.finish(&told, n_traces == 0, "nothing matched")
}

fn redaction(args: &ExportArgs) -> Result<Redaction> {
    let named = |names: &[String], action: Action| {
        let rules = names.iter().map(|name| Ok((name.parse::<AttributeName>()?, action)));
        rules.collect::<Result<Vec<_>>>()
    };
    let mut rules = named(&args.drop, Action::Drop)?;
    rules.extend(named(&args.hash, Action::Hash)?);
    let random = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes).concat();
    let secret = args.hash_secret.as_ref().map_or(random.as_slice(), |secret| secret.as_bytes());
    Ok(Redaction::new(rules, secret))
}

/// What came of an export.
#[derive(Default)]
struct Written {
    n_traces: usize,
    /// The block, if one was asked for and any trace found.
    block: Option<WrittenBlock>,
    /// Rows of Parquet.
    n_rows: Option<u64>,
    /// Attributes that were to be redacted, and that nothing has.
    untouched: Vec<String>,
}

/// An answer whose traces are exported.
struct Export {
    session: Session,
    options: QueryOptions,
    redaction: Redaction,
    /// By ascending id.
    found: Vec<TraceResult>,
    told: Mutex<Told>,
}

impl Export {
    async fn to_otlp(&self, format: ExportFormat) -> Result<()> {
        for found in self.found.chunks(CONCURRENT_TRACES) {
            for (trace, _) in self.fetch(found).await? {
                to_stdout(|out| match format {
                    // Messages one after the other are one message with all their traces.
                    ExportFormat::OtlpProto => out.write_all(&otlp::to_protobuf(&[trace])),
                    _ => writeln!(out, "{}", otlp::to_otlp_json(&[trace])),
                })?;
            }
        }
        Ok(())
    }

    async fn to_parquet(&self, output: Output, all: bool, terminal: &Terminal) -> Result<u64> {
        let mut rows = SpanRows::new();
        let mut writer = RowsWriter::new(output, SqlFormat::Parquet, rows.schema(), terminal)?;
        for found in self.found.chunks(CONCURRENT_TRACES) {
            for (trace, found) in &self.fetch(found).await? {
                let spans = found.spansets.iter().flat_map(|spanset| &spanset.spans);
                let matched: Matched = spans
                    .map(|span| (span.span_id.clone(), span.start_unix_nanos, span.duration_nanos))
                    .collect();
                rows.add(trace, &self.fields(found), &matched, all)?;
            }
            writer.write(&rows.take()?)?;
        }
        writer.finish()
    }

    async fn to_block(
        &self,
        blocks: &NewBlocks,
        destination: &Destination,
    ) -> Result<Option<WrittenBlock>> {
        let from = self.session.tenant()?;
        let source = &self.session.source;
        let inputs = match source.kind() {
            SourceKind::Otlp(_) => Vec::new(),
            _ => source.blocks(from, &BlocklistOptions::default()).await?.blocks,
        };
        let tenant = blocks.tenant(from);
        convert::refuse_source(&inputs, destination, &tenant)?;
        let store = destination.store();
        let place = BlockPlace {
            store: Arc::clone(&store.store),
            store_url: Arc::clone(&store.url),
            tenant_folder: destination.tenant_folder(&tenant),
            tenant,
            block_id: Uuid::new_v4(),
        };
        let mut writer = BlockWriter::new(place, blocks.settings(&inputs))?;
        if let Err(error) = self.write(&mut writer).await {
            writer.abort().await;
            return Err(error);
        }
        Ok(writer.finish().await?)
    }

    async fn write(&self, writer: &mut BlockWriter) -> Result<()> {
        for found in self.found.chunks(CONCURRENT_TRACES) {
            for (trace, found) in &self.fetch(found).await? {
                writer.write_stored(trace, &self.fields(found)).await?;
            }
        }
        Ok(())
    }

    /// What is said of a trace as a whole: its root was told by the order in which spans came, which
    /// the trace has lost.
    fn fields(&self, found: &TraceResult) -> TraceFields {
        TraceFields {
            start_unix_nanos: found.start_unix_nanos,
            end_unix_nanos: found.start_unix_nanos.wrapping_add(found.duration_nanos),
            root_service_name: self.redaction.service_name(&found.root_service_name),
            root_span_name: found.root_trace_name.clone(),
        }
    }

    /// The traces, whole and redacted, in the same order. One that lies in a block that is left out may
    /// be missing.
    async fn fetch<'a>(&self, found: &'a [TraceResult]) -> Result<Vec<(Trace, &'a TraceResult)>> {
        let mut fetching = JoinSet::new();
        for (at, found) in found.iter().enumerate() {
            let (engine, source) = (self.session.engine.clone(), self.session.source.clone());
            let tenants = self.session.tenants.clone();
            // Whole traces: the time asked about says which, not how much of them.
            let options = QueryOptions { time_range: None, ..self.options.clone() };
            let id = found.trace_id;
            fetching.spawn(async move {
                let trace = engine.trace(&source, &tenants, id, &options).await;
                trace.map(|outcome| (at, outcome))
            });
        }
        let mut traces = vec![None; found.len()];
        while let Some(fetched) = fetching.join_next().await {
            let fetched = fetched
                .map_err(|error| Error::new(Kind::Failed, format!("internal error: {error}")))?;
            let (at, outcome) = fetched?;
            let (trace, told) = split(outcome);
            if trace.is_none() && !told.is_partial() {
                let id = found[at].trace_id;
                let gone = format!("trace {id} was found, and is gone: the source has changed");
                return Err(Error::new(Kind::Failed, gone).hint("run the command again"));
            }
            self.told.lock().add(told);
            traces[at] = trace;
        }
        let mut whole = Vec::with_capacity(found.len());
        for (trace, found) in traces.into_iter().zip(found) {
            let Some(mut trace) = trace else { continue };
            self.redaction.apply(&mut trace);
            whole.push((trace, found));
        }
        Ok(whole)
    }
}
