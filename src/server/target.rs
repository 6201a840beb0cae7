//! Where this server posts to, for all that send something on their own: an address that is checked
//! before anything is sent, and what became of a request. When to repeat it is the sender's to know.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::{Client, StatusCode, Url};

/// Longest text of a refusal that is kept.
const REASON_BYTES: usize = 500;

/// What can be posted to.
#[derive(Debug)]
pub(crate) struct Target {
    client: Client,
    pub(crate) url: Url,
    headers: HeaderMap,
}

/// Why nothing can be.
#[derive(Debug)]
pub(crate) enum TargetError {
    /// The URL, and what is wrong with it.
    Url(String, String),
    /// The name of a header that cannot be sent.
    Header(String),
    Client(reqwest::Error),
}

/// What went wrong with a request.
#[derive(Debug)]
pub(crate) enum PostError {
    /// No answer came. The text is without the URL, which may hold a password.
    Unanswered(String),
    /// Another status than one of success, the beginning of its text, and how long to wait if that
    /// was said.
    Refused(StatusCode, String, Option<Duration>),
}

impl Target {
    /// A target with the headers that somebody wants and those of the protocol, which come first.
    pub(crate) fn new(
        url: &str,
        wanted: &[(String, String)],
        of_protocol: &[(&'static str, &'static str)],
        timeout: Duration,
    ) -> Result<Self, TargetError> {
        let wrong = |found: String| TargetError::Url(url.to_owned(), found);
        let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong("its scheme is neither http nor https".to_owned()));
        }
        let mut headers = HeaderMap::new();
        for (key, value) in wanted {
            let bad = || TargetError::Header(key.clone());
            let key: HeaderName = key.parse().map_err(|_| bad())?;
            headers.insert(key, value.parse().map_err(|_| bad())?);
        }
        for (key, value) in of_protocol {
            headers.insert(HeaderName::from_static(key), HeaderValue::from_static(value));
        }
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!("traceql/", env!("CARGO_PKG_VERSION"))));
        let client = Client::builder().timeout(timeout).build().map_err(TargetError::Client)?;
        Ok(Self { client, url: parsed, headers })
    }

    /// Posts once, in the name of a tenant if there is one.
    pub(crate) async fn post(&self, body: Bytes, tenant: Option<&str>) -> Result<(), PostError> {
        let post = self.client.post(self.url.clone()).headers(self.headers.clone()).body(body);
        let post = match tenant {
            Some(tenant) => post.header("X-Scope-OrgID", tenant),
            None => post,
        };
        let response = post
            .send()
            .await
            .map_err(|error| PostError::Unanswered(explained(&error.without_url())))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let text = response.text().await.unwrap_or_default();
        let text = text.trim();
        let reason = text[..text.floor_char_boundary(REASON_BYTES)].to_owned();
        Err(PostError::Refused(status, reason, after))
    }
}

/// An error and what it came from. What to do about certificates the libraries do not say; their errors
/// are of types that they keep to themselves.
fn explained(error: &dyn std::error::Error) -> String {
    let mut text = with_causes(error);
    if text.contains("peer certificate") {
        text.push_str(
            "; trusted are the system's certificates, or instead of them those of the file that \
             SSL_CERT_FILE names",
        );
    }
    text
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
