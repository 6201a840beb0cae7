//! AWS profiles: `~/.aws/credentials` and `~/.aws/config` as the AWS command line reads them, as far
//! as static keys go. Which files there are and which profile is meant is decided by the caller.

use std::collections::BTreeMap;

/// What the two files say about one profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    settings: BTreeMap<String, String>,
    /// `endpoint_url` of the `s3` part of the profile's `services` section.
    s3_endpoint: Option<String>,
}

impl Profile {
    /// Gathers a profile from the text of both files; `None` if neither mentions it. The
    /// credentials file wins where both have a setting.
    pub(super) fn find(name: &str, credentials: &str, config: &str) -> Option<Self> {
        let in_config = match name {
            "default" => vec!["default".to_owned(), "profile default".to_owned()],
            _ => vec![format!("profile {name}")],
        };
        let config = parse(config);
        let mut settings = BTreeMap::new();
        let mut found = false;
        for section in in_config.iter().filter_map(|section| config.get(section)) {
            settings.extend(section.clone());
            found = true;
        }
        if let Some(section) = parse(credentials).get(name) {
            settings.extend(section.clone());
            found = true;
        }
        let s3_endpoint = settings
            .get("services")
            .and_then(|services| config.get(&format!("services {services}")))
            .and_then(|section| section.get("s3.endpoint_url"))
            .cloned();
        found.then_some(Self { settings, s3_endpoint })
    }

    pub(super) fn get(&self, setting: &str) -> Option<&str> {
        self.settings.get(setting).map(String::as_str)
    }

    /// The endpoint for S3, the service's own before the general one.
    pub(super) fn endpoint(&self) -> Option<&str> {
        self.s3_endpoint.as_deref().or_else(|| self.get("endpoint_url"))
    }

    /// Names the way this profile gets its credentials if that is none we can follow.
    pub(super) fn foreign_credentials(&self) -> Option<&'static str> {
        if self.get("aws_access_key_id").is_some() {
            return None;
        }
        ["sso_session", "sso_start_url", "credential_process", "source_profile", "role_arn"]
            .into_iter()
            .find(|setting| self.get(setting).is_some())
    }
}

/// Sections of an AWS configuration file. A setting in an indented block is named
/// `<block>.<setting>`. Lines that make no sense are ignored, as the AWS tools do.
fn parse(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut section = None;
    let mut block = None;
    for line in text.lines() {
        let indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            let name = header.split(']').next().unwrap_or_default();
            section = Some(name.split_whitespace().collect::<Vec<_>>().join(" "));
            block = None;
            continue;
        }
        let (Some(section), Some((key, value))) = (&section, line.split_once('=')) else {
            continue;
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), without_comment(value));
        let key = match (&block, indented) {
            (Some(block), true) => format!("{block}.{key}"),
            _ => {
                block = value.is_empty().then(|| key.clone());
                key
            }
        };
        if !value.is_empty() {
            sections.entry(section.clone()).or_default().insert(key, value.to_owned());
        }
    }
    sections
}

/// A comment in a value begins with white space; `#` alone may be part of a secret.
fn without_comment(value: &str) -> &str {
    let comment = [" #", " ;", "\t#", "\t;"].into_iter().filter_map(|mark| value.find(mark)).min();
    value[..comment.unwrap_or(value.len())].trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "
# keys
[default]
aws_access_key_id = D
aws_secret_access_key=a/b#c+d= ; comment

[ci]
AWS_ACCESS_KEY_ID = C
aws_secret_access_key = S
aws_session_token = T
";

    const CONFIG: &str = "
[default]
region = eu-west-1
s3 =
    addressing_style = path
[profile  ci]
region=us-west-2
endpoint_url = http://general
services = local
nonsense
[services local]
s3 =
  endpoint_url = http://localhost:9000
dynamodb =
  endpoint_url = http://localhost:1
[profile sso]
sso_session = corp
";

    #[test]
    fn both_files_make_a_profile() {
        let find = |name| Profile::find(name, CREDENTIALS, CONFIG);
        let default = find("default").unwrap();
        assert_eq!(default.get("aws_access_key_id"), Some("D"));
        assert_eq!(default.get("aws_secret_access_key"), Some("a/b#c+d="));
        assert_eq!(default.get("region"), Some("eu-west-1"));
        assert_eq!(default.endpoint(), None);
        let ci = find("ci").unwrap();
        assert_eq!(ci.get("aws_access_key_id"), Some("C"));
        assert_eq!(ci.get("aws_session_token"), Some("T"));
        assert_eq!(ci.get("region"), Some("us-west-2"));
        assert_eq!(ci.endpoint(), Some("http://localhost:9000"));
        assert_eq!(ci.foreign_credentials(), None);
        assert_eq!(find("sso").unwrap().foreign_credentials(), Some("sso_session"));
        assert_eq!(find("nobody"), None);
    }
}
