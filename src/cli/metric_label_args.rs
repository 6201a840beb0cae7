//! The arguments that say which spans are counted by metrics made of spans, and with which labels, as
//! clap sees them, and what they mean to the server.

use clap::Args;
use traceql_server::generator::{
    DimensionMapping, FilterPolicy, IntrinsicDimensions, PolicyMatch, PolicyValue, TenantMetrics,
};

use crate::error::{Error, Result};
use crate::generator_args::GENERATOR;

/// Which spans are counted, and with which labels.
#[derive(Args, Debug)]
pub(crate) struct MetricLabelArgs {
    /// Count spans alone that meet a rule: KEY=VALUE or KEY=~REGEX, several with && between; a key is
    /// kind, name, status, resource.… or span.…; of several rules all
    #[arg(help_heading = GENERATOR, long, value_name = "RULE", hide_short_help = true)]
    pub(crate) span_include: Vec<String>,
    /// Count spans that meet this rule whatever else they must meet; of several rules any
    #[arg(help_heading = GENERATOR, long, value_name = "RULE", hide_short_help = true)]
    pub(crate) span_include_any: Vec<String>,
    /// Count no spans that meet a rule; of several rules any
    #[arg(help_heading = GENERATOR, long, value_name = "RULE", hide_short_help = true)]
    pub(crate) span_exclude: Vec<String>,
    /// An attribute that is a label of span metrics; may be repeated
    #[arg(help_heading = GENERATOR, long, value_name = "KEY", hide_short_help = true)]
    pub(crate) span_dimension: Vec<String>,
    /// A label made of several attributes with / between, `name=key,key`; may be repeated
    #[arg(help_heading = GENERATOR, long, value_name = "LABEL", hide_short_help = true)]
    pub(crate) span_dimension_mapping: Vec<String>,
    /// Which labels all span metrics have: service, span_name, span_kind, status_code, status_message
    /// [default: all but the last]
    #[arg(help_heading = GENERATOR, long, value_delimiter = ',', value_name = "NAME,…", hide_short_help = true)]
    pub(crate) span_intrinsics: Option<Vec<String>>,
    /// Take the ratio at which spans were sampled from ot=th: of their trace state
    #[arg(help_heading = GENERATOR, long, hide_short_help = true)]
    pub(crate) span_tracestate_multiplier: bool,
    /// A resource attribute that is no label of traces_target_info; may be repeated
    #[arg(help_heading = GENERATOR, long, value_name = "KEY", requires = "target_info", hide_short_help = true)]
    pub(crate) target_info_exclude: Vec<String>,
    /// Leave out the label instance that goes with traces_target_info
    #[arg(help_heading = GENERATOR, long, requires = "target_info", hide_short_help = true)]
    pub(crate) no_instance_label: bool,
    /// An attribute of either side that is a label of the service graph; may be repeated
    #[arg(help_heading = GENERATOR, long, value_name = "KEY", hide_short_help = true)]
    pub(crate) graph_dimension: Vec<String>,
    /// Attributes that name the other side of a request if it does not come itself, the first that is
    /// there [default: peer.service,db.name,db.system,db.system.name]
    #[arg(help_heading = GENERATOR, long, value_delimiter = ',', value_name = "KEY,…", hide_short_help = true)]
    pub(crate) graph_peer_attributes: Vec<String>,
    /// Attributes of which a client span has one if it asks a database
    /// [default: db.namespace,db.name,db.system,db.system.name]
    #[arg(help_heading = GENERATOR, long, value_delimiter = ',', value_name = "KEY,…", hide_short_help = true)]
    pub(crate) graph_database_attributes: Vec<String>,
    /// Resource attributes that name a host, the first that is there [default: k8s.node.name,host.id]
    #[arg(help_heading = GENERATOR, long, value_delimiter = ',', value_name = "KEY,…", hide_short_help = true)]
    pub(crate) host_identifiers: Vec<String>,
    /// Label of exemplars that holds the trace id [default: traceID]
    #[arg(help_heading = GENERATOR, long, value_name = "NAME", hide_short_help = true)]
    pub(crate) trace_id_label: Option<String>,
}

impl MetricLabelArgs {
    /// Sets what is said.
    ///
    /// # Errors
    /// Rules and labels that say nothing.
    pub(crate) fn set(&self, metrics: &mut TenantMetrics) -> Result<()> {
        let spans = &mut metrics.span_metrics;
        spans.filter_policies = self.policies()?;
        spans.dimensions.clone_from(&self.span_dimension);
        for text in &self.span_dimension_mapping {
            spans.dimension_mappings.push(mapping(text)?);
        }
        if let Some(names) = &self.span_intrinsics {
            spans.intrinsics = intrinsics(names)?;
        }
        spans.enable_tracestate_span_multiplier = self.span_tracestate_multiplier;
        spans.target_info_excluded_dimensions.clone_from(&self.target_info_exclude);
        spans.enable_instance_label = !self.no_instance_label;
        let graph = &mut metrics.service_graphs;
        graph.dimensions.clone_from(&self.graph_dimension);
        for (given, setting) in [
            (&self.graph_peer_attributes, &mut graph.peer_attributes),
            (&self.graph_database_attributes, &mut graph.database_name_attributes),
            (&self.host_identifiers, &mut metrics.host_identifiers),
        ] {
            if !given.is_empty() {
                setting.clone_from(given);
            }
        }
        if let Some(label) = &self.trace_id_label {
            metrics.trace_id_label.clone_from(label);
        }
        Ok(())
    }

