//! Spans of compaction: one of a cycle over a tenant, and within it one of each job.
//!
//! A server may trace into the bucket that it compacts. So that it comes to rest, nothing is traced that
//! its own spans are the only cause of: a job that puts no two blocks together that hold anything but
//! spans of flushes and compactions; a block of nothing else that expires; deletions, which follow from
//! what was traced before. Each traced job then takes one block of others away.

use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::compact::{JobOutcome, JobReport, TenantReport};

use super::{ActiveSpan, INTERNAL, Shared, Tracer};

/// A job is traced that puts so many blocks together that hold more than spans of this kind.
const FOREIGN_BLOCKS: usize = 2;

impl Tracer {
    /// The spans of a cycle that is over.
    pub(crate) fn compacted(&self, tenant: &TenantId, report: &TenantReport) {
        let Some(shared) = &self.0 else { return };
        let traced: Vec<&JobReport> =
            report.jobs.iter().filter(|job| shared.is_traced(job)).collect();
        let is_foreign = |id| !shared.is_own_block(id);
        let n_expired = report.expired.iter().filter(|e| is_foreign(e.meta.block_id)).count();
        let error = report.errors().next();
        if traced.is_empty() && n_expired == 0 && error.is_none() {
            return;
        }
        let mut cycle = shared.root("compaction cycle".to_owned(), INTERNAL);
        cycle.begin_earlier(report.began.elapsed());
        shared.remember_trace(cycle.trace_id);
        let mut cycle = ActiveSpan(Some(Box::new(cycle)));
        cycle.text("traceql.tenant", || tenant.to_string());
        for (key, number) in [
            ("traceql.blocks.live", report.plan.live_count),
            ("traceql.compaction.jobs", report.jobs.len()),
            ("traceql.retention.expired", report.expired.len()),
            ("traceql.retention.deleted", report.deleted.len() + report.remains.len()),
        ] {
            cycle.number(key, number as u64);
        }
        if let Some(error) = error {
            cycle.fails(&error.to_string());
        }
        for job in traced {
            tell(cycle.part("compaction", job.began, job.ended), job);
        }
    }
}

impl Shared {
    /// Whether a job gets a span. Remembers of one that does not whose its block is.
    fn is_traced(&self, job: &JobReport) -> bool {
        let ids = job.job.inputs.iter().map(|meta| meta.block_id);
        let n_foreign = ids.filter(|id| !self.is_own_block(*id)).count();
        if let (0, JobOutcome::Replaced { block: Some(block), .. }) = (n_foreign, &job.outcome) {
            self.remember_block(block.meta.block_id);
        }
        n_foreign >= FOREIGN_BLOCKS || matches!(job.outcome, JobOutcome::Failed(_))
    }
}

/// Says what a job did.
fn tell(mut span: ActiveSpan, report: &JobReport) {
    let inputs = &report.job.inputs;
    span.number("traceql.compaction.input.blocks", inputs.len() as u64);
    let bytes = inputs.iter().map(|meta| meta.size_bytes).sum();
    span.number("traceql.compaction.input.bytes", bytes);
    span.number("traceql.compaction.level", u64::from(report.job.level()));
    let outcome = match &report.outcome {
        JobOutcome::Replaced { block, unmarked } => {
            if let Some(block) = block {
                span.text("traceql.block.id", || block.meta.block_id.to_string());
                span.number("traceql.block.traces", block.meta.total_objects);
                span.number("traceql.block.spans", block.span_count);
                span.number("traceql.block.bytes", block.meta.size_bytes);
            }
            if let Some(error) = unmarked {
                span.fails(&error.to_string());
            }
            "replaced"
        }
        JobOutcome::Overtaken(_) => "overtaken",
        JobOutcome::Stopped => "stopped",
        JobOutcome::Failed(error) => {
            span.fails(&error.to_string());
            "failed"
        }
    };
    span.text("traceql.compaction.outcome", || outcome.to_owned());
}
