//! Opens stores: from a source URL and settings to an [`ObjectStore`]. The only code that knows how
//! credentials are found; it reads no environment itself but gets it with [`SourceOptions`].

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey, resolve_bucket_region},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    client::SpawnedReqwestConnector,
    gcp::{GoogleCloudStorageBuilder, GoogleConfigKey},
    http::HttpBuilder,
    local::LocalFileSystem,
    path::Path,
};
use tokio::runtime::Handle;
use url::Url;

use super::{
    fetch::At,
    s3, sample,
    url::{RemoteUrl, Scheme, SourceUrl},
};
use crate::{Error, Result};

/// Time allowed to reach a host at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time allowed for one request with its body, unless set otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// No retry is begun later than this after the first attempt: whoever waits at a terminal should
/// read why nothing works within half a minute.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);
/// A refused connection or a busy server gets this many more chances, some six seconds in all.
const MAX_RETRIES: usize = 6;

/// How to reach and sign in to stores. Explicit settings win over the environment, the environment
/// over profiles.
#[derive(Clone, Default)]
pub struct SourceOptions {
    /// Variables of the environment: `AWS_*`, `GOOGLE_*`, `AZURE_*`, `HOME`,
    /// `STORAGE_EMULATOR_HOST`; others do no harm. In case of doubt the last one wins.
    pub environment: Vec<(String, String)>,
    /// URL of an S3-compatible server. With `http://` here, [`Self::allow_http`] is implied.
    pub s3_endpoint: Option<String>,
    /// Region of the bucket. Asked of S3 itself if nothing names it.
    pub s3_region: Option<String>,
    /// Access key; needs the secret one too.
    pub s3_access_key_id: Option<String>,
    /// Secret access key.
    pub s3_secret_access_key: Option<String>,
    /// Session token of temporary keys.
    pub s3_session_token: Option<String>,
    /// A profile of `~/.aws`; unlike `AWS_PROFILE` it wins over keys in the environment.
    pub s3_profile: Option<String>,
    /// Address the bucket as a host name rather than as the first part of the path.
    pub s3_virtual_hosted: bool,
    /// Send no credentials at all: public buckets.
    pub unsigned: bool,
    /// Talk to stores without TLS.
    pub allow_http: bool,
    /// Time allowed for one request; 30 seconds if `None`.
    pub request_timeout: Option<Duration>,
    /// Runtime that does all network I/O, so that decoding on other threads cannot starve it.
    /// `None`: the runtime that polls.
    pub io_runtime: Option<Handle>,
}

impl fmt::Debug for SourceOptions {
    /// Leaves out what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceOptions")
            .field("s3_endpoint", &self.s3_endpoint)
            .field("s3_region", &self.s3_region)
            .field("s3_access_key_id", &self.s3_access_key_id)
            .field("s3_profile", &self.s3_profile)
            .field("s3_virtual_hosted", &self.s3_virtual_hosted)
            .field("unsigned", &self.unsigned)
            .field("allow_http", &self.allow_http)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

impl SourceOptions {
    /// The directory `~` stands for.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").map(PathBuf::from)
    }

    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let mut found = self.environment.iter().rev().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The variables that begin with `prefix`, in lower case as object_store spells its settings.
    pub(super) fn settings<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (String, &'a str)> {
        self.environment
            .iter()
            .filter(move |(key, value)| key.starts_with(prefix) && !value.is_empty())
            .map(|(key, value)| (key.to_ascii_lowercase(), value.as_str()))
    }

    fn client(&self, url: &Url) -> ClientOptions {
        // A certificate of a plain-HTTP test server does not exist, and who writes `http://` knows.
        let allow_http = self.allow_http || url.scheme() == "http";
        ClientOptions::new()
            .with_user_agent(
                concat!("traceql/", env!("CARGO_PKG_VERSION"))
                    .parse()
                    .expect("letters, digits, dots and a slash make a header value"),
            )
            .with_allow_http(allow_http)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_timeout(self.request_timeout.unwrap_or(REQUEST_TIMEOUT))
    }
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(3),
            base: 2.0,
        },
        max_retries: MAX_RETRIES,
        retry_timeout: RETRY_TIMEOUT,
    }
}

