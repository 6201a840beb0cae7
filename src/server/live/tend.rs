//! What is done for views between queries, of a server that is asked now and then: spans are encoded
//! in small steps as they come, so that a query waits for the last of them alone, and small segments
//! are merged, so that it meets few. Of one that nobody asks, nothing is done.
//!
//! What that costs is bounded by what comes in, at any rate: a step is made when there are bytes for
//! it, not when time has passed, and a span is merged about once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::TraceId;

use super::Live;
use super::traces::News;
use super::view::{Made, Segment, TenantView, View};

/// Views are tended for so long after the last query.
const TENDED: Duration = Duration::from_secs(60);
/// It is looked this often whether a step is to be made.
const LOOK: Duration = Duration::from_millis(20);
/// What is waited when a step has failed.
const RETRY: Duration = Duration::from_secs(1);
/// A step is made of so many bytes of spans, as received: some seven hundred, which are encoded in a few
/// milliseconds.
const STEP_BYTES: u64 = 256 << 10;
/// A trace is encoded as a whole whenever something of it has come. If that comes to so many times
/// what is new, as with large traces that grow, more is waited for.
const MOST_AGAIN: u64 = 4;
/// A segment is small if what is left of it has less than so many bytes, as received.
const SMALL_BYTES: u64 = 1 << 20;
/// So many small segments are merged: that is what a span is encoded twice for, and no longer small.
const WORTH_MERGING: usize = 16;
/// Or fewer, if this much of them is hidden.
const MOST_HIDDEN_BYTES: u64 = 8 << 20;

impl News {
    fn is_worth_a_step(self) -> bool {
        self.bytes >= STEP_BYTES && self.whole_bytes <= MOST_AGAIN * self.bytes
    }
}

impl Segment {
    /// Of its spans that are to be read, about.
    fn shown_bytes(&self) -> u64 {
        let (shown, hidden) = (self.traces.len() as u64, self.hidden.len() as u64);
        self.n_bytes.saturating_mul(shown) / (shown + hidden).max(1)
    }
}

impl View {
    /// Segments that are worth merging.
    pub(super) fn small(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.shown_bytes() < SMALL_BYTES)
    }

    /// Whether they are to be merged.
    pub(super) fn is_crowded(&self) -> bool {
        let hidden = |segment: &Segment| segment.n_bytes - segment.shown_bytes();
        self.small().count() >= WORTH_MERGING
            || self.small().map(hidden).sum::<u64>() >= MOST_HIDDEN_BYTES
    }
}

impl Live {
    /// Encodes spans as they come, for as long as it is let.
    pub(super) async fn keep_adding_to_views(self: Arc<Self>) {
        loop {
            if self.views.asked_within(TENDED).is_empty() {
                self.views.asked.notified().await;
            }
            let pause = if self.add_to_views().await { LOOK } else { RETRY };
            tokio::time::sleep(pause).await;
        }
    }

    /// Merges small segments when there are enough of them, for as long as it is let.
    pub(super) async fn keep_merging_views(self: Arc<Self>) {
        loop {
            self.views.crowded.notified().await;
            self.merge_views().await;
        }
    }

    /// Adds to views what has come, if it is enough for a step; whether that went well.
    pub(super) async fn add_to_views(&self) -> bool {
        let mut is_well = true;
        for (tenant, entry) in self.views.asked_within(TENDED) {
            if let Err(error) = self.make_step(&tenant, &entry).await {
                (self.log_line)(&format!("cannot encode live traces of {tenant}: {error}"));
                is_well = false;
            }
        }
        is_well
    }

    async fn make_step(&self, tenant: &TenantId, entry: &TenantView) -> traceql_blocks::Result<()> {
        let since = entry.view.lock().last_part;
        let (news, version) = {
            let traces = self.traces.lock();
            (traces.news(tenant, since), traces.version(tenant))
        };
        match version.filter(|_| news.is_worth_a_step()) {
            Some(version) => self.show_new(tenant, entry, version).await,
            None => Ok(()),
        }
    }

    /// Merges the small segments of crowded views.
    pub(super) async fn merge_views(&self) {
        for (tenant, entry) in self.views.asked_within(TENDED) {
            if let Err(error) = self.merge_small(&tenant, &entry).await {
                (self.log_line)(&format!("cannot merge live traces of {tenant}: {error}"));
            }
        }
    }

    /// Merges small segments, if there are enough of them. Queries go on meanwhile, and may add
    /// others.
    async fn merge_small(
        &self,
        tenant: &TenantId,
        entry: &TenantView,
    ) -> traceql_blocks::Result<()> {
        let (merged, ids) = {
            let view = entry.view.lock();
            if !view.is_crowded() {
                return Ok(());
            }
            let merged: BTreeSet<Path> =
                view.small().map(|small| small.block.data.clone()).collect();
            let ids = view.small().flat_map(|small| &small.traces).copied().collect();
            (merged, ids)
        };
        let Some(again) = self.traces.lock().changes(tenant, u64::MAX, ids) else { return Ok(()) };
        let made = self.encode(tenant, again.traces).await?;
        let mut view = entry.view.lock();
        let left = view.segments.iter().filter(|segment| merged.contains(&segment.block.data));
        let left: BTreeSet<TraceId> = left.flat_map(|segment| &segment.traces).copied().collect();
        for mut segment in made.into_iter().map(Made::used) {
            // What grew meanwhile is read elsewhere, and so is what moved.
            let elsewhere = segment.traces.difference(&left).copied().collect();
            segment.hide(&elsewhere);
            self.views.retire(view.hide(&segment.traces));
            view.add(segment, &self.views);
        }
        Ok(())
    }
}
