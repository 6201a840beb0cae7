//! `traceql compact` killed: two of them that race, at random moments, while a server that is killed
//! too writes what they compact; and one at every request that it makes of its store. Whatever was
//! acknowledged is answered once, always, and in the end is stored once. Three more take turns by leases
//! and are told to end rather than killed: they put no block into two.
//!
//! `TRACEQL_KILLS=100` kills more often than the ordinary suite does, and at every request rather than
//! at some.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked")]

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use serde_json::Value as Json;
use traceql_blocks::bucket::store::OpenStore;

use crate::split::{FIXTURES, QUERIES, TENANT as SPLIT_TENANT, answer, difference, live};
use crate::support::asking::{Asked, everything};
use crate::support::binary::{run, stderr, traceql};
use crate::support::ingesting::{Folders, S3, text};
use crate::support::proxy::{Fault, Proxy};
use crate::support::sending::{SHORT, Sent, TENANT};
use crate::support::servers::{Server, s3_options};

/// Kills of the ordinary suite.
const KILLS: u64 = 10;

fn kills() -> Option<u64> {
    let setting = std::env::vars().find(|(name, _)| name == "TRACEQL_KILLS");
    setting.map(|(_, kills)| kills.parse().expect("a number"))
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Compacts until nothing is left to do; how many live blocks there are.
fn settle(folders: &Folders) -> usize {
    let bucket = folders.bucket();
    for _ in 0..20 {
        let arguments = ["compact", "-s", text(&bucket), "--once", "--alone", "--window", "8760h"];
        let more = ["--max-blocks", "1000", "--grace", "0", "--dry-run", "-o", "ndjson"];
        let planned = run(&[&arguments[..], &more].concat());
        assert!(planned.status.success(), "{}", stderr(&planned));
        if planned.stdout.is_empty() {
            break;
        }
        let done = run(&[&arguments[..], &more[..4]].concat());
        assert!(done.status.success(), "{}", stderr(&done));
    }
    let blocks = folders.stored_blocks(TENANT);
    blocks.iter().filter(|block| block.join("meta.json").exists()).count()
}

#[test]
fn compactors_that_race_and_are_killed_lose_nothing_and_double_nothing() {
    let (kills, folders, sent) = (kills().unwrap_or(KILLS), Folders::new(), Sent::default());
    let bucket = folders.bucket();
    let start = || -> Child {
        // Without leases, which keep others away for two minutes after each kill.
        let arguments = ["compact", "-s", text(&bucket), "--alone", "--interval", "10ms"];
        let more = ["--window", "8760h", "--grace", "2s", "--tenant-index", "-q"];
        let mut command = traceql(&[&arguments[..], &more].concat());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut ingesting = folders.start(&SHORT);
    let mut compactors = [start(), start()];
    let mut n_killed = 0;
    for n in 0..kills {
        let lives = Duration::from_millis(100 + n.wrapping_mul(7_919) % 700);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) && sent.send(&ingesting) {
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
            std::thread::sleep(lives);
            if n % 4 == 3 {
                ingesting.server.kill();
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let which = usize::try_from(n % 2).unwrap();
        // Some ended by themselves: a block that the other took away was the end of a round.
        n_killed += usize::from(compactors[which].try_wait().unwrap().is_none());
        kill(std::mem::replace(&mut compactors[which], start()));
        if n % 4 == 3 {
            drop(ingesting);
            ingesting = folders.start(&SHORT);
        }
    }
    assert!(n_killed as u64 >= kills / 2, "only {n_killed} of {kills} were there to be killed");
    compactors.into_iter().for_each(kill);
    drop(ingesting);
    // Whatever state they left it in, all is answered, once.
    let mut ingesting = folders.start(&[]);
    let found = ingesting.found(TENANT);
    assert_eq!(sent.lost(&found), [""; 0]);
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    assert!(ingesting.server.terminate().success());
    assert_eq!(settle(&folders), 1);
    let verified = run(&["blocks", "verify", "-s", text(&bucket), "-t", TENANT]);
    assert!(verified.status.success(), "{}", stderr(&verified));
    let found_then = folders.start(&[]).found(TENANT);
    assert_eq!(found_then, found);
    let blocks = folders.stored_blocks(TENANT);
    let remains = blocks.iter().filter(|block| !block.join("meta.json").exists()).count();
    assert!(sent.count() as u64 > 30 * kills, "{} spans", sent.count());
    println!(
        "{kills} kills, {} spans acknowledged, {remains} folders of blocks that never were",
        sent.count()
    );
}

/// Compactors that take turns by leases: what each of them has done, a line for each step.
struct TakingTurns<'a> {
    folders: &'a Folders,
    running: Vec<Child>,
}

impl TakingTurns<'_> {
    fn report(&self, which: usize) -> PathBuf {
        self.folders.path().join(format!("compactor-{which}.ndjson"))
    }

    /// How many of them have put blocks together.
    fn n_at_work(&self) -> usize {
        (0..3).filter(|which| !self.replaced(*which).is_empty()).count()
    }

    /// What they said besides.
    fn troubles(&self) -> Vec<String> {
        let path = |which| self.report(which).with_extension("err");
        (0..3).map(|which| std::fs::read_to_string(path(which)).unwrap()).collect()
    }

    fn start(&self, which: usize) -> Child {
        let source = self.folders.source();
        let mut command = traceql(&["compact", "--interval", "10ms", "--window", "8760h"]);
        command.args(source).args(["--grace", "2s", "--tenant-index", "-o", "ndjson"]);
        let report = OpenOptions::new().create(true).append(true).open(self.report(which));
        let report = report.unwrap();
        let troubles = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.report(which).with_extension("err"));
        command.stdin(Stdio::null()).stdout(report).stderr(troubles.unwrap()).spawn().unwrap()
    }

    /// Tells one to end, which it has to do in an orderly way: a lease that is not given back keeps
    /// the others away for two minutes.
    fn end(child: &mut Child) {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}");
    }

    /// The blocks that one of them has put into others, each as often as it has.
    fn replaced(&self, which: usize) -> Vec<String> {
        let report = std::fs::read_to_string(self.report(which)).unwrap();
        // The last line may be under way.
        let lines = report.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = lines.map(|line| serde_json::from_str::<Json>(line).unwrap());
        let done = lines.filter(|line| line["action"] == "compact" && line["result"] == "done");
        done.flat_map(|line| line["inputs"].as_array().unwrap().clone())
            .map(|id| id.as_str().unwrap().to_owned())
            .collect()
    }
}

