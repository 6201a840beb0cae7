//! The log on a disk that fails, and after every kind of end: what was appended is replayed, once and
//! in order, and what is not is told.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::segment::{self, Damage, HEADER_BYTES};
use super::{Log, LogOptions, Part, Record, Replayed, record};
use crate::bucket::tenant::TenantId;
use crate::model::TraceId;

/// What the disk is to do wrong.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Bytes that there is still room for.
    room: Option<usize>,
    /// The next sync fails.
    fails_sync: bool,
}

impl Faults {
    pub(super) fn before_write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        let Some(room) = &mut self.room else { return Ok(()) };
        if *room >= bytes.len() {
            *room -= bytes.len();
            return Ok(());
        }
        file.write_all(&bytes[..*room])?;
        *room = 0;
        Err(io::ErrorKind::StorageFull.into())
    }

    pub(super) fn before_sync(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.fails_sync) {
            true => Err(io::Error::other("the disk is gone")),
            false => Ok(()),
        }
    }
}

fn spans(n: u8, length: usize) -> Record {
    let part = |at: u8| Part { trace_id: TraceId([at; 16]), spans: vec![n; length].into() };
    Record::Spans { tenant: TenantId::single(), parts: vec![part(n), part(n ^ 0xff)] }
}

fn flush(n: u8) -> Record {
    let traces = vec![TraceId([n; 16]), TraceId([n ^ 0xff; 16])];
    Record::Flush { tenant: TenantId::single(), block_id: Uuid::from_bytes([n; 16]), traces }
}

fn open_with(folder: &Path, segment_bytes: u64) -> (Log, Replayed, Vec<(u64, Record)>) {
    let mut found = Vec::new();
    let options = LogOptions { folder: folder.to_owned(), segment_bytes };
    let (log, replayed) =
        Log::open(options, |segment, record| found.push((segment, record))).unwrap();
    (log, replayed, found)
}

fn records(folder: &Path) -> Vec<Record> {
    open_with(folder, 1_000).2.into_iter().map(|(_, record)| record).collect()
}

fn segment_files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock" && name != "reserve")
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_appended_is_replayed_in_order_and_by_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _, found) = open_with(folder.path(), 500);
    assert!(found.is_empty());
    let first = log.append(&[spans(1, 300), flush(1)]).unwrap();
    let second = log.append(&[spans(2, 10)]).unwrap();
    assert_eq!((first, second), (1, 2), "a segment ends with the batch that fills it");
    log.append(&[Record::Flushed { block_id: Uuid::from_bytes([1; 16]) }]).unwrap();
    drop(log);
    let (log, replayed, found) = open_with(folder.path(), 500);
    assert!(replayed.damage.is_empty(), "{:?}", replayed.damage);
    assert_eq!(replayed.segments, 2);
    let done = Record::Flushed { block_id: Uuid::from_bytes([1; 16]) };
    assert_eq!(found, [(1, spans(1, 300)), (1, flush(1)), (2, spans(2, 10)), (2, done)]);
    assert_eq!(log.next_number(), 3, "what was replayed is not appended to");
}

#[test]
fn one_process_has_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let (log, ..) = open_with(folder.path(), 500);
    let options = LogOptions { folder: folder.path().to_owned(), segment_bytes: 500 };
    let error = Log::open(options, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("another process has it open"), "{error}");
    drop(log);
    open_with(folder.path(), 500);
}

#[test]
fn segments_are_removed_from_the_oldest_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, ..) = open_with(folder.path(), 1);
    for n in 1..=4 {
        assert_eq!(log.append(&[spans(n, 10)]).unwrap(), u64::from(n));
    }
    log.remove_before(3).unwrap();
    assert_eq!(segment_files(folder.path()), ["00000003.wal", "00000004.wal"]);
    log.remove_before(log.next_number()).unwrap();
    assert!(segment_files(folder.path()).is_empty());
    assert_eq!(log.append(&[spans(5, 10)]).unwrap(), 5);
    drop(log);
    assert_eq!(records(folder.path()), [spans(5, 10)]);
}

