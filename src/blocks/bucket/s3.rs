//! S3 settings: explicit options, the environment and AWS profiles brought together as the AWS
//! command line would. Ends before a store is built, so that it can be tested without one.

use std::path::PathBuf;

use object_store::aws::AmazonS3ConfigKey as Key;
use url::Url;

use super::{profile::Profile, store::SourceOptions};
use crate::{Error, Result};

/// Settings for one bucket, each key at most once, in the order first set.
#[derive(Debug, Default)]
pub(super) struct S3Settings(Vec<(Key, String)>);

impl S3Settings {
    pub(super) fn get(&self, key: Key) -> Option<&str> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, key: Key, value: impl Into<String>) {
        self.unset(key);
        self.0.push((key, value.into()));
    }

    fn unset(&mut self, key: Key) {
        self.0.retain(|(k, _)| *k != key);
    }

    fn set_if_missing(&mut self, key: Key, value: Option<&str>) {
        if let (None, Some(value)) = (self.get(key), value) {
            self.set(key, value);
        }
    }

    /// The endpoint in effect, if it is not Amazon's own.
    pub(super) fn endpoint(&self) -> Option<&str> {
        self.get(Key::S3Endpoint).or_else(|| self.get(Key::Endpoint))
    }

    fn is_true(&self, key: Key) -> bool {
        self.get(key).is_some_and(|value| matches!(value, "1" | "true" | "on" | "yes" | "y"))
    }

    fn set_keys(&mut self, id: Option<&str>, secret: Option<&str>, token: Option<&str>) {
        // The three belong together: a token from elsewhere would spoil the keys.
        for (key, value) in
            [(Key::AccessKeyId, id), (Key::SecretAccessKey, secret), (Key::Token, token)]
        {
            self.unset(key);
            if let Some(value) = value {
                self.set(key, value);
            }
        }
    }
}

