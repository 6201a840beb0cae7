//! Compaction and retention beside the listeners of a server: the loop of `traceql_blocks::compact`,
//! stopped with the server, with what it did counted and what went wrong said. Which blocks become one
//! is not decided here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use traceql_blocks::bucket::source::Source;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::compact::settings::CompactSettings;
use traceql_blocks::compact::{Compactor, Exclusion, JobOutcome, Surroundings, TenantReport};
use traceql_blocks::read::open::{BlockCache, ReadContext};
use uuid::Uuid;

use crate::error::Result;
use crate::options::{ServeOptions, Tenancy};
use crate::overrides::Overrides;
use crate::telemetry::exposition::{Kind, Page};
use crate::telemetry::own_spans::Tracer;

/// Bytes of dictionaries kept while blocks are read: each is read once.
const CACHE_BYTES: usize = 16 << 20;

/// How the blocks of a bucket are kept.
#[derive(Clone, Debug)]
pub struct CompactOptions {
    /// Which blocks are put together, and how long they are kept.
    pub settings: CompactSettings,
    /// Time between two rounds over the tenants.
    pub interval: Duration,
    /// Who else may be at work on the bucket.
    pub exclusion: Exclusion,
    /// Makes ids, of blocks and of this compactor.
    pub new_id: fn() -> Uuid,
}

/// What compaction has done since the server began.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    counts: Mutex<Counts>,
    tracer: Tracer,
    /// What was said of a tenant's last cycle, or of the list of tenants: it is not said again.
    said: Mutex<BTreeMap<Option<TenantId>, Vec<String>>>,
}

/// Counts of cycles and of what came of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Cycles over a tenant.
    cycles: u64,
    /// Cycles in which another compactor had the tenant.
    held: u64,
    /// Jobs by what came of them.
    replaced: u64,
    overtaken: u64,
    stopped: u64,
    failed: u64,
    /// Blocks that were replaced.
    inputs: u64,
    /// Of the blocks that took their places.
    traces: u64,
    bytes: u64,
    expired: u64,
    deleted: u64,
    errors: u64,
    /// Unix nanoseconds; 0 before the first.
    last: u64,
}

impl Compaction {
    /// Nothing done yet; what will be is traced.
    pub(crate) fn traced_by(tracer: Tracer) -> Self {
        Self { tracer, ..Self::default() }
    }

    /// Begins on the threads of `compute`, reading and writing stores on those of the caller. It ends
    /// when `stop` becomes true, and has given its leases back then.
    pub(crate) fn start(
        self: &Arc<Self>,
        source: Source,
        options: &ServeOptions,
        compact: &CompactOptions,
        overrides: &Arc<Overrides>,
        stop: watch::Receiver<bool>,
        compute: &Handle,
    ) -> Result<JoinHandle<()>> {
        let context = ReadContext {
            io: Some(Handle::current()),
            ..ReadContext::new(Arc::new(BlockCache::new(CACHE_BYTES)))
        };
        let clock = options.clock;
        let surroundings = Surroundings {
            now: Arc::new(move || i64::try_from(clock()).unwrap_or(i64::MAX)),
            new_id: Arc::new(compact.new_id),
            stop,
        };
        let settings = compact.settings.clone();
        let (all, overrides) = (settings.clone(), Arc::clone(overrides));
        let of_tenants =
            Arc::new(move |tenant: &TenantId| overrides.of(tenant).compact(tenant, &all));
        let mut compactor =
            Compactor::new(source, settings, compact.exclusion, context, surroundings)?
                .with_tenant_settings(of_tenants);
        let (interval, log, counting) = (compact.interval, options.log, Arc::clone(self));
        let tenants = match &options.tenancy {
            Tenancy::One(tenant) => Some(vec![tenant.clone()]),
            Tenancy::Header => None,
        };
        Ok(compute.spawn(async move {
            compactor
                .run_until_stopped(tenants.as_deref(), interval, |tenant, report| {
                    let now = clock();
                    let errors = match report {
                        Ok(report) => {
                            if let Some(tenant) = tenant {
                                counting.tracer.compacted(tenant, &report);
                            }
                            counting.count(&report, now)
                        }
                        Err(error) => {
                            counting.counts.lock().errors += 1;
                            vec![error.to_string()]
                        }
                    };
                    counting.say(tenant, errors, log);
                })
                .await;
        }))
    }

