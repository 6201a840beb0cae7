//! Source URLs: what a user may write to name data, as text only. Nothing is opened here.

use std::path::PathBuf;

use object_store::path::Path;
use url::Url;

use crate::{Error, Result};

/// The forms a source may have, for messages.
const FORMS: &str = "a path, file://, s3://, gs://, az://, http(s)://, sample: or - are";

/// A source as written, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceUrl {
    /// `-`.
    Stdin,
    /// `sample:`, the built-in data.
    Sample,
    /// A path or `file://` URL, absolute.
    Local(PathBuf),
    /// Data behind a network.
    Remote(RemoteUrl),
}

/// A URL of one of the remote schemes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl {
    /// Which kind of store.
    pub scheme: Scheme,
    /// URL of the store: scheme and bucket, for HTTP scheme and host (and the query, which may be
    /// a signature), without the key.
    pub store: Url,
    /// The key within the store.
    pub key: Path,
}

/// Kinds of remote stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Amazon S3 and everything that speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// Plain HTTP; cannot list.
    Http,
}

impl SourceUrl {
    /// Takes a source apart. `home` is what `~` stands for.
    pub fn parse(text: &str, home: Option<&std::path::Path>) -> Result<Self> {
        let refuse =
            |reason: String| Error::Usage { what: "source", value: text.to_owned(), reason };
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if text.is_empty() {
            return Err(refuse(format!("it is empty; {FORMS} possible")));
        }
        let Some((scheme, rest)) = split_scheme(text) else {
            return Ok(Self::Local(absolute(text, home).map_err(refuse)?));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "sample" => match rest.trim_matches('/') {
                "" => Ok(Self::Sample),
                _ => {
                    Err(refuse("the sample is one bucket, \"sample:\", with nothing below".into()))
                }
            },
            "file" => {
                let url = Url::parse(text).map_err(|e| refuse(e.to_string()))?;
                let path = url.to_file_path().map_err(|()| {
                    refuse("a file URL is file:// followed by an absolute path".to_owned())
                })?;
                Ok(Self::Local(path))
            }
            "s3" | "s3a" => remote(Scheme::S3, text).map_err(refuse),
            "gs" | "gcs" => remote(Scheme::Gcs, text).map_err(refuse),
            "az" | "azure" | "adl" | "abfs" | "abfss" => {
                remote(Scheme::Azure, text).map_err(refuse)
            }
            "http" | "https" => remote(Scheme::Http, text).map_err(refuse),
            other => Err(refuse(format!("unknown scheme {other:?}; {FORMS} possible"))),
        }
    }
}

/// The scheme and what follows its colon. A path that merely contains a colon (`a:b/c`) has none,
/// but `s3:bucket` is surely no path.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    const SCHEMES: [&str; 13] = [
        "sample", "file", "s3", "s3a", "gs", "gcs", "az", "azure", "adl", "abfs", "abfss", "http",
        "https",
    ];
    let (scheme, rest) = text.split_once(':')?;
    let well_formed = !scheme.is_empty()
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let known = SCHEMES.iter().any(|s| s.eq_ignore_ascii_case(scheme));
    (well_formed && (known || rest.starts_with("//"))).then_some((scheme, rest))
}

fn absolute(text: &str, home: Option<&std::path::Path>) -> Result<PathBuf, String> {
    // A shell expands `~` only where it stands alone; after `--source=` or in a variable it is ours.
    let path = match (text.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            home.join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(text),
    };
    std::path::absolute(path).map_err(|e| e.to_string())
}

fn remote(scheme: Scheme, text: &str) -> Result<SourceUrl, String> {
    let mut store = Url::parse(text).map_err(|e| e.to_string())?;
    if store.host_str().is_none_or(str::is_empty) {
        let example = match scheme {
            Scheme::S3 => "s3://bucket/prefix",
            Scheme::Gcs => "gs://bucket/prefix",
            Scheme::Azure => "az://container/prefix",
            Scheme::Http => "https://host/path",
        };
        return Err(format!("it names no bucket or host; the form is {example}"));
    }
    let key = store.path().trim_matches('/').to_owned();
    let key = Path::from_url_path(&key).map_err(|e| e.to_string())?;
    store.set_path("");
    store.set_fragment(None);
    if scheme != Scheme::Http {
        store.set_query(None);
    }
    Ok(SourceUrl::Remote(RemoteUrl { scheme, store, key }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SourceUrl> {
        SourceUrl::parse(text, Some(std::path::Path::new("/home/me")))
    }

    fn check_remote(text: &str, scheme: Scheme, store: &str, key: &str) {
        let SourceUrl::Remote(url) = parse(text).unwrap() else { panic!("{text} is not remote") };
        assert_eq!((url.scheme, url.store.as_str(), url.key.as_ref()), (scheme, store, key));
    }

    #[test]
    fn paths_are_made_absolute() {
        let here = std::env::current_dir().unwrap();
        let check = |text: &str, path: PathBuf| {
            assert_eq!(parse(text).unwrap(), SourceUrl::Local(path), "{text}");
        };
        check("/a/b c", "/a/b c".into());
        check("a/b", here.join("a/b"));
        check("./a", here.join("a"));
        check("a:b/c", here.join("a:b/c"));
        check("~", "/home/me".into());
        check("~/x", "/home/me/x".into());
        check("~you/x", here.join("~you/x"));
        check("file:///a/b%20c", "/a/b c".into());
    }

    #[test]
    fn urls_split_into_store_and_key() {
        check_remote("s3://bucket", Scheme::S3, "s3://bucket", "");
        check_remote("s3://bucket/a/b/", Scheme::S3, "s3://bucket", "a/b");
        check_remote("S3A://bucket/a", Scheme::S3, "s3a://bucket", "a");
        check_remote("gs://b/p", Scheme::Gcs, "gs://b", "p");
        check_remote("az://c/p", Scheme::Azure, "az://c", "p");
        check_remote(
            "abfss://c@account.dfs.core.windows.net/p",
            Scheme::Azure,
            "abfss://c@account.dfs.core.windows.net",
            "p",
        );
        check_remote(
            "https://h:8080/a/data.parquet?sig=1",
            Scheme::Http,
            "https://h:8080/?sig=1",
            "a/data.parquet",
        );
        check_remote("http://h/a%2Ab", Scheme::Http, "http://h/", "a*b");
        assert_eq!(parse("-").unwrap(), SourceUrl::Stdin);
        assert_eq!(parse("sample:").unwrap(), SourceUrl::Sample);
        assert_eq!(parse("sample://").unwrap(), SourceUrl::Sample);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, part) in [
            ("", "empty"),
            ("ftp://h/x", "unknown scheme \"ftp\""),
            ("s3:bucket", "s3://bucket/prefix"),
            ("s3:///x", "s3://bucket/prefix"),
            ("gs://", "gs://bucket/prefix"),
            ("sample:other", "one bucket"),
            ("file://host/x", "absolute path"),
            ("s3://b/a//c", "empty"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(matches!(&error, Error::Usage { what: "source", .. }), "{text}: {error}");
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}