    fn policies(&self) -> Result<Vec<FilterPolicy>> {
        let mut policies = Vec::new();
        for text in &self.span_include {
            let include = Some(rule("span-include", text)?);
            policies.push(FilterPolicy { include, ..FilterPolicy::default() });
        }
        for text in &self.span_include_any {
            let include_any = Some(rule("span-include-any", text)?);
            policies.push(FilterPolicy { include_any, ..FilterPolicy::default() });
        }
        for text in &self.span_exclude {
            let exclude = Some(rule("span-exclude", text)?);
            policies.push(FilterPolicy { exclude, ..FilterPolicy::default() });
        }
        Ok(policies)
    }
}

/// `KEY=VALUE` or `KEY=~REGEX`, several with `&&` between.
fn rule(option: &str, text: &str) -> Result<PolicyMatch> {
    let mut is_regex = false;
    let mut tests = Vec::new();
    for test in text.split("&&") {
        let (key, value) =
            test.split_once('=').filter(|(key, _)| !key.trim().is_empty()).ok_or_else(|| {
                Error::usage(format!("--{option}: {:?} is no KEY=VALUE", test.trim()))
                    .hint(format!("write --{option} 'kind=SPAN_KIND_SERVER && span.x=~\"a.*\"'"))
            })?;
        let (is_pattern, value) = match value.strip_prefix('~') {
            Some(pattern) => (true, pattern),
            None => (false, value),
        };
        is_regex |= is_pattern;
        tests.push((key.trim().to_owned(), is_pattern, value.trim()));
    }
    let attribute = |(key, is_pattern, text): (String, bool, &str)| {
        let value = match (is_pattern, value(text)) {
            (true, _) => PolicyValue::String(unquoted(text).unwrap_or(text).to_owned()),
            // Among regular expressions a text is one that matches nothing else.
            (false, PolicyValue::String(text)) if is_regex => {
                PolicyValue::String(format!("^{}$", regex::escape(&text)))
            }
            (false, value) => value,
        };
        (key, value)
    };
    Ok(PolicyMatch { is_regex, attributes: tests.into_iter().map(attribute).collect() })
}

/// A value as TraceQL writes it; a bare word is text too.
fn value(text: &str) -> PolicyValue {
    if let Some(text) = unquoted(text) {
        return PolicyValue::String(text.to_owned());
    }
    if let Ok(number) = text.parse() {
        return PolicyValue::Int(number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => PolicyValue::Double(number),
        _ => match text.parse() {
            Ok(truth) => PolicyValue::Bool(truth),
            Err(_) => PolicyValue::String(text.to_owned()),
        },
    }
}

fn unquoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

fn mapping(text: &str) -> Result<DimensionMapping> {
    let keys = |keys: &str| -> Vec<String> {
        keys.split(',').map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).collect()
    };
    let split = text.split_once('=').map(|(name, list)| (name.trim(), keys(list)));
    match split {
        Some((name, source_labels)) if !name.is_empty() && !source_labels.is_empty() => {
            Ok(DimensionMapping { name: name.to_owned(), source_labels, join: "/".to_owned() })
        }
        _ => Err(Error::usage(format!("--span-dimension-mapping: {text:?} is no name=key,key"))),
    }
}

fn intrinsics(names: &[String]) -> Result<IntrinsicDimensions> {
    let mut all = IntrinsicDimensions {
        service: false,
        span_name: false,
        span_kind: false,
        status_code: false,
        status_message: false,
    };
    for name in names {
        let switch = match name.as_str() {
            "service" => &mut all.service,
            "span_name" => &mut all.span_name,
            "span_kind" => &mut all.span_kind,
            "status_code" => &mut all.status_code,
            "status_message" => &mut all.status_message,
            // No label at all.
            "" => continue,
            other => {
                return Err(Error::usage(format!("--span-intrinsics: {other:?} is no label"))
                    .hint("there are service, span_name, span_kind, status_code, status_message"));
            }
        };
        *switch = true;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(text: &str) -> (bool, Vec<(String, PolicyValue)>) {
        let rule = rule("span-include", text).unwrap();
        (rule.is_regex, rule.attributes)
    }

    #[test]
    fn a_rule_has_values_of_every_type() {
        let text = |text: &str| PolicyValue::String(text.to_owned());
        let (is_regex, found) = attributes(
            "kind=SPAN_KIND_SERVER && span.n = 5&&span.t=\"5\" && span.b=true && span.d=.5",
        );
        assert!(!is_regex);
        let expected = [
            ("kind", text("SPAN_KIND_SERVER")),
            ("span.n", PolicyValue::Int(5)),
            ("span.t", text("5")),
            ("span.b", PolicyValue::Bool(true)),
            ("span.d", PolicyValue::Double(0.5)),
        ];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value)));
        let (is_regex, found) = attributes(r#"name=~"GET .*" && span.path=/a.b"#);
        assert!(is_regex);
        assert_eq!(found[0].1, text("GET .*"));
        assert_eq!(found[1].1, text(r"^/a\.b$"));
        assert!(rule("span-include", "kind").is_err());
        assert!(rule("span-include", "=x").is_err());
    }

    #[test]
    fn mappings_and_labels_are_named() {
        let found = mapping("route = http.method, http.route").unwrap();
        assert_eq!((found.name.as_str(), found.join.as_str()), ("route", "/"));
        assert_eq!(found.source_labels, ["http.method", "http.route"]);
        for wrong in ["route", "=a", "route=", "route=,"] {
            assert!(mapping(wrong).is_err(), "{wrong}");
        }
        let some = intrinsics(&["service".to_owned(), "status_message".to_owned()]).unwrap();
        assert!(some.service && some.status_message && !some.span_name && !some.status_code);
        assert!(intrinsics(&["kind".to_owned()]).is_err());
    }
}
