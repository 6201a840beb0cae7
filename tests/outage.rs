//! The real binary taking traces in while its object store fails: a real S3-compatible server behind
//! a proxy that refuses, cuts, delays and loses. What was acknowledged is seen at all times, or it is
//! said that it cannot be; senders are told to wait when memory is used up; and when the store is
//! back everything is stored once.
//!
//! `TRACEQL_FAULTS=all` tries every fault at every request, which takes minutes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::http::{encoded, spans};
use crate::support::ingesting::{Folders, Ingesting, S3};
use crate::support::proxy::{Fault, Proxy};
use crate::support::sending::{Sent, TENANT};
use crate::support::servers::Server;
use crate::support::waiting::wait_until;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What befalls which request, until it is over: the method, and a part of the path.
type Scenario = (&'static str, Fault);

/// Each object of a block once, in ways that are soon given up.
const SOME: [Scenario; 6] = [
    ("/data.parquet", Fault::Status(403)),
    ("/bloom-0", Fault::Status(403)),
    ("/index", Fault::Reset),
    ("/meta.json", Fault::LoseAnswer),
    ("PUT", Fault::Delay(Duration::from_millis(1500))),
    ("/", Fault::Status(503)),
];
/// What is tried with `TRACEQL_FAULTS=all`: each of these …
const PLACES: [&str; 8] = [
    "/data.parquet",
    "/bloom-0",
    "/index",
    "/meta.json",
    "/meta.compacted.json",
    "DELETE",
    "list-type",
    "/",
];
/// … in each of these ways.
const WAYS: [Fault; 7] = [
    Fault::Status(403),
    Fault::Status(500),
    Fault::Status(503),
    Fault::Reset,
    Fault::LoseAnswer,
    Fault::CutBody(10),
    Fault::Delay(Duration::from_millis(1500)),
];

fn s3() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(Server::s3).as_ref()
}

/// A bucket of its own behind a proxy.
fn behind(server: &Server) -> (Proxy, Folders) {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let bucket = format!("outage-{}", LAST.fetch_add(1, Ordering::Relaxed));
    server.create_bucket(&bucket);
    let proxy = Proxy::start(&server.address);
    let s3 = S3 { bucket, address: proxy.address.clone(), own_address: server.address.clone() };
    (proxy, Folders::with_s3(s3))
}

/// Blocks are flushed several times a second, requests are given up after a second, lists are read
/// anew many times a second.
const QUICK: [&str; 12] = [
    "--trace-idle",
    "100ms",
    "--trace-age",
    "400ms",
    "--block-age",
    "250ms",
    "--request-timeout",
    "1s",
    "--poll",
    "200ms",
    "-t",
    TENANT,
];

/// What a server says while its store fails is whole, or it says that it is not.
fn answers_honestly(ingesting: &Ingesting, sent: &Sent, when: &str) {
    // What is acknowledged while the question is asked may be in the answer.
    let before = sent.acknowledged();
    let answer = ingesting.search(TENANT);
    match answer.status {
        200 => {
            let text = answer.text();
            let lost: Vec<_> =
                before.iter().filter(|name| !text.contains(&format!("\"{name}\""))).collect();
            assert!(lost.is_empty(), "{when}: an answer without {lost:?}");
        }
        status => {
            let text = answer.text();
            assert!(status >= 500 && text.contains("s3://"), "{when}: {status} {text}");
        }
    }
}

/// Sends while a fault lasts, kills the server in the middle of it if that is wanted, and checks that
/// everything is there when it is over.
fn survives(server: &Server, (part, fault): Scenario, is_killed: bool) {
    let when = format!("{part} {fault:?}");
    let ((proxy, folders), sent) = (behind(server), Sent::default());
    let mut ingesting = folders.start(&QUICK);
    for _ in 0..5 {
        assert!(sent.send(&ingesting), "{when}");
    }
    proxy.plan_for(part, fault);
    // What is put is answered without a body.
    let touches_flush = !matches!(part, "/meta.compacted.json" | "DELETE" | "list-type")
        && !matches!(fault, Fault::CutBody(_));
    let slowest = sends_during(&ingesting, &sent, || {
        if touches_flush {
            let failures = "traceql_flush_failures_total";
            wait_until("a block cannot be written", || ingesting.sample(failures) > 0.0);
            let ready = ingesting.server.get("/ready");
            assert_eq!(ready.status, 200, "{when}");
            assert!(ready.text().contains("blocks cannot be written for"), "{when}");
            assert!(ingesting.sample("traceql_flush_waiting_blocks") > 0.0, "{when}");
        } else {
            std::thread::sleep(Duration::from_secs(1));
        }
        answers_honestly(&ingesting, &sent, &when);
    });
    assert!(slowest < Duration::from_secs(2), "{when}: an answer took {slowest:?}");
    // A server that may not look at its bucket says so and ends: it has the wrong credentials.
    if is_killed && !matches!(fault, Fault::Status(403)) {
        ingesting.server.kill();
        drop(ingesting);
        ingesting = folders.start(&QUICK);
        sends_during(&ingesting, &sent, || std::thread::sleep(Duration::from_millis(500)));
    }
    let n_during = sent.count();
    proxy.plan([], Fault::None);
    wait_until("everything is flushed", || ingesting.flush().status == 200);
    assert_eq!(ingesting.server.get("/ready").text(), "ready\n", "{when}");
    assert!(sent.send(&ingesting), "{when}");
    assert!(n_during > 15 && sent.refused() == 0, "{when}: {n_during}");
    sent.check_server(&folders, ingesting, &when);
}

