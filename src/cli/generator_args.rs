//! The arguments by which `serve` makes metrics of the spans it takes in, as clap sees them, and what
//! they mean to the server.

use clap::{Args, ValueEnum};
use traceql_server::generator::{
    GeneratorOptions, Histograms, Processors, RemoteWriteOptions, SeriesLimits,
};

use crate::error::{Error, Result};
use crate::metric_label_args::MetricLabelArgs;
use crate::serve_config::{Given, ServeFile};
use crate::settings;

pub(crate) const GENERATOR: &str = "Making metrics of spans";

/// How metrics are made.
#[derive(Args, Debug)]
pub(crate) struct GeneratorArgs {
    /// Make metrics of spans, scraped at /metrics/generated: span-metrics, service-graphs,
    /// host-info, or parts of them
    #[arg(help_heading = GENERATOR, long, value_delimiter = ',', value_name = "NAME,…")]
    pub(crate) metrics_processors: Vec<String>,
    /// Send them to a receiver of Prometheus' remote write, too; may be repeated
    #[arg(help_heading = GENERATOR, long, value_name = "URL")]
    pub(crate) remote_write: Vec<String>,
    /// A header of what is sent, `Name: value`; may be repeated
    #[arg(help_heading = GENERATOR, long, value_name = "HEADER", hide_short_help = true)]
    pub(crate) remote_write_header: Vec<String>,
    /// A label of every series that is sent, `name=value`; may be repeated
    #[arg(help_heading = GENERATOR, long, value_name = "LABEL", hide_short_help = true)]
    pub(crate) external_label: Vec<String>,
    /// Value of the label __metrics_gen_instance of what is sent [default: the name of the host]
    #[arg(help_heading = GENERATOR, long, value_name = "NAME", env = "HOSTNAME", hide_env = true, hide_short_help = true)]
    pub(crate) metrics_instance: Option<String>,
    /// How often series are sent [default: 15s]
    #[arg(help_heading = GENERATOR, long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) metrics_interval: Option<String>,
    #[command(flatten)]
    pub(crate) labels: MetricLabelArgs,
    /// Make a label of each side of them: client_… and server_…
    #[arg(help_heading = GENERATOR, long, hide_short_help = true)]
    pub(crate) graph_dimensions_by_side: bool,
    /// Upper bounds of buckets of span latencies, seconds [default: 0.002,0.004,…,16.384]
    #[arg(help_heading = GENERATOR, long, value_delimiter = ',', value_name = "BOUND,…", hide_short_help = true)]
    pub(crate) span_buckets: Vec<f64>,
    /// Upper bounds of buckets of the service graph's latencies, seconds [default: 0.1,0.2,…,12.8]
    #[arg(help_heading = GENERATOR, long, value_delimiter = ',', value_name = "BOUND,…", hide_short_help = true)]
    pub(crate) graph_buckets: Vec<f64>,
    /// How long one side of a request waits for the other [default: 10s]
    #[arg(help_heading = GENERATOR, long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) graph_wait: Option<String>,
    /// Most requests of which one side waits for the other
    #[arg(help_heading = GENERATOR, long, default_value_t = 10_000, value_name = "N", hide_short_help = true)]
    pub(crate) graph_max_items: usize,
    /// Say which service is a guess, in the label virtual_node
    #[arg(help_heading = GENERATOR, long, hide_short_help = true)]
    pub(crate) graph_virtual_node_label: bool,
    /// Make a histogram of the times that messages wait
    #[arg(help_heading = GENERATOR, long, hide_short_help = true)]
    pub(crate) graph_messaging_latency: bool,
    /// Make traces_target_info of resources, and labels job and instance
    #[arg(help_heading = GENERATOR, long, hide_short_help = true)]
    pub(crate) target_info: bool,
    /// Attribute that holds the ratio at which spans were sampled
    #[arg(help_heading = GENERATOR, long, value_name = "KEY", hide_short_help = true)]
    pub(crate) span_multiplier_key: Option<String>,
    /// In which form histograms are sent
    #[arg(help_heading = GENERATOR, long, value_enum, default_value_t = HistogramForm::Classic, value_name = "FORM", hide_short_help = true)]
    pub(crate) histograms: HistogramForm,
    /// Most series of a tenant, buckets included; others are counted together; 0 is none
    #[arg(help_heading = GENERATOR, long, default_value_t = 0, value_name = "N", hide_short_help = true)]
    pub(crate) max_active_series: usize,
    /// Most sets of labels of a tenant; others are counted together; 0 is none
    #[arg(help_heading = GENERATOR, long, default_value_t = 0, value_name = "N", hide_short_help = true)]
    pub(crate) max_active_entities: usize,
    /// Most values of a label; others are counted together; 0 is none
    #[arg(help_heading = GENERATOR, long, default_value_t = 0, value_name = "N", hide_short_help = true)]
    pub(crate) max_label_values: usize,
    /// Count, but neither send nor show: to see how many series there would be
    #[arg(help_heading = GENERATOR, long, hide_short_help = true)]
    pub(crate) metrics_dry_run: bool,
    /// Spans that ended longer ago are not counted [default: 30s]
    #[arg(help_heading = GENERATOR, long, value_name = "DURATION", hide_short_help = true)]
    pub(crate) metrics_slack: Option<String>,
}

