//! What holds for single tenants in place of what holds for all, read anew while the server runs. Who
//! reads it, and from where, is not known here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use traceql_blocks::bucket::tenant::TenantId;
use traceql_blocks::compact::settings::CompactSettings;

use crate::generator::{Generator, TenantMetrics};
use crate::live::IngestLimits;
use crate::telemetry::exposition::{Kind, Page};

/// What holds for a tenant; what is `None` is as for all.
#[derive(Clone, Debug, Default)]
pub struct TenantOverrides {
    /// Bytes a second of requests; 0 is no bound, here and below.
    pub rate_bytes: Option<u64>,
    /// Bytes that may come at once.
    pub burst_bytes: Option<u64>,
    /// Traces that are live at a time.
    pub live_traces: Option<usize>,
    /// Bytes of one live trace.
    pub trace_bytes: Option<u64>,
    /// Keys and texts of attributes that are longer are cut.
    pub attribute_bytes: Option<usize>,
    /// Longest range of a search; zero is no bound.
    pub max_search_range: Option<Duration>,
    /// Longest range of a metrics query; zero is no bound.
    pub max_metrics_range: Option<Duration>,
    /// How long blocks are kept; zero is for ever.
    pub retention: Option<Duration>,
    /// Windows within which blocks are put together.
    pub compaction_window: Option<Duration>,
    /// Whether blocks are not put together.
    pub compaction_disabled: Option<bool>,
    /// What is made of spans.
    pub metrics: Option<TenantMetrics>,
    /// All of this as a file has it; those of a section stand together.
    pub said: Vec<OwnSetting>,
}

/// A setting that a tenant has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnSetting {
    /// Sections and name below the tenant, with dots between.
    pub path: &'static str,
    /// Its value as YAML on one line.
    pub value: String,
}

/// What holds for whom.
#[derive(Clone, Debug, Default)]
pub struct OverridesTable {
    /// For tenants by name.
    pub tenants: BTreeMap<TenantId, Arc<TenantOverrides>>,
    /// For those that are not named.
    pub others: Arc<TenantOverrides>,
}

/// Where overrides come from.
#[derive(Clone)]
pub struct OverridesOptions {
    /// What holds at first.
    pub table: OverridesTable,
    /// How often it is read anew.
    pub period: Duration,
    /// Reads it, or says what is wrong with it; may wait for files.
    pub read: Arc<dyn Fn() -> Result<OverridesTable, String> + Send + Sync>,
}

impl fmt::Debug for OverridesOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("OverridesOptions");
        debug.field("table", &self.table).field("period", &self.period).finish_non_exhaustive()
    }
}

/// What holds for whom at this moment.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    table: RwLock<OverridesTable>,
    reads: AtomicU64,
    errors: AtomicU64,
    /// When it was read last without an error, unix nanoseconds; 0 is never.
    read_at: AtomicU64,
}

impl Overrides {
    /// What holds at first, if anything does.
    pub(crate) fn new(options: Option<&OverridesOptions>) -> Self {
        let table = options.map(|options| options.table.clone()).unwrap_or_default();
        Self { table: RwLock::new(table), ..Self::default() }
    }

    /// All that holds.
    pub(crate) fn table(&self) -> OverridesTable {
        self.table.read().clone()
    }

    /// What holds for a tenant.
    pub(crate) fn of(&self, tenant: &TenantId) -> Arc<TenantOverrides> {
        let table = self.table.read();
        Arc::clone(table.tenants.get(tenant).unwrap_or(&table.others))
    }

