//! `--memory` holds: whatever is asked with however little, the answer is right, or there is none and
//! it is said what did not fit; and no file of traces, however it was made, takes more than it may.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use traceql_blocks::model::TraceId;
use traceql_engine::{Error, QueryOptions, Result};
use traceql_language::analyze::ir::{AttributeScope, Field};

use crate::support::asking::{Asked, everything};
use crate::support::binary::{run, stderr};
use crate::support::golden;

/// Searches that hold one column, many, whole attribute lists, and results of everything.
const QUERIES: [&str; 6] = [
    "{ status = error }",
    "{ } | by(resource.service.name) | count() > 3",
    "{ resource.service.name = \"checkout\" } >> { status = error }",
    "{ span.user.id != nil || event.exception.type =~ \".*Declined\" }",
    "{ } | select(name, span.http.route, span.db.statement, resource.host.name)",
    "{ .nosuch = 1 }",
];

/// Memory from less than any page takes to more than enough.
const MEMORY_BYTES: [usize; 8] =
    [0, 1 << 10, 16 << 10, 128 << 10, 512 << 10, 2 << 20, 8 << 20, 64 << 20];

/// What is asked, as text: the answer, or the refusal.
async fn answers(asked: &Asked, options: &QueryOptions) -> Vec<(String, Result<String>)> {
    fn text<T: std::fmt::Debug>(outcome: Result<traceql_engine::Outcome<T>>) -> Result<String> {
        let outcome = outcome?;
        assert_eq!(outcome.partial, None);
        Ok(format!("{:?}", outcome.answer))
    }
    let mut answers = Vec::new();
    for query in QUERIES {
        answers.push((query.to_owned(), text(asked.search(query, options).await)));
    }
    let id = TraceId(0x29a0_5474_238c_49cf_1b5e_17b7_2f23_88dc_u128.to_be_bytes());
    answers.push(("trace".to_owned(), text(asked.trace(id, options).await)));
    answers.push(("names".to_owned(), text(asked.names(options).await)));
    let field = Field::attribute(AttributeScope::Span, "http.route".to_owned());
    answers.push(("values".to_owned(), text(asked.values(field, options).await)));
    answers
}

/// Right, or refused for want of memory, and then by name.
fn check(given: Result<String>, expected: &str, memory_bytes: usize, what: &str) -> bool {
    match given {
        Ok(given) => {
            assert_eq!(given, expected, "{what} in {memory_bytes} bytes");
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(
                matches!(error, Error::Memory { limit_bytes, .. } if limit_bytes == memory_bytes),
                "{what} in {memory_bytes} bytes: {text}"
            );
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn little_memory_gives_the_right_answer_or_none() {
    let bucket = golden::testdata("blocks/shop");
    for tenant in ["shop3", "shop5"] {
        let asked = Asked::folder(&bucket, tenant).await;
        let expected = answers(&asked, &everything()).await;
        for threads in [1, 4] {
            for library_reader in [false, true] {
                let mut n_answered = Vec::new();
                for memory_bytes in MEMORY_BYTES {
                    let options =
                        QueryOptions { memory_bytes, threads, library_reader, ..everything() };
                    let given = answers(&asked.cold(), &options).await;
                    let pairs = given.into_iter().zip(&expected);
                    let answered = pairs.filter_map(|((what, given), (_, expected))| {
                        let expected = expected.as_ref().expect("there is memory enough");
                        check(given, expected, memory_bytes, &what).then_some(())
                    });
                    n_answered.push(answered.count());
                }
                // Nothing fits into nothing, everything into enough.
                assert_eq!(n_answered.first(), Some(&0), "{n_answered:?}");
                assert_eq!(n_answered.last(), Some(&expected.len()), "{n_answered:?}");
                assert!(n_answered.is_sorted(), "{n_answered:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_dictionary_that_does_not_fit_is_named() {
    // One block, so that it shares no traces with another whose ids would be read first.
    let block = golden::testdata("blocks/shop/shop5/2c655cee-860a-51ad-af76-d8df3fe5f2f4");
    let asked = Asked::folder(&block, "shop5").await;
    // Its footer is known by now, dictionaries of attributes are not.
    asked.search("{ status = error }", &everything()).await.unwrap();
    let options = QueryOptions { memory_bytes: 500, threads: 1, ..everything() };
    let error = asked.search("{ span.db.statement = \"x\" }", &options).await.unwrap_err();
    assert!(matches!(error, Error::Memory { limit_bytes: 500, .. }), "{error}");
    let text = error.to_string();
    for part in ["500 bytes", "the dictionary of leaf", "row group 0", "data.parquet takes"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn a_file_of_traces_stays_within_its_memory() {
    let folder = golden::testdata("blocks/fixtures/vParquet5/synthetic");
    let file = folder.join("55555555-0000-4000-8000-000000000001/traces.otlp.jsonl");
    let size = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
    let expected = {
        let asked = Asked::folder(&file, "single-tenant").await;
        format!("{:?}", asked.search("{ }", &everything()).await.unwrap().answer)
    };
    let mut n_answered = Vec::new();
    for memory_bytes in [size / 2, size, 2 * size, 64 << 20] {
        let asked = Asked::folder(&file, "single-tenant").await;
        let options = QueryOptions { memory_bytes, ..everything() };
        let given = asked.search("{ }", &options).await;
        let given = given.map(|outcome| format!("{:?}", outcome.answer));
        n_answered.push(check(given, &expected, memory_bytes, "the file"));
    }
    assert_eq!((n_answered[0], n_answered[1], n_answered[3]), (false, false, true));
}

/// A few bytes that become many, by compression, twice over, or as spans: each is refused in time,
/// with what to do.
#[test]
fn bombs_are_refused() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let blank = vec![b' '; 64 << 20];
    let spans = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        vec![r#"{"traceId":"01"}"#; 200_000].join(",")
    );
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("blank.jsonl.gz", gzip(&blank)),
        ("twice.jsonl.gz", gzip(&gzip(&blank))),
        ("spans.json", spans.into_bytes()),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let path = path.to_str().unwrap();
        let output = run(&["query", "--source", path, "--memory", "16MiB", "{ }"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(5), "{name}: {said}");
        for part in [name, "memory limit of 16777216 bytes", "give it in parts", "--memory"] {
            assert!(said.contains(part), "{name}: {part}: {said}");
        }
    }
}
