//! How long does it take to read a query, from text to typed query? Guards linear time: a parser of
//! combinators that tries again what it has read once doubles with every bracket, and a chain that
//! is copied at every link squares; either shows as a `growth` well above 1.
//!
//! `cargo bench --bench parse [-- NAME …]` prints microseconds and nanoseconds per byte for each shape
//! in growing sizes. `growth` is the time per byte of the largest over that of the smallest. Refusals
//! count too: hostile text must be refused as quickly as good text is read.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use traceql_language::{Dialect, compile};

/// A family of queries: how to make one of a size, and the sizes.
struct Shape {
    name: &'static str,
    make: fn(usize) -> String,
    sizes: [usize; 4],
    /// Whether they are queries; if not, all are refused.
    is_valid: bool,
}

/// Nesting ends at 128 levels, chains of mixed operators at 64, text at 128 KiB; sizes stay below
/// these, or far above.
const SHAPES: [Shape; 12] = [
    Shape {
        name: "or-chain",
        make: |n| format!("{{ {} }}", vec![".a = 1"; n].join(" || ")),
        sizes: [100, 1_000, 4_000, 12_000],
        is_valid: true,
    },
    Shape {
        name: "and-of-different",
        make: |n| {
            let each: Vec<_> = (0..n).map(|i| format!("span.a{i} =~ \"x{i}.*\"")).collect();
            format!("{{ {} }}", each.join(" && "))
        },
        sizes: [10, 50, 100, 500],
        is_valid: true,
    },
    Shape {
        name: "parentheses",
        make: |n| format!("{{ {}.a = 1{} }}", "(".repeat(n), ")".repeat(n)),
        sizes: [8, 32, 64, 120],
        is_valid: true,
    },
    Shape {
        name: "negations",
        make: |n| format!("{{ {}(.a = 1){} }}", "!(".repeat(n), ")".repeat(n)),
        sizes: [8, 16, 32, 60],
        is_valid: true,
    },
    Shape {
        name: "nested-spansets",
        make: |n| format!("{}{{ .a = 1 }}{}", "(".repeat(n), ")".repeat(n)),
        sizes: [8, 32, 64, 120],
        is_valid: true,
    },
    Shape {
        name: "nested-pipelines",
        make: |n| format!("{}{{ .a = 1 }}{}", "(".repeat(n), " | count() > 1)".repeat(n)),
        sizes: [8, 16, 32, 60],
        is_valid: true,
    },
    Shape {
        name: "structural-chain",
        make: |n| vec!["{ .a = 1 }"; n].join(" >> "),
        sizes: [8, 16, 32, 60],
        is_valid: true,
    },
    Shape {
        name: "arithmetic-chain",
        make: |n| format!("{{ .a{} > 1 }}", " + 1".repeat(n)),
        sizes: [8, 16, 32, 60],
        is_valid: true,
    },
    Shape {
        name: "select-list",
        make: |n| format!("{{ }} | select({})", vec!["span.http.url"; n].join(", ")),
        sizes: [10, 100, 1_000, 8_000],
        is_valid: true,
    },
    Shape {
        name: "unclosed",
        make: |n| format!("{{ {}", "(".repeat(n)),
        sizes: [1_000, 10_000, 50_000, 120_000],
        is_valid: false,
    },
    Shape {
        name: "deep-and-wrong",
        make: |n| format!("{{ {}.a = {} }}", "(".repeat(n), ")".repeat(n)),
        sizes: [8, 32, 64, 120],
        is_valid: false,
    },
    Shape {
        name: "wrong-at-the-end",
        make: |n| format!("{{ {} || }}", vec![".a = 1"; n].join(" || ")),
        sizes: [100, 1_000, 4_000, 12_000],
        is_valid: false,
    },
];

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!("{:20} {:>8} {:>12} {:>9} {:>7}", "shape", "bytes", "µs", "ns/byte", "growth");
    for shape in SHAPES {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == shape.name) {
            continue;
        }
        let mut smallest = None;
        for size in shape.sizes {
            let text = (shape.make)(size);
            let compiled = compile(&text, Dialect::Default);
            assert_eq!(compiled.is_ok(), shape.is_valid, "{} of {size}", shape.name);
            let took = best(&text);
            let per_byte = took.as_secs_f64() * 1e9 / text.len() as f64;
            let growth = per_byte / *smallest.get_or_insert(per_byte);
            println!(
                "{:20} {:>8} {:>12.1} {per_byte:>9.1} {growth:>7.2}",
                shape.name,
                text.len(),
                took.as_secs_f64() * 1e6,
            );
        }
    }
}

/// The shortest of several runs.
fn best(text: &str) -> Duration {
    let begun = Instant::now();
    let mut best = Duration::MAX;
    let mut n_runs = 0;
    while n_runs < 5 || begun.elapsed() < Duration::from_millis(100) {
        let start = Instant::now();
        drop(black_box(compile(black_box(text), Dialect::Default)));
        best = best.min(start.elapsed());
        n_runs += 1;
    }
    best
}
