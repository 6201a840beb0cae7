//! `meta.json`: parsing never panics, and what was parsed survives being written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use traceql_blocks::bucket::meta::{BlockMeta, ParsedMeta};

fuzz_target!(|data: &[u8]| {
    if let Ok(ParsedMeta::Block(meta)) = BlockMeta::parse("meta.json", data) {
        let read = BlockMeta::parse("meta.json", &meta.to_json());
        assert_eq!(read.ok(), Some(ParsedMeta::Block(meta)));
    }
});
