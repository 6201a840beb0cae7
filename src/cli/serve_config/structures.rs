//! Settings that are lists of mappings: receivers of remote write, policies and labels of span metrics,
//! dedicated columns; read from a file, and written as one line of it.

use traceql_blocks::bucket::meta::{DedicatedColumn, DedicatedScope, DedicatedType};
use traceql_server::generator::{
    DimensionMapping, FilterPolicy, PolicyMatch, PolicyValue, RemoteWriteOptions,
};

use super::value::{Form, Value, quoted};
use crate::document::{Content, Fields, File, Node};
use crate::error::Result;

/// The elements of a list.
fn items<'a>(file: &File, node: &'a Node, what: &str) -> Result<&'a [Node]> {
    match &node.content {
        Content::List(items) => Ok(items),
        _ => {
            let message = format!("expected a list of {what}, found {}", node.kind());
            Err(file.error(node.wrong(message)))
        }
    }
}

fn texts(file: &File, fields: &Fields<'_>, key: &str) -> Result<Vec<String>> {
    match fields.get(key)? {
        None => Ok(Vec::new()),
        Some(node) => Ok(Form::Texts.read(file, key, node)?.list()),
    }
}

/// Receivers of Prometheus' remote write.
pub(super) fn remote_write(file: &File, node: &Node) -> Result<Value> {
    const KEYS: &[&str] = &["url", "name", "headers", "remote_timeout", "send_exemplars"];
    let mut receivers = Vec::new();
    for node in items(file, node, "receivers")? {
        let fields = Fields::of(file, node, "a receiver", KEYS)?;
        let mut receiver =
            RemoteWriteOptions::new(fields.required_text("url", "a receiver")?.value);
        if let Some(headers) = fields.get("headers")?
            && let Value::Labels(headers) = Form::Labels.read(file, "headers", headers)?
        {
            receiver.headers = headers;
        }
        if let Some(timeout) = fields.get("remote_timeout")? {
            receiver.timeout = Form::Duration.read(file, "remote_timeout", timeout)?.duration();
        }
        if let Some(sends) = fields.flag("send_exemplars")? {
            receiver.send_exemplars = sends;
        }
        receivers.push(receiver);
    }
    Ok(Value::RemoteWrite(receivers))
}

/// A receiver without its secrets: headers, and the password of its URL.
pub(super) fn receiver_yaml(receiver: &RemoteWriteOptions) -> String {
    let url = match url::Url::parse(&receiver.url) {
        Ok(mut url) if url.password().is_some() => {
            // Only URLs without a host cannot have one, and have none then.
            let _without = url.set_password(None);
            url.to_string()
        }
        _ => receiver.url.clone(),
    };
    let timeout = Value::Duration(receiver.timeout).yaml();
    format!(
        "{{\"url\": {}, \"remote_timeout\": {timeout}, \"send_exemplars\": {}}}",
        quoted(&url),
        receiver.send_exemplars
    )
}

/// Policies on which spans count.
pub(super) fn policies(file: &File, node: &Node) -> Result<Value> {
    let mut policies = Vec::new();
    for node in items(file, node, "policies")? {
        let fields = Fields::of(file, node, "a policy", &["include", "include_any", "exclude"])?;
        let part = |key: &str| fields.get(key)?.map(|node| policy_match(file, node)).transpose();
        policies.push(FilterPolicy {
            include: part("include")?,
            include_any: part("include_any")?,
            exclude: part("exclude")?,
        });
    }
    Ok(Value::Policies(policies))
}

fn policy_match(file: &File, node: &Node) -> Result<PolicyMatch> {
    let fields = Fields::of(file, node, "a part of a policy", &["match_type", "attributes"])?;
    let kind = fields.get("match_type")?;
    let kind = kind.map(|node| Form::Choice(&["strict", "regex"]).read(file, "match_type", node));
    let is_regex = kind.transpose()?.is_some_and(|kind| kind.text() == "regex");
    let mut attributes = Vec::new();
    for node in fields.get("attributes")?.map_or(Ok(&[][..]), |n| items(file, n, "attributes"))? {
        let fields = Fields::of(file, node, "an attribute", &["key", "value"])?;
        let key = fields.required_text("key", "an attribute")?.value.to_owned();
        let text = fields.required_text("value", "an attribute")?;
        let is_plain = matches!(text.node.content, Content::Scalar { is_plain: true, .. });
        let own = || PolicyValue::String(text.value.to_owned());
        let value = match text.value {
            _ if is_regex || !is_plain => own(),
            "true" => PolicyValue::Bool(true),
            "false" => PolicyValue::Bool(false),
            other => match (other.parse(), other.parse()) {
                (Ok(number), _) => PolicyValue::Int(number),
                (_, Ok(number)) => PolicyValue::Double(number),
                _ => own(),
            },
        };
        attributes.push((key, value));
    }
    Ok(PolicyMatch { is_regex, attributes })
}

