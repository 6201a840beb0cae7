//! The live traces of all tenants and what is cut of them, in memory. Changed by records of the log in
//! their order, by no one else; knows no files and no clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::{Trace, TraceId};
use traceql_blocks::wal::Part;
use traceql_blocks::write::otlp;
use uuid::Uuid;

use super::options::CutSettings;

/// What a part takes besides its bytes, about.
const PART_BYTES: u64 = 128;

/// Bytes that a part counts with.
pub(super) fn part_bytes(part: &Part) -> u64 {
    part.spans.len() as u64 + PART_BYTES
}

/// Live traces of all tenants.
#[derive(Debug, Default)]
pub(super) struct LiveTraces {
    tenants: BTreeMap<TenantId, TenantTraces>,
    /// How many parts of each segment of the log are live or being flushed.
    by_segment: BTreeMap<u64, usize>,
    /// Grows with every change.
    version: u64,
    /// Parts that have come so far.
    n_parts: u64,
}

#[derive(Debug, Default)]
struct TenantTraces {
    live: BTreeMap<TraceId, LiveTrace>,
    /// Cut, and not yet in the bucket.
    flushing: Vec<Arc<Flush>>,
    /// Parts in the order in which they came. Those of traces of which nothing is left may be among
    /// them.
    arrivals: Vec<Arrival>,
    /// That of its last change.
    version: u64,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// Ascending.
    number: u64,
    bytes: u32,
    trace_id: TraceId,
}

#[derive(Debug)]
struct LiveTrace {
    parts: Vec<HeldPart>,
    bytes: u64,
    first: Instant,
    last: Instant,
}

#[derive(Clone, Debug)]
struct HeldPart {
    spans: Bytes,
    segment: u64,
}

/// Traces that become a block.
#[derive(Debug)]
pub(super) struct Flush {
    pub(super) tenant: TenantId,
    pub(super) block_id: Uuid,
    traces: BTreeMap<TraceId, Vec<HeldPart>>,
    pub(super) bytes: u64,
    /// It was announced before the process started, so the block may exist.
    pub(super) is_replayed: bool,
    /// Queries see the block: its spans are in memory only until the log says so too.
    is_listed: AtomicBool,
}

impl Flush {
    /// The traces by ascending id, as bytes.
    pub(super) fn traces(&self) -> impl Iterator<Item = (TraceId, Vec<Bytes>)> {
        self.traces.iter().map(|(id, parts)| (*id, spans(parts)))
    }

    /// The ids of the traces, ascending.
    pub(super) fn ids(&self) -> impl Iterator<Item = TraceId> {
        self.traces.keys().copied()
    }

    /// Notes that queries see the block.
    pub(super) fn set_listed(&self) {
        self.is_listed.store(true, Ordering::Release);
    }

    /// Whether queries see the block.
    pub(super) fn is_listed(&self) -> bool {
        self.is_listed.load(Ordering::Acquire)
    }
}

fn spans(parts: &[HeldPart]) -> Vec<Bytes> {
    parts.iter().map(|part| part.spans.clone()).collect()
}

/// Traces to be shown to queries, whole, at one moment.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The version of the tenant's traces.
    pub(super) version: u64,
    /// Number of the last part that has come.
    pub(super) last_part: u64,
    pub(super) traces: BTreeMap<TraceId, Vec<Bytes>>,
}

/// How much has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Of the parts that have come.
    pub(super) bytes: u64,
    /// Of all parts of their traces.
    pub(super) whole_bytes: u64,
}

/// Which traces are to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that are due.
    Due,
    /// All.
    All,
}

impl LiveTraces {
    /// Adds spans, which lie in a segment of the log.
    pub(super) fn add(&mut self, tenant: &TenantId, parts: Vec<Part>, segment: u64, now: Instant) {
        if parts.is_empty() {
            return;
        }
        if !self.tenants.contains_key(tenant) {
            self.tenants.insert(tenant.clone(), TenantTraces::default());
        }
        let Some(of_tenant) = self.tenants.get_mut(tenant) else { return };
        self.version += 1;
        of_tenant.version = self.version;
        *self.by_segment.entry(segment).or_default() += parts.len();
        for part in parts {
            let trace = of_tenant.live.entry(part.trace_id).or_insert_with(|| LiveTrace {
                parts: Vec::new(),
                bytes: 0,
                first: now,
                last: now,
            });
            let bytes = part_bytes(&part);
            trace.bytes += bytes;
            trace.last = now;
            self.n_parts += 1;
            of_tenant.arrivals.push(Arrival {
                number: self.n_parts,
                bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                trace_id: part.trace_id,
            });
            trace.parts.push(HeldPart { spans: part.spans, segment });
        }
    }