/// In which form histograms are sent.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HistogramForm {
    /// A series for every bucket.
    Classic,
    /// One series with all of them.
    Native,
    /// Either.
    Both,
}

impl GeneratorArgs {
    /// What the server is to do, with what a file says besides. Without processors it does nothing, but
    /// for tenants that have their own.
    ///
    /// # Errors
    /// Arguments that say nothing.
    pub(crate) fn options(
        &self,
        file: Option<&ServeFile>,
        given: &Given,
        clock: fn() -> u64,
        log: fn(&str),
    ) -> Result<GeneratorOptions> {
        let mut options = GeneratorOptions::new(clock, log);
        if self.remote_write.is_empty() {
            if let Some(header) = self.remote_write_header.first() {
                return Err(Error::usage(format!(
                    "--remote-write-header {header:?} has no receiver"
                ))
                .hint("name one with --remote-write URL; of a file's, the file says the headers"));
            }
            options.remote_write = file.map(ServeFile::receivers).unwrap_or_default();
        }
        if let Some(interval) =
            settings::duration("metrics-interval", self.metrics_interval.as_deref())?
        {
            options.collection_interval = interval;
        }
        for url in &self.remote_write {
            let mut receiver = RemoteWriteOptions::new(url);
            for header in &self.remote_write_header {
                let (name, value) = pair("remote-write-header", header, ':')?;
                receiver.headers.push((name, value));
            }
            options.remote_write.push(receiver);
        }
        for label in &self.external_label {
            let (name, value) = pair("external-label", label, '=')?;
            options.external_labels.insert(name, value);
        }
        options.instance = match &self.metrics_instance {
            Some(name) => name.clone(),
            None => std::fs::read_to_string("/etc/hostname").unwrap_or_default().trim().to_owned(),
        };
        let metrics = &mut options.defaults;
        for name in &self.metrics_processors {
            metrics.processors.enable(name).map_err(|unknown| {
                Error::usage(format!("--metrics-processors: {unknown}"))
                    .hint(format!("write --metrics-processors {}", Processors::NAMES[0]))
            })?;
        }
        if let Some(slack) = settings::duration("metrics-slack", self.metrics_slack.as_deref())? {
            metrics.time_range_slack = slack;
        }
        metrics.limits = SeriesLimits {
            max_active_series: self.max_active_series,
            max_active_entities: self.max_active_entities,
            max_cardinality_per_label: self.max_label_values,
        };
        metrics.is_dry_run = self.metrics_dry_run;
        self.labels.set(metrics)?;
        metrics.histograms = match self.histograms {
            HistogramForm::Classic => Histograms::Classic,
            HistogramForm::Native => Histograms::Native,
            HistogramForm::Both => Histograms::Both,
        };
        let spans = &mut metrics.span_metrics;
        spans.enable_target_info = self.target_info;
        spans.span_multiplier_key.clone_from(&self.span_multiplier_key);
        if !self.span_buckets.is_empty() {
            spans.histogram_buckets.clone_from(&self.span_buckets);
        }
        let graph = &mut metrics.service_graphs;
        graph.enable_client_server_prefix = self.graph_dimensions_by_side;
        graph.enable_virtual_node_label = self.graph_virtual_node_label;
        graph.enable_messaging_system_latency_histogram = self.graph_messaging_latency;
        graph.max_items = self.graph_max_items;
        if !self.graph_buckets.is_empty() {
            graph.histogram_buckets.clone_from(&self.graph_buckets);
        }
        if let Some(wait) = settings::duration("graph-wait", self.graph_wait.as_deref())? {
            graph.wait = wait;
        }
        if let Some(file) = file {
            file.set_generator(&mut options, given);
        }
        Ok(options)
    }
}

/// Both sides of a text, without blanks around them.
fn pair(option: &str, text: &str, between: char) -> Result<(String, String)> {
    match text.split_once(between) {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(Error::usage(format!("--{option}: {text:?} is no name{between}value"))),
    }
}
