//! The path on which a Prometheus scrapes generated metrics.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::get;
use traceql_blocks::bucket::tenant::TenantId;

use super::{Format, Generator};
use crate::request::tenants::TENANT_HEADER;

/// Where generated metrics are scraped. `/metrics` is the server's own.
pub const SCRAPE_PATH: &str = "/metrics/generated";

/// The path alone, to be served by itself or beside others.
pub fn router(generator: Arc<Generator>) -> Router {
    let answer = |State(generator): State<Arc<Generator>>, request: Request| async move {
        scrape(&generator, request.headers(), request.uri().query())
    };
    Router::new().route(SCRAPE_PATH, get(answer)).with_state(generator)
}

/// Answers a scrape. Of several tenants it names one, by the header `X-Scope-OrgID` or, as a
/// Prometheus cannot send that, by the parameter `tenant`.
pub fn scrape(generator: &Generator, headers: &HeaderMap, query: Option<&str>) -> Response<Body> {
    let tenant = match tenant(generator, headers, query) {
        Ok(tenant) => tenant,
        Err((status, why)) => {
            let mut response = Response::new(Body::from(why));
            *response.status_mut() = status;
            return response;
        }
    };
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let format = Format::accepted(&headers.get(ACCEPT).map(text).unwrap_or_default());
    let body = generator.expose(&tenant, format, (generator.options.clock)());
    let mut response = Response::new(Body::from(body));
    let kind = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn tenant(
    generator: &Generator,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<TenantId, (StatusCode, String)> {
    if !generator.options.multitenant {
        return Ok(generator.options.single_tenant.clone());
    }
    let header = headers.get(TENANT_HEADER);
    let header = header.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    let parameter = || {
        let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        pairs.find(|(name, _)| name == "tenant").map(|(_, value)| value.into_owned())
    };
    match header.filter(|name| !name.is_empty()).or_else(parameter) {
        Some(name) => {
            TenantId::parse(&name).map_err(|e| (StatusCode::BAD_REQUEST, format!("{e}\n")))
        }
        None => {
            let why = "no org id; name a tenant in X-Scope-OrgID or ?tenant=\n".to_owned();
            Err((StatusCode::UNAUTHORIZED, why))
        }
    }
}
