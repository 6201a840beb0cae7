//! The compactor: what it does with a tenant in one cycle, in which order, and what it reports.
//!
//! A cycle lists the tenant's blocks, carries out the jobs of the plan, marks what has expired, brings
//! the tenant's index up to date, deletes what has had its time of grace. One thing that fails is
//! reported and does not keep it from the next.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::path::Path;
use uuid::Uuid;

use super::clock::{Doubt, Uptime, Watch, against_store};
use super::job::{Halt, Work};
use super::lease::{Claim, Lease, Seen};
use super::place::{KnownMetas, Survey, TenantPlace};
use super::plan::{CompactionJob, CompactionPlan, LeftOut, LiveBlock, before, plan_compaction};
use super::retention::{deletable, expired};
use super::settings::CompactSettings;
use super::{LEASE, Overtaken, Surroundings};
use crate::bucket::blocklist::Warning;
use crate::bucket::meta::BlockMeta;
use crate::bucket::path;
use crate::bucket::source::{Source, SourceKind};
use crate::bucket::store::OpenStore;
use crate::bucket::tenant::TenantId;
use crate::bucket::write_index::{has_tenant_index, write_tenant_index};
use crate::error::{Error, Result};
use crate::read::open::ReadContext;
use crate::write::block::WrittenBlock;

/// What an unfinished block has left is removed when it was begun this long ago. Far more than a
/// process can sleep between its last look at the lease and its last write.
const REMAINS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// A job that failed is not tried again for this long: it may have read and written a lot until then.
const FAILED_RESTS: Duration = Duration::from_secs(3600);

/// Who else may be at work on the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// Compactors like this one: each takes a tenant's lease before it does anything.
    Lease,
    /// Nobody, as whoever says so knows. For stores that cannot create objects on condition.
    Alone,
}

/// Settings of a tenant that has its own, asked for in every cycle anew.
pub type TenantSettings = Arc<dyn Fn(&TenantId) -> Option<CompactSettings> + Send + Sync>;

/// Who knows them, if anybody does.
struct OfTenants(Option<TenantSettings>);

impl fmt::Debug for OfTenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "some" } else { "none" })
    }
}

/// Keeps the blocks of a bucket's tenants.
#[derive(Debug)]
pub struct Compactor {
    source: Source,
    store: OpenStore,
    root: Path,
    settings: CompactSettings,
    of_tenants: OfTenants,
    context: ReadContext,
    surroundings: Surroundings,
    exclusion: Exclusion,
    holder: Uuid,
    known: BTreeMap<TenantId, KnownMetas>,
    /// When a job over these blocks failed, unix nanoseconds.
    failed: BTreeMap<Vec<Uuid>, i64>,
    /// The record of whoever holds a tenant's lease, and the uptime at which it was first seen.
    theirs: BTreeMap<TenantId, (u64, Duration)>,
    watch: Watch,
    uptime: Uptime,
}

/// What there is to do for a tenant.
#[derive(Clone, Debug)]
pub struct TenantPlan {
    /// Whose blocks.
    pub tenant: TenantId,
    /// Blocks to be put together.
    pub jobs: Vec<CompactionJob>,
    /// Blocks to be given up.
    pub expired: Vec<Arc<BlockMeta>>,
    /// Marked blocks to be deleted.
    pub deletable: Vec<Uuid>,
    /// Blocks that are never compacted as they are.
    pub left_out: Vec<(Uuid, LeftOut)>,
    /// Blocks whose metas cannot be read.
    pub unreadable: Vec<Warning>,
    /// Live blocks, before anything is done.
    pub live_count: usize,
}

impl TenantPlan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.expired.is_empty() && self.deletable.is_empty()
    }
}

/// What was done for a tenant.
#[derive(Debug)]
pub struct TenantReport {
    /// When the cycle began.
    pub began: Instant,
    /// What there was to do.
    pub plan: TenantPlan,
    /// Another compactor is at it, so that nothing was done; until then, unix nanoseconds, as far as
    /// it says.
    pub held_until: Option<Option<i64>>,
    /// Jobs in the order of the plan, up to where the compactor was stopped or overtaken.
    pub jobs: Vec<JobReport>,
    /// What expired.
    pub expired: Vec<Expiry>,
    /// What was deleted.
    pub deleted: Vec<Deletion>,
    /// Remains of blocks that somebody had begun and never finished, which were removed.
    pub remains: Vec<Deletion>,
    /// Why the clock was not believed, and nothing given up or deleted for its age.
    pub doubt: Option<Doubt>,
    /// What went wrong with the tenant's index, or with giving the lease back.
    pub trouble: Vec<Error>,
}

