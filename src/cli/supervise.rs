//! Runs one command's work beside the clock, Ctrl-C and the progress bar. Knows nothing of what the
//! work is.
//!
//! Two runtimes: one decodes and evaluates, the other does network I/O, timers and signals, so that
//! neither a time-out nor Ctrl-C waits for a thread that is busy decoding.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use traceql_engine::Progress;

use crate::error::{Error, Kind, Result};
use crate::terminal::Terminal;
use crate::units;

/// Work that is done sooner shows no bar.
const BAR_DELAY: Duration = Duration::from_millis(500);
/// Time between two drawings of the bar.
const BAR_PERIOD: Duration = Duration::from_millis(100);

/// The runtimes of a command.
#[derive(Debug)]
pub(crate) struct Runtimes {
    compute: Runtime,
    io: Runtime,
    /// A second Ctrl-C ends the process. At a prompt each ends one command.
    exits: bool,
    /// Counts every Ctrl-C at a prompt, so that one between two queries is not lost.
    interrupts: watch::Sender<u64>,
}

/// How work ended.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    /// By itself.
    Done(Result<T>),
    /// By Ctrl-C, or by a signal to terminate.
    Interrupted,
    /// By the clock.
    TimedOut(Duration),
}

impl Runtimes {
    /// Starts the threads. `threads` decode and evaluate.
    pub(crate) fn start(threads: usize) -> Result<Self> {
        Self::build(threads, true)
    }

    /// Starts the threads of a prompt, which Ctrl-C never ends.
    pub(crate) fn start_for_prompt(threads: usize) -> Result<Self> {
        let runtimes = Self::build(threads, false)?;
        // Once anyone listens the signal no longer ends the process, not even between commands.
        let interrupts = runtimes.interrupts.clone();
        drop(runtimes.io.spawn(async move {
            loop {
                interrupted().await;
                interrupts.send_modify(|n| *n += 1);
            }
        }));
        Ok(runtimes)
    }

    fn build(threads: usize, exits: bool) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::new(Kind::Failed, format!("cannot start the threads to work with: {error}"))
        };
        let build = |threads: usize, name: &str| {
            Builder::new_multi_thread()
                .worker_threads(threads.max(1))
                .thread_name(name)
                .enable_all()
                .build()
                .map_err(failed)
        };
        let (compute, io) = (build(threads, "traceql-compute")?, build(1, "traceql-io")?);
        Ok(Self { compute, io, exits, interrupts: watch::Sender::new(0) })
    }

    /// Where reads run.
    pub(crate) fn io(&self) -> &Handle {
        self.io.handle()
    }

    /// Runs the work to its end, or until Ctrl-C or the deadline, when it is dropped.
    pub(crate) fn supervise<T: Send + 'static>(
        &self,
        terminal: &Terminal,
        timeout: Option<Duration>,
        progress: &Arc<Progress>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Ended<T> {
        // From here on no Ctrl-C is lost, also if it comes before anyone waits for it.
        let mut pressed = self.interrupts.subscribe();
        let mut task = self.compute.spawn(work);
        let bar = Bar::new(terminal, Arc::clone(progress));
        let ended = self.io.block_on(async {
            let deadline = async {
                match timeout {
                    Some(after) => tokio::time::sleep(after).await,
                    None => std::future::pending().await,
                }
            };
            let stopped = async {
                match self.exits {
                    true => interrupted().await,
                    false => drop(pressed.changed().await),
                }
            };
            tokio::select! {
                joined = &mut task => Ended::Done(joined.unwrap_or_else(|error| Err(bug(&error)))),
                () = stopped => Ended::Interrupted,
                () = deadline => Ended::TimedOut(timeout.unwrap_or_default()),
                () = bar.draw() => unreachable!("the bar is drawn for ever"),
            }
        });
        task.abort();
        bar.clear();
        if self.exits && matches!(ended, Ended::Interrupted) {
            // What was found is still to be printed; who is tired of waiting presses again.
            drop(self.io.spawn(exit_when_interrupted()));
        }
        ended
    }

    /// Where work goes on in the background.
    pub(crate) fn compute(&self) -> &Handle {
        self.compute.handle()
    }

    /// How often Ctrl-C was pressed so far.
    pub(crate) fn interrupts(&self) -> u64 {
        *self.interrupts.borrow()
    }

    /// Waits, unless Ctrl-C has been pressed more often than that, or is meanwhile; false then.
    pub(crate) fn wait(&self, duration: Duration, interrupts: u64) -> bool {
        let mut pressed = self.interrupts.subscribe();
        self.io.block_on(async {
            tokio::select! {
                biased;
                _ = pressed.wait_for(|n| *n > interrupts) => false,
                () = tokio::time::sleep(duration) => true,
            }
        })
    }

    /// Ends the threads without waiting for what they do.
    pub(crate) fn stop(self) {
        self.compute.shutdown_background();
        self.io.shutdown_background();
    }
}

