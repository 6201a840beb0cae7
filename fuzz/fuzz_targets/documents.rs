//! Files that people write by hand: any text as a suite of checks (YAML, with spans and queries in it)
//! and as a file of settings (TOML) is taken or refused with a drawing, and never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| traceql_cli::read_documents(text));