/// A job and what came of it.
#[derive(Debug)]
pub struct JobReport {
    /// The job.
    pub job: CompactionJob,
    /// What came of it.
    pub outcome: JobOutcome,
    /// When it began.
    pub began: Instant,
    /// When it was over.
    pub ended: Instant,
}

/// What came of a job.
#[derive(Debug)]
pub enum JobOutcome {
    /// The inputs have been replaced.
    Replaced {
        /// By this block; by none if they held no trace.
        block: Option<WrittenBlock>,
        /// Why not all of them are marked. It is tried again in the next cycle.
        unmarked: Option<Error>,
    },
    /// Somebody else was quicker; nothing was changed.
    Overtaken(Overtaken),
    /// The compactor was told to stop; nothing was changed.
    Stopped,
    /// It failed, and no input is marked.
    Failed(Error),
}

/// A block that has had its time.
#[derive(Debug)]
pub struct Expiry {
    /// The block.
    pub meta: Arc<BlockMeta>,
    /// Why it is not marked.
    pub error: Option<Error>,
}

/// A block that was deleted.
#[derive(Debug)]
pub struct Deletion {
    /// Its id.
    pub block_id: Uuid,
    /// Why it is still there, in part or whole.
    pub error: Option<Error>,
}

impl Compactor {
    /// A compactor for the tenants of a bucket, or for the one tenant whose folder the source is.
    ///
    /// # Errors
    /// [`Error::Usage`] for settings that make no sense, and for a source that is neither or cannot be
    /// written to.
    pub fn new(
        source: Source,
        settings: CompactSettings,
        exclusion: Exclusion,
        context: ReadContext,
        surroundings: Surroundings,
    ) -> Result<Self> {
        if let Some(compaction) = &settings.compaction {
            compaction.check()?;
        }
        let refuse = |reason: &str| {
            Err(Error::Usage { what: "source", value: source.to_string(), reason: reason.into() })
        };
        let (Some(store), Some(root)) = (source.store().cloned(), source.key().cloned()) else {
            return refuse("standard input holds no blocks");
        };
        match source.kind() {
            SourceKind::Bucket | SourceKind::Tenant(_) => {}
            SourceKind::Block | SourceKind::Parquet => {
                return refuse("it is one block; a bucket or the folder of a tenant is compacted");
            }
            SourceKind::Otlp(_) => {
                return refuse("it is a file; a bucket or the folder of a tenant is compacted");
            }
        }
        if store.url.as_ref() == "sample:" {
            return refuse("the built-in sample cannot be written to");
        }
        if !store.listable {
            return refuse("plain HTTP is read only; s3://, gs:// and az:// are written to");
        }
        let holder = (surroundings.new_id)();
        let (known, failed) = (BTreeMap::new(), BTreeMap::new());
        let watch = Watch::new((surroundings.now)(), Duration::ZERO);
        Ok(Self {
            source,
            store,
            root,
            settings,
            of_tenants: OfTenants(None),
            context,
            surroundings,
            exclusion,
            holder,
            known,
            failed,
            theirs: BTreeMap::new(),
            watch,
            uptime: Uptime::new(),
        })
    }

    /// With another clock that nobody sets.
    #[cfg(test)]
    pub(super) fn with_uptime(
        mut self,
        uptime: impl Fn() -> Duration + Send + Sync + 'static,
    ) -> Self {
        self.uptime = Uptime(Arc::new(uptime));
        self.watch = Watch::new(self.now(), self.uptime.now());
        self
    }

    /// The same with settings for single tenants, which replace those of all.
    #[must_use]
    pub fn with_tenant_settings(mut self, of: TenantSettings) -> Self {
        self.of_tenants = OfTenants(Some(of));
        self
    }