#[test]
fn a_full_disk_refuses_a_batch_and_takes_the_next_when_there_is_room() {
    for room in 0..400 {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, ..) = open_with(folder.path(), 10_000);
        log.append(&[spans(1, 50)]).unwrap();
        log.faults.room = Some(room);
        let refused = log.append(&[spans(2, 200)]);
        let fits = refused.is_ok();
        log.faults.room = None;
        log.append(&[spans(3, 50)]).unwrap();
        drop(log);
        let (_, replayed, found) = open_with(folder.path(), 10_000);
        let found: Vec<Record> = found.into_iter().map(|(_, record)| record).collect();
        let kept = if fits { vec![spans(2, 200)] } else { vec![] };
        assert_eq!(found, [vec![spans(1, 50)], kept, vec![spans(3, 50)]].concat(), "{room}");
        assert!(replayed.damage.is_empty(), "{room}: {:?}", replayed.damage);
    }
}

#[test]
fn a_failed_sync_takes_the_batch_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, ..) = open_with(folder.path(), 10_000);
    log.append(&[spans(1, 50)]).unwrap();
    log.faults.fails_sync = true;
    assert!(log.append(&[spans(2, 50)]).is_err());
    assert_eq!(log.append(&[spans(3, 50)]).unwrap(), 2, "the segment is not trusted any longer");
    drop(log);
    assert_eq!(records(folder.path()), [spans(1, 50), spans(3, 50)]);
}

#[test]
fn what_could_not_be_taken_back_from_the_disk_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, ..) = open_with(folder.path(), 1);
    log.append(&[spans(1, 50)]).unwrap();
    log.append(&[spans(2, 50)]).unwrap();
    drop(log);
    let path = folder.path().join("00000001.wal");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend(segment::frame(&[spans(9, 50)]).unwrap());
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(records(folder.path()), [spans(1, 50), spans(2, 50)]);
}

#[test]
fn a_flush_is_noted_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, ..) = open_with(folder.path(), 10_000);
    log.append(&[spans(1, 50)]).unwrap();
    // The disk of a test does not know of the reserve, so it is told.
    log.faults.room = Some(0);
    let reserve = folder.path().join("reserve");
    assert!(reserve.exists());
    assert!(log.append_in_need(&[flush(1)]).is_err());
    assert!(!reserve.exists(), "given up");
    log.faults.room = None;
    log.append_in_need(&[flush(1)]).unwrap();
    log.remove_before(log.next_number()).unwrap();
    assert!(reserve.exists(), "set aside again when there is room");
}

#[test]
fn damage_in_the_middle_is_told_and_the_file_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, ..) = open_with(folder.path(), 10_000);
    for n in 1..=3 {
        log.append(&[spans(n, 50)]).unwrap();
    }
    drop(log);
    let path = folder.path().join("00000001.wal");
    let mut bytes = std::fs::read(&path).unwrap();
    let frame_bytes = (bytes.len() - HEADER_BYTES) / 3;
    bytes[HEADER_BYTES + frame_bytes + 30] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (mut log, replayed, found) = open_with(folder.path(), 10_000);
    assert_eq!(found, [(1, spans(1, 50)), (1, spans(3, 50))]);
    let [(at, damage)] = replayed.damage.as_slice() else { panic!("{:?}", replayed.damage) };
    assert_eq!(at, &path);
    assert!(!damage.is_harmless());
    let told = damage.to_string();
    assert!(told.contains("the spans in them are lost"), "{told}");
    log.remove_before(log.next_number()).unwrap();
    assert_eq!(segment_files(folder.path()), ["00000001.damaged"]);
}

