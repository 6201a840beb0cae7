//! What does taking spans in cost, beside a Tempo that is sent the same?
//!
//! Sends OTLP to one server after the other, from one process, and says for each: spans acknowledged
//! a second and per second of its processor time, times until acknowledgement, memory, bytes written
//! and bytes of the blocks that came of it. `README.md` beside this has whole runs.
//!
//! ```text
//! cargo bench --bench load -- --input FILE.pb [--seconds N] [--rounds N] [--rate SPANS]
//!     [--connections N] [--batch SPANS] [--pieces N] [--settle SECONDS] [--sample SECONDS]
//!     [--question TRACEQL]... [--ask-every MILLIS]
//!     --target name=N,pid=P,send=grpc://ADDR[,ask=ADDR][,blocks=DIR][,wal=DIR][,tenant=T] ...
//! ```
//!
//! Without `--rate` every connection sends its next request when the last is answered. With it
//! requests are due at fixed times whether the server keeps up or not, and a request's time counts
//! from when it was due. Questions are asked of `ask` while spans are sent.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

mod arguments;
mod ask;
mod client;
mod payload;
mod process;
mod report;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arguments::{Arguments, Target};
use client::{Answer, Client};
use payload::Requests;
use process::Process;
use report::{Outcome, Sample};

/// What is waited when a server refuses, as senders do.
const PAUSE: Duration = Duration::from_millis(100);

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    // `cargo bench` adds an argument of its own; without a target there is nothing to do.
    let Some(arguments) = Arguments::parse(std::env::args().skip(1).filter(|a| a != "--bench"))?
    else {
        println!("nothing to send to: see the top of benches/load/main.rs");
        return Ok(());
    };
    let bytes = std::fs::read(&arguments.input)?;
    let requests = Arc::new(Requests::read(&bytes, arguments.batch, arguments.pieces)?);
    drop(bytes);
    println!("{requests}");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        for round in 0..arguments.rounds {
            for target in &arguments.targets {
                let outcome = run(&arguments, target, &requests).await?;
                println!("round {} {}: {outcome}", round + 1, target.name);
            }
        }
        Ok(())
    })
}

/// What connections share.
struct Load {
    requests: Arc<Requests>,
    /// Requests begun so far.
    begun: AtomicU64,
    start: Instant,
    length: Duration,
    /// Between two requests, if their times are fixed.
    interval: Option<Duration>,
    outcome: Mutex<Outcome>,
}

impl Load {
    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(
    arguments: &Arguments,
    target: &Target,
    requests: &Arc<Requests>,
) -> Result<Outcome, Error> {
    let process = Process::of(target.pid, &target.blocks, &target.wal)?;
    process.forget_peak();
    let before = process.sample()?;
    let mean = requests.span_count() as f64 / requests.len() as f64;
    let load = Arc::new(Load {
        requests: Arc::clone(requests),
        begun: AtomicU64::new(0),
        start: Instant::now(),
        length: arguments.length,
        interval: arguments.rate.map(|rate| Duration::from_secs_f64(mean / rate)),
        outcome: Mutex::default(),
    });
    let mut connections = Vec::new();
    for _ in 0..arguments.connections {
        let client = Client::connect(target).await?;
        connections.push(tokio::spawn(send(client, Arc::clone(&load))));
    }
    let asking = target.ask.as_ref().map(|address| {
        let (address, questions) = (address.clone(), arguments.questions.clone());
        tokio::spawn(ask::ask(address, questions, arguments.ask_every, load.start + load.length))
    });
    let mut seen = Sample::at(&process, &load)?;
    if let Some(every) = arguments.sample {
        println!("{}", Sample::TITLE);
        while load.start.elapsed() + every <= load.length {
            tokio::time::sleep(every).await;
            let now = Sample::at(&process, &load)?;
            println!("{}", now.row_since(&seen, &load));
            seen = now;
        }
    }
    for connection in connections {
        connection.await??;
    }
    let elapsed = load.start.elapsed();
    let answers = match asking {
        Some(asking) => asking.await??,
        None => ask::Answers::default(),
    };
    let sending = process.sample()?;
    // What was acknowledged is still to become blocks, and that is part of the price.
    tokio::time::sleep(arguments.settle).await;
    let after = process.sample()?;
    let mut outcome = std::mem::take(&mut *load.outcome());
    outcome.measured(elapsed, [before, sending, after], answers);
    Ok(outcome)
}

/// One connection: a request at a time.
async fn send(mut client: Client, load: Arc<Load>) -> Result<(), Error> {
    let mut body = Vec::new();
    loop {
        let number = load.begun.fetch_add(1, Ordering::Relaxed);
        let mut due = Instant::now();
        if let Some(interval) = load.interval {
            due = load.start + interval.mul_f64(number as f64);
            tokio::time::sleep_until(due.into()).await;
        }
        if due.max(Instant::now()) - load.start >= load.length {
            return Ok(());
        }
        let n_spans = load.requests.fresh(number, &mut body);
        let answer = client.send(&body).await?;
        let elapsed = due.elapsed();
        load.outcome().answered(n_spans, body.len(), elapsed, &answer);
        if let Answer::Refused(_) = answer {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
