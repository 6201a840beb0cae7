//! `traceql compact`: keeps the blocks of a bucket, for one round or until interrupted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use traceql_blocks::bucket::meta::BlockMeta;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::compact::plan::CompactionJob;
use traceql_blocks::compact::{
    Compactor, Exclusion, JobOutcome, Surroundings, TenantPlan, TenantReport,
};
use traceql_blocks::read::open::{BlockCache, ReadContext};
use uuid::Uuid;

use crate::Success;
use crate::args::OutputFormat;
use crate::compact_args::{CompactArgs, compact_settings};
use crate::error::{Error, Kind, Result};
use crate::output::sheet::{Cell, Column, Sheet, Tone};
use crate::session::SessionOptions;
use crate::settings::{self, World};
use crate::supervise::{self, Runtimes};
use crate::units::{format_count, format_size, format_time, plural};

/// Bytes of dictionaries kept while blocks are read: each is read once.
const CACHE_BYTES: usize = 16 << 20;
/// Time between two rounds, as of Tempo's.
pub(crate) const INTERVAL: Duration = Duration::from_secs(30);

pub(crate) fn run(world: &World, args: &CompactArgs) -> Result<Success> {
    settings::source(&args.source)?;
    let settings = compact_settings(&args.compaction, &args.retention, args.tenant_index)?;
    let interval = settings::duration("interval", args.interval.as_deref())?.unwrap_or(INTERVAL);
    let asked = settings::tenants(&args.source)?;
    // In a loop the clock is asked anew. A single round has the time at which it began and what has
    // passed since, by which it knows when to renew its lease.
    let now = match args.once || args.dry_run {
        true => {
            let (start, began) = (world.now_unix_nanos, Instant::now());
            let passed = move || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            Arc::new(move || i64::try_from(start.saturating_add(passed())).unwrap_or(i64::MAX))
                as Arc<dyn Fn() -> i64 + Send + Sync>
        }
        false => Arc::new(clock),
    };
    let runtimes = Runtimes::start(settings::threads(None))?;
    let session = SessionOptions::new(world, &args.source, runtimes.io())?;
    let (stop, stopped) = watch::channel(false);
    // A compaction under way is given up in an orderly way, rather than dropped where it stands.
    drop(runtimes.io().spawn(async move {
        supervise::interrupted().await;
        stop.send_replace(true);
    }));
    let context = ReadContext {
        io: Some(runtimes.io().clone()),
        ..ReadContext::new(Arc::new(BlockCache::new(CACHE_BYTES)))
    };
    let exclusion = if args.alone { Exclusion::Alone } else { Exclusion::Lease };
    let surroundings = Surroundings { now, new_id: Arc::new(Uuid::new_v4), stop: stopped.clone() };
    let round = Round { world, format: args.output.output };
    let done = runtimes.compute().block_on(async {
        let source = session.open_source().await?;
        let mut compactor = Compactor::new(source, settings, exclusion, context, surroundings)?;
        if args.dry_run {
            round.plan(&mut compactor, &asked).await
        } else if args.once {
            round.once(&mut compactor, &asked).await
        } else {
            let tenants = (!asked.is_empty()).then_some(asked.as_slice());
            round.until_stopped(&mut compactor, tenants, interval).await
        }
    });
    runtimes.stop();
    if args.once && *stopped.borrow() {
        return done.and(Err(Error::interrupted()));
    }
    done.map(|()| Success::Answered)
}

fn clock() -> i64 {
    i64::try_from(crate::now_unix_nanos()).unwrap_or(i64::MAX)
}

/// How rounds are told of.
struct Round<'a> {
    world: &'a World,
    format: OutputFormat,
}