    /// What it has done.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }

    /// Counts a cycle; what went wrong in it.
    fn count(&self, report: &TenantReport, now_unix_nanos: u64) -> Vec<String> {
        let mut counts = self.counts.lock();
        counts.cycles += 1;
        counts.last = now_unix_nanos;
        counts.held += u64::from(report.held_until.is_some());
        for job in &report.jobs {
            match &job.outcome {
                JobOutcome::Replaced { block, .. } => {
                    counts.replaced += 1;
                    counts.inputs += job.job.inputs.len() as u64;
                    counts.traces += block.as_ref().map_or(0, |block| block.meta.total_objects);
                    counts.bytes += block.as_ref().map_or(0, |block| block.meta.size_bytes);
                }
                JobOutcome::Overtaken(_) => counts.overtaken += 1,
                JobOutcome::Stopped => counts.stopped += 1,
                JobOutcome::Failed(_) => counts.failed += 1,
            }
        }
        counts.expired += report.expired.iter().filter(|e| e.error.is_none()).count() as u64;
        let deleted = report.deleted.iter().chain(&report.remains);
        counts.deleted += deleted.filter(|deletion| deletion.error.is_none()).count() as u64;
        let errors: Vec<String> = report.errors().map(|error| error.to_string()).collect();
        counts.errors += errors.len() as u64;
        let unreadable = report.plan.unreadable.iter();
        let left_alone = unreadable.map(|w| format!("left alone: {}", w.reason));
        let doubt = report.doubt.map(|doubt| {
            format!("nothing expires or is deleted while the clock is not believed: {doubt}")
        });
        errors.into_iter().chain(left_alone).chain(doubt).collect()
    }

    /// Says what went wrong, unless it went wrong the same way the last time.
    fn say(&self, tenant: Option<&TenantId>, errors: Vec<String>, log: fn(&str)) {
        let mut said = self.said.lock();
        let before = said.insert(tenant.cloned(), errors.clone()).unwrap_or_default();
        let of = tenant.map(|tenant| format!(" of tenant {tenant}")).unwrap_or_default();
        for error in errors.iter().filter(|error| !before.contains(error)) {
            log(&format!("compaction{of}: {error}"));
        }
        if errors.is_empty() {
            said.remove(&tenant.cloned());
        }
    }
}

impl Counts {
    /// On one line, for people.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} cycles, {} blocks replaced by {}, {} expired, {} deleted, {} errors",
            self.cycles, self.inputs, self.replaced, self.expired, self.deleted, self.errors
        )
    }

    /// As Prometheus reads them.
    pub(crate) fn expose(&self) -> String {
        let mut page = Page::default();
        let name = "traceql_compactions_total";
        page.family(name, Kind::Counter, "Compactions by what came of them.");
        for (result, n) in [
            ("replaced", self.replaced),
            ("failed", self.failed),
            ("overtaken", self.overtaken),
            ("stopped", self.stopped),
        ] {
            page.sample(name, &[("result", result)], n);
        }
        for (name, help, n) in [
            ("traceql_compaction_cycles_total", "Cycles over a tenant.", self.cycles),
            (
                "traceql_compaction_cycles_held_total",
                "Cycles in which another compactor had the tenant.",
                self.held,
            ),
            ("traceql_compaction_errors_total", "Errors of cycles.", self.errors),
            ("traceql_compaction_input_blocks_total", "Blocks that were replaced.", self.inputs),
            (
                "traceql_compaction_output_traces_total",
                "Traces of the blocks that took their places.",
                self.traces,
            ),
            ("traceql_compaction_output_bytes_total", "Bytes of those blocks.", self.bytes),
            (
                "traceql_retention_expired_blocks_total",
                "Blocks that were given up because of their age.",
                self.expired,
            ),
            (
                "traceql_retention_deleted_blocks_total",
                "Blocks, and remains of blocks, that were deleted.",
                self.deleted,
            ),
        ] {
            page.single(name, Kind::Counter, help, n);
        }
        page.single(
            "traceql_compaction_cycle_timestamp_seconds",
            Kind::Gauge,
            "When the last cycle ended, since unix epoch; 0 is never.",
            Duration::from_nanos(self.last).as_secs_f64(),
        );
        page.into_text()
    }
}
