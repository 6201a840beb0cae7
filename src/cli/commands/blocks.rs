//! `traceql blocks`: blocks as such, without a query.

use std::sync::Arc;

use traceql_blocks::analyse::{self, Analysis};
use traceql_blocks::bucket::Block;
use traceql_blocks::bucket::blocklist::{Blocklist, BlocklistOptions, Unreadable, Warning};
use traceql_blocks::bucket::meta::{BlockMeta, DedicatedScope, DedicatedType};
use traceql_blocks::read::open::{BlockCache, OpenBlock, ReadContext};
use traceql_blocks::schema::Level;
use traceql_blocks::verify::{self, Finding, Report, Rule, Severity};
use traceql_engine::Progress;

use super::whole;
use crate::Success;
use crate::args::{
    BlocksCommand, BlocksListArgs, OneBlockArgs, OutputFormat, SomeBlocksArgs, SourceArgs,
};
use crate::error::{Error, Kind, Result};
use crate::output::sheet::{Cell, Column, Sheet, Tone};
use crate::session::{self, SessionOptions};
use crate::settings::{self, World};
use crate::supervise::Runtimes;
use crate::terminal::HEADING;
use crate::units::{format_count, format_size, format_time, format_time_exact, plural};

/// Bytes of dictionaries kept while blocks are looked at.
const CACHE_BYTES: usize = 16 << 20;
/// Rows of each table that `analyse` shows to people; the others are small.
const MAX_ROWS: usize = 25;
/// Columns of the list of blocks.
const START: usize = 2;
const END: usize = 3;

pub(crate) fn run(world: &World, command: &BlocksCommand) -> Result<Success> {
    match command {
        BlocksCommand::List(args) => list(world, args),
        BlocksCommand::Inspect(args) => inspect(world, args),
        BlocksCommand::Verify(args) => verify(world, args),
        BlocksCommand::Schema(args) => schema(world, args),
        BlocksCommand::Analyse(args) => analyse(world, args),
    }
}

/// Opens the source and works on its blocks, supervised.
fn with_blocks<T, F>(
    world: &World,
    source: &SourceArgs,
    options: BlocklistOptions,
    work: impl FnOnce(Blocklist, ReadContext) -> F + Send + 'static,
) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send,
{
    settings::source(source)?;
    let runtimes = Runtimes::start(settings::threads(None))?;
    let session = SessionOptions::new(world, source, runtimes.io())?;
    let io = runtimes.io().clone();
    let ended =
        runtimes.supervise(&world.terminal, None, &Arc::new(Progress::default()), async move {
            let session = session.open().await?;
            let list = session.source.blocks(session.tenant()?, &options).await?;
            let cache = Arc::new(BlockCache::new(CACHE_BYTES));
            work(list, ReadContext { io: Some(io), ..ReadContext::new(cache) }).await
        });
    runtimes.stop();
    whole(ended)
}

fn list(world: &World, args: &BlocksListArgs) -> Result<Success> {
    let options = BlocklistOptions {
        range: settings::block_range(world.time_range(&args.time)?),
        no_index: args.no_index,
        unreadable: if args.skip_unreadable { Unreadable::Skip } else { Unreadable::Fail },
        now_unix_nanos: i64::try_from(world.now_unix_nanos).ok(),
    };
    let list = with_blocks(world, &args.source, options, |list, _| async { Ok(list) })?;
    let n_blocks = list.blocks.len() as u64;
    let (mut sheet, format) = (list_sheet(&list.blocks), world.output(args.output.output));
    if format == OutputFormat::Table && sheet.width() > usize::from(world.terminal.width) {
        fold(&mut sheet);
    }
    world.print(|out| {
        if n_blocks == 0 && args.output.output == OutputFormat::Auto {
            return Ok(());
        }
        sheet.write(out, format, &world.terminal)
    })?;
    for warning in list.told() {
        world.terminal.warn(&warning.to_string());
    }
    let (n_traces, n_bytes) = list.blocks.iter().fold((0, 0), |(traces, bytes), block| {
        (traces + block.meta.total_objects, bytes + block.meta.size_bytes)
    });
    if world.terminal.stdout_is_terminal || n_blocks == 0 {
        world.terminal.note(&format!(
            "{}, {}, {}",
            plural(n_blocks, "block"),
            plural(n_traces, "trace"),
            format_size(n_bytes)
        ));
    }
    match list.skipped.len() {
        0 => Ok(Success::Answered),
        n => Err(Error::new(Kind::Partial, format!("{} not listed", plural(n as u64, "block")))),
    }
}

