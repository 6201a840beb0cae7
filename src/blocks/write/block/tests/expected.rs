//! What is left of a trace after it was stored, told from the rules alone: attributes in another
//! order, and the values that columns of their own do not keep (`blocks.md` 4.5 to 4.7, 5.3).

use super::*;
use crate::bucket::meta::{DedicatedScope, DedicatedType};
use crate::model::{AttributeValue, KeyValue};

/// Columns that one attribute has to itself, in the order in which they are read back.
fn own_columns(settings: &BlockSettings, scope: DedicatedScope) -> Vec<(String, DedicatedType)> {
    use DedicatedType::{Int, String as Text};
    let dedicated = settings.dedicated_columns.iter().filter(|column| column.scope == scope);
    let mut own: Vec<_> =
        dedicated.map(|column| (column.name.clone(), column.column_type)).collect();
    let is_v4 = settings.version == FormatVersion::VParquet4;
    let well_known: &[(&str, DedicatedType)] = match scope {
        DedicatedScope::Resource => &[
            ("service.name", Text),
            ("cluster", Text),
            ("namespace", Text),
            ("pod", Text),
            ("container", Text),
            ("k8s.cluster.name", Text),
            ("k8s.namespace.name", Text),
            ("k8s.pod.name", Text),
            ("k8s.container.name", Text),
        ],
        DedicatedScope::Span => {
            &[("http.method", Text), ("http.url", Text), ("http.status_code", Int)]
        }
        DedicatedScope::Event => &[],
    };
    let n_in_v5 = usize::from(scope == DedicatedScope::Resource);
    let n = if is_v4 { well_known.len() } else { n_in_v5 };
    own.extend(well_known[..n].iter().map(|(name, kind)| ((*name).to_owned(), *kind)));
    own
}

fn stored_attributes(attributes: &mut Vec<KeyValue>, own: &[(String, DedicatedType)], lists: bool) {
    let mut at_end = Vec::new();
    for (name, kind) in own {
        let fits = |value: &AttributeValue| match value {
            AttributeValue::String(_) => *kind == DedicatedType::String,
            AttributeValue::Int(_) => *kind == DedicatedType::Int,
            _ => false,
        };
        // Lists are for dedicated columns of vParquet5 alone.
        let takes_lists = lists && name != "service.name";
        let held = |kv: &KeyValue| {
            kv.key == *name
                && match &kv.value {
                    AttributeValue::Array(values) if takes_lists => {
                        !values.is_empty() && values.iter().all(fits)
                    }
                    scalar => fits(scalar),
                }
        };
        let last = attributes.iter().rfind(|kv| held(kv)).cloned();
        attributes.retain(|kv| !held(kv));
        at_end.extend(last.map(|mut kv| {
            if let AttributeValue::Array(values) = &mut kv.value
                && values.len() == 1
            {
                kv.value = values.remove(0);
            }
            kv
        }));
    }
    let is_nameless = |kv: &KeyValue| {
        kv.key == "service.name" && kv.value == AttributeValue::String(String::new())
    };
    at_end.retain(|kv| !is_nameless(kv) || !own.iter().any(|own| own.0 == "service.name"));
    attributes.append(&mut at_end);
}

/// The trace as it is read back.
pub(super) fn stored(trace: &Trace, settings: &BlockSettings) -> Trace {
    let lists = settings.version == FormatVersion::VParquet5;
    let [of_resources, of_spans, of_events] =
        [DedicatedScope::Resource, DedicatedScope::Span, DedicatedScope::Event]
            .map(|scope| own_columns(settings, scope));
    let mut trace = trace.clone();
    for resource_spans in &mut trace.resource_spans {
        stored_attributes(&mut resource_spans.resource.attributes, &of_resources, lists);
        for span in resource_spans.scope_spans.iter_mut().flat_map(|ss| &mut ss.spans) {
            stored_attributes(&mut span.attributes, &of_spans, lists);
            for event in &mut span.events {
                stored_attributes(&mut event.attributes, &of_events, lists);
            }
        }
    }
    trace
}