/// A store and the name by which any process can open it again.
#[derive(Clone, Debug)]
pub struct OpenStore {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// Its URL without a key: `s3://bucket`, `file://`, `sample:`.
    pub url: Arc<str>,
    /// Whether it can list; plain HTTP cannot.
    pub listable: bool,
}

impl OpenStore {
    pub(crate) fn at(&self) -> At<'_> {
        At { store: self.store.as_ref(), store_url: &self.url }
    }

    /// Opens a store by the URL another process noted in [`OpenStore::url`] or
    /// [`Block::store_url`](super::Block::store_url).
    pub async fn open(url: &str, options: &SourceOptions) -> Result<Self> {
        Ok(Self::locate(&SourceUrl::parse(url, None)?, options).await?.0)
    }

    /// The store a source lies in, and the key of the source within it. Standard input has none.
    pub(super) async fn locate(url: &SourceUrl, options: &SourceOptions) -> Result<(Self, Path)> {
        let stored = |store: Arc<dyn ObjectStore>, url: &str, listable| Self {
            store,
            url: url.into(),
            listable,
        };
        match url {
            SourceUrl::Stdin => Err(Error::Usage {
                what: "source",
                value: "-".to_owned(),
                reason: "standard input is no store".to_owned(),
            }),
            SourceUrl::Sample => {
                let store = sample::store()
                    .await
                    .map_err(|e| Error::storage("sample", sample::STORE_URL, e))?;
                Ok((stored(Arc::new(store), sample::STORE_URL, true), Path::ROOT))
            }
            SourceUrl::Local(path) => {
                let path = without_parent_segments(path).await?;
                let key = Path::from_absolute_path(&path).map_err(|e| Error::Usage {
                    what: "source",
                    value: path.display().to_string(),
                    reason: e.to_string(),
                })?;
                Ok((stored(Arc::new(LocalFileSystem::new()), "file://", true), key))
            }
            SourceUrl::Remote(url) => {
                let store = remote(url, options).await.map_err(|error| match error {
                    Refusal::Ours(error) => error,
                    Refusal::Theirs(error) => Error::Usage {
                        what: "source",
                        value: url.store.to_string(),
                        reason: error.to_string(),
                    },
                })?;
                let listable = url.scheme != Scheme::Http;
                Ok((stored(store, url.store.as_str(), listable), url.key.clone()))
            }
        }
    }
}

/// Resolves `..`, which keys cannot hold. Only then are links followed: whoever links a folder under
/// another name means that name.
async fn without_parent_segments(path: &std::path::Path) -> Result<PathBuf> {
    if !path.components().any(|c| c == std::path::Component::ParentDir) {
        return Ok(path.to_owned());
    }
    tokio::fs::canonicalize(path).await.map_err(|e| {
        let key = path.display().to_string();
        match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found("source", key),
            _ => Error::Unreachable { key, reason: e.to_string() },
        }
    })
}