fn list_sheet(blocks: &[Block]) -> Sheet {
    let columns = vec![
        Column::text("Block", "block_id"),
        Column::text("Format", "format"),
        Column::text("Start (UTC)", "start_time"),
        Column::text("End (UTC)", "end_time"),
        Column::number("Traces", "trace_count"),
        Column::number("Row groups", "row_group_count"),
        Column::number("Size", "size_bytes"),
        Column::number("Level", "compaction_level"),
    ];
    let rows = blocks.iter().map(|block| {
        let meta = &block.meta;
        vec![
            Cell::text(meta.block_id.to_string()).tone(Tone::Key),
            Cell::text(meta.version.as_str()),
            time_cell(meta.start_unix_nanos),
            time_cell(meta.end_unix_nanos),
            Cell::shown(format_count(meta.total_objects), meta.total_objects),
            Cell::shown(format_count(meta.total_records.into()), meta.total_records),
            Cell::shown(format_size(meta.size_bytes), meta.size_bytes),
            Cell::shown(meta.compaction_level.to_string(), meta.compaction_level),
        ]
    });
    Sheet { columns, rows: rows.collect() }
}

/// Two lines a block, where a line is too short for it: times below each other, in seconds.
fn fold(sheet: &mut Sheet) {
    for row in &mut sheet.rows {
        let end = std::mem::take(&mut row[END].text);
        let lines = [row[START].text.as_str(), &end];
        let seconds = lines.map(|time| time.split('.').next().unwrap_or_default());
        row[START].text = seconds.join("\n");
    }
    sheet.columns[START].title = "Start, end (UTC)".to_owned();
    sheet.fold(&["format", "end_time", "row_group_count", "compaction_level"]);
}

/// A time of a meta; the ends of time mean that it is unknown.
fn time_cell(unix_nanos: i64) -> Cell {
    match u64::try_from(unix_nanos) {
        Ok(0) | Err(_) => Cell::empty(),
        Ok(_) if unix_nanos == i64::MAX => Cell::empty(),
        Ok(nanos) => Cell::shown(format_time(nanos), format_time_exact(nanos)),
    }
}

fn pick<'a>(list: &'a Blocklist, wanted: Option<&str>) -> Result<&'a Block> {
    session::pick(&list.blocks, |block| block.meta.block_id.to_string(), wanted)
}

/// The blocks with these ids, or all.
fn pick_some(list: Blocklist, wanted: &[String]) -> Result<Vec<Block>> {
    if wanted.is_empty() {
        return Ok(list.blocks);
    }
    wanted.iter().map(|id| pick(&list, Some(id)).cloned()).collect()
}

async fn open_one(
    list: Blocklist,
    wanted: Option<String>,
    context: ReadContext,
) -> Result<Arc<OpenBlock>> {
    let block = pick(&list, wanted.as_deref())?;
    Ok(OpenBlock::open(block, &context).await?)
}

fn inspect(world: &World, args: &OneBlockArgs) -> Result<Success> {
    let wanted = args.block.clone();
    let open = with_blocks(world, &args.source, BlocklistOptions::default(), |list, context| {
        open_one(list, wanted, context)
    })?;
    let facts = facts(&open);
    let groups = row_groups(&open);
    let format = world.output(args.output.output);
    world.print(|out| match format {
        OutputFormat::Json | OutputFormat::Ndjson => {
            let meta: serde_json::Value = serde_json::from_slice(&open.block.meta.to_json())?;
            let groups: Vec<_> = groups.objects().collect();
            let all = serde_json::json!({ "url": open.name(), "meta": meta, "row_groups": groups });
            if format == OutputFormat::Json {
                serde_json::to_writer_pretty(&mut *out, &all)?;
            } else {
                serde_json::to_writer(&mut *out, &all)?;
            }
            writeln!(out)
        }
        OutputFormat::Csv | OutputFormat::Markdown => groups.write(out, format, &world.terminal),
        _ => {
            let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            for (name, value) in &facts {
                let name = format!("{name:width$}");
                writeln!(out, "{}  {value}", world.terminal.stdout.paint(HEADING, name))?;
            }
            writeln!(out)?;
            groups.write_wide(out, &world.terminal)
        }
    })?;
    Ok(Success::Answered)
}