    /// What holds for a tenant at this moment.
    fn settings(&self, tenant: &TenantId) -> Cow<'_, CompactSettings> {
        match self.of_tenants.0.as_ref().and_then(|of| of(tenant)) {
            Some(own) => Cow::Owned(own),
            None => Cow::Borrowed(&self.settings),
        }
    }

    /// The tenants there are.
    ///
    /// # Errors
    /// Storage errors.
    pub async fn tenants(&self) -> Result<Vec<TenantId>> {
        self.source.tenants().await
    }

    /// What there is to do for a tenant. Nothing is written.
    ///
    /// # Errors
    /// Storage errors; [`Error::NotFound`] for another tenant than the one whose folder the source is.
    pub async fn plan(&mut self, tenant: &TenantId) -> Result<TenantPlan> {
        let place = self.place(tenant)?;
        let survey = self.survey(&place).await?;
        Ok(self.plan_of(tenant, survey))
    }

    /// One cycle over a tenant.
    ///
    /// # Errors
    /// What keeps it from beginning. What goes wrong later is in the report.
    pub async fn run(&mut self, tenant: &TenantId) -> Result<TenantReport> {
        let began = Instant::now();
        let place = self.place(tenant)?;
        let survey = self.survey(&place).await?;
        // Somebody who is gone may have left a note of what he was doing.
        let until = before(self.now(), LEASE);
        let has_note = survey.lease_written_unix_nanos.is_some_and(|at| at < until);
        let mut report = TenantReport { began, ..TenantReport::of(self.plan_of(tenant, survey)) };
        if report.plan.is_empty() && !has_note {
            return Ok(report);
        }
        let mut lease = None;
        if self.exclusion == Exclusion::Lease {
            match Lease::claim(&place, self.holder, self.now(), self.seen(tenant)).await? {
                Claim::Theirs { until_unix_nanos, number } => {
                    self.note_theirs(tenant, number);
                    report.held_until = Some(until_unix_nanos);
                    return Ok(report);
                }
                Claim::Ours(ours) => lease = Some(ours),
            }
        }
        self.theirs.remove(tenant);
        let now = self.now();
        let jumped = self.watch.look(now, self.uptime.now());
        report.doubt = jumped.or_else(|| {
            lease.as_ref().and_then(|lease| against_store(now, lease.store_unix_nanos()))
        });
        // What another compactor did until now is not done again.
        match self.take_over(&place, lease.as_mut(), &mut report).await {
            Ok(survey) => {
                report.plan = self.plan_of(tenant, survey.clone());
                if report.doubt.is_some() {
                    report.plan.expired.clear();
                    report.plan.deletable.clear();
                }
                self.carry_out(&place, &survey, lease.as_mut(), &mut report).await;
                self.note_failures(&report);
            }
            Err(error) => report.trouble.push(error),
        }
        if let Some(lease) = lease
            && let Err(error) = lease.release(self.now()).await
        {
            report.trouble.push(error);
        }
        Ok(report)
    }

    /// Cycle after cycle over some tenants, or over all that there are each time, until told to stop.
    /// Between two cycles it waits for `interval`. Each report, and each failure to begin, is handed
    /// on: of one tenant, or of the list of them.
    pub async fn run_until_stopped(
        &mut self,
        tenants: Option<&[TenantId]>,
        interval: Duration,
        mut report: impl FnMut(Option<&TenantId>, Result<TenantReport>) + Send,
    ) {
        let mut stop = self.surroundings.stop.clone();
        while !self.surroundings.is_stopping() {
            let all = match tenants {
                Some(some) => Ok(some.to_vec()),
                None => self.tenants().await,
            };
            match all {
                Ok(all) => {
                    for tenant in &all {
                        if self.surroundings.is_stopping() {
                            return;
                        }
                        let result = self.run(tenant).await;
                        report(Some(tenant), result);
                    }
                }
                Err(error) => report(None, Err(error)),
            }
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                // Whoever could say so is gone: it is as if he had.
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// What was seen of the lease of whoever holds it.
    fn seen(&self, tenant: &TenantId) -> Option<Seen> {
        let (number, since) = *self.theirs.get(tenant)?;
        Some(Seen { number, unchanged: self.uptime.now().saturating_sub(since) })
    }

    fn note_theirs(&mut self, tenant: &TenantId, number: u64) {
        let uptime = self.uptime.now();
        let seen = self.theirs.entry(tenant.clone()).or_insert((number, uptime));
        if seen.0 != number {
            *seen = (number, uptime);
        }
    }

    fn note_failures(&mut self, report: &TenantReport) {
        let now = self.now();
        self.failed.retain(|_, at| *at >= before(now, FAILED_RESTS));
        let failed = report.jobs.iter().filter(|j| matches!(j.outcome, JobOutcome::Failed(_)));
        self.failed.extend(failed.map(|report| (input_ids(&report.job), now)));
    }

    fn now(&self) -> i64 {
        (self.surroundings.now)()
    }

    fn place(&self, tenant: &TenantId) -> Result<TenantPlace> {
        let folder = match self.source.kind() {
            SourceKind::Tenant(own) if own == tenant => self.root.clone(),
            SourceKind::Tenant(own) => {
                return Err(Error::NotFound {
                    what: "tenant",
                    key: tenant.to_string(),
                    candidates: vec![own.to_string()],
                });
            }
            _ => path::tenant_folder(&self.root, tenant),
        };
        Ok(TenantPlace { store: self.store.clone(), folder, tenant: tenant.clone() })
    }

    async fn survey(&mut self, place: &TenantPlace) -> Result<Survey> {
        place.survey(self.known.entry(place.tenant.clone()).or_default()).await
    }

    fn plan_of(&self, tenant: &TenantId, survey: Survey) -> TenantPlan {
        let now = self.now();
        let settings = self.settings(tenant);
        let retention = &settings.retention;
        let expired = expired(&survey.live, retention.keep_of(tenant), now);
        let live_count = survey.live.len();
        // What is about to go is not worth being rewritten.
        let stays =
            |block: &LiveBlock| !expired.iter().any(|meta| meta.block_id == block.meta.block_id);
        let kept: Vec<LiveBlock> = survey.live.into_iter().filter(stays).collect();
        let CompactionPlan { mut jobs, left_out } = match &settings.compaction {
            Some(compaction) => plan_compaction(&kept, compaction, now),
            None => CompactionPlan::default(),
        };
        let until = before(now, FAILED_RESTS);
        jobs.retain(|job| self.failed.get(&input_ids(job)).is_none_or(|at| *at < until));
        TenantPlan {
            tenant: tenant.clone(),
            jobs,
            expired,
            deletable: deletable(&survey.marked, retention.grace, now),
            left_out,
            unreadable: survey.unreadable,
            live_count,
        }
    }

    /// Lists the blocks, and marks those that somebody had replaced and not marked when he ended.
    async fn take_over(
        &mut self,
        place: &TenantPlace,
        lease: Option<&mut Lease>,
        report: &mut TenantReport,
    ) -> Result<Survey> {
        let mut survey = self.survey(place).await?;
        let Some(lease) = lease else { return Ok(survey) };
        let mut n_marked = 0;
        for unfinished in lease.writing().to_vec() {
            // Its spans are where they were to be, or went on from there.
            if !survey.has(unfinished.block_id) {
                continue;
            }
            let mut error = None;
            for id in unfinished.inputs {
                match place.mark(id).await {
                    Ok(()) => n_marked += 1,
                    Err(failed) => error = Some(failed),
                }
            }
            match error {
                None => lease.end(unfinished.block_id),
                Some(error) => report.trouble.push(error),
            }
        }
        if n_marked > 0 {
            survey = self.survey(place).await?;
        }
        Ok(survey)
    }

    /// Does what the report's plan says, and reports it.
    async fn carry_out(
        &self,
        place: &TenantPlace,
        survey: &Survey,
        mut lease: Option<&mut Lease>,
        report: &mut TenantReport,
    ) {
        for job in report.plan.jobs.clone() {
            let mut work = Work {
                place,
                settings: &self.settings,
                context: &self.context,
                surroundings: &self.surroundings,
                lease: lease.as_deref_mut(),
            };
            let began = Instant::now();
            let outcome = replace(&mut work, &job).await;
            let ends =
                matches!(outcome, JobOutcome::Stopped | JobOutcome::Overtaken(Overtaken::Lease));
            report.jobs.push(JobReport { job, outcome, began, ended: Instant::now() });
            if ends {
                break;
            }
        }
        if self.surroundings.is_stopping() || report.lost_the_lease() {
            return self.index(place, report).await;
        }
        for meta in report.plan.expired.clone() {
            let error = place.mark(meta.block_id).await.err();
            report.expired.push(Expiry { meta, error });
        }
        // Before anything is deleted, so that no index names what is not there.
        let n_trouble = report.trouble.len();
        self.index(place, report).await;
        if report.trouble.len() > n_trouble {
            return;
        }
        for id in report.plan.deletable.clone() {
            match place.delete_block(id).await {
                Ok(false) => {}
                Ok(true) => report.deleted.push(Deletion { block_id: id, error: None }),
                Err(error) => {
                    report.deleted.push(Deletion { block_id: id, error: Some(error) });
                }
            }
        }
        if let (Some(lease), None) = (lease, report.doubt) {
            self.remove_remains(place, survey, lease, report).await;
        }
        if !report.deleted.is_empty() {
            self.index(place, report).await;
        }
    }

    /// Removes what blocks have left that were begun long ago and never came to be.
    async fn remove_remains(
        &self,
        place: &TenantPlace,
        survey: &Survey,
        lease: &mut Lease,
        report: &mut TenantReport,
    ) {
        let until = before(self.now(), REMAINS_KEPT);
        for unfinished in lease.writing().to_vec() {
            let id = unfinished.block_id;
            if !survey.has(id) && unfinished.since_unix_nanos < until {
                let error = match place.is_live(id).await {
                    Ok(true) => None,
                    Ok(false) => place.delete_objects(id).await.err(),
                    Err(error) => Some(error),
                };
                if error.is_none() {
                    lease.end(id);
                }
                report.remains.push(Deletion { block_id: id, error });
            }
        }
    }

    /// Brings the tenant's index up to date, if it has one or shall have one.
    async fn index(&self, place: &TenantPlace, report: &mut TenantReport) {
        let written = async {
            let there = has_tenant_index(&place.store, &place.folder).await?;
            if self.settings.tenant_index || there {
                write_tenant_index(&place.store, &place.folder, self.now()).await?;
            }
            Ok(())
        };
        report.trouble.extend(written.await.err());
    }
}

impl TenantReport {
    /// A cycle that begins, with what there is to do.
    #[must_use]
    pub fn of(plan: TenantPlan) -> Self {
        Self {
            began: Instant::now(),
            plan,
            held_until: None,
            jobs: Vec::new(),
            expired: Vec::new(),
            deleted: Vec::new(),
            remains: Vec::new(),
            doubt: None,
            trouble: Vec::new(),
        }
    }

    fn lost_the_lease(&self) -> bool {
        let lost = |job: &JobReport| matches!(job.outcome, JobOutcome::Overtaken(Overtaken::Lease));
        self.jobs.iter().any(lost)
    }

    /// Everything that went wrong, in the order in which it did.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        let jobs = self.jobs.iter().filter_map(|job| match &job.outcome {
            JobOutcome::Failed(error) | JobOutcome::Replaced { unmarked: Some(error), .. } => {
                Some(error)
            }
            _ => None,
        });
        let expired = self.expired.iter().filter_map(|expiry| expiry.error.as_ref());
        let deleted = self.deleted.iter().chain(&self.remains);
        jobs.chain(expired)
            .chain(deleted.filter_map(|deletion| deletion.error.as_ref()))
            .chain(&self.trouble)
    }
}

fn input_ids(job: &CompactionJob) -> Vec<Uuid> {
    job.inputs.iter().map(|meta| meta.block_id).collect()
}

/// Carries out a job: the new block first, then the marks.
async fn replace(work: &mut Work<'_>, job: &CompactionJob) -> JobOutcome {
    let halted = |halt| match halt {
        Halt::Stopped => JobOutcome::Stopped,
        Halt::Overtaken(by) => JobOutcome::Overtaken(by),
    };
    let prepared = match work.prepare(job).await {
        Err(error) => return JobOutcome::Failed(error),
        Ok(Err(halt)) => return halted(halt),
        Ok(Ok(prepared)) => prepared,
    };
    let block = match prepared {
        None => None,
        Some(prepared) => match work.commit(job, prepared).await {
            Err(error) => return JobOutcome::Failed(error),
            Ok(Err(halt)) => return halted(halt),
            Ok(Ok(written)) => Some(written),
        },
    };
    let replaced_by = block.as_ref().map(|block| block.meta.block_id);
    let unmarked = work.mark_inputs(job, replaced_by).await.err();
    JobOutcome::Replaced { block, unmarked }
}