enum Refusal {
    Ours(Error),
    Theirs(object_store::Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<object_store::Error> for Refusal {
    fn from(error: object_store::Error) -> Self {
        Self::Theirs(error)
    }
}

async fn remote(url: &RemoteUrl, options: &SourceOptions) -> Result<Arc<dyn ObjectStore>, Refusal> {
    Ok(match url.scheme {
        Scheme::S3 => Arc::new(s3(&url.store, options).await?.build()?),
        Scheme::Gcs => Arc::new(gcs(&url.store, options).build()?),
        Scheme::Azure => Arc::new(azure(&url.store, options)?.build()?),
        Scheme::Http => {
            let mut builder = HttpBuilder::new()
                .with_url(url.store.as_str())
                .with_client_options(options.client(&url.store))
                .with_retry(retry());
            if let Some(io) = &options.io_runtime {
                builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
            }
            Arc::new(builder.build()?)
        }
    })
}

async fn s3(url: &Url, options: &SourceOptions) -> Result<AmazonS3Builder> {
    use AmazonS3ConfigKey as Key;
    let bucket = url.host_str().unwrap_or_default();
    let mut settings = s3::settings(bucket, options).await?;
    let endpoint = settings.endpoint();
    let mut client = options.client(url);
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http:")) {
        client = client.with_allow_http(true);
    }
    if endpoint.is_none() && settings.get(Key::Region).is_none() {
        // Without a region S3 answers with a redirect that cannot be signed for; it is quicker to
        // ask. If that fails, the request that follows says better what is wrong.
        if let Ok(region) = resolve_bucket_region(bucket, &client).await {
            settings.set(Key::Region, region);
        }
    }
    let mut builder = AmazonS3Builder::new()
        .with_client_options(client)
        .with_retry(retry())
        .with_bucket_name(bucket);
    if let Some(io) = &options.io_runtime {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    for (key, value) in settings.into_iter() {
        builder = builder.with_config(key, value);
    }
    Ok(builder)
}

fn gcs(url: &Url, options: &SourceOptions) -> GoogleCloudStorageBuilder {
    use GoogleConfigKey as Key;
    let emulator =
        options.variable("STORAGE_EMULATOR_HOST").map(|host| match host.contains("://") {
            true => host.to_owned(),
            false => format!("http://{host}"),
        });
    let mut client = options.client(url);
    if emulator.is_some() {
        client = client.with_allow_http(true);
    }
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(client)
        .with_retry(retry())
        .with_bucket_name(url.host_str().unwrap_or_default());
    if let Some(io) = &options.io_runtime {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    for (key, value) in options.settings("GOOGLE_") {
        if let Ok(key) = key.parse::<Key>()
            && !matches!(key, Key::Bucket)
        {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(emulator) = emulator {
        builder = builder.with_base_url(&emulator).with_skip_signature(true);
    }
    if options.unsigned {
        builder = builder.with_skip_signature(true);
    }
    builder
}

fn azure(url: &Url, options: &SourceOptions) -> Result<MicrosoftAzureBuilder> {
    use AzureConfigKey as Key;
    let mut settings: Vec<(Key, String)> = Vec::new();
    for (key, value) in options.settings("AZURE_") {
        // What Azure's own command line calls them.
        let key = match key.as_str() {
            "azure_storage_account" => "azure_storage_account_name",
            "azure_storage_key" => "azure_storage_account_key",
            other => other,
        };
        match key.parse::<Key>() {
            Ok(Key::ContainerName) | Err(_) => {}
            Ok(key) => settings.push((key, value.to_owned())),
        }
    }
    if let Some(connection) = options.variable("AZURE_STORAGE_CONNECTION_STRING") {
        settings.extend(connection_settings(connection));
    }
    let is_plain = |(key, value): &(Key, String)| {
        (matches!(key, Key::Endpoint) && value.starts_with("http:"))
            || (matches!(key, Key::UseEmulator) && value == "true")
    };
    let mut client = options.client(url);
    if settings.iter().any(is_plain) {
        client = client.with_allow_http(true);
    }
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(client).with_retry(retry());
    if let Some(io) = &options.io_runtime {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    for (key, value) in settings {
        builder = builder.with_config(key, value);
    }
    if options.unsigned {
        builder = builder.with_skip_signature(true);
    }
    // Last, since the URL may name the account.
    Ok(builder.with_url(url.as_str()))
}

/// The parts of a connection string as Azure's portal hands it out.
fn connection_settings(text: &str) -> Vec<(AzureConfigKey, String)> {
    use AzureConfigKey as Key;
    text.split(';')
        .filter_map(|part| part.split_once('='))
        .filter_map(|(name, value)| {
            let key = match name.trim().to_ascii_lowercase().as_str() {
                "accountname" => Key::AccountName,
                "accountkey" => Key::AccessKey,
                "sharedaccesssignature" => Key::SasKey,
                "blobendpoint" => Key::Endpoint,
                "usedevelopmentstorage" => Key::UseEmulator,
                _ => return None,
            };
            Some((key, value.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
