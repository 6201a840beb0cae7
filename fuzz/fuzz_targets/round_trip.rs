//! What the default dialect reads, it prints so that it reads the same again, and means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use traceql_language::{Dialect, analyze, compile, parse};

fuzz_target!(|text: &str| {
    let Ok(query) = parse(text, Dialect::Default) else { return };
    let canonical = query.to_string();
    // Canonical text is longer than what was written, and may pass the limits on size.
    let Ok(again) = parse(&canonical, Dialect::Default) else {
        assert!(text.len() > 1000, "{canonical:?} cannot be read");
        return;
    };
    assert_eq!(again, query, "{canonical:?}");
    assert_eq!(again.to_string(), canonical);
    if let Ok(typed) = analyze(&query, Dialect::Default) {
        assert_eq!(compile(&canonical, Dialect::Default).as_ref(), Ok(&typed), "{canonical:?}");
    }
});