fn facts(open: &OpenBlock) -> Vec<(&'static str, String)> {
    let meta = &open.block.meta;
    let time = |cell: Cell| if cell.text.is_empty() { "unknown".to_owned() } else { cell.text };
    let mut facts = vec![
        ("Object", open.name().to_owned()),
        ("Block", meta.block_id.to_string()),
        ("Tenant", meta.tenant.clone()),
        ("Format", meta.version.to_string()),
        ("Start (UTC)", time(time_cell(meta.start_unix_nanos))),
        ("End (UTC)", time(time_cell(meta.end_unix_nanos))),
        ("Traces", format_count(meta.total_objects)),
        (
            "Size",
            format!("{} ({} bytes)", format_size(meta.size_bytes), format_count(meta.size_bytes)),
        ),
        ("Footer", format_size(meta.footer_size.into())),
        ("Compaction level", meta.compaction_level.to_string()),
        ("Bloom shards", meta.bloom_shards.to_string()),
        ("Replication factor", meta.replication_factor.to_string()),
        (
            "Written by",
            open.metadata().file_metadata().created_by().unwrap_or("unknown").to_owned(),
        ),
    ];
    facts.push(("Dedicated columns", dedicated(meta)));
    facts
}

fn dedicated(meta: &BlockMeta) -> String {
    if meta.dedicated_columns.is_empty() {
        return "none".to_owned();
    }
    let columns = meta.dedicated_columns.iter().map(|column| {
        let scope = match column.scope {
            DedicatedScope::Resource => "resource",
            DedicatedScope::Span => "span",
            DedicatedScope::Event => "event",
        };
        let kind = match column.column_type {
            DedicatedType::String => "",
            DedicatedType::Int => " (int)",
        };
        format!("{scope}.{}{kind}", column.name)
    });
    columns.collect::<Vec<_>>().join(", ")
}

fn row_groups(open: &OpenBlock) -> Sheet {
    let columns = vec![
        Column::number("Row group", "row_group"),
        Column::number("Traces", "trace_count"),
        Column::number("Compressed", "compressed_bytes"),
        Column::number("Uncompressed", "uncompressed_bytes"),
        Column::text("First trace", "first_trace_id"),
        Column::text("Last trace", "last_trace_id"),
    ];
    let size = |bytes: i64| {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        Cell::shown(format_size(bytes), bytes)
    };
    let rows = open.metadata().row_groups().iter().enumerate().map(|(i, group)| {
        let bounds = open.trace_id_bounds(i);
        let id = |id: Option<[u8; 16]>| {
            id.map_or_else(Cell::empty, |id| {
                Cell::text(traceql_blocks::model::TraceId(id).to_string())
            })
        };
        vec![
            Cell::shown(i.to_string(), i),
            Cell::shown(format_count(open.n_rows(i).into()), open.n_rows(i)),
            size(group.compressed_size()),
            size(group.total_byte_size()),
            id(bounds.map(|(first, _)| first)),
            id(bounds.map(|(_, last)| last)),
        ]
    });
    Sheet { columns, rows: rows.collect() }
}