/// One of three compactors is told to end in each turn, which takes so long. How much there was to do.
fn work_is_shared(folders: &Folders, turn: Duration) -> String {
    let (turns, sent) = (kills().unwrap_or(KILLS), Sent::default());
    let cut = format!("{}ms", turn.as_millis() / 8);
    let mut ingesting = folders.start(&["--trace-idle", "20ms", "--block-age", &cut]);
    let mut compactors = TakingTurns { folders, running: Vec::new() };
    compactors.running = (0..3).map(|which| compactors.start(which)).collect();
    // Where everything is slow, a turn may be too short for any work: the last ones grow.
    let mut turn = turn;
    for n in 0.. {
        if n >= turns {
            if compactors.n_at_work() >= 2 {
                break;
            }
            turn *= 2;
        }
        assert!(n < turns + 5, "{:#?}", compactors.troubles());
        let which = usize::try_from(n % 3).unwrap();
        let began = Instant::now();
        while began.elapsed() < turn {
            assert!(sent.send(&ingesting));
        }
        // The one that was started longest ago: one that has hardly begun cannot end in good order.
        TakingTurns::end(&mut compactors.running[which]);
        compactors.running[which] = compactors.start(which);
    }
    std::thread::sleep(turn);
    compactors.running.iter_mut().for_each(TakingTurns::end);
    assert!(ingesting.server.terminate().success());
    // Who flushed has not seen what others made of it.
    let found = folders.start(&[]).found(TENANT);
    assert_eq!(sent.lost(&found), [""; 0]);
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    let mut replaced = [0, 1, 2].map(|which| compactors.replaced(which)).concat();
    let n_replaced = replaced.len();
    replaced.sort_unstable();
    let twice: Vec<_> = replaced.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "put into two blocks: {twice:?}");
    format!("{} spans acknowledged, {n_replaced} blocks replaced", sent.count())
}

#[test]
fn compactors_that_take_leases_do_no_work_twice_on_a_disk() {
    println!("{}", work_is_shared(&Folders::new(), Duration::from_millis(400)));
}