    /// Reads it anew every so often, for as long as it is let. What cannot be read changes nothing.
    pub(crate) async fn keep_reading(
        self: Arc<Self>,
        options: OverridesOptions,
        generator: Option<Arc<Generator>>,
        clock: fn() -> u64,
        log: fn(&str),
    ) {
        let mut said = String::new();
        let mut ticks = tokio::time::interval(options.period.max(Duration::from_millis(10)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let read = Arc::clone(&options.read);
            let read = tokio::task::spawn_blocking(move || read()).await;
            self.reads.fetch_add(1, Ordering::Relaxed);
            let refused = match read {
                Ok(Ok(table)) => match self.take(table, generator.as_deref()) {
                    Ok(is_changed) => {
                        self.read_at.store(clock(), Ordering::Relaxed);
                        if is_changed || !said.is_empty() {
                            log("overrides: read anew, and in force");
                        }
                        said.clear();
                        continue;
                    }
                    Err(why) => why,
                },
                Ok(Err(why)) => why,
                Err(error) => error.to_string(),
            };
            self.errors.fetch_add(1, Ordering::Relaxed);
            if refused != said {
                log(&format!("overrides: what was read before stays in force: {refused}"));
                said = refused;
            }
        }
    }

    /// Puts a table in force; whether it is another one.
    fn take(&self, table: OverridesTable, generator: Option<&Generator>) -> Result<bool, String> {
        if format!("{table:?}") == format!("{:?}", self.table.read()) {
            return Ok(false);
        }
        if let Some(generator) = generator {
            generator.set_overrides(&table).map_err(|error| error.to_string())?;
        }
        *self.table.write() = table;
        Ok(true)
    }

    /// Its counts, as Prometheus reads them.
    pub(crate) fn expose(&self) -> String {
        let mut page = Page::default();
        for (name, help, n) in [
            ("traceql_overrides_reads_total", "Times the overrides were read anew.", &self.reads),
            (
                "traceql_overrides_read_errors_total",
                "Times they could not be, so that the old ones stayed in force.",
                &self.errors,
            ),
        ] {
            page.single(name, Kind::Counter, help, n.load(Ordering::Relaxed));
        }
        page.single(
            "traceql_overrides_read_timestamp_seconds",
            Kind::Gauge,
            "When they were read last, since unix epoch; 0 is only at the start.",
            Duration::from_nanos(self.read_at.load(Ordering::Relaxed)).as_secs_f64(),
        );
        page.into_text()
    }
}

impl TenantOverrides {
    /// The limits of what the tenant sends.
    pub(crate) fn ingest(&self, limits: &IngestLimits) -> IngestLimits {
        IngestLimits {
            rate_bytes: self.rate_bytes.unwrap_or(limits.rate_bytes),
            burst_bytes: self.burst_bytes.unwrap_or(limits.burst_bytes),
            live_traces: self.live_traces.unwrap_or(limits.live_traces),
            trace_bytes: self.trace_bytes.unwrap_or(limits.trace_bytes),
            attribute_bytes: self.attribute_bytes.unwrap_or(limits.attribute_bytes),
            ..limits.clone()
        }
    }

    /// How the tenant's blocks are kept; `None`: as those of all.
    pub(crate) fn compact(
        &self,
        tenant: &TenantId,
        all: &CompactSettings,
    ) -> Option<CompactSettings> {
        let Self { retention, compaction_window, compaction_disabled, .. } = self;
        if retention.is_none() && compaction_window.is_none() && compaction_disabled.is_none() {
            return None;
        }
        let mut settings = all.clone();
        if let Some(keep) = *retention {
            let keep = Some(keep).filter(|keep| !keep.is_zero());
            settings.retention.keep_of_tenant.insert(tenant.clone(), keep);
        }
        match compaction_disabled {
            Some(true) => settings.compaction = None,
            Some(false) => settings.compaction = Some(settings.compaction.unwrap_or_default()),
            None => {}
        }
        if let (Some(window), Some(compaction)) = (compaction_window, &mut settings.compaction) {
            compaction.window = *window;
        }
        Some(settings)
    }
}

/// The smallest of what bounds the tenants of a query; `None` is no bound.
pub(crate) fn smallest(
    overrides: &Overrides,
    tenants: &[TenantId],
    of_all: Option<Duration>,
    of_one: fn(&TenantOverrides) -> Option<Duration>,
) -> Option<Duration> {
    let bound = |tenant: &TenantId| match of_one(&overrides.of(tenant)) {
        Some(own) => Some(own).filter(|own| !own.is_zero()),
        None => of_all,
    };
    match tenants {
        [] => of_all,
        tenants => tenants.iter().filter_map(bound).min(),
    }
}
