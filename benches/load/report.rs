//! The figures: what was counted, and how it is said.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::client::Answer;
use crate::process::{Process, Usage};
use crate::{Error, Load, ask};

const MEGA: f64 = 1e6;

/// What became of all requests to one server.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) taken_spans: u64,
    rejected_spans: u64,
    refused: BTreeMap<String, usize>,
    sent_bytes: u64,
    times: Vec<Duration>,
    elapsed: Duration,
    /// Before, after the last request, and after it had time for the rest.
    usage: [Usage; 3],
    answers: ask::Answers,
}

impl Outcome {
    pub(crate) fn answered(
        &mut self,
        n_spans: usize,
        n_bytes: usize,
        time: Duration,
        answer: &Answer,
    ) {
        self.times.push(time);
        self.sent_bytes += n_bytes as u64;
        match answer {
            Answer::Taken { rejected_spans } => {
                self.taken_spans += (n_spans as u64).saturating_sub(*rejected_spans);
                self.rejected_spans += rejected_spans;
            }
            Answer::Refused(why) => *self.refused.entry(why.clone()).or_default() += 1,
        }
    }

    pub(crate) fn measured(&mut self, elapsed: Duration, usage: [Usage; 3], answers: ask::Answers) {
        (self.elapsed, self.usage, self.answers) = (elapsed, usage, answers);
    }
}

/// The time below which this share of times lies, in milliseconds.
fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    let at = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, sending, after] = &self.usage;
        let spans = self.taken_spans as f64;
        let mut times = self.times.clone();
        let cpu = (after.cpu - before.cpu).as_secs_f64();
        let block_bytes = after.block_bytes.saturating_sub(before.block_bytes) as f64;
        writeln!(f, "{spans} spans in {:.1} s", self.elapsed.as_secs_f64())?;
        let while_sent = (sending.cpu - before.cpu).as_secs_f64();
        writeln!(
            f,
            "  spans/s {:.0}  cpu {cpu:.2} s ({while_sent:.2} while sent)  spans/cpu-s {:.0}  \
             {:.1} MB/s",
            spans / self.elapsed.as_secs_f64(),
            spans / cpu,
            self.sent_bytes as f64 / MEGA / self.elapsed.as_secs_f64(),
        )?;
        writeln!(
            f,
            "  acknowledged in ms: p50 {:.1}  p90 {:.1}  p99 {:.1}  max {:.1}",
            quantile(&mut times, 0.5),
            quantile(&mut times, 0.9),
            quantile(&mut times, 0.99),
            quantile(&mut times, 1.0),
        )?;
        writeln!(
            f,
            "  resident MB: {:.0} before, {:.0} after, peak {:.0}  written {:.0} MB  files {}",
            before.resident_bytes as f64 / MEGA,
            after.resident_bytes as f64 / MEGA,
            after.peak_bytes as f64 / MEGA,
            (after.written_bytes - before.written_bytes) as f64 / MEGA,
            after.open_files,
        )?;
        write!(
            f,
            "  blocks {}  {:.1} bytes/span  log {:.1} MB  rejected spans {}  refused {:?}",
            after.block_count.saturating_sub(before.block_count),
            block_bytes / spans,
            after.wal_bytes as f64 / MEGA,
            self.rejected_spans,
            self.refused,
        )?;
        for (question, asked) in &self.answers {
            let (mut times, n) = (asked.times.clone(), asked.times.len());
            write!(
                f,
                "\n  asked {n} ({} failed, {} bytes) p50 {:.1}  p99 {:.1}  max {:.1} ms  {question}",
                asked.n_failed,
                asked.answer_bytes / n.max(1),
                quantile(&mut times, 0.5),
                quantile(&mut times, 0.99),
                quantile(&mut times, 1.0),
            )?;
        }
        Ok(())
    }
}

/// A moment of a run.
#[derive(Debug)]
pub(crate) struct Sample {
    elapsed: Duration,
    usage: Usage,
    taken_spans: u64,
    n_answers: usize,
    /// Requests that are due and not begun.
    behind: u64,
}

impl Sample {
    pub(crate) const TITLE: &'static str = "seconds\tspans/s\tcores\tresident_MB\tp50_ms\tp99_ms\t\
                                            max_ms\tfiles\tlog_MB\tblocks\tbehind";

    pub(crate) fn at(process: &Process, load: &Load) -> Result<Self, Error> {
        let usage = process.sample()?;
        let elapsed = load.start.elapsed();
        let due = load.interval.map_or(0, |interval| {
            u64::try_from(elapsed.as_nanos() / interval.as_nanos().max(1)).unwrap_or_default()
        });
        let outcome = load.outcome();
        Ok(Self {
            elapsed,
            usage,
            taken_spans: outcome.taken_spans,
            n_answers: outcome.times.len(),
            behind: due.saturating_sub(load.begun.load(Ordering::Relaxed)),
        })
    }

    /// What happened between two moments, as a row under [`Sample::TITLE`].
    pub(crate) fn row_since(&self, before: &Self, load: &Load) -> String {
        let mut times = load.outcome().times[before.n_answers..self.n_answers].to_vec();
        let seconds = (self.elapsed - before.elapsed).as_secs_f64();
        format!(
            "{:.0}\t{:.0}\t{:.2}\t{:.0}\t{:.1}\t{:.1}\t{:.1}\t{}\t{:.1}\t{}\t{}",
            self.elapsed.as_secs_f64(),
            (self.taken_spans - before.taken_spans) as f64 / seconds,
            (self.usage.cpu - before.usage.cpu).as_secs_f64() / seconds,
            self.usage.resident_bytes as f64 / MEGA,
            quantile(&mut times, 0.5),
            quantile(&mut times, 0.99),
            quantile(&mut times, 1.0),
            self.usage.open_files,
            self.usage.wal_bytes as f64 / MEGA,
            self.usage.block_count,
            self.behind,
        )
    }
}
