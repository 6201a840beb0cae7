//! The engine over object stores: an S3-compatible server and an Azure emulator, each a real
//! process, give the answers of the disk at the same cost in requests and bytes; and what networks
//! do is survived or reported, never passed off as an answer. `src/blocks/tests/remote.rs` tests
//! the sources themselves in the same way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in helpers too")]

use std::fmt::Write as _;
use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use object_store::ObjectStoreExt as _;
use object_store::path::Path;
use traceql_blocks::bucket::store::{OpenStore, SourceOptions};
use traceql_blocks::model::TraceId;
use traceql_engine::{Error, Outcome, QueryOptions, QueryStats, Result};
use traceql_language::analyze::ir::{AttributeScope, Field};

use crate::support::asking::{Asked, everything};
use crate::support::binary::check_snapshot;
use crate::support::golden;
use crate::support::proxy::{Fault, Proxy};
use crate::support::servers::{Server, azure_options, s3_options};

const TENANT: &str = "shop5";
const S3: &str = "s3://shop/prefix";
const AZURE: &str = "az://shop/prefix";

/// What is asked: every kind of question once.
const QUESTIONS: [Question; 15] = [
    Question::Search("{ }", 20),
    Question::Search("{ status = error }", 20),
    Question::Search("{ status = error }", 0),
    Question::Search("{ resource.service.name = \"payment\" && duration > 10ms }", 0),
    Question::Search("{ name =~ \".*Charge\" && status = error }", 0),
    Question::Search("{ span.nosuch = \"x\" }", 0),
    Question::Search("{ span.http.response.status_code >= 500 || event.exception.type != nil }", 0),
    Question::Search("{ resource.service.name = \"checkout\" } >> { status = error }", 0),
    Question::Search("{ kind = server } | avg(duration) > 5ms", 0),
    Question::Search("{ } | by(resource.service.name) | count() > 3", 0),
    Question::Search("{ status = error } | select(span.http.route, event.exception.message)", 0),
    Question::Trace("29a05474238c49cf1b5e17b72f2388dc"),
    Question::Trace("ffffffffffffffffffffffffffffff01"),
    Question::Names,
    Question::Values("service.name"),
];

/// Something to ask.
#[derive(Clone, Copy, Debug)]
enum Question {
    /// A query and its limit.
    Search(&'static str, usize),
    /// A trace id.
    Trace(&'static str),
    /// All attribute names.
    Names,
    /// The values of an attribute of resources.
    Values(&'static str),
}

impl Question {
    /// The answer as text, and what it cost.
    async fn ask(self, of: &Asked) -> Result<(String, QueryStats)> {
        fn told<T: std::fmt::Debug>(outcome: Outcome<T>) -> (String, QueryStats) {
            assert_eq!(outcome.partial, None);
            (format!("{:#?}", outcome.answer), outcome.stats)
        }
        // One reads at a time, so that what is read does not depend on who comes first.
        let options = QueryOptions { threads: 1, remote_readers: 1, ..everything() };
        Ok(match self {
            Self::Search(query, limit) => {
                told(of.search(query, &QueryOptions { limit, ..options }).await?)
            }
            Self::Trace(id) => {
                let id = u128::from_str_radix(id, 16).expect("a trace id").to_be_bytes();
                told(of.trace(TraceId(id), &options).await?)
            }
            Self::Names => told(of.names(&options).await?),
            Self::Values(key) => {
                let field = Field::attribute(AttributeScope::Resource, key.to_owned());
                told(of.values(field, &options).await?)
            }
        })
    }

    /// Whether the answer may end the search early; how far it has gone by then is chance.
    fn ends_early(self) -> bool {
        matches!(self, Self::Search(_, limit) if limit > 0)
    }

    /// The same of an engine that has read nothing, which must answer.
    async fn answer(self, of: &Asked) -> String {
        self.ask(&of.cold()).await.unwrap_or_else(|error| panic!("{self:?}: {error}")).0
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The tenant on disk.
async fn disk() -> Asked {
    Asked::folder(&golden::testdata("blocks/shop"), TENANT).await
}

/// The S3-compatible server with the shop in it.
fn s3() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let server = Server::s3()?;
            server.create_bucket("shop");
            runtime().block_on(fill("s3://shop", &s3_options(&server.address)));
            Some(server)
        })
        .as_ref()
}

/// The Azure emulator with the shop in it.
fn azure() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let server = Server::azure()?;
            server.create_container("shop");
            runtime().block_on(fill("az://shop", &azure_options(&server.address)));
            Some(server)
        })
        .as_ref()
}