fn bug(error: &tokio::task::JoinError) -> Error {
    Error::new(Kind::Failed, format!("internal error, please report it: {error}"))
}

/// Waits for Ctrl-C or, where there is such a thing, a request to terminate.
pub(crate) async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                result = tokio::signal::ctrl_c() => if result.is_err() {
                    std::future::pending::<()>().await;
                },
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the signal ends the process as ever.
        std::future::pending::<()>().await;
    }
}

#[expect(clippy::exit, reason = "the main thread may be stuck in a write that nobody reads")]
async fn exit_when_interrupted() {
    interrupted().await;
    std::process::exit(i32::from(Kind::Interrupted.exit_code()));
}

/// A progress bar on standard error; nothing where that is no terminal.
struct Bar {
    bar: Option<ProgressBar>,
    progress: Arc<Progress>,
    started: Instant,
}

impl Bar {
    fn new(terminal: &Terminal, progress: Arc<Progress>) -> Self {
        let visible = terminal.stderr_is_terminal && !terminal.quiet;
        let bar =
            visible.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
        Self { bar, progress, started: Instant::now() }
    }

    async fn draw(&self) {
        let Some(bar) = &self.bar else { return std::future::pending().await };
        tokio::time::sleep(BAR_DELAY).await;
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let mut has_length = false;
        let style = |template: &str| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        bar.set_style(style("{spinner} {msg}"));
        loop {
            let total = self.progress.units_total.load(Ordering::Relaxed);
            if total > 0 && !has_length {
                bar.set_style(style("{spinner} [{bar:30}] {percent}% {msg}").progress_chars("━╸ "));
                has_length = true;
            }
            if has_length {
                bar.set_length(total);
                bar.set_position(self.progress.units_done.load(Ordering::Relaxed).min(total));
            }
            let bytes = self.progress.bytes_read.load(Ordering::Relaxed);
            let elapsed = self.started.elapsed().as_secs();
            bar.set_message(format!("{} read, {elapsed} s", units::format_size(bytes)));
            bar.tick();
            tokio::time::sleep(BAR_PERIOD).await;
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ColorChoice;

    fn supervise(
        timeout: Option<Duration>,
        work: impl Future<Output = Result<u32>> + Send + 'static,
    ) -> Ended<u32> {
        let terminal = Terminal::detect(ColorChoice::Never, true, |_| None);
        let runtimes = Runtimes::start(1).unwrap();
        let ended = runtimes.supervise(&terminal, timeout, &Arc::default(), work);
        runtimes.stop();
        ended
    }

    #[test]
    fn work_that_ends_gives_its_result() {
        assert!(matches!(supervise(None, async { Ok(7) }), Ended::Done(Ok(7))));
    }

    #[test]
    fn the_deadline_ends_work_that_never_yields_its_thread() {
        let busy = async {
            // Longer than the test may take, on the only thread that computes.
            std::thread::sleep(Duration::from_secs(3));
            Ok(7)
        };
        let started = Instant::now();
        let ended = supervise(Some(Duration::from_millis(10)), busy);
        assert!(matches!(ended, Ended::TimedOut(_)));
        assert!(started.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_panic_is_a_bug_of_ours() {
        #[expect(clippy::panic, reason = "it is the subject of the test")]
        let ended = supervise(None, async { panic!("oh") });
        let Ended::Done(Err(error)) = ended else { panic!("{ended:?}") };
        assert_eq!(error.kind, Kind::Failed);
    }
}
