//! A segment of the write-ahead log of any bytes: reading it never panics, says how far it goes, and
//! tells of everything that is not whole. Frames need checksums that fit, which bytes at random never
//! have; so the contents of one are also read as a batch, and what can be read is written and read again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use traceql_blocks::wal::{record, segment};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let mut n_records = 0;
    let reading = segment::read(&bytes, |_| n_records += 1);
    assert!(reading.end <= bytes.len() as u64);
    if n_records == 0 && reading.header.is_some() && reading.end < bytes.len() as u64 {
        assert!(!reading.damage.is_empty());
    }
    if let Ok(records) = record::decode(bytes) {
        let again = record::decode(record::encode(&records).into());
        assert_eq!(again.as_ref(), Ok(&records));
    }
});
