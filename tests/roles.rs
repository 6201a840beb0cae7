//! Parts of the work of `serve` in processes of their own over one bucket, compaction beside queries,
//! and how a process ends: the real binary, several at a time.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use traceql_blocks::model::Trace;
use traceql_blocks::write::otlp;

use crate::ingest::{answer, questions};
use crate::support::binary::{run, stderr, stdout};
use crate::support::golden;
use crate::support::http::Server;
use crate::support::ingesting::{Folders, name, request, text, traces_of};
use crate::support::waiting::wait_until;

fn replaced(server: &Server) -> f64 {
    server.sample("traceql_compactions_total{result=\"replaced\"}")
}

/// Several blocks of a tenant, written by a server that takes traces in.
fn blocks_of(folders: &Folders, tenant: &str, n_blocks: u64) {
    let server = folders.start(&["--multitenant"]);
    for block in 0..n_blocks {
        let spans: Vec<(u64, u64)> = (0..50).map(|n| (n, block * 100 + n)).collect();
        let (status, _) = server.send(Some(tenant), &request(&spans)).expect("an answer");
        assert_eq!((status, server.flush().status), (200, 200));
    }
    assert_eq!(folders.stored_blocks(tenant).len() as u64, n_blocks);
}

#[test]
fn what_one_process_takes_in_another_answers_and_a_third_compacts() {
    let folders = Folders::new();
    let ingest = folders.start(&["--roles", "ingest", "--multitenant"]);
    let bucket = folders.bucket();
    let source = ["--source", text(&bucket), "--multitenant", "--poll", "100ms"];
    let query = ["--roles", "query", "--metrics-end-cutoff", "0"];
    let query = Server::start_with(&[&source[..], &query].concat());

    let traces = traces_of(&golden::testdata("blocks/shop"), "shop5");
    for part in traces.chunks(traces.len() / 5 + 1) {
        let status = ingest.send_protobuf(Some("shop5"), &otlp::to_protobuf(part));
        assert_eq!(status, Some(200));
        // What is not flushed yet only its own process sees, and that one answers no queries.
        assert_eq!(ingest.flush().status, 200);
    }
    let reference = Server::start();
    let targets: Vec<String> = questions().into_iter().step_by(3).collect();
    let expected: Vec<_> = targets.iter().map(|target| answer(&reference, target)).collect();
    let check = |when: &str| {
        for (target, expected) in targets.iter().zip(&expected) {
            let given = answer(&query, target);
            let difference = golden::first_difference("", expected, &given);
            assert!(difference.is_none(), "{when}: {target}\n{}", difference.unwrap_or_default());
        }
    };
    wait_until("all blocks are listed", || {
        // Lists are kept of tenants that are asked about.
        query.get("/api/v2/search/tags");
        query.sample("traceql_blocks") >= 5.0
    });
    check("before compaction");

    let compact = ["--roles", "compact", "--compact-interval", "100ms"];
    // More than a query takes that began with the old list, on a machine that does much else.
    let grace = ["--grace", "10s"];
    let compact = Server::start_with(&[&source[..3], &compact, &grace].concat());
    wait_until("blocks are put together", || replaced(&compact) >= 1.0);
    check("while blocks are put together");
    let deleted = || compact.sample("traceql_retention_deleted_blocks_total");
    wait_until("what was replaced is deleted", || deleted() >= 4.0);
    wait_until("the new lists are read", || query.sample("traceql_blocks") < 3.0);
    check("after compaction");

    // Each says what it is, and what it is not.
    for (server, role) in [(&ingest.server, "ingest"), (&compact, "compact")] {
        let refused = server.get("/api/search?q=%7B%7D");
        let why = format!("this process has no role query, only {role}\n");
        assert_eq!((refused.status, refused.text()), (404, why), "{role}");
        assert_eq!(server.get("/api/echo").status, 404, "{role} is no data source");
    }
    for (server, [takes, asks, keeps]) in [
        (&ingest.server, ["Running", "Off", "Off"]),
        (&query, ["Off", "Running", "Off"]),
        (&compact, ["Off", "Off", "Running"]),
    ] {
        assert_eq!(server.get("/ready").text(), "ready\n");
        let services = server.get("/status/services").text();
        for (service, state) in [("ingest", takes), ("query", asks), ("compact", keeps)] {
            let line = format!("{service:<18}{state}");
            assert!(services.lines().any(|found| found.starts_with(&line)), "{line}: {services}");
        }
    }
    assert_eq!(query.ask("POST", "/flush", &[]).text(), "this server takes no traces in\n");
}