#[test]
fn compactors_that_take_leases_do_no_work_twice_in_a_store() {
    let Some(server) = Server::s3() else { return };
    let (bucket, address) = ("turns".to_owned(), server.address.clone());
    server.create_bucket(&bucket);
    let store = S3 { bucket, own_address: address.clone(), address };
    println!("{}", work_is_shared(&Folders::with_s3(store), Duration::from_millis(1_500)));
}

/// The command line of one round over a tenant in the bucket `kills`.
fn once(address: &str, tenant: &str, more: &[&str]) -> Command {
    let endpoint = format!("http://{address}");
    let mut command = traceql(&["compact", "-s", "s3://kills", "--once", "--tenant-index"]);
    command.args(["-t", tenant, "--s3-endpoint", &endpoint, "--s3-access-key-id", "id"]);
    command.args(["--s3-secret-access-key", "secret"]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// One is killed before, or after, each request that it makes, and another one goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_compactor_that_is_killed_at_any_request_is_followed_by_another() {
    let Some(server) = tokio::task::spawn_blocking(Server::s3).await.unwrap() else { return };
    server.create_bucket("kills");
    let options = s3_options(&server.address);
    let store = OpenStore::open("s3://kills", &options).await.unwrap().store;
    let (version, [first, second], _) = FIXTURES[1];
    let inputs = live(version, &[(first, None), (second, None)]);
    let mut expected = Vec::new();
    for query in &QUERIES[..3] {
        expected.push(answer(inputs.path(), query, &everything()).await);
    }
    let every = if kills().is_some() { 1 } else { 9 };
    let (n_tried, next, is_over) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let trial = async |n: usize, fault: Fault| {
        let tenant = format!("{n}-{fault:?}");
        for block in [first, second] {
            let folder = inputs.path().join(SPLIT_TENANT).join(block);
            for object in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let name = object.file_name();
                let key = format!("{tenant}/{block}/{}", name.to_str().unwrap());
                let mut bytes = std::fs::read(object.path()).unwrap();
                if name == "meta.json" {
                    bytes = String::from_utf8(bytes).unwrap().replace(SPLIT_TENANT, &tenant).into();
                }
                store.put(&key.into(), bytes.into()).await.unwrap();
            }
        }
        let proxy = Proxy::start(&server.address);
        proxy.plan(vec![Fault::None; n], fault);
        let mut child = once(&proxy.address, &tenant, &[]).spawn().unwrap();
        let began = Instant::now();
        while proxy.held() == 0 && child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "{tenant}");
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        if proxy.held() == 0 {
            // All requests were made.
            is_over.store(true, Ordering::Relaxed);
        }
        kill(child);
        let requests = proxy.take_requests();
        let check = async |when: &str| {
            let asked = Asked::open("s3://kills", &tenant, &options).await;
            for (query, expected) in QUERIES.iter().zip(&expected) {
                let given = asked.search(query, &everything()).await.unwrap().answer.traces;
                let differs = difference(expected, &given);
                assert_eq!(differs, None, "{tenant} {when} {query} {:?}", requests.last());
            }
        };
        check("after the kill").await;
        // The lease of the one that is gone lasts two minutes. Another takes it as its own clock says
        // that they are over; and one that was told that nobody else is there does not ask.
        let more: &[&str] = &["--alone", "--window", "8760h", "--max-blocks", "10"];
        let output = once(&server.address, &tenant, more).output().unwrap();
        assert!(output.status.success(), "{tenant}: {}", stderr(&output));
        check("after the next").await;
        let listed: Vec<_> = store.list(Some(&tenant.as_str().into())).try_collect().await.unwrap();
        let n_live =
            listed.iter().filter(|object| object.location.filename() == Some("meta.json")).count();
        // New block and inputs side by side are of different levels: they wait for their window to age.
        assert!((1..=3).contains(&n_live), "{tenant}: {n_live}");
        n_tried.fetch_add(1, Ordering::Relaxed);
    };
    let work = (0..4).map(|_| async {
        while !is_over.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed) * every;
            trial(n, Fault::Hold).await;
            trial(n, Fault::HoldAnswer).await;
        }
    });
    futures::future::join_all(work).await;
    let n_tried = n_tried.load(Ordering::Relaxed);
    assert!(n_tried > 8, "{n_tried}");
    println!("killed {n_tried} times, before and after requests");
}