fn schema(world: &World, args: &OneBlockArgs) -> Result<Success> {
    let wanted = args.block.clone();
    let open = with_blocks(world, &args.source, BlocklistOptions::default(), |list, context| {
        open_one(list, wanted, context)
    })?;
    let attribute_of = |leaf: usize| {
        let own = open.schema.own_columns().iter().find(|(_, _, at)| *at == leaf);
        own.map_or_else(Cell::empty, |(level, key, _)| {
            let scope = format!("{level:?}").to_lowercase();
            Cell::text(format!("{scope}.{key}"))
        })
    };
    let columns = vec![
        Column::number("Leaf", "leaf"),
        Column::text("Column", "path"),
        Column::text("Type", "physical_type"),
        Column::number("Def", "max_definition_level"),
        Column::number("Rep", "max_repetition_level"),
        Column::text("Compression", "compression"),
        Column::text("Encodings", "encodings"),
        Column::number("Size", "compressed_bytes"),
        Column::text("Attribute", "attribute"),
    ];
    let rows = open.schema.leaves().iter().map(|leaf| {
        let chunks = || open.metadata().row_groups().iter().map(|group| group.column(leaf.index));
        let bytes: u64 = chunks().filter_map(|c| u64::try_from(c.compressed_size()).ok()).sum();
        let first = chunks().next();
        let compression = first.map(|chunk| chunk.compression().to_string()).unwrap_or_default();
        let encodings = first
            .map(|c| c.encodings().map(|e| e.to_string()).collect::<Vec<_>>())
            .unwrap_or_default();
        vec![
            Cell::shown(leaf.index.to_string(), leaf.index),
            Cell::text(&leaf.path),
            Cell::text(leaf.physical.to_string()),
            Cell::shown(leaf.max_def.to_string(), leaf.max_def),
            Cell::shown(leaf.max_rep.to_string(), leaf.max_rep),
            Cell::text(compression),
            Cell::text(encodings.join(" ")),
            Cell::shown(format_size(bytes), bytes),
            attribute_of(leaf.index),
        ]
    });
    let sheet = Sheet { columns, rows: rows.collect() };
    world.print(|out| match world.output(args.output.output) {
        OutputFormat::Table => sheet.write_wide(out, &world.terminal),
        format => sheet.write(out, format, &world.terminal),
    })?;
    Ok(Success::Answered)
}

fn verify(world: &World, args: &SomeBlocksArgs) -> Result<Success> {
    let wanted = args.blocks.clone();
    let options = BlocklistOptions { unreadable: Unreadable::Skip, ..BlocklistOptions::default() };
    let reports = with_blocks(world, &args.source, options, |list, context| async move {
        let mut reports: Vec<_> = match wanted.is_empty() {
            true => list.skipped.iter().map(unlisted).collect(),
            false => Vec::new(),
        };
        for block in pick_some(list, &wanted)? {
            let report = verify::verify_block(&block, &context).await?;
            reports.push((block.meta.block_id.to_string(), report));
        }
        Ok(reports)
    })?;
    let sheet = findings_sheet(&reports);
    let format = world.output(args.output.output);
    world.print(|out| match format {
        // A finding is a sentence; cells would only break it.
        OutputFormat::Auto | OutputFormat::Table | OutputFormat::Wide => {
            let paint = world.terminal.stdout;
            for (block, report) in &reports {
                let verdict = match (report.findings.is_empty(), has_errors(report)) {
                    (true, _) => "ok",
                    (_, false) => "ok, with warnings",
                    (_, true) => "broken",
                };
                let id = paint.paint(HEADING, block);
                let (rows, spans) = (report.row_count, report.span_count);
                writeln!(
                    out,
                    "{id}  {verdict}  {}, {}",
                    plural(rows, "trace"),
                    plural(spans, "span")
                )?;
                report.findings.iter().try_for_each(|finding| writeln!(out, "  {finding}"))?;
                for (rule, n) in &report.omitted {
                    writeln!(out, "  … and {} more of {rule}", format_count(*n))?;
                }
            }
            Ok(())
        }
        format => sheet.write(out, format, &world.terminal),
    })?;
    let n_broken = reports.iter().filter(|(_, report)| has_errors(report)).count() as u64;
    match n_broken {
        0 => Ok(Success::Answered),
        n => {
            let of = plural(reports.len() as u64, "block");
            Err(Error::new(Kind::Failed, format!("{} of {of} break the format", format_count(n))))
        }
    }
}