    /// The traces of a tenant that a flush would take now; none if it is not time for one.
    pub(super) fn due(
        &self,
        tenant: &TenantId,
        which: Which,
        cut: &CutSettings,
        now: Instant,
    ) -> Vec<TraceId> {
        let Some(of_tenant) = self.tenants.get(tenant) else { return Vec::new() };
        if which == Which::All {
            return of_tenant.live.keys().copied().collect();
        }
        let (mut ids, mut bytes, mut waited) = (Vec::new(), 0, Duration::ZERO);
        for (id, trace) in &of_tenant.live {
            let idle = now.saturating_duration_since(trace.last).checked_sub(cut.idle);
            let age = now.saturating_duration_since(trace.first).checked_sub(cut.age);
            if let Some(since) = idle.max(age) {
                ids.push(*id);
                bytes += trace.bytes;
                waited = waited.max(since);
            }
        }
        let is_time = waited >= cut.block_age || bytes >= cut.block_bytes;
        if is_time { ids } else { Vec::new() }
    }

    /// Tenants that a flush would take traces of.
    pub(super) fn due_tenants(
        &self,
        which: Which,
        cut: &CutSettings,
        now: Instant,
    ) -> Vec<TenantId> {
        let is_due = |tenant: &&TenantId| !self.due(tenant, which, cut, now).is_empty();
        self.tenants.keys().filter(is_due).cloned().collect()
    }

    /// Cuts traces; `None` if there is nothing of them.
    pub(super) fn cut(
        &mut self,
        tenant: &TenantId,
        block_id: Uuid,
        ids: &[TraceId],
        is_replayed: bool,
    ) -> Option<Arc<Flush>> {
        let of_tenant = self.tenants.get_mut(tenant)?;
        let (mut traces, mut bytes) = (BTreeMap::new(), 0);
        for id in ids {
            if let Some(trace) = of_tenant.live.remove(id) {
                bytes += trace.bytes;
                traces.insert(*id, trace.parts);
            }
        }
        if traces.is_empty() {
            return None;
        }
        let is_listed = AtomicBool::new(false);
        let tenant = tenant.clone();
        let flush = Arc::new(Flush { tenant, block_id, traces, bytes, is_replayed, is_listed });
        of_tenant.flushing.push(Arc::clone(&flush));
        Some(flush)
    }

    /// Forgets traces whose block exists, and says how many bytes they had.
    pub(super) fn flushed(&mut self, block_id: Uuid) -> u64 {
        let mut bytes = 0;
        for of_tenant in self.tenants.values_mut() {
            let Some(at) = of_tenant.flushing.iter().position(|f| f.block_id == block_id) else {
                continue;
            };
            let flush = of_tenant.flushing.remove(at);
            bytes += flush.bytes;
            let TenantTraces { live, flushing, arrivals, .. } = of_tenant;
            arrivals.retain(|Arrival { trace_id: id, .. }| {
                live.contains_key(id) || flushing.iter().any(|f| f.traces.contains_key(id))
            });
            self.version += 1;
            of_tenant.version = self.version;
            for part in flush.traces.values().flatten() {
                if let Some(count) = self.by_segment.get_mut(&part.segment) {
                    *count -= 1;
                    if *count == 0 {
                        self.by_segment.remove(&part.segment);
                    }
                }
            }
        }
        self.tenants
            .retain(|_, of_tenant| !(of_tenant.live.is_empty() && of_tenant.flushing.is_empty()));
        bytes
    }

    /// What is cut and not yet in the bucket.
    pub(super) fn flushing(&self) -> Vec<Arc<Flush>> {
        self.tenants.values().flat_map(|of_tenant| of_tenant.flushing.iter().cloned()).collect()
    }

