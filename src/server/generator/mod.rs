//! The metrics generator: spans that are received become Prometheus metrics, by Tempo's names (span
//! metrics, service graph, host info), for scraping and by remote write.
//!
//! Counting is pure: [`Generator::observe`] is given traces and the time. Only
//! [`Generator::run_remote_write`] waits and sends. Series live in memory; after a restart they
//! begin at 0 again, which `rate()` takes for the reset it is.
//!
//! Fed the same spans as a Tempo 3.0.3, series and values are the same, but for these, where ours are
//! meant so: a `PRODUCER` answered by a `SERVER` is a `messaging_system` edge whichever comes first;
//! a `db.system.name` alone makes a database edge, and there is `service-graphs-connection-info`, both
//! as in 3.1; a list as a label is JSON; of two resource attributes whose labels are the same,
//! `traces_target_info` has the first. One is not meant: span flags, which the model does not keep,
//! do not count in `traces_spanmetrics_size_total`. Not made at all: clustering of span names.

mod expose;
mod labels;
mod options;
mod processor;
mod registry;
mod remote_write;
mod scrape;
mod stats;
mod tee;
mod tenant;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::model::Trace;

use crate::overrides::{OverridesTable, TenantOverrides};
pub use expose::Format;
pub use options::{
    DimensionMapping, FilterPolicy, GeneratorOptions, Histograms, IntrinsicDimensions,
    OptionsError, PolicyMatch, PolicyValue, Processors, RemoteWriteOptions, SeriesLimits,
    ServiceGraphOptions, SpanMetricsOptions, TenantMetrics, UnknownProcessor,
};
pub use scrape::{SCRAPE_PATH, router, scrape};
pub use stats::Stats;
pub use tee::Tee;
use tenant::{Plan, Tenant, is_label_name};

/// Turns received spans into metrics, for all tenants.
pub struct Generator {
    options: GeneratorOptions,
    plans: RwLock<Plans>,
    receivers: Vec<remote_write::Receiver>,
    tenants: RwLock<BTreeMap<TenantId, Arc<Mutex<Tenant>>>>,
}

/// Whose spans are counted how.
#[derive(Debug)]
struct Plans {
    others: Arc<Plan>,
    tenants: BTreeMap<TenantId, Arc<Plan>>,
}

impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Generator {
    /// A generator that has seen nothing yet.
    ///
    /// # Errors
    /// If the settings are wrong; none of them is looked at later.
    pub fn new(options: GeneratorOptions) -> Result<Self, OptionsError> {
        for (what, length) in [
            ("the collection interval", options.collection_interval),
            ("the time after which a series is stale", options.stale_after),
        ] {
            if length.is_zero() {
                return Err(OptionsError::Zero(what));
            }
        }
        if let Some(name) = options.external_labels.keys().find(|name| !is_label_name(name)) {
            return Err(OptionsError::LabelName(name.clone()));
        }
        let receivers = options.remote_write.iter().map(remote_write::Receiver::new);
        let receivers = receivers.collect::<Result<_, _>>()?;
        let tenants = options
            .tenants
            .iter()
            .map(|(tenant, metrics)| Ok((tenant.clone(), Arc::new(Plan::new(metrics.clone())?))));
        let tenants = tenants.collect::<Result<_, OptionsError>>()?;
        let others = Arc::new(Plan::new(options.defaults.clone())?);
        let plans = RwLock::new(Plans { others, tenants });
        Ok(Self { options, plans, receivers, tenants: RwLock::default() })
    }

    /// Counts from now on as this says. Series of tenants for whom something changes begin at 0 again.
    ///
    /// # Errors
    /// If settings are wrong; nothing changes then.
    pub fn set_overrides(&self, table: &OverridesTable) -> Result<(), OptionsError> {
        let metrics = |overrides: &TenantOverrides| {
            overrides.metrics.clone().unwrap_or_else(|| self.options.defaults.clone())
        };
        let others = Arc::new(Plan::new(metrics(&table.others))?);
        let tenants = table.tenants.iter().map(|(tenant, overrides)| {
            Ok((tenant.clone(), Arc::new(Plan::new(metrics(overrides))?)))
        });
        let mut new = Plans { others, tenants: tenants.collect::<Result<_, OptionsError>>()? };
        let mut plans = self.plans.write();
        // Who keeps a plan keeps what was counted by it.
        let keep = |old: Option<&Arc<Plan>>, new: &mut Arc<Plan>| {
            if let Some(old) = old
                && format!("{:?}", old.options) == format!("{:?}", new.options)
            {
                *new = Arc::clone(old);
            }
        };
        keep(Some(&plans.others), &mut new.others);
        for (tenant, plan) in &mut new.tenants {
            keep(Some(plans.tenants.get(tenant).unwrap_or(&plans.others)), plan);
        }
        *plans = new;
        Ok(())
    }

    /// Whether the tenant's spans are counted at all.
    #[must_use]
    pub fn is_active(&self, tenant: &TenantId) -> bool {
        self.plan(tenant).is_active()
    }

    /// Counts the spans of traces that were received, and accepted, just now. Parts of a trace may
    /// come one by one; a span that comes twice counts twice.
    pub fn observe(&self, tenant: &TenantId, traces: &[Trace], now_unix_nanos: u64) {
        let plan = self.plan(tenant);
        if !plan.is_active() {
            return;
        }
        // A tenant that is being forgotten while it is looked up is looked up again.
        loop {
            let found = self.tenants.read().get(tenant).map(Arc::clone);
            let Some(found) = found else {
                self.tenants
                    .write()
                    .entry(tenant.clone())
                    .or_insert_with(|| Arc::new(Mutex::new(Tenant::new(Arc::clone(&plan)))));
                continue;
            };
            let mut locked = found.lock();
            if locked.is_forgotten {
                continue;
            }
            if !Arc::ptr_eq(&locked.plan, &plan) {
                *locked = Tenant::new(Arc::clone(&plan));
            }
            locked.observe(traces, now_unix_nanos);
            return;
        }
    }

    /// The tenant's metrics for a scrape, as of now; nothing but the format's frame if it has none.
    #[must_use]
    pub fn expose(&self, tenant: &TenantId, format: Format, now_unix_nanos: u64) -> String {
        let found = self.tenants.read().get(tenant).map(Arc::clone);
        let Some(found) = found else { return expose::nothing(format) };
        let mut locked = found.lock();
        locked.expire(now_unix_nanos);
        if self.options.remote_write.is_empty() {
            // Nobody is to be told what is dropped.
            drop(locked.remove_stale(self.stale_before(now_unix_nanos)));
        }
        expose::write(&locked, format)
    }

    /// What happened so far, by tenant.
    #[must_use]
    pub fn stats(&self) -> Vec<(TenantId, Stats)> {
        let stats = |(tenant, found): &(TenantId, Arc<Mutex<Tenant>>)| {
            let locked = found.lock();
            (tenant.clone(), Stats::new(&locked))
        };
        self.tenants().iter().map(stats).collect()
    }

    /// Collects series every [`GeneratorOptions::collection_interval`] and sends them to every
    /// receiver, until `stop` is done; then once more, for `drain` at most. Without receivers it
    /// drops what is stale. Whoever scrapes only needs it too.
    pub async fn run_remote_write(&self, stop: impl Future<Output = ()> + Send, drain: Duration) {
        remote_write::run(self, stop, drain).await;
    }

    fn plan(&self, tenant: &TenantId) -> Arc<Plan> {
        let plans = self.plans.read();
        Arc::clone(plans.tenants.get(tenant).unwrap_or(&plans.others))
    }

    fn tenants(&self) -> Vec<(TenantId, Arc<Mutex<Tenant>>)> {
        let tenants = self.tenants.read();
        tenants.iter().map(|(tenant, found)| (tenant.clone(), Arc::clone(found))).collect()
    }

    /// Forgets tenants that nothing is known of any longer.
    fn forget_idle(&self) {
        self.tenants.write().retain(|_, found| {
            let mut locked = found.lock();
            locked.is_forgotten = locked.is_idle();
            !locked.is_forgotten
        });
    }

    fn stale_before(&self, now_unix_nanos: u64) -> u64 {
        let nanos = u64::try_from(self.options.stale_after.as_nanos()).unwrap_or(u64::MAX);
        now_unix_nanos.saturating_sub(nanos)
    }
}