/// What is to be said of a block whose `meta.json` cannot be read: the rest of it cannot be found.
fn unlisted(warning: &Warning) -> (String, Report) {
    let block = warning.key.rsplit('/').nth(1).unwrap_or(&warning.key).to_owned();
    let finding = Finding {
        rule: Rule::Readable,
        severity: Severity::Error,
        object: warning.key.clone(),
        row: None,
        trace: None,
        expected: "a meta.json that can be read".to_owned(),
        found: warning.reason.clone(),
    };
    (block, Report { findings: vec![finding], ..Report::default() })
}

fn has_errors(report: &Report) -> bool {
    report.findings.iter().any(|finding| finding.severity == Severity::Error)
}

fn findings_sheet(reports: &[(String, Report)]) -> Sheet {
    let columns = vec![
        Column::text("Block", "block_id"),
        Column::text("Severity", "severity"),
        Column::text("Rule", "rule"),
        Column::text("Object", "object"),
        Column::number("Row", "row"),
        Column::text("Trace", "trace_id"),
        Column::text("Expected", "expected"),
        Column::text("Found", "found"),
    ];
    let rows = reports.iter().flat_map(|(block, report)| {
        report.findings.iter().map(move |finding| {
            let severity = match finding.severity {
                Severity::Warning => Cell::text("warning"),
                Severity::Error => Cell::text("error").tone(Tone::Bad),
            };
            vec![
                Cell::text(block),
                severity,
                Cell::text(finding.rule.name()),
                Cell::text(&finding.object),
                finding.row.map_or_else(Cell::empty, |row| Cell::shown(row.to_string(), row)),
                finding.trace.map_or_else(Cell::empty, |id| Cell::text(id.to_string())),
                Cell::text(&finding.expected),
                Cell::text(&finding.found),
            ]
        })
    });
    Sheet { columns, rows: rows.collect() }
}

fn analyse(world: &World, args: &SomeBlocksArgs) -> Result<Success> {
    let wanted = args.blocks.clone();
    let options = BlocklistOptions::default();
    let analysis = with_blocks(world, &args.source, options, |list, context| async move {
        let mut sum = Analysis::default();
        for block in pick_some(list, &wanted)? {
            sum.add(analyse::analyse_block(&block, &context).await?);
        }
        Ok(sum)
    })?;
    let format = world.output(args.output.output);
    let sheets = [
        ("Columns", columns_sheet(&analysis)),
        ("Attributes", attributes_sheet(&analysis)),
        ("Services", services_sheet(&analysis)),
    ];
    world.print(|out| match format {
        OutputFormat::Json => {
            let named = sheets.iter().map(|(title, sheet)| {
                (title.to_lowercase(), sheet.objects().collect::<serde_json::Value>())
            });
            let all: serde_json::Map<_, _> = named.collect();
            serde_json::to_writer_pretty(&mut *out, &all)?;
            writeln!(out)
        }
        // Rows of three kinds: each line says what it is.
        OutputFormat::Ndjson | OutputFormat::Csv => {
            merged(&sheets).write(out, format, &world.terminal)
        }
        format => {
            for (i, (title, sheet)) in sheets.iter().enumerate() {
                if i > 0 {
                    writeln!(out)?;
                }
                writeln!(out, "{}", world.terminal.stdout.paint(HEADING, title))?;
                let mut sheet = sheet.clone();
                if format == OutputFormat::Table && sheet.rows.len() > MAX_ROWS {
                    let n_more = sheet.rows.len() - MAX_ROWS;
                    sheet.rows.truncate(MAX_ROWS);
                    sheet.write(out, format, &world.terminal)?;
                    writeln!(out, "… and {n_more} smaller ones (-o wide lists all)")?;
                } else {
                    sheet.write(out, format, &world.terminal)?;
                }
            }
            Ok(())
        }
    })?;
    Ok(Success::Answered)
}