/// Puts the tenant's folder below `prefix`.
async fn fill(url: &str, options: &SourceOptions) {
    let store = OpenStore::open(url, options).await.unwrap().store;
    let folder = golden::testdata("blocks/shop").join(TENANT);
    let mut folders = vec![folder.clone()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
            let key = Path::from(format!("prefix/{TENANT}/{name}"));
            store.put(&key, fs::read(&path).unwrap().into()).await.unwrap();
        }
    }
}

/// Requests and bytes of every question, asked of an engine that has read nothing and then again.
async fn costs(of: &Asked) -> String {
    let mut text = format!("{:>20}{:>20}  question\n", "cold", "warm");
    writeln!(text, "{:>8} {:>11}{:>8} {:>11}", "requests", "bytes", "requests", "bytes").unwrap();
    for question in QUESTIONS.into_iter().filter(|question| !question.ends_early()) {
        let engine = of.cold();
        for _ in ["cold", "warm"] {
            let (_, stats) = question.ask(&engine).await.unwrap();
            write!(text, "{:>8} {:>11}", stats.requests, stats.bytes_read).unwrap();
        }
        writeln!(text, "  {question:?}").unwrap();
    }
    text
}

#[tokio::test]
async fn every_question_has_its_price() {
    check_snapshot("costs", &costs(&disk().await).await);
}