#[test]
fn one_process_does_all_three_and_gives_its_lease_back_when_it_ends() {
    let folders = Folders::new();
    blocks_of(&folders, "single-tenant", 6);
    let mut server = folders.start(&["--compact", "--compact-interval", "50ms"]);
    let expected = server.found("single-tenant");
    assert_eq!(expected.len(), 300);
    wait_until("blocks are put together", || replaced(&server.server) >= 1.0);
    assert_eq!(server.found("single-tenant"), expected);
    let spans = [(7, 1000)];
    assert_eq!(server.send(None, &request(&spans)).expect("an answer").0, 200);
    let services = server.server.get("/status/services").text();
    assert!(services.contains("ingest            Running\n"), "{services}");
    assert!(services.contains("blocks replaced by"), "{services}");
    assert!(server.server.terminate().success());
    // It flushed first; nothing is left to replay, and nobody has the tenant.
    assert!(folders.segments().is_empty(), "{:?}", folders.segments());
    let bucket = folders.bucket();
    let traces = traces_of(&bucket, "single-tenant");
    let stored = traces.iter().flat_map(Trace::spans).filter(|at| at.span.name == name(1000));
    assert_eq!(stored.count(), 1);
    let output = run(&["compact", "--source", text(&bucket), "--once", "-o", "ndjson"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!stderr(&output).contains("another compactor"), "{}", stderr(&output));
}

#[test]
fn a_block_that_cannot_be_compacted_is_told_of_and_ends_nothing() {
    let folders = Folders::new();
    let bucket = folders.bucket();
    blocks_of(&folders, "bad", 3);
    blocks_of(&folders, "good", 3);
    let bad = || -> Vec<PathBuf> {
        folders.stored_blocks("bad").into_iter().filter(|block| block.is_dir()).collect()
    };
    for block in bad() {
        fs::write(block.join("data.parquet"), b"none").expect("written");
    }
    let n_bad = bad().len();
    assert!(n_bad >= 2, "{n_bad} blocks");
    let arguments = ["--roles", "compact", "--compact-interval", "50ms", "--multitenant"];
    let server = Server::start_with(&[&arguments[..], &["--source", text(&bucket)]].concat());
    let failed = || server.sample("traceql_compactions_total{result=\"failed\"}");
    wait_until("the damaged blocks fail", || failed() >= 1.0);
    wait_until("others are compacted all the same", || replaced(&server) >= 1.0);
    assert!(server.sample("traceql_compaction_errors_total") >= 1.0);
    let is_live = |block: &PathBuf| block.join("meta.json").exists();
    assert_eq!(bad().iter().filter(|block| is_live(block)).count(), n_bad, "nothing is marked");
    assert_eq!(server.get("/ready").status, 200);
}

#[test]
fn a_server_that_is_told_to_stop_says_so_before_it_stops() {
    let folders = Folders::new();
    let mut server = folders.start(&["--shutdown-delay", "1500ms"]);
    assert_eq!(server.send(None, &request(&[(1, 1), (1, 2)])).expect("an answer").0, 200);
    server.server.tell_to_stop();
    wait_until("it is not ready", || server.server.get("/ready").status == 503);
    assert_eq!(server.server.get("/ready").text(), "the server is stopping\n");
    // Whoever does not know yet is served.
    assert_eq!(server.found("single-tenant").len(), 2);
    assert_eq!(server.send(None, &request(&[(2, 3)])).expect("an answer").0, 200);
    let services = server.server.get("/status/services").text();
    assert!(services.contains("ingest            Stopping"), "{services}");
    assert!(server.server.terminate().success());
    assert_eq!(folders.stored("single-tenant").len(), 3);
    assert!(folders.segments().is_empty(), "{:?}", folders.segments());
}

#[test]
fn roles_that_say_nothing_are_refused() {
    for (arguments, expected) in [
        (
            &["--roles", "ingest"][..],
            "the role ingest has no address to take traces in, but --roles names it",
        ),
        (&["--roles", "query", "--compact"], "--compact, but the roles are query"),
        (&["--roles", "querry"], "similar value exists: 'query'"),
        (&["--compact", "--source", "sample:"], "the built-in sample cannot be written to"),
        (&["--compact", "--min-blocks", "1"], "fewest blocks of a compaction"),
    ] {
        let source = ["serve", "--source", "testdata/blocks/shop", "--multitenant"];
        let source = if arguments.contains(&"--source") { &source[..1] } else { &source[..] };
        let output = run(&[source, &["--listen", "127.0.0.1:0"], arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}{}", stdout(&output));
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

/// Whoever connects and asks nothing, or never ends what it begins, does not stay.
#[test]
fn connections_that_ask_nothing_are_given_up() {
    use std::io::{Read as _, Write as _};

    let folders = Folders::new();
    let server = folders.start(&["--read-timeout", "300ms", "--idle-timeout", "600ms"]);
    let head = "GET /ready HTTP/1.1\r\nHost: t\r\n";
    for (address, begins, answers) in [
        (server.server.address.as_str(), String::new(), false),
        (&server.server.address, head.to_owned(), false),
        (&server.server.address, "PRI * HTTP/2.0\r\n".to_owned(), false),
        (server.http(), "POST /v1/traces HTTP/1.1\r\n".to_owned(), false),
        (&server.grpc, "PRI".to_owned(), false),
        // A body that does not come on is told so, and the connection is closed.
        (
            server.http(),
            "POST /v1/traces HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
             Content-Length: 100\r\n\r\n{"
                .to_owned(),
            true,
        ),
        // Between two requests there is more time, and an end.
        (&server.server.address, format!("{head}\r\n"), true),
    ] {
        let mut stream = std::net::TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        stream.write_all(begins.as_bytes()).expect("it is taken");
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // Closed, or reset since there was more to read.
        assert!(ended.as_ref().err().is_none_or(is_reset), "{begins:?}: {ended:?} {answer}");
        assert_eq!(answer.starts_with("HTTP/1.1 "), answers, "{begins:?}: {answer}");
    }
    // Who drips a letter at a time has no more time for it.
    let mut stream = server.server.connect();
    let began = Instant::now();
    let dripped = (0..1000).take_while(|_| {
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(b"X").is_ok()
    });
    assert!(dripped.count() < 500, "still connected after {:?}", began.elapsed());
    assert_eq!(server.server.get("/ready").status, 200);
}

fn is_reset(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ConnectionReset
}

#[test]
fn grpc_is_told_whether_the_server_is_ready() {
    use crate::support::grpc::{Client, framed};

    /// `grpc.health.v1.HealthCheckRequest`: its one field is the name.
    fn about(service: &str) -> Vec<u8> {
        let length = u8::try_from(service.len()).expect("a short name");
        framed(&[&[0x0A, length], service.as_bytes()].concat())
    }
    let folders = Folders::new();
    let arguments = ["--roles", "ingest", "--shutdown-delay", "2s"];
    let server = folders.start(&arguments);
    let otlp = "opentelemetry.proto.collector.trace.v1.TraceService";
    let check = |address: &str, service: &str| {
        let client = Client::connect(address);
        client.start("/grpc.health.v1.Health/Check", &[], &about(service)).finish()
    };
    for address in [&server.server.address, &server.grpc] {
        for (service, code, status) in [
            ("", 0, Some(1)),
            (otlp, 0, Some(1)),
            ("tempopb.StreamingQuerier", 0, Some(2)),
            ("nobody", 5, None),
        ] {
            let answer = check(address, service);
            let given = answer.messages.first().map(|(_, message)| message[1]);
            assert_eq!((answer.code, given), (code, status), "{service:?} on {address}");
        }
    }
    let client = Client::connect(&server.grpc);
    let watching = client.start("/grpc.health.v1.Health/Watch", &[], &about(""));
    std::thread::sleep(Duration::from_millis(300));
    server.server.tell_to_stop();
    wait_until("it is not ready", || server.server.get("/ready").status == 503);
    let answer = check(&server.server.address, "");
    assert_eq!(answer.messages.first().map(|(_, message)| message[1]), Some(2));
    let statuses: Vec<u8> =
        watching.finish().messages.iter().map(|(_, message)| message[1]).collect();
    assert_eq!(statuses, [1, 2]);
}
