//! Whose turn it is to keep a tenant's blocks, where several compactors of ours work on one bucket.
//!
//! The holder's record is an object `<tenant>/traceql-compactor/<number>.json`, which readers of blocks
//! pass over. It is never changed: whoever takes the lease, or makes it last longer, creates the next
//! number on the condition that there is no such object, and then looks whether it is the highest. So
//! creating is all that a store must do conditionally, which local disks do too; that this one does is
//! checked every time the lease is taken.
//!
//! The lease saves work, it is not what keeps spans safe: two that both believe to hold it, by clocks
//! that differ or by a process that slept, compact the same blocks twice, and queries and the next
//! compaction count their spans once. What the record says of blocks being written tells the next
//! holder what a crash has left.
//!
//! Records say until when they hold by the clock of whoever wrote them. No clock that is wrong, or is
//! set, keeps a tenant from being compacted: the holder also measures by a clock that nobody sets when
//! to renew, and looks at the store before a block comes to be; and who waits takes a record that did
//! not change for as long as a lease lasts for one whose holder is gone, whatever it says.

use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use object_store::PutMode;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::place::TenantPlace;
use crate::bucket::path;
use crate::error::{Error, Result};

/// How long a lease lasts unless it is renewed: this long a crash keeps others away.
pub const LEASE: Duration = Duration::from_secs(120);
/// What this code writes and reads.
const VERSION: u32 = 1;
/// A record has some hundred bytes.
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// The right to keep a tenant's blocks for a while.
#[derive(Debug)]
pub(super) struct Lease {
    place: TenantPlace,
    holder: Uuid,
    number: u64,
    until_unix_nanos: i64,
    renewed: Instant,
    /// When the record was written, by the store's clock.
    store_unix_nanos: i64,
    writing: Vec<Unfinished>,
}

/// The record of another compactor, as it was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its number.
    pub(super) number: u64,
    /// For how long there has been no other, by a clock that nobody sets.
    pub(super) unchanged: Duration,
}

/// What came of asking for the lease.
#[derive(Debug)]
pub(super) enum Claim {
    /// It is ours.
    Ours(Lease),
    /// Another compactor has it, until then if it is not renewed (unix nanoseconds), by a record of
    /// this number.
    Theirs { until_unix_nanos: Option<i64>, number: u64 },
}

/// A block whose objects were being written, or whose inputs were being marked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unfinished {
    /// Its id.
    pub(super) block_id: Uuid,
    /// Since when, unix nanoseconds.
    pub(super) since_unix_nanos: i64,
    /// The blocks that it is to replace.
    pub(super) inputs: Vec<Uuid>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    holder: Uuid,
    until_unix_nanos: i64,
    writing: Vec<Unfinished>,
}

impl Lease {
    /// Takes the lease if nobody has it. What was seen of it the last time tells whether its holder is
    /// gone though his clock says otherwise.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a store that creates objects whether they exist or not; storage
    /// errors; a record that is none.
    pub(super) async fn claim(
        place: &TenantPlace,
        holder: Uuid,
        now: i64,
        seen: Option<Seen>,
    ) -> Result<Claim> {
        let newest = newest(place).await?;
        if let Some((at, record)) = &newest {
            let is_gone =
                seen.is_some_and(|seen| seen.number == at.number && seen.unchanged > LEASE);
            let until = ends(record.until_unix_nanos, at.written_unix_nanos, now);
            if record.holder != holder && until > now && !is_gone {
                return Ok(Claim::Theirs { until_unix_nanos: Some(until), number: at.number });
            }
        }
        let (number, writing) =
            newest.map_or_else(|| (0, Vec::new()), |(at, record)| (at.number, record.writing));
        let mut lease = Self {
            place: place.clone(),
            holder,
            number,
            until_unix_nanos: now,
            renewed: Instant::now(),
            store_unix_nanos: now,
            writing,
        };
        if !lease.renew(now).await? {
            return Ok(Claim::Theirs { until_unix_nanos: None, number });
        }
        if lease.create(lease.number, now).await? {
            lease.release(now).await?;
            return Err(Error::Unsupported {
                key: path::object_url(&place.store.url, &place.folder),
                reason: "the store does not say whether an object is new, so that several \
                         compactors cannot tell whose turn it is"
                    .to_owned(),
            });
        }
        Ok(Claim::Ours(lease))
    }

    /// Makes the lease last, if half of it is over; false if somebody else has it.
    ///
    /// # Errors
    /// Storage errors.
    pub(super) async fn keep(&mut self, now: i64) -> Result<bool> {
        let left = self.until_unix_nanos.saturating_sub(now);
        // More than a whole lease is left if the clock was set back: others do not know of that.
        if left > nanos(LEASE / 2) && left <= nanos(LEASE) && self.renewed.elapsed() < LEASE / 2 {
            return Ok(true);
        }
        self.renew(now).await
    }

    /// Whether the lease is ours still, by what the store says rather than by the clock; false if
    /// somebody else has it. Makes it last.
    ///
    /// # Errors
    /// Storage errors.
    pub(super) async fn confirm(&mut self, now: i64) -> Result<bool> {
        self.renew(now).await
    }

    /// The time by the store's clock, unix nanoseconds, when the lease was renewed last.
    pub(super) fn store_unix_nanos(&self) -> i64 {
        self.store_unix_nanos
    }