/// All rows under the columns of all sheets, with their kind before them.
fn merged(sheets: &[(&str, Sheet)]) -> Sheet {
    let mut columns = vec![Column::text("Kind", "kind")];
    for column in sheets.iter().flat_map(|(_, sheet)| &sheet.columns) {
        if columns.iter().all(|known| known.key != column.key) {
            columns.push(column.clone());
        }
    }
    let mut rows = Vec::new();
    for (title, sheet) in sheets {
        let kind = title.to_lowercase();
        for row in &sheet.rows {
            let cell_of = |key: &str| {
                let at = sheet.columns.iter().position(|column| column.key == key);
                at.map_or_else(Cell::empty, |at| row[at].clone())
            };
            let cells = columns.iter().skip(1).map(|column| cell_of(&column.key));
            let kind = kind.trim_end_matches('s');
            rows.push(std::iter::once(Cell::text(kind)).chain(cells).collect());
        }
    }
    Sheet { columns, rows }
}

fn size_cell(bytes: u64) -> Cell {
    Cell::shown(format_size(bytes), bytes)
}

fn count_cell(count: u64) -> Cell {
    Cell::shown(format_count(count), count)
}

/// A share of the whole, as people read it.
fn share_cell(part: u64, whole: u64) -> Cell {
    let permille = (u128::from(part) * 1_000).checked_div(u128::from(whole)).unwrap_or(0);
    Cell::shown(format!("{}.{}%", permille / 10, permille % 10), serde_json::Value::Null)
}

fn columns_sheet(analysis: &Analysis) -> Sheet {
    let columns = vec![
        Column::text("Column", "name"),
        Column::number("Size", "file_bytes"),
        Column::number("Share", "share"),
        Column::number("Uncompressed", "uncompressed_bytes"),
        Column::number("Values", "count"),
    ];
    let mut sorted: Vec<_> = analysis.columns.iter().collect();
    sorted.sort_by_key(|(_, column)| std::cmp::Reverse(column.compressed_bytes));
    let rows = sorted.into_iter().map(|(path, column)| {
        vec![
            Cell::text(path),
            size_cell(column.compressed_bytes),
            share_cell(column.compressed_bytes, analysis.size_bytes),
            size_cell(column.uncompressed_bytes),
            count_cell(column.value_count),
        ]
    });
    Sheet { columns, rows: rows.collect() }
}

fn attributes_sheet(analysis: &Analysis) -> Sheet {
    let columns = vec![
        Column::text("Attribute", "name"),
        Column::number("Size", "file_bytes"),
        Column::number("Share", "share"),
        Column::number("Count", "count"),
        Column::number("Distinct", "distinct_count"),
        Column::text("Kept in", "kept_in"),
        Column::number("Dedicated column saves", "saved_bytes"),
    ];
    let mut sorted: Vec<_> = analysis.attributes.iter().collect();
    sorted.sort_by_key(|(_, attribute)| std::cmp::Reverse(attribute.file_bytes));
    let rows = sorted.into_iter().map(|((level, key), attribute)| {
        let scope = match level {
            Level::Scope => "instrumentation".to_owned(),
            level => format!("{level:?}").to_lowercase(),
        };
        vec![
            Cell::text(format!("{scope}.{key}")),
            size_cell(attribute.file_bytes),
            share_cell(attribute.file_bytes, analysis.size_bytes),
            count_cell(attribute.count),
            count_cell(attribute.distinct_count),
            Cell::text(if attribute.has_own_column { "column" } else { "list" }),
            match attribute.saved_bytes {
                0 => Cell::empty(),
                bytes => Cell::shown(format!("~{}", format_size(bytes)), bytes),
            },
        ]
    });
    Sheet { columns, rows: rows.collect() }
}

fn services_sheet(analysis: &Analysis) -> Sheet {
    let columns = vec![
        Column::text("Service", "name"),
        Column::number("Size", "file_bytes"),
        Column::number("Share", "share"),
        Column::number("Spans", "count"),
    ];
    let mut sorted: Vec<_> = analysis.services.iter().collect();
    sorted.sort_by_key(|(_, service)| std::cmp::Reverse(service.file_bytes));
    let rows = sorted.into_iter().map(|(name, service)| {
        vec![
            Cell::text(if name.is_empty() { "<none>" } else { name }),
            size_cell(service.file_bytes),
            share_cell(service.file_bytes, analysis.size_bytes),
            count_cell(service.span_count),
        ]
    });
    Sheet { columns, rows: rows.collect() }
}
