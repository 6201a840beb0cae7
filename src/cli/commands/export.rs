//! `traceql export`: the traces that match a query, whole, as OTLP or as a block.

use std::sync::Arc;

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
use crate::output::to_stdout;
use crate::session::Session;
use crate::settings::{self, World};
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
        _ if args.out.is_some() => {
            return Err(Error::usage("--out is where a block goes")
                .hint("use -o block, or send standard output to a file"));
        }
        _ => None,
    };
    let mut asking = Asking::new(world, &args.source, &args.time, &args.run)?;
    asking.options.limit = args.limit;
    asking.options.spans_per_spanset = 1;
    let options = asking.options.clone();
    let stores = asking.source_options(&args.source)?;
    let (out, format) = (args.out.clone().unwrap_or_default(), args.output);
    let ended = asking.ask(move |session| async move {
        // What cannot be written to is said before anything is read.
        let destination = match &to_block {
            Some(_) => Some(Destination::open(&out, &stores).await?),
            None => None,
        };
        let outcome =
            session.engine.search(&session.source, &session.tenants, &query, &options).await?;
        let (mut answer, told) = split(outcome);
        answer.traces.sort_by_key(|trace| trace.trace_id);
        let export = Export { session, options, redaction, found: answer.traces };
        let block = match (to_block, destination) {
            (Some(blocks), Some(destination)) => export.to_block(&blocks, &destination).await?,
            _ => {
                export.to_otlp(format).await?;
                None
            }
        };
        Ok::<(usize, Option<WrittenBlock>, Told), Error>((export.found.len(), block, told))
    });
    let (n_traces, block, told) = whole(ended)?;
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

/// An answer whose traces are exported.
struct Export {
    session: Session,
    options: QueryOptions,
    redaction: Redaction,
    /// By ascending id.
    found: Vec<TraceResult>,
}

impl Export {
    async fn to_otlp(&self, format: ExportFormat) -> Result<()> {
        for found in self.found.chunks(CONCURRENT_TRACES) {
            for trace in self.fetch(found).await? {
                to_stdout(|out| match format {
                    // Messages one after the other are one message with all their traces.
                    ExportFormat::OtlpProto => out.write_all(&otlp::to_protobuf(&[trace])),
                    _ => writeln!(out, "{}", otlp::to_otlp_json(&[trace])),
                })?;
            }
        }
        Ok(())
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
            for (trace, found) in self.fetch(found).await?.iter().zip(found) {
                // The root was told by the order in which spans came, which the trace has lost.
                let fields = TraceFields {
                    start_unix_nanos: found.start_unix_nanos,
                    end_unix_nanos: found.start_unix_nanos.wrapping_add(found.duration_nanos),
                    root_service_name: self.redaction.service_name(&found.root_service_name),
                    root_span_name: found.root_trace_name.clone(),
                };
                writer.write_stored(trace, &fields).await?;
            }
        }
        Ok(())
    }

    /// The traces, whole and redacted, in the same order.
    async fn fetch(&self, found: &[TraceResult]) -> Result<Vec<Trace>> {
        let mut fetching = JoinSet::new();
        for (at, found) in found.iter().enumerate() {
            let (engine, source) = (self.session.engine.clone(), self.session.source.clone());
            let tenants = self.session.tenants.clone();
            // Whole traces: the time asked about says which, not how much of them.
            let options = QueryOptions { time_range: None, ..self.options.clone() };
            let id = found.trace_id;
            fetching.spawn(async move {
                let trace = engine.trace(&source, &tenants, id, &options).await;
                trace.map(|outcome| (at, outcome.answer))
            });
        }
        let mut traces = Vec::new();
        while let Some(fetched) = fetching.join_next().await {
            let fetched = fetched
                .map_err(|error| Error::new(Kind::Failed, format!("internal error: {error}")))?;
            traces.push(fetched?);
        }
        traces.sort_by_key(|(at, _)| *at);
        let mut whole = Vec::with_capacity(traces.len());
        for (at, trace) in traces {
            let mut trace = trace.ok_or_else(|| {
                let id = found[at].trace_id;
                let gone = format!("trace {id} was found, and is gone: the source has changed");
                Error::new(Kind::Failed, gone).hint("run the command again")
            })?;
            self.redaction.apply(&mut trace);
            whole.push(trace);
        }
        Ok(whole)
    }
}
