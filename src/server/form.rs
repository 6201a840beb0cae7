//! The parameters of a request: those of its URL and, where it is a form, those of its body. A URL
//! ends at 64 KiB, which is as much as the HTTP library can hold, while a query may have 128 KiB and
//! three bytes for each of them in a URL: the longest ones must come as forms. Tempo's API reads no
//! forms, so no client of it is misunderstood.

use axum::body::{Body, Bytes};
use axum::extract::FromRequest as _;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Method, Request};

use crate::reply::{Failure, Result};

/// The longest body that is read: the longest query with every byte escaped, and more than twice as
/// much again.
pub(crate) const MAX_FORM_BYTES: usize = 1 << 20;

/// The parameters in the form of a URL's query. Those of the URL come first, and so count where
/// both name one.
///
/// # Errors
/// A body that is too long or ends early.
pub(crate) async fn parameters(request: &Parts, body: Body) -> Result<String> {
    let mut parameters = request.uri.query().unwrap_or_default().to_owned();
    if is_form(request) {
        // The extractor knows how to bound a body and what to answer when it is too long.
        let mut whole = Request::new(body);
        *whole.extensions_mut() = request.extensions.clone();
        let form = Bytes::from_request(whole, &())
            .await
            .map_err(|refusal| Failure::new(refusal.status(), refusal.body_text()))?;
        parameters.push('&');
        // Bytes that are no text become what the parser makes of escapes that are none: U+FFFD.
        parameters.push_str(&String::from_utf8_lossy(&form));
    }
    Ok(parameters)
}

fn is_form(request: &Parts) -> bool {
    let content_type = request.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|text| text.split(';').next()).map(str::trim);
    request.method == Method::POST
        && media_type.is_some_and(|media_type| {
            media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}
