//! The arguments by which `serve` traces what it does itself, as clap sees them, and the variables of
//! OpenTelemetry that stand for them.

use clap::Args;
use traceql_server::TracingOptions;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::settings::World;

/// Where traces of our own go.
#[derive(Args, Debug)]
pub(crate) struct TracingArgs {
    /// Send traces of what the server does itself here, OTLP over HTTP, `http://127.0.0.1:4318`
    /// [default: what OTEL_EXPORTER_OTLP_ENDPOINT says, or nowhere]
    #[arg(long, value_name = "URL")]
    pub(crate) trace_to: Option<String>,
    /// A header of what is sent there, `Name: value`; may be repeated
    #[arg(long, value_name = "HEADER", hide_short_help = true)]
    pub(crate) trace_header: Vec<String>,
}

/// The variables, as the specification of OpenTelemetry names them.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// The path that traces are sent to where a URL names none.
const PATH: &str = "/v1/traces";

impl TracingArgs {
    /// Where traces go, if they go anywhere.
    ///
    /// # Errors
    /// Headers that are none; a protocol that is not spoken.
    pub(crate) fn options(&self, world: &World) -> Result<Option<TracingOptions>> {
        self.read(|name| world.variable(name))
    }

    fn read<'a>(
        &self,
        variable: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Option<TracingOptions>> {
        let Some(url) = self.url(&variable)? else {
            return match self.trace_header.is_empty() {
                true => Ok(None),
                false => Err(Error::usage("--trace-header without --trace-to")
                    .hint("with --trace-to http://127.0.0.1:4318")),
            };
        };
        let mut headers = pairs(HEADERS.iter().find_map(|name| variable(name)));
        for header in &self.trace_header {
            match header.split_once(':') {
                Some((name, value)) if !name.trim().is_empty() => {
                    headers.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                _ => {
                    let what = format!("--trace-header: {header:?} is no Name: value");
                    return Err(Error::usage(what));
                }
            }
        }
        let mut resource = pairs(variable(ATTRIBUTES));
        if let Some(name) = variable(SERVICE_NAME) {
            resource.retain(|(key, _)| key != "service.name");
            resource.insert(0, ("service.name".to_owned(), name.to_owned()));
        }
        for (key, value) in
            [("service.name", "traceql"), ("service.version", env!("CARGO_PKG_VERSION"))]
        {
            if !resource.iter().any(|(known, _)| known == key) {
                resource.push((key.to_owned(), value.to_owned()));
            }
        }
        Ok(Some(TracingOptions { url, headers, resource, new_id: Uuid::new_v4 }))
    }

    fn url<'a>(&self, variable: impl Fn(&str) -> Option<&'a str>) -> Result<Option<String>> {
        if let Some(url) = &self.trace_to {
            let has_path = url.split_once("://").is_some_and(|(_, rest)| {
                rest.split_once('/').is_some_and(|(_, path)| !path.is_empty())
            });
            return Ok(Some(if has_path { url.clone() } else { with_path(url) }));
        }
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|is| is == "true")
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter != "otlp");
        let url = match (variable(TRACES_ENDPOINT), variable(ENDPOINT)) {
            _ if is_off => return Ok(None),
            (Some(url), _) => url.to_owned(),
            (None, Some(base)) => with_path(base),
            (None, None) => return Ok(None),
        };
        let protocol = PROTOCOLS.iter().find_map(|name| variable(name));
        match protocol {
            None | Some("http/protobuf") => Ok(Some(url)),
            Some(other) => {
                let what = format!("traces of our own are sent as http/protobuf, not as {other}");
                Err(Error::usage(what).hint(format!(
                    "set {} to http/protobuf, or OTEL_TRACES_EXPORTER to none",
                    PROTOCOLS[1]
                )))
            }
        }
    }
}

fn with_path(base: &str) -> String {
    format!("{}{PATH}", base.trim_end_matches('/'))
}

/// `key=value,key=value`, values encoded as in URLs.
fn pairs(text: Option<&str>) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        let key = key.trim();
        (!key.is_empty()).then(|| (key.to_owned(), decoded(value.trim())))
    };
    text.unwrap_or_default().split(',').filter_map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        (rest, _) = match (first, byte) {
            (b'%', Some(byte)) => (&tail[2..], bytes.push(byte)),
            _ => (tail, bytes.push(first)),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(to: Option<&str>, environment: &[(&str, &str)]) -> Result<Option<TracingOptions>> {
        let variable = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
        };
        let arguments = TracingArgs { trace_to: to.map(str::to_owned), trace_header: Vec::new() };
        arguments.read(variable)
    }

    #[test]
    fn the_variables_of_opentelemetry_count() {
        assert!(options(None, &[]).unwrap().is_none());
        let url = |to, environment: &[_]| options(to, environment).unwrap().unwrap().url;
        assert_eq!(url(Some("http://a:1"), &[]), "http://a:1/v1/traces");
        assert_eq!(url(Some("http://a:1/"), &[]), "http://a:1/v1/traces");
        assert_eq!(url(Some("http://a:1/x"), &[(ENDPOINT, "http://b")]), "http://a:1/x");
        assert_eq!(url(None, &[(ENDPOINT, "http://b/p/")]), "http://b/p/v1/traces");
        let both = [(ENDPOINT, "http://b"), (TRACES_ENDPOINT, "http://c/as-it-is")];
        assert_eq!(url(None, &both), "http://c/as-it-is");
        let off = [(ENDPOINT, "http://b"), ("OTEL_TRACES_EXPORTER", "none")];
        assert!(options(None, &off).unwrap().is_none());
        let off = [(ENDPOINT, "http://b"), ("OTEL_SDK_DISABLED", "true")];
        assert!(options(None, &off).unwrap().is_none());
        let grpc = [(ENDPOINT, "http://b"), (PROTOCOLS[1], "grpc")];
        let told = options(None, &grpc).unwrap_err().to_string();
        assert!(told.contains("http/protobuf, not as grpc"), "{told}");
    }

    #[test]
    fn resource_and_headers_come_from_the_environment_too() {
        let environment = [
            (ENDPOINT, "http://b"),
            (HEADERS[1], "authorization=Basic%20eA==, x = y"),
            (ATTRIBUTES, "service.name=other,deployment.environment.name=prod,wrong"),
            (SERVICE_NAME, "mine"),
        ];
        let found = options(None, &environment).unwrap().unwrap();
        let texts = |pairs: &[(String, String)]| {
            pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(texts(&found.headers), ["authorization=Basic eA==", "x=y"]);
        let version = format!("service.version={}", env!("CARGO_PKG_VERSION"));
        assert_eq!(
            texts(&found.resource),
            ["service.name=mine", "deployment.environment.name=prod", &*version]
        );
    }
}