/// The answers and the costs are those of the disk.
async fn check_store(of: &Asked) {
    let disk = disk().await;
    for question in QUESTIONS {
        assert_eq!(question.answer(of).await, question.answer(&disk).await, "{question:?}");
    }
    check_snapshot("costs", &costs(of).await);
    // The first traces cost less than all of them.
    let [_, first, all, ..] = QUESTIONS;
    let (first, all) =
        (first.ask(&of.cold()).await.unwrap().1, all.ask(&of.cold()).await.unwrap().1);
    assert!(
        first.requests < all.requests && first.bytes_read < all.bytes_read,
        "{first:?} {all:?}"
    );
    let empty = [QUESTIONS[5], QUESTIONS[12]];
    for question in QUESTIONS {
        let is_empty = question.answer(&disk).await.len() < 50;
        assert_eq!(is_empty, empty.iter().any(|e| format!("{e:?}") == format!("{question:?}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_answers_as_the_disk_does() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    check_store(&Asked::open(S3, TENANT, &s3_options(&server.address)).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_answers_as_the_disk_does() {
    let Some(server) = tokio::task::spawn_blocking(azure).await.unwrap() else { return };
    check_store(&Asked::open(AZURE, TENANT, &azure_options(&server.address)).await).await;
}

/// What is counted is what a store is asked for: neither more nor less reaches the server.
#[tokio::test(flavor = "multi_thread")]
async fn counted_requests_are_the_ones_made() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let proxy = Proxy::start(&server.address);
    let asked = Asked::open(S3, TENANT, &s3_options(&proxy.address)).await;
    for question in QUESTIONS.into_iter().filter(|question| !question.ends_early()) {
        let engine = asked.cold();
        for _ in ["cold", "warm"] {
            proxy.take_requests();
            let (_, stats) = question.ask(&engine).await.unwrap();
            let requests = proxy.take_requests();
            // The list of blocks is the source's affair, which may keep it.
            let of_blocks = requests.iter().filter(|request| !request.contains("index."));
            assert_eq!(of_blocks.count() as u64, stats.requests, "{question:?}: {requests:#?}");
        }
    }
}

/// Questions that are asked while faults happen, with few requests each: a search, a trace, values.
const FAULTED: [Question; 3] = [QUESTIONS[1], QUESTIONS[11], QUESTIONS[14]];

/// Faults that pass.
const PASSING: [Fault; 6] = [
    Fault::Reset,
    Fault::Status(503),
    Fault::CutBody(0),
    Fault::Status(500),
    Fault::CutBody(100),
    Fault::Delay(Duration::from_millis(50)),
];

/// A fault that happens once changes no answer, whichever request of a question it befalls.
async fn check_passing_faults(upstream: &str, url: &str, options: fn(&str) -> SourceOptions) {
    let disk = disk().await;
    let checks = FAULTED.map(|question| {
        let disk = &disk;
        async move {
            let expected = question.answer(disk).await;
            let proxy = Proxy::start(upstream);
            let asked = Asked::open(url, TENANT, &options(&proxy.address)).await;
            proxy.take_requests();
            assert_eq!(question.answer(&asked).await, expected);
            let n_requests = proxy.take_requests().len();
            assert!(n_requests > 2, "{question:?}");
            // Every request once, and no fewer than there are faults.
            for (at, fault) in (0..n_requests.max(PASSING.len())).zip(PASSING.iter().cycle()) {
                let before = std::iter::repeat_n(Fault::None, at % n_requests);
                proxy.plan(before.chain([*fault]), Fault::None);
                let answer = question.answer(&asked).await;
                assert!(answer == expected, "{question:?} after {fault:?} at {at}: {answer}");
            }
        }
    });
    futures_join(checks).await;
}

/// All of them at once: what takes time is waiting.
async fn futures_join<F: Future<Output = ()>, const N: usize>(futures: [F; N]) {
    let mut pending: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        pending.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_faults_of_s3_change_no_answer() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    check_passing_faults(&server.address, S3, s3_options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_faults_of_azure_change_no_answer() {
    let Some(server) = tokio::task::spawn_blocking(azure).await.unwrap() else { return };
    check_passing_faults(&server.address, AZURE, azure_options).await;
}

/// A server that sends less than it was asked for, and says that this is all, is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_short_range_is_no_answer() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let proxy = Proxy::start(&server.address);
    let asked = Asked::open(S3, TENANT, &s3_options(&proxy.address)).await;
    for question in FAULTED {
        for (object, bytes) in [("data.parquet", 100), ("data.parquet", 0), ("bloom-0", 100)] {
            proxy.plan_for(object, Fault::Shorten(bytes));
            proxy.take_requests();
            let answer = question.ask(&asked.cold()).await;
            let is_hit = proxy.take_requests().iter().any(|request| request.contains(object));
            match answer {
                Ok(_) => assert!(!is_hit, "{question:?} was answered without {object}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(matches!(error, Error::Storage(_)), "{question:?}: {text}");
                    assert!(text.contains(S3) && text.contains(object), "{question:?}: {text}");
                }
            }
        }
    }
}

/// A fault that lasts is reported with the object and what happened to it; a block that cannot be
/// read may be left out on request, and then the answer says so.
#[tokio::test(flavor = "multi_thread")]
async fn lasting_faults_are_reported() {
    let Some(server) = tokio::task::spawn_blocking(s3).await.unwrap() else { return };
    let faults = [
        (Fault::Reset, "data.parquet"),
        (Fault::Status(503), "503"),
        (Fault::CutBody(100), "data.parquet"),
        (Fault::Delay(Duration::from_secs(3)), "timed out"),
    ];
    let checks = faults.map(|(fault, expected)| async move {
        let proxy = Proxy::start(&server.address);
        let options = SourceOptions {
            request_timeout: Some(Duration::from_secs(1)),
            ..s3_options(&proxy.address)
        };
        let asked = Asked::open(S3, TENANT, &options).await;
        // One of the two blocks is out of reach: what the other one says is not the answer.
        proxy.plan_for("2904655c-7134-5dc4-88ef-d24797772124/data.parquet", fault);
        let error = QUESTIONS[2].ask(&asked).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Storage(_)), "{fault:?}: {text}");
        assert!(text.contains(S3) && text.contains(expected), "{fault:?}: {text}");

        let options = QueryOptions { skip_unreadable: true, ..everything() };
        let outcome = asked.cold().search("{ status = error }", &options).await.unwrap();
        assert!(outcome.partial.is_some(), "{fault:?}");
        let warning = outcome.warnings.join("\n");
        assert!(warning.contains("2904655c-7134-5dc4-88ef-d24797772124"), "{warning}");
        assert!(!outcome.answer.traces.is_empty());
    });
    futures_join(checks).await;
}