    /// The oldest segment of the log with spans that lie in no block.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        self.by_segment.keys().next().copied()
    }

    /// Bytes of everything.
    pub(super) fn bytes(&self) -> u64 {
        let of_tenant = |of: &TenantTraces| {
            let flushing = of.flushing.iter().map(|flush| flush.bytes).sum::<u64>();
            of.live.values().map(|trace| trace.bytes).sum::<u64>() + flushing
        };
        self.tenants.values().map(of_tenant).sum()
    }

    /// Live traces of a tenant.
    pub(super) fn trace_count(&self, tenant: &TenantId) -> usize {
        self.tenants.get(tenant).map_or(0, |of_tenant| of_tenant.live.len())
    }

    /// Bytes of a live trace, if there is one.
    pub(super) fn trace_bytes(&self, tenant: &TenantId, id: TraceId) -> Option<u64> {
        self.tenants.get(tenant)?.live.get(&id).map(|trace| trace.bytes)
    }

    /// The version of what there is of a tenant; `None` if there is nothing.
    pub(super) fn version(&self, tenant: &TenantId) -> Option<u64> {
        self.tenants.get(tenant).map(|of_tenant| of_tenant.version)
    }

    /// Traces of which parts have come since the part of this number, and others that are named.
    /// `None` for a tenant without any.
    pub(super) fn changes(
        &self,
        tenant: &TenantId,
        since: u64,
        mut ids: BTreeSet<TraceId>,
    ) -> Option<Changes> {
        let of_tenant = self.tenants.get(tenant)?;
        ids.extend(of_tenant.since(since).iter().map(|arrival| arrival.trace_id));
        let traces = ids.into_iter().map(|id| (id, of_tenant.parts_of(id)));
        Some(Changes {
            version: of_tenant.version,
            last_part: self.n_parts,
            traces: traces.filter(|(_, parts)| !parts.is_empty()).collect(),
        })
    }

    /// How much has come of a tenant since the part of this number.
    pub(super) fn news(&self, tenant: &TenantId, since: u64) -> News {
        let Some(of_tenant) = self.tenants.get(tenant) else { return News::default() };
        let arrivals = of_tenant.since(since);
        let ids: BTreeSet<TraceId> = arrivals.iter().map(|arrival| arrival.trace_id).collect();
        News {
            bytes: arrivals.iter().map(|arrival| u64::from(arrival.bytes)).sum(),
            whole_bytes: ids.iter().map(|id| of_tenant.bytes_of(*id)).sum(),
        }
    }

    /// Which of these traces have parts that lie in no block.
    pub(super) fn present(
        &self,
        tenant: &TenantId,
        ids: impl Iterator<Item = TraceId>,
    ) -> BTreeSet<TraceId> {
        let of_tenant = self.tenants.get(tenant);
        ids.filter(|id| of_tenant.is_some_and(|of_tenant| of_tenant.has(*id))).collect()
    }

    /// The parts of one trace that lie in no block, in the order in which they came.
    pub(super) fn parts_of(&self, tenant: &TenantId, id: TraceId) -> Vec<Bytes> {
        self.tenants.get(tenant).map_or_else(Vec::new, |of_tenant| of_tenant.parts_of(id))
    }
}

impl TenantTraces {
    /// Parts that have come since the part of this number.
    fn since(&self, number: u64) -> &[Arrival] {
        let from = self.arrivals.partition_point(|arrival| arrival.number <= number);
        self.arrivals.get(from..).unwrap_or_default()
    }

    /// Of the parts of a trace that lie in no block.
    fn bytes_of(&self, id: TraceId) -> u64 {
        let flushing = self.unlisted().filter_map(|flush| flush.traces.get(&id)).flatten();
        let flushing: u64 = flushing.map(|part| part.spans.len() as u64 + PART_BYTES).sum();
        self.live.get(&id).map_or(0, |trace| trace.bytes) + flushing
    }

    /// What is cut and not seen in the bucket.
    fn unlisted(&self) -> impl Iterator<Item = &Flush> {
        self.flushing.iter().map(AsRef::as_ref).filter(|flush| !flush.is_listed())
    }

    fn has(&self, id: TraceId) -> bool {
        self.live.contains_key(&id) || self.unlisted().any(|flush| flush.traces.contains_key(&id))
    }

    fn parts_of(&self, id: TraceId) -> Vec<Bytes> {
        let flushing = self.unlisted().filter_map(|flush| flush.traces.get(&id));
        let live = self.live.get(&id).map(|trace| &trace.parts);
        flushing.chain(live).flat_map(|parts| spans(parts)).collect()
    }
}