pub(super) fn policy_yaml(policy: &FilterPolicy) -> String {
    let parts = [
        ("include", &policy.include),
        ("include_any", &policy.include_any),
        ("exclude", &policy.exclude),
    ];
    let part = |(name, part): (&str, &Option<PolicyMatch>)| {
        let part = part.as_ref()?;
        let kind = if part.is_regex { "regex" } else { "strict" };
        let attribute = |(key, value): &(String, PolicyValue)| {
            let value = match value {
                PolicyValue::String(text) => quoted(text),
                PolicyValue::Int(number) => number.to_string(),
                PolicyValue::Double(number) => format!("{number:?}"),
                PolicyValue::Bool(flag) => flag.to_string(),
            };
            format!("{{\"key\": {}, \"value\": {value}}}", quoted(key))
        };
        let attributes: Vec<_> = part.attributes.iter().map(attribute).collect();
        let attributes = attributes.join(", ");
        Some(format!("\"{name}\": {{\"match_type\": \"{kind}\", \"attributes\": [{attributes}]}}"))
    };
    format!("{{{}}}", parts.into_iter().filter_map(part).collect::<Vec<_>>().join(", "))
}

/// Labels made of several attributes.
pub(super) fn mappings(file: &File, node: &Node) -> Result<Value> {
    let mut mappings = Vec::new();
    for node in items(file, node, "mappings")? {
        let keys = &["name", "source_labels", "join"];
        let fields = Fields::of(file, node, "a mapping", keys)?;
        mappings.push(DimensionMapping {
            name: fields.required_text("name", "a mapping")?.value.to_owned(),
            source_labels: texts(file, &fields, "source_labels")?,
            join: fields.text("join")?.map(|join| join.value.to_owned()).unwrap_or_default(),
        });
    }
    Ok(Value::Mappings(mappings))
}

pub(super) fn mapping_yaml(mapping: &DimensionMapping) -> String {
    let labels = Value::Texts(mapping.source_labels.clone()).yaml();
    let (name, join) = (quoted(&mapping.name), quoted(&mapping.join));
    format!("{{\"name\": {name}, \"source_labels\": {labels}, \"join\": {join}}}")
}

/// Attributes that get a column of their own.
pub(super) fn columns(file: &File, node: &Node) -> Result<Value> {
    let mut columns = Vec::new();
    for node in items(file, node, "columns")? {
        let keys = &["scope", "name", "type", "options"];
        let fields = Fields::of(file, node, "a column", keys)?;
        let choice = |key: &str, words, default: &str| -> Result<String> {
            match fields.get(key)? {
                Some(node) => Ok(Form::Choice(words).read(file, key, node)?.text()),
                None => Ok(default.to_owned()),
            }
        };
        let scope = match choice("scope", &["resource", "span", "event"], "span")?.as_str() {
            "resource" => DedicatedScope::Resource,
            "event" => DedicatedScope::Event,
            _ => DedicatedScope::Span,
        };
        let column_type = match choice("type", &["string", "int"], "string")?.as_str() {
            "int" => DedicatedType::Int,
            _ => DedicatedType::String,
        };
        let options = match fields.get("options")? {
            Some(node) => Form::Choices(&["blob", "array"]).read(file, "options", node)?.list(),
            None => Vec::new(),
        };
        let has = |option: &str| options.iter().any(|found| found == option);
        columns.push(DedicatedColumn {
            scope,
            name: fields.required_text("name", "a column")?.value.to_owned(),
            column_type,
            blob: has("blob"),
            array: has("array"),
        });
    }
    Ok(Value::Columns(columns))
}

pub(super) fn column_yaml(column: &DedicatedColumn) -> String {
    let column_type = match column.column_type {
        DedicatedType::Int => "int",
        DedicatedType::String => "string",
    };
    let options = [(column.blob, "blob"), (column.array, "array")];
    let options = options.into_iter().filter(|(is_set, _)| *is_set);
    let options = Value::Texts(options.map(|(_, option)| option.to_owned()).collect()).yaml();
    let (scope, name) = (column.scope.as_str(), quoted(&column.name));
    format!(
        "{{\"scope\": \"{scope}\", \"name\": {name}, \"type\": \"{column_type}\", \
         \"options\": {options}}}"
    )
}