#[test]
fn segments_that_are_gone_or_cut_are_told() {
    let prepare = || {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, ..) = open_with(folder.path(), 1);
        for n in 1..=3 {
            log.append(&[spans(n, 50)]).unwrap();
        }
        folder
    };
    let folder = prepare();
    std::fs::remove_file(folder.path().join("00000002.wal")).unwrap();
    let (_, replayed, found) = open_with(folder.path(), 1);
    assert_eq!(found.len(), 2);
    assert!(
        matches!(&replayed.damage[..], [(_, Damage::Missing { segments })] if *segments == (2..3))
    );

    let folder = prepare();
    let path = folder.path().join("00000002.wal");
    File::options().write(true).open(path).unwrap().set_len(HEADER_BYTES as u64).unwrap();
    let (_, replayed, found) = open_with(folder.path(), 1);
    assert_eq!(found.len(), 2);
    assert!(matches!(&replayed.damage[..], [(_, Damage::Truncated { .. })]), "{replayed:?}");

    let folder = prepare();
    std::fs::remove_file(folder.path().join("00000001.wal")).unwrap();
    let (_, replayed, found) = open_with(folder.path(), 1);
    assert_eq!((found.len(), replayed.damage.len()), (2, 0), "removal goes from the oldest on");
}

/// A segment of batches, and where each ends.
fn segment_of(batches: &[Vec<Record>]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = segment::header(1, 0);
    let mut ends = Vec::new();
    for batch in batches {
        bytes.extend(segment::frame(batch).unwrap());
        ends.push(bytes.len());
    }
    (bytes, ends)
}

fn read(bytes: Vec<u8>) -> (Vec<Record>, segment::Reading) {
    let mut found = Vec::new();
    let reading = segment::read(&bytes.into(), |record| found.push(record));
    (found, reading)
}

fn any_batches() -> impl Strategy<Value = Vec<Vec<Record>>> {
    let record = prop_oneof![
        (any::<u8>(), 0..200_usize).prop_map(|(n, length)| spans(n, length)),
        any::<u8>().prop_map(flush),
        any::<u8>().prop_map(|n| Record::Flushed { block_id: Uuid::from_bytes([n; 16]) }),
    ];
    prop::collection::vec(prop::collection::vec(record, 1..4), 1..6)
}

proptest! {
    #[test]
    fn records_survive_their_encoding(batches in any_batches()) {
        let all = batches.concat();
        prop_assert_eq!(record::decode(record::encode(&all).into()).unwrap(), all);
    }

    /// A segment cut anywhere yields its whole batches, and no half of one.
    #[test]
    fn a_torn_tail_costs_the_last_batch_alone(batches in any_batches(), cut in 0.0..1.0_f64) {
        let (bytes, ends) = segment_of(&batches);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
        let cut = HEADER_BYTES + ((bytes.len() - HEADER_BYTES) as f64 * cut) as usize;
        let n_whole = ends.iter().filter(|end| **end <= cut).count();
        let is_torn = cut != HEADER_BYTES && ends.get(n_whole.wrapping_sub(1)) != Some(&cut);
        let (found, reading) = read(bytes[..cut].to_vec());
        prop_assert_eq!(found, batches[..n_whole].concat());
        prop_assert_eq!(reading.damage.len(), usize::from(is_torn));
        prop_assert!(reading.damage.iter().all(Damage::is_harmless));
    }

    /// A bit that flips costs the batch it is in, which is told, and no other.
    #[test]
    fn a_flipped_bit_costs_its_batch_and_is_told(batches in any_batches(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (mut bytes, ends) = segment_of(&batches);
        let at = HEADER_BYTES + at.index(bytes.len() - HEADER_BYTES);
        bytes[at] ^= 1 << bit;
        let hit = ends.iter().filter(|end| **end <= at).count();
        let (found, reading) = read(bytes);
        let mut kept = batches;
        kept.remove(hit);
        prop_assert_eq!(found, kept.concat());
        prop_assert!(matches!(reading.damage.as_slice(), [Damage::Frame { .. }]), "{:?}", reading.damage);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut segment = segment::header(1, 0);
        segment.extend(&bytes);
        let (_, reading) = read(segment);
        prop_assert_eq!(reading.damage.is_empty(), bytes.is_empty());
        drop(read(bytes.clone()));
        drop(record::decode(Bytes::from(bytes)));
    }
}