/// Sends until something is done; how long the slowest answer took.
fn sends_during(ingesting: &Ingesting, sent: &Sent, work: impl FnOnce()) -> Duration {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                assert!(sent.send(ingesting), "the server is gone");
                slowest = slowest.max(began.elapsed());
                std::thread::sleep(Duration::from_millis(20));
            }
            slowest
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_over.store(true, Ordering::Relaxed);
        let slowest = sending.join().expect("the sender does not panic");
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
        slowest
    })
}

#[test]
fn whatever_request_fails_nothing_is_lost_and_nothing_doubled() {
    let Some(server) = s3() else { return };
    let all = std::env::vars().any(|(name, value)| name == "TRACEQL_FAULTS" && value == "all");
    let scenarios: Vec<Scenario> = match all {
        true => PLACES.iter().flat_map(|part| WAYS.map(|fault| (*part, fault))).collect(),
        false => SOME.to_vec(),
    };
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..SOME.len() {
            scope.spawn(|| {
                while let n = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(scenario) = scenarios.get(n)
                {
                    survives(server, *scenario, n % 2 == 1);
                    if all {
                        println!("survived {scenario:?}");
                    }
                }
            });
        }
    });
}

/// The store is away, and memory is used up: senders are told when to come again, nothing that was
/// acknowledged is dropped, and traces are cut all the while so that others find room.
#[test]
fn senders_wait_while_the_store_is_away_and_memory_is_used_up() {
    let Some(server) = s3() else { return };
    let ((proxy, folders), sent) = (behind(server), Sent::default());
    // Fewer traces may be live at a time than are sent in all.
    let bounds = ["--max-live-size", "200KB", "--max-live-traces", "150"];
    let arguments = [&QUICK[..], &bounds].concat();
    let ingesting = folders.start(&arguments);
    proxy.plan([], Fault::Reset);
    let began = Instant::now();
    let mut n_refused = 0;
    while n_refused < 20 {
        assert!(began.elapsed() < PATIENCE, "nothing is ever refused");
        match sent.status(&ingesting) {
            Some(200) => {}
            Some(429) => n_refused += 1,
            status => panic!("{status:?}"),
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    let n = sent.count();
    assert!(n / 7 > 150, "{n} spans are no more traces than may be live");
    let body = crate::support::ingesting::request(&[(1, 1)]);
    let (status, body) = ingesting.send(None, &body).expect("an answer");
    let told = body["message"].as_str().unwrap_or_default();
    assert_eq!((status, &body["details"][0]["retryDelay"]), (429, &"5s".into()), "{body}");
    assert!(told.contains("bytes of spans wait to be flushed"), "{told}");
    let held = ingesting.sample("traceql_live_bytes");
    assert!(held > 190_000.0 && held <= ingesting.sample("traceql_live_bytes_limit"), "{held}");
    let refused = "traceql_received_requests_total{protocol=\"otlp_http\",result=\"full\"}";
    assert!(ingesting.sample(refused) >= 20.0);
    // Neither a restart in the middle of it nor a second one makes more of them.
    ingesting.server.kill();
    drop(ingesting);
    let ingesting = folders.start(&arguments);
    assert_eq!(ingesting.sample("traceql_live_bytes"), held);
    assert_eq!(sent.status(&ingesting), Some(429));
    proxy.plan([], Fault::None);
    wait_until("everything is flushed", || ingesting.flush().status == 200);
    assert_eq!(sent.status(&ingesting), Some(200));
    sent.check_server(&folders, ingesting, "after the outage");
}

/// Some spans are in the bucket, some are live, and the bucket cannot be reached.
#[test]
fn what_the_bucket_cannot_give_is_said_to_be_missing() {
    let Some(server) = s3() else { return };
    let ((proxy, folders), sent) = (behind(server), Sent::default());
    let ingesting = folders.start(&["--request-timeout", "300ms", "--poll", "200ms"]);
    // Spans 0 to 5 of one trace, then 6 of the same and others.
    assert!(sent.send(&ingesting) && sent.send(&ingesting));
    assert_eq!(ingesting.flush().status, 200);
    assert!(sent.send(&ingesting));
    sent_are_found(&ingesting, &sent);
    proxy.plan([], Fault::Reset);
    // Until the list of blocks is read anew, what is known of it stands.
    wait_until("the bucket is missed", || ingesting.search(TENANT).status != 200);
    let answer = ingesting.search(TENANT);
    assert!(answer.status == 500 && answer.text().contains("s3://"), "{}", answer.text());
    let range = "start=1700000000&end=1700000100&step=10";
    let targets = [
        format!("/api/metrics/query_range?q={}&{range}", encoded("{ } | rate()")),
        format!("/api/search/tags?{range}"),
        format!("/api/v2/search/tag/name/values?{range}"),
        format!("/api/traces/{:032x}", 1),
        // Of a trace that is not live nothing is known.
        format!("/api/v2/traces/{:032x}", 99),
    ];
    let server = &ingesting.server;
    std::thread::scope(|scope| {
        for target in &targets {
            scope.spawn(move || {
                let answer = server.ask("GET", target, &[("X-Scope-OrgID", TENANT)]);
                assert!(answer.status >= 500, "{target}: {} {}", answer.status, answer.text());
            });
        }
    });
    let trace = |more: &str| {
        let target = format!("/api/v2/traces/{:032x}?{more}", 1);
        ingesting.server.ask("GET", &target, &[("X-Scope-OrgID", TENANT)]).json(&target)
    };
    let partial = trace("");
    assert_eq!(partial["status"], "PARTIAL", "{partial}");
    assert!(partial["message"].as_str().is_some_and(|why| why.contains("s3://")), "{partial}");
    assert_eq!(spans(&partial["trace"], "resourceSpans").len(), 1);
    let live = trace("mode=ingesters");
    assert_eq!((live["status"].is_null(), spans(&live["trace"], "resourceSpans").len()), (true, 1));

    proxy.plan([], Fault::None);
    wait_until("the bucket is there again", || ingesting.search(TENANT).status == 200);
    assert_eq!(spans(&trace("")["trace"], "resourceSpans").len(), 7);
    sent.check_server(&folders, ingesting, "after the outage");
}

fn sent_are_found(ingesting: &Ingesting, sent: &Sent) {
    assert_eq!(sent.lost(&ingesting.found(TENANT)), [""; 0]);
}

/// A server that is started while its store is away takes traces in all the same.
#[test]
fn a_server_starts_though_its_store_is_away() {
    let Some(server) = s3() else { return };
    let ((proxy, folders), sent) = (behind(server), Sent::default());
    let ingesting = folders.start(&QUICK);
    assert!(sent.send(&ingesting));
    proxy.plan([], Fault::Reset);
    ingesting.server.kill();
    drop(ingesting);
    let ingesting = folders.start(&QUICK);
    assert_eq!(sent.status(&ingesting), Some(200));
    answers_honestly(&ingesting, &sent, "after the start");
    proxy.plan([], Fault::None);
    wait_until("everything is flushed", || ingesting.flush().status == 200);
    sent.check_server(&folders, ingesting, "after the outage");
}

/// A block whose file goes out in several parts, each step of which fails.
#[test]
fn a_block_in_parts_is_written_once() {
    let Some(server) = s3() else { return };
    for (part, fault) in [
        ("uploads", Fault::Status(403)),
        ("partNumber=2", Fault::Status(403)),
        ("POST", Fault::LoseAnswer),
    ] {
        let ((proxy, folders), when) = (behind(server), format!("{part} {fault:?}"));
        let ingesting = folders.start(&["--request-timeout", "10s"]);
        proxy.plan_for(part, fault);
        let names = crate::support::ingesting::send_megabytes(&ingesting, 20);
        assert_eq!(ingesting.flush().status, 500, "{when}");
        assert!(ingesting.server.get("/ready").text().contains("cannot be written"), "{when}");
        let requests = proxy.take_requests();
        assert!(requests.iter().any(|request| request.contains(part)), "{when}: {requests:?}");
        assert_eq!(ingesting.found(TENANT).len(), names, "{when}");
        proxy.plan([], Fault::None);
        assert_eq!(ingesting.flush().status, 200, "{when}");
        let stored = folders.stored(TENANT);
        assert!(stored.len() == names && stored.values().all(|n| *n == 1), "{when}: {stored:?}");
    }
}
