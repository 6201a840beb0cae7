//! A tenant's series as text for a scrape: Prometheus' format 0.0.4, and OpenMetrics 1.0 with
//! exemplars.

use std::fmt::Write as _;

use super::registry::{Entry, Exemplar, Kind, Metric, Value};
use super::tenant::Tenant;

/// How series are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format.
    Text,
    /// OpenMetrics, which has exemplars.
    OpenMetrics,
}

impl Format {
    /// The format that an `Accept` header asks for.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// What the text is, for the header of an answer.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The text without series.
pub(super) fn nothing(format: Format) -> String {
    match format {
        Format::Text => String::new(),
        Format::OpenMetrics => "# EOF\n".to_owned(),
    }
}

/// All series of a tenant.
pub(super) fn write(tenant: &Tenant, format: Format) -> String {
    let mut writer = Writer {
        text: String::new(),
        labels: String::new(),
        format,
        has_buckets: tenant.registry.histograms().has_classic(),
        trace_id_label: &tenant.plan.options.trace_id_label,
    };
    if !tenant.plan.options.is_dry_run {
        for group in tenant.registry.groups() {
            for (idx, metric) in group.metrics().iter().enumerate() {
                writer.write_family(metric, idx, group.entries());
            }
        }
    }
    if format == Format::OpenMetrics {
        writer.text.push_str("# EOF\n");
    }
    writer.text
}

struct Writer<'a> {
    text: String,
    /// Labels of the entry that is being written, reused.
    labels: String,
    format: Format,
    has_buckets: bool,
    trace_id_label: &'a str,
}

impl Writer<'_> {
    fn write_family<'a>(
        &mut self,
        metric: &Metric,
        idx: usize,
        entries: impl Iterator<Item = &'a Entry>,
    ) {
        let mut is_first = true;
        for entry in entries {
            let Some(value) = entry.value(idx) else { continue };
            if is_first {
                self.write_head(metric);
                is_first = false;
            }
            self.labels.clear();
            for (name, value) in entry.labels.iter() {
                if !self.labels.is_empty() {
                    self.labels.push(',');
                }
                push_label(&mut self.labels, name, value);
            }
            self.write_value(metric.name, value);
        }
    }

    fn write_head(&mut self, metric: &Metric) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        // OpenMetrics names the family without the suffix of its samples.
        let name = match (self.format, &metric.kind) {
            (Format::OpenMetrics, Kind::Counter) => metric.name.trim_end_matches("_total"),
            _ => metric.name,
        };
        self.put(format_args!("# HELP {name} {}\n# TYPE {name} {kind}\n", metric.help));
    }

    fn write_value(&mut self, name: &str, value: &Value) {
        match value {
            Value::Counter(counter) => self.write_sample(name, "", "", counter.sum, None),
            Value::Gauge(value) => self.write_sample(name, "", "", *value, None),
            Value::Histogram(histogram) => {
                for bucket in histogram.buckets() {
                    // Without classic buckets there is only the one of all observations.
                    if !self.has_buckets && bucket.bound.is_finite() {
                        continue;
                    }
                    let mut bound = bound_text(bucket.bound);
                    // OpenMetrics wants the text of a float.
                    if self.format == Format::OpenMetrics && bucket.bound.fract() == 0.0 {
                        bound.push_str(".0");
                    }
                    self.write_sample(name, "_bucket", &bound, bucket.cumulative, bucket.exemplar);
                }
                self.write_sample(name, "_sum", "", histogram.sum, None);
                self.write_sample(name, "_count", "", histogram.count, None);
            }
        }
    }

    fn write_sample(
        &mut self,
        name: &str,
        suffix: &str,
        bound: &str,
        value: f64,
        exemplar: Option<&Exemplar>,
    ) {
        self.text.push_str(name);
        self.text.push_str(suffix);
        if !self.labels.is_empty() || !bound.is_empty() {
            self.text.push('{');
            self.text.push_str(&self.labels);
            if !bound.is_empty() {
                if !self.labels.is_empty() {
                    self.text.push(',');
                }
                push_label(&mut self.text, "le", bound);
            }
            self.text.push('}');
        }
        self.put(format_args!(" {value}"));
        if let (Format::OpenMetrics, Some(exemplar)) = (self.format, exemplar) {
            let label = self.trace_id_label;
            let id = trace_id_text(exemplar);
            let (seconds, millis) =
                (exemplar.unix_millis.div_euclid(1000), exemplar.unix_millis.rem_euclid(1000));
            self.put(format_args!(
                " # {{{label}=\"{id}\"}} {} {seconds}.{millis:03}",
                exemplar.value
            ));
        }
        self.text.push('\n');
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _written = self.text.write_fmt(arguments);
    }
}

/// The trace id of an exemplar: hexadecimal, without zeros in front (`api.md` 6.4).
pub(super) fn trace_id_text(exemplar: &Exemplar) -> String {
    format!("{:x}", u128::from_be_bytes(exemplar.trace.0))
}

/// An upper bound as the label `le` has it in remote write and Prometheus' text format.
pub(super) fn bound_text(bound: f64) -> String {
    if bound == f64::INFINITY { "+Inf".to_owned() } else { bound.to_string() }
}

fn push_label(to: &mut String, name: &str, value: &str) {
    to.push_str(name);
    to.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => to.push_str("\\\\"),
            '"' => to.push_str("\\\""),
            '\n' => to.push_str("\\n"),
            other => to.push(other),
        }
    }
    to.push('"');
}