impl Round<'_> {
    /// Prints what there is to do.
    async fn plan(&self, compactor: &mut Compactor, asked: &[TenantId]) -> Result<()> {
        let mut rows = Vec::new();
        let mut n_live = 0;
        for tenant in tenants(compactor, asked).await? {
            let plan = compactor.plan(&tenant).await?;
            self.warn(&plan);
            n_live += plan.live_count as u64;
            rows.extend(planned(&plan));
        }
        let n_rows = rows.len();
        self.print(rows)?;
        if n_rows == 0 {
            let blocks = plural(n_live, "live block");
            self.world.terminal.note(&format!("{blocks}, and there is nothing to do"));
        }
        Ok(())
    }

    /// Does one round and prints what was done.
    async fn once(&self, compactor: &mut Compactor, asked: &[TenantId]) -> Result<()> {
        let (mut rows, mut failures) = (Vec::new(), Vec::new());
        for tenant in tenants(compactor, asked).await? {
            match compactor.run(&tenant).await {
                Ok(report) => {
                    self.tell(&report);
                    failures
                        .extend(report.errors().map(|error| format!("tenant {tenant}: {error}")));
                    rows.extend(done(&report));
                }
                // Of several tenants one does not keep the others waiting.
                Err(error) if asked.len() != 1 => {
                    failures.push(format!("tenant {tenant}: {error}"));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let n_rows = rows.len();
        self.print(rows)?;
        match failures.split_first() {
            None => {
                if n_rows == 0 {
                    self.world.terminal.note("there is nothing to do");
                }
                Ok(())
            }
            Some((first, others)) => {
                let error = Error::new(Kind::Failed, first);
                Err(others.iter().fold(error, Error::note))
            }
        }
    }

    /// Does round after round, and prints what was done in each.
    async fn until_stopped(
        &self,
        compactor: &mut Compactor,
        tenants: Option<&[TenantId]>,
        interval: Duration,
    ) -> Result<()> {
        let mut printed = Ok(());
        compactor
            .run_until_stopped(tenants, interval, |tenant, report| match report {
                Ok(report) => {
                    self.tell(&report);
                    for error in report.errors() {
                        self.world
                            .terminal
                            .warn(&format!("tenant {}: {error}", report.plan.tenant));
                    }
                    if printed.is_ok() {
                        printed = self.print(done(&report));
                    }
                }
                Err(error) => {
                    let of = tenant.map(|tenant| format!("tenant {tenant}: ")).unwrap_or_default();
                    self.world.terminal.warn(&format!("{of}{error}"));
                }
            })
            .await;
        printed
    }

    fn print(&self, rows: Vec<Vec<Cell>>) -> Result<()> {
        if rows.is_empty() && self.format != OutputFormat::Json {
            return Ok(());
        }
        let sheet = Sheet { columns: columns(), rows };
        self.world
            .print(|out| sheet.write(out, self.world.output(self.format), &self.world.terminal))
    }

    fn warn(&self, plan: &TenantPlan) {
        for warning in &plan.unreadable {
            self.world.terminal.warn(&format!("left alone: {}", warning.reason));
        }
    }

    fn tell(&self, report: &TenantReport) {
        self.warn(&report.plan);
        if let Some(doubt) = report.doubt {
            self.world.terminal.warn(&format!(
                "tenant {}: nothing is given up or deleted for its age, as the clock may be wrong: \
                 {doubt}",
                report.plan.tenant
            ));
        }
        let Some(until) = report.held_until else { return };
        let until = until.and_then(|until| u64::try_from(until).ok());
        let until =
            until.map(|until| format!(", until {} if it is not renewed", format_time(until)));
        self.world.terminal.note(&format!(
            "tenant {}: another compactor is at it{}",
            report.plan.tenant,
            until.unwrap_or_default()
        ));
    }
}

/// The tenants asked for, which must be there, or all.
async fn tenants(compactor: &Compactor, asked: &[TenantId]) -> Result<Vec<TenantId>> {
    let there = compactor.tenants().await?;
    match asked.iter().find(|tenant| !there.contains(tenant)) {
        Some(missing) => Err(traceql_blocks::Error::NotFound {
            what: "tenant",
            key: missing.to_string(),
            candidates: there.iter().map(ToString::to_string).collect(),
        }
        .into()),
        None if asked.is_empty() => Ok(there),
        None => Ok(asked.to_vec()),
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::text("Action", "action"),
        Column::text("Tenant", "tenant"),
        Column::text("Block", "block_id"),
        Column::text("Of", "inputs"),
        Column::number("Level", "compaction_level"),
        Column::number("Traces", "trace_count"),
        Column::number("Size", "size_bytes"),
        Column::text("Result", "result"),
    ]
}

/// A row that says something of a block: what is done with it, its numbers, what came of it.
fn row(
    action: &str,
    tenant: &TenantId,
    block: Cell,
    numbers: [Cell; 4],
    result: Cell,
) -> Vec<Cell> {
    let mut row = vec![Cell::text(action), Cell::text(tenant.as_str()), block];
    row.extend(numbers);
    row.push(result);
    row
}

fn no_numbers() -> [Cell; 4] {
    std::array::from_fn(|_| Cell::empty())
}

fn numbers(meta: &BlockMeta) -> [Cell; 4] {
    [
        Cell::empty(),
        Cell::shown(meta.compaction_level.to_string(), meta.compaction_level),
        Cell::shown(format_count(meta.total_objects), meta.total_objects),
        Cell::shown(format_size(meta.size_bytes), meta.size_bytes),
    ]
}

fn id(id: Uuid) -> Cell {
    Cell::text(id.to_string()).tone(Tone::Key)
}

fn inputs(job: &CompactionJob) -> Cell {
    let ids: Vec<String> = job.inputs.iter().map(|meta| meta.block_id.to_string()).collect();
    Cell::shown(plural(ids.len() as u64, "block"), ids)
}

/// What blocks become, as far as one knows before.
fn becomes(job: &CompactionJob) -> [Cell; 4] {
    [
        inputs(job),
        Cell::shown(job.level().to_string(), job.level()),
        Cell::shown(format_count(job.trace_count()), job.trace_count()),
        Cell::shown(format_size(job.size_bytes()), job.size_bytes()),
    ]
}

fn planned(plan: &TenantPlan) -> Vec<Vec<Cell>> {
    let tenant = &plan.tenant;
    let todo = || Cell::text("planned");
    let jobs =
        plan.jobs.iter().map(|job| row("compact", tenant, Cell::empty(), becomes(job), todo()));
    let expired = plan
        .expired
        .iter()
        .map(|meta| row("expire", tenant, id(meta.block_id), numbers(meta), todo()));
    let deleted =
        plan.deletable.iter().map(|block| row("delete", tenant, id(*block), no_numbers(), todo()));
    let left = plan.left_out.iter().map(|(block, why)| {
        row("leave", tenant, id(*block), no_numbers(), Cell::text(why.to_string()))
    });
    jobs.chain(expired).chain(deleted).chain(left).collect()
}

fn done(report: &TenantReport) -> Vec<Vec<Cell>> {
    let tenant = &report.plan.tenant;
    let jobs = report.jobs.iter().map(|job| {
        let bad = |text: String| Cell::text(text).tone(Tone::Bad);
        let (block, of, result) = match &job.outcome {
            JobOutcome::Replaced { block, unmarked } => {
                let result = match unmarked {
                    None => Cell::text("done"),
                    Some(error) => bad(format!("done, but not all are marked: {error}")),
                };
                match block {
                    None => (Cell::empty(), becomes(&job.job), result),
                    Some(block) => {
                        let [_, level, traces, size] = numbers(&block.meta);
                        let of = [inputs(&job.job), level, traces, size];
                        (id(block.meta.block_id), of, result)
                    }
                }
            }
            JobOutcome::Overtaken(by) => {
                (Cell::empty(), becomes(&job.job), Cell::text(format!("given up: {by}")))
            }
            JobOutcome::Stopped => (Cell::empty(), becomes(&job.job), Cell::text("stopped")),
            JobOutcome::Failed(error) => {
                (Cell::empty(), becomes(&job.job), bad(format!("failed: {error}")))
            }
        };
        row("compact", tenant, block, of, result)
    });
    let result = |error: &Option<traceql_blocks::Error>| match error {
        None => Cell::text("done"),
        Some(error) => Cell::text(format!("failed: {error}")).tone(Tone::Bad),
    };
    let expired = report.expired.iter().map(|expiry| {
        let meta = &expiry.meta;
        row("expire", tenant, id(meta.block_id), numbers(meta), result(&expiry.error))
    });
    let deleted = report.deleted.iter().map(|deletion| ("delete", deletion));
    let remains = report.remains.iter().map(|deletion| ("clear", deletion));
    let deleted = deleted.chain(remains).map(|(action, deletion)| {
        row(action, tenant, id(deletion.block_id), no_numbers(), result(&deletion.error))
    });
    jobs.chain(expired).chain(deleted).collect()
}
