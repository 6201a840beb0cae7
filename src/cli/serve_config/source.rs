//! Where the data is as Tempo says it, by a backend and its parts, as the URL that options have.

use super::setting::{Sets, Setting};
use super::value::Value;
use crate::document::{File, Node};
use crate::error::Result;

/// A setting that was read, and where.
pub(super) struct Read<'a> {
    pub(super) setting: &'static Setting,
    pub(super) value: Value,
    pub(super) key: &'a Node,
}

/// Arguments that the parts come to: the source, and whether stores are talked to without TLS.
///
/// # Errors
/// Parts of different backends, a backend without its bucket, and a source said twice.
pub(super) fn arguments(
    file: &File,
    read: &[Read<'_>],
) -> Result<Vec<(&'static str, Vec<String>)>> {
    let find = |path: &str| read.iter().find(|read| read.setting.path == path);
    let text = |path: &str| find(path).map(|read| read.value.clone().text());
    let mut arguments = Vec::new();
    let is_insecure =
        find("storage.trace.s3.insecure").is_some_and(|read| read.value.clone().flag());
    if is_insecure {
        arguments.push(("allow_http", vec!["true".to_owned()]));
    }
    if let Some(endpoint) = text("storage.trace.s3.endpoint") {
        // Tempo's has no scheme, ours is a URL.
        let scheme = if is_insecure { "http" } else { "https" };
        let url = match endpoint.contains("://") {
            true => endpoint,
            false => format!("{scheme}://{endpoint}"),
        };
        arguments.push(("s3_endpoint", vec![url]));
    }
    let Some(backend) = find("storage.trace.backend") else {
        let lonely = read.iter().find(|read| {
            matches!(read.setting.sets, Sets::Source)
                && read.setting.path != "storage.trace.s3.insecure"
        });
        return match lonely {
            None => Ok(arguments),
            Some(lonely) => {
                let wrong =
                    lonely.key.wrong(format!("`{}` without a backend", lonely.setting.path));
                let hint = "say `storage.trace.backend`: local, s3, gcs or azure";
                Err(file.error(wrong.hint(hint)))
            }
        };
    };
    if let Some(twice) = find("storage.trace.source") {
        let wrong = twice.key.wrong("`storage.trace.source` and `storage.trace.backend`");
        return Err(file.error(wrong.hint("either says where the bucket is; keep one of them")));
    }
    let name = backend.value.clone().text();
    let (bucket, prefix, scheme) = match name.as_str() {
        "local" => ("storage.trace.local.path", "", ""),
        "s3" => ("storage.trace.s3.bucket", "storage.trace.s3.prefix", "s3://"),
        "gcs" => ("storage.trace.gcs.bucket_name", "storage.trace.gcs.prefix", "gs://"),
        _ => ("storage.trace.azure.container_name", "storage.trace.azure.prefix", "az://"),
    };
    let Some(bucket_name) = text(bucket).filter(|name| !name.is_empty()) else {
        let wrong = backend.key.wrong(format!("the backend `{name}` needs `{bucket}`"));
        return Err(file.error(wrong));
    };
    let prefix = text(prefix).map(|prefix| prefix.trim_matches('/').to_owned());
    let url = match prefix.filter(|prefix| !prefix.is_empty()) {
        Some(prefix) => format!("{scheme}{bucket_name}/{prefix}"),
        None => format!("{scheme}{bucket_name}"),
    };
    arguments.push(("source", vec![url]));
    Ok(arguments)
}