    /// Notes that a block is about to be written; false if somebody else has the lease.
    ///
    /// # Errors
    /// Storage errors.
    pub(super) async fn begin(
        &mut self,
        block_id: Uuid,
        inputs: Vec<Uuid>,
        now: i64,
    ) -> Result<bool> {
        self.writing.push(Unfinished { block_id, since_unix_nanos: now, inputs });
        self.renew(now).await
    }

    /// Forgets a block: it has replaced its inputs, or nothing is left of it.
    pub(super) fn end(&mut self, block_id: Uuid) {
        self.writing.retain(|block| block.block_id != block_id);
    }

    /// Blocks that were begun and are not known to have ended.
    pub(super) fn writing(&self) -> &[Unfinished] {
        &self.writing
    }

    /// Gives the lease back. What is unfinished stays noted.
    ///
    /// # Errors
    /// Storage errors; it runs out by itself then.
    pub(super) async fn release(mut self, now: i64) -> Result<()> {
        let own = key(&self.place, self.number);
        if !self.writing.is_empty() {
            self.until_unix_nanos = now;
            if !self.create(self.number + 1, now).await? {
                return Ok(());
            }
        }
        self.place.delete(&own).await?;
        self.place.remove_if_empty(&folder(&self.place)).await;
        Ok(())
    }

    async fn renew(&mut self, now: i64) -> Result<bool> {
        let until = now.saturating_add(nanos(LEASE));
        let (before, next) = (self.number, self.number + 1);
        let began = Instant::now();
        if !self.create(next, until).await? {
            return Ok(false);
        }
        // Whoever was quicker may have removed that number again, and hold a higher one.
        let records = records(&self.place).await?;
        if records.iter().any(|record| record.number > next) {
            self.place.delete(&key(&self.place, next)).await?;
            return Ok(false);
        }
        (self.number, self.until_unix_nanos, self.renewed) = (next, until, began);
        if let Some(own) = records.iter().find(|record| record.number == next) {
            self.store_unix_nanos = own.written_unix_nanos;
        }
        for record in records.into_iter().filter(|record| record.number <= before) {
            self.place.delete(&key(&self.place, record.number)).await?;
        }
        Ok(true)
    }

    /// Creates a record; false if there is one of this number.
    async fn create(&self, number: u64, until_unix_nanos: i64) -> Result<bool> {
        let Self { holder, writing, .. } = self;
        let record = Record {
            version: VERSION,
            holder: *holder,
            until_unix_nanos,
            writing: writing.clone(),
        };
        let key = key(&self.place, number);
        let failed = |reason: String| Error::NotWritten {
            key: path::object_url(&self.place.store.url, &key),
            reason,
        };
        let json = serde_json::to_vec(&record).map_err(|error| failed(error.to_string()))?;
        let store = &self.place.store.store;
        match store.put_opts(&key, json.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(true),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(false),
            Err(
                error @ (object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. }),
            ) => Err(Error::Unsupported {
                key: path::object_url(&self.place.store.url, &key),
                reason: format!("the store does not create objects on condition: {error}"),
            }),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// Whether this is a record of the lease of the tenant with this folder.
pub(super) fn is_record(tenant_folder: &Path, key: &Path) -> bool {
    key.prefix_matches(&path::child(tenant_folder, path::COMPACTOR))
}

fn folder(place: &TenantPlace) -> Path {
    path::child(&place.folder, path::COMPACTOR)
}

fn key(place: &TenantPlace, number: u64) -> Path {
    path::child(&folder(place), &format!("{number}.json"))
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// Until when a record holds. One of a time that no clock can have meant holds for as long as a lease
/// lasts after the store wrote it.
fn ends(until_unix_nanos: i64, written_unix_nanos: i64, now: i64) -> i64 {
    match until_unix_nanos.saturating_sub(now) > 2 * nanos(LEASE) {
        true => until_unix_nanos.min(written_unix_nanos.saturating_add(nanos(LEASE))),
        false => until_unix_nanos,
    }
}

/// A record that is there.
#[derive(Clone, Copy, Debug)]
struct RecordAt {
    number: u64,
    /// When it was written, by the store's clock.
    written_unix_nanos: i64,
}

async fn records(place: &TenantPlace) -> Result<Vec<RecordAt>> {
    let folder = folder(place);
    let listed: Result<Vec<_>, _> = place.store.store.list(Some(&folder)).try_collect().await;
    let objects = listed.map_err(|error| {
        Error::storage("lease", path::object_url(&place.store.url, &folder), error)
    })?;
    let number = |key: &Path| key.filename()?.strip_suffix(".json")?.parse().ok();
    let record = |object: &object_store::ObjectMeta| {
        let written = object.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX);
        Some(RecordAt { number: number(&object.location)?, written_unix_nanos: written })
    };
    Ok(objects.iter().filter_map(record).collect())
}

/// The record that holds, if there is any.
async fn newest(place: &TenantPlace) -> Result<Option<(RecordAt, Record)>> {
    let newest = records(place).await?.into_iter().max_by_key(|record| record.number);
    let Some(at) = newest else { return Ok(None) };
    let key = key(place, at.number);
    let Some(json) = place.store.at().fetch_if_any(&key, MAX_RECORD_BYTES).await? else {
        return Ok(None);
    };
    let url = path::object_url(&place.store.url, &key);
    let record: Record = serde_json::from_slice(&json).map_err(|error| {
        Error::corrupt(&url, None, "the record of a compactor's lease", error.to_string())
    })?;
    if record.version != VERSION {
        let reason = format!("lease of version {}; this build knows {VERSION}", record.version);
        return Err(Error::Unsupported { key: url, reason });
    }
    Ok(Some((at, record)))
}