/// A trace from its parts: in the order in which they came, no span twice. `None` if there are none.
///
/// # Errors
/// For bytes that are none of ours; they were checked when they were made, or came from a disk.
pub(super) fn trace_of(
    id: TraceId,
    parts: &[Bytes],
) -> Result<Option<Trace>, traceql_blocks::Error> {
    let mut whole = Trace { id, resource_spans: Vec::new() };
    for part in parts {
        for mut trace in otlp::decode_protobuf(part.clone(), "a live trace")? {
            whole.resource_spans.append(&mut trace.resource_spans);
        }
    }
    whole.remove_duplicate_spans();
    Ok((!whole.resource_spans.is_empty()).then_some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(n: u8, length: usize) -> Part {
        Part { trace_id: TraceId([n; 16]), spans: vec![n; length].into() }
    }

    fn cut() -> CutSettings {
        CutSettings {
            idle: Duration::from_secs(5),
            age: Duration::from_secs(30),
            block_age: Duration::from_secs(10),
            block_bytes: 10_000,
            check: Duration::from_secs(1),
        }
    }

    #[test]
    fn traces_are_due_when_idle_old_or_many_and_have_waited() {
        let (tenant, start) = (TenantId::single(), Instant::now());
        let mut traces = LiveTraces::default();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        traces.add(&tenant, vec![part(1, 10)], 1, at(0));
        traces.add(&tenant, vec![part(2, 10)], 1, at(12));
        let due = |traces: &LiveTraces, seconds| {
            let ids = traces.due(&tenant, Which::Due, &cut(), at(seconds));
            ids.iter().map(|id| id.0[0]).collect::<Vec<_>>()
        };
        assert!(due(&traces, 14).is_empty(), "idle since 5, so it waits until 15");
        assert_eq!(due(&traces, 15), [1], "the other is not idle");
        assert_eq!(due(&traces, 17), [1, 2], "who is idle goes with it");
        // One that never rests is cut by its age.
        let mut traces = LiveTraces::default();
        for second in 0..=40 {
            traces.add(&tenant, vec![part(3, 1)], 1, at(second));
        }
        assert!(due(&traces, 39).is_empty());
        assert_eq!(due(&traces, 40), [3]);
        // Much is flushed at once.
        let mut traces = LiveTraces::default();
        traces.add(&tenant, vec![part(4, 10_000)], 1, at(0));
        assert!(due(&traces, 4).is_empty());
        assert_eq!(due(&traces, 5), [4]);
        assert_eq!(traces.due(&tenant, Which::All, &cut(), at(0)).len(), 1);
        assert!(traces.due(&TenantId::parse("b").unwrap(), Which::All, &cut(), at(0)).is_empty());
    }

    #[test]
    fn spans_leave_when_their_block_exists_and_segments_with_them() {
        let (tenant, now) = (TenantId::single(), Instant::now());
        let mut traces = LiveTraces::default();
        traces.add(&tenant, vec![part(1, 10), part(2, 10)], 7, now);
        traces.add(&tenant, vec![part(1, 20)], 8, now);
        let id = TraceId([1; 16]);
        let flush = traces.cut(&tenant, Uuid::from_bytes([9; 16]), &[id], false).unwrap();
        assert_eq!(flush.traces().next().unwrap().1.len(), 2);
        assert_eq!(flush.bytes, 30 + 2 * PART_BYTES);
        // Later spans of the same trace belong to another block.
        traces.add(&tenant, vec![part(1, 30)], 9, now);
        assert_eq!(traces.parts_of(&tenant, id).len(), 3, "in the order in which they came");
        let other = BTreeSet::from([TraceId([2; 16])]);
        let since = |part, ids: &BTreeSet<TraceId>| {
            let changes = traces.changes(&tenant, part, ids.clone()).unwrap();
            assert_eq!(changes.last_part, 4);
            changes.traces.into_iter().map(|(id, parts)| (id.0[0], parts.len())).collect::<Vec<_>>()
        };
        assert_eq!(since(0, &BTreeSet::new()), [(1, 3), (2, 1)]);
        assert_eq!(since(2, &BTreeSet::new()), [(1, 3)], "whole, though one part is new");
        assert_eq!(since(4, &other), [(2, 1)]);
        assert_eq!(traces.present(&tenant, [id, TraceId([3; 16])].into_iter()), [id].into());
        let whole = News { bytes: 70 + 4 * PART_BYTES, whole_bytes: 70 + 4 * PART_BYTES };
        assert_eq!(traces.news(&tenant, 0), whole);
        let of_last = News { bytes: 30 + PART_BYTES, whole_bytes: 60 + 3 * PART_BYTES };
        assert_eq!(traces.news(&tenant, 3), of_last, "its trace is encoded as a whole");
        assert_eq!(traces.news(&tenant, 4), News::default());
        // What is seen in the bucket is not shown again, though the log does not say so yet.
        flush.set_listed();
        assert_eq!(since(0, &BTreeSet::new()), [(1, 1), (2, 1)]);
        assert_eq!(traces.oldest_segment(), Some(7));
        assert_eq!(traces.flushed(Uuid::from_bytes([9; 16])), flush.bytes);
        assert_eq!(traces.flushed(Uuid::from_bytes([9; 16])), 0);
        assert_eq!(traces.oldest_segment(), Some(7), "another trace is in it");
        assert_eq!(traces.parts_of(&tenant, id).len(), 1, "what came after the cut");
        let rest = [id, TraceId([2; 16])];
        traces.cut(&tenant, Uuid::from_bytes([8; 16]), &rest, false).unwrap();
        assert!(traces.cut(&tenant, Uuid::from_bytes([7; 16]), &rest, false).is_none());
        traces.flushed(Uuid::from_bytes([8; 16]));
        assert_eq!((traces.oldest_segment(), traces.bytes()), (None, 0));
        assert!(traces.version(&tenant).is_none(), "a tenant without traces is forgotten");
    }
}
