//! Remote write 1.0: series are collected at an interval, encoded once, and sent to every receiver
//! in order. The protocol is Prometheus' "Remote-Write 1.0 specification"; native histograms are
//! those of its message types.

mod collect;
mod message;
mod receiver;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use traceql_blocks::bucket::tenant::TenantId;

use super::Generator;
use collect::Collected;
pub(super) use receiver::{Counts, Receiver};

/// What is posted: one body for all receivers.
#[derive(Clone, Debug)]
struct Request {
    tenant: Option<TenantId>,
    /// Snappy of a `WriteRequest`.
    body: bytes::Bytes,
    /// Whether it only says that series began at 0. A receiver that has newer samples of a series,
    /// from before a restart, refuses those; nothing is lost then.
    is_announcement: bool,
}

/// Collects and sends until `stop` is done, then once more.
pub(super) async fn run(
    generator: &Generator,
    stop: impl Future<Output = ()> + Send,
    drain: Duration,
) {
    let mut ticks = tokio::time::interval(generator.options.collection_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let collecting = async {
        let mut stop = pin!(stop);
        // The first tick is at once, when there is nothing yet.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => collect_all(generator),
                () = &mut stop => break,
            }
        }
        collect_all(generator);
        for receiver in &generator.receivers {
            receiver.close();
        }
    };
    if generator.receivers.is_empty() {
        return collecting.await;
    }
    let log = generator.options.log;
    let sending = futures::future::join_all(generator.receivers.iter().map(|r| r.send_all(log)));
    let mut sending = pin!(sending);
    tokio::select! {
        // Senders end only when they are closed.
        _ = &mut sending => return,
        () = collecting => {}
    }
    if tokio::time::timeout(drain, sending).await.is_err() {
        let waiting: usize = generator.receivers.iter().map(Receiver::waiting).sum();
        log(&format!("remote write: {waiting} requests could not be sent before the end"));
    }
}

/// Collects the series of every tenant and queues them.
fn collect_all(generator: &Generator) {
    let options = &generator.options;
    let now_unix_nanos = (options.clock)();
    let stale_before = generator.stale_before(now_unix_nanos);
    let mut external = options.external_labels.clone();
    if !options.instance.is_empty() {
        external.insert("__metrics_gen_instance".to_owned(), options.instance.clone());
    }
    // The smallest of the receivers' bounds, as all get the same bodies.
    let samples = options.remote_write.iter().map(|receiver| receiver.max_samples_per_send);
    let samples = samples.min().unwrap_or(usize::MAX).max(1);
    for (tenant, found) in generator.tenants() {
        let collected = {
            let mut locked = found.lock();
            locked.expire(now_unix_nanos);
            if generator.receivers.is_empty() {
                drop(locked.remove_stale(stale_before));
                continue;
            }
            Collected::of(&mut locked, now_unix_nanos, stale_before, &external, samples)
        };
        let tenant = options.multitenant.then_some(tenant);
        for (body, is_announcement) in collected.requests() {
            match snap::raw::Encoder::new().compress_vec(&body) {
                Ok(body) => {
                    let body = bytes::Bytes::from(body);
                    let request = Request { tenant: tenant.clone(), body, is_announcement };
                    for receiver in &generator.receivers {
                        receiver.push(request.clone(), options.log);
                    }
                }
                // Only of bodies beyond 4 GiB, which the bound on samples keeps away.
                Err(error) => (options.log)(&format!("remote write: cannot compress: {error}")),
            }
        }
    }
    generator.forget_idle();
}