impl IntoIterator for S3Settings {
    type Item = (Key, String);
    type IntoIter = std::vec::IntoIter<(Key, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The settings in effect for a bucket.
pub(super) async fn settings(bucket: &str, options: &SourceOptions) -> Result<S3Settings> {
    let file = |variable: &str, default: &str| {
        let set = options.variable(variable).map(PathBuf::from);
        set.or_else(|| options.home().map(|home| home.join(".aws").join(default)))
    };
    let credentials = read(file("AWS_SHARED_CREDENTIALS_FILE", "credentials")).await?;
    let config = read(file("AWS_CONFIG_FILE", "config")).await?;
    combine(bucket, options, &credentials, &config)
}

/// The text of a configuration file; nothing if it does not exist.
async fn read(file: Option<PathBuf>) -> Result<String> {
    let Some(file) = file else { return Ok(String::new()) };
    match tokio::fs::read_to_string(&file).await {
        Ok(text) => Ok(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => {
            Err(Error::Unreachable { key: file.display().to_string(), reason: e.to_string() })
        }
    }
}

fn combine(
    bucket: &str,
    options: &SourceOptions,
    credentials: &str,
    config: &str,
) -> Result<S3Settings> {
    let mut settings = S3Settings::default();
    for (name, value) in options.settings("AWS_") {
        match name.parse::<Key>() {
            // The bucket is named by the URL alone, and AWS_REGION wins over AWS_DEFAULT_REGION.
            Ok(Key::Bucket | Key::DefaultRegion) | Err(_) => {}
            Ok(key) => settings.set(key, value),
        }
    }
    settings.set_if_missing(Key::Region, options.variable("AWS_DEFAULT_REGION"));
    if options.unsigned {
        settings.set(Key::SkipSignature, "true");
    }
    if options.s3_access_key_id.is_some() || options.s3_secret_access_key.is_some() {
        settings.set_keys(
            options.s3_access_key_id.as_deref(),
            options.s3_secret_access_key.as_deref(),
            options.s3_session_token.as_deref(),
        );
    } else {
        add_profile_keys(&mut settings, options, credentials, config)?;
    }
    for (key, value) in [(Key::Region, &options.s3_region), (Key::S3Endpoint, &options.s3_endpoint)]
    {
        if let Some(value) = value {
            settings.set(key, value);
        }
    }
    if let Some(profile) = Profile::find(profile_name(options), credentials, config) {
        settings.set_if_missing(Key::Region, profile.get("region"));
        if settings.endpoint().is_none() {
            settings.set_if_missing(Key::Endpoint, profile.endpoint());
        }
    }
    if options.s3_virtual_hosted {
        settings.set(Key::VirtualHostedStyleRequest, "true");
    }
    if settings.is_true(Key::VirtualHostedStyleRequest)
        && let Some(endpoint) = settings.endpoint()
    {
        let endpoint = bucket_as_host(endpoint, bucket)?;
        settings.set(Key::S3Endpoint, endpoint);
    }
    Ok(settings)
}

fn profile_name(options: &SourceOptions) -> &str {
    let named = options.s3_profile.as_deref().or_else(|| options.variable("AWS_PROFILE"));
    named.unwrap_or("default")
}

/// Takes keys from the profile if it was named, or if there are none yet.
fn add_profile_keys(
    settings: &mut S3Settings,
    options: &SourceOptions,
    credentials: &str,
    config: &str,
) -> Result<()> {
    let name = profile_name(options);
    let refuse =
        |reason: String| Err(Error::Usage { what: "AWS profile", value: name.to_owned(), reason });
    let is_named = options.s3_profile.is_some() || options.variable("AWS_PROFILE").is_some();
    let has_credentials = [
        Key::AccessKeyId,
        Key::WebIdentityTokenFile,
        Key::ContainerCredentialsRelativeUri,
        Key::ContainerCredentialsFullUri,
    ]
    .into_iter()
    .any(|key| settings.get(key).is_some());
    if settings.is_true(Key::SkipSignature) || (has_credentials && options.s3_profile.is_none()) {
        return Ok(());
    }
    let Some(profile) = Profile::find(name, credentials, config) else {
        return match is_named {
            true => refuse("neither the AWS credentials file nor the config file has it".into()),
            false => Ok(()),
        };
    };
    if let (true, Some(way)) = (is_named, profile.foreign_credentials()) {
        return refuse(format!(
            "its credentials come from {way}, which is not supported; \
             `aws configure export-credentials --format env` gives keys for the environment"
        ));
    }
    let (id, secret) = (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key"));
    if id.is_some() || secret.is_some() {
        settings.set_keys(id, secret, profile.get("aws_session_token"));
    }
    Ok(())
}

/// object_store wants the bucket in the endpoint's host already; users, as AWS tools, do not.
fn bucket_as_host(endpoint: &str, bucket: &str) -> Result<String> {
    let refuse =
        |reason: String| Error::Usage { what: "S3 endpoint", value: endpoint.to_owned(), reason };
    let mut url = Url::parse(endpoint).map_err(|e| refuse(e.to_string()))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    if !host.starts_with(&format!("{bucket}.")) {
        url.set_host(Some(&format!("{bucket}.{host}"))).map_err(|e| refuse(e.to_string()))?;
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "
[default]
aws_access_key_id = default-id
aws_secret_access_key = default-secret
[ci]
aws_access_key_id = ci-id
aws_secret_access_key = ci-secret
aws_session_token = ci-token
";
    const CONFIG: &str = "
[profile ci]
region = us-west-2
endpoint_url = http://ci:9000
[profile sso]
sso_session = corp
";

    fn with(environment: &[(&str, &str)]) -> SourceOptions {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        SourceOptions {
            environment: environment.iter().map(own).collect(),
            ..SourceOptions::default()
        }
    }

    fn check(options: &SourceOptions, expect: &[(Key, Option<&str>)]) {
        let settings = combine("bucket", options, CREDENTIALS, CONFIG).unwrap();
        for (key, value) in expect {
            assert_eq!(settings.get(*key), *value, "{key:?} in {settings:?}");
        }
    }

    #[test]
    fn the_environment_wins_over_profiles_and_options_over_both() {
        let none = with(&[]);
        check(&none, &[(Key::AccessKeyId, Some("default-id")), (Key::Token, None)]);

        let keys = [("AWS_ACCESS_KEY_ID", "env-id"), ("AWS_SECRET_ACCESS_KEY", "env-secret")];
        check(&with(&keys), &[(Key::AccessKeyId, Some("env-id"))]);

        let profile = [keys[0], keys[1], ("AWS_PROFILE", "ci"), ("AWS_DEFAULT_REGION", "eu")];
        let mut options = with(&profile);
        check(
            &options,
            &[
                (Key::AccessKeyId, Some("env-id")),
                (Key::Token, None),
                (Key::Region, Some("eu")),
                (Key::Endpoint, Some("http://ci:9000")),
            ],
        );

        options.s3_profile = Some("ci".to_owned());
        check(&options, &[(Key::AccessKeyId, Some("ci-id")), (Key::Token, Some("ci-token"))]);

        options.s3_access_key_id = Some("own-id".to_owned());
        options.s3_secret_access_key = Some("own-secret".to_owned());
        options.s3_endpoint = Some("http://own:1".to_owned());
        options.s3_region = Some("own-region".to_owned());
        check(
            &options,
            &[
                (Key::AccessKeyId, Some("own-id")),
                (Key::Token, None),
                (Key::S3Endpoint, Some("http://own:1")),
                (Key::Region, Some("own-region")),
            ],
        );
    }

    #[test]
    fn aws_region_wins_over_the_default_region() {
        for order in [["AWS_REGION", "AWS_DEFAULT_REGION"], ["AWS_DEFAULT_REGION", "AWS_REGION"]] {
            check(&with(&order.map(|name| (name, name))), &[(Key::Region, Some("AWS_REGION"))]);
        }
    }

    #[test]
    fn unsigned_asks_no_profile() {
        let options = SourceOptions { unsigned: true, ..with(&[("AWS_PROFILE", "nobody")]) };
        check(&options, &[(Key::AccessKeyId, None), (Key::SkipSignature, Some("true"))]);
    }

    #[test]
    fn profiles_that_cannot_be_used_are_refused_with_a_way_out() {
        let refusal = |name| {
            combine("bucket", &with(&[("AWS_PROFILE", name)]), CREDENTIALS, CONFIG)
                .unwrap_err()
                .to_string()
        };
        assert!(refusal("nobody").contains("neither"), "{}", refusal("nobody"));
        assert!(refusal("sso").contains("export-credentials"), "{}", refusal("sso"));
    }

    #[test]
    fn virtual_hosting_puts_the_bucket_into_the_endpoint() {
        let mut options = with(&[("AWS_ENDPOINT_URL", "https://minio.local:9000")]);
        options.s3_virtual_hosted = true;
        let expect = Some("https://bucket.minio.local:9000");
        check(&options, &[(Key::S3Endpoint, expect)]);
        options.s3_endpoint = Some("https://bucket.minio.local:9000/".to_owned());
        check(&options, &[(Key::S3Endpoint, expect)]);
    }
}
