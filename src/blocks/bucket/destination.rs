//! Where blocks may be written: a folder of tenants, on a disk or in a bucket. What is written, and
//! in which order, is not decided here.

use std::fmt;

use object_store::path::Path;

use super::{
    Block, path,
    source::Source,
    store::{OpenStore, SourceOptions},
    tenant::TenantId,
    url::{Scheme, SourceUrl},
};
use crate::{Error, Result};

/// A folder of tenants that may be written to.
#[derive(Clone, Debug)]
pub struct Destination {
    name: String,
    store: OpenStore,
    root: Path,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Destination {
    /// Opens a destination: a path, `file://`, `s3://`, `gs://` or `az://`. It need not exist.
    ///
    /// # Errors
    /// [`Error::Usage`] for what cannot be written to; failures to reach the store come later.
    pub async fn open(url: &str, options: &SourceOptions) -> Result<Self> {
        let refuse = |reason: &str| Error::Usage {
            what: "destination",
            value: url.to_owned(),
            reason: reason.to_owned(),
        };
        let parsed =
            SourceUrl::parse(url, options.home().as_deref()).map_err(|error| match error {
                Error::Usage { value, reason, .. } => {
                    Error::Usage { what: "destination", value, reason }
                }
                error => error,
            })?;
        match &parsed {
            SourceUrl::Stdin => return Err(refuse("blocks are folders; name one, or a bucket")),
            SourceUrl::Sample => return Err(refuse("the built-in sample cannot be written to")),
            SourceUrl::Remote(remote) if remote.scheme == Scheme::Http => {
                return Err(refuse(
                    "plain HTTP is read only; s3://, gs:// and az:// are written to",
                ));
            }
            SourceUrl::Local(path) => match file_on_the_way(path).await {
                Some(file) if file == path => {
                    return Err(refuse("there is a file of this name; blocks need a folder"));
                }
                Some(file) => {
                    let reason = format!("{} is a file; blocks need folders", file.display());
                    return Err(refuse(&reason));
                }
                None => {}
            },
            SourceUrl::Remote(_) => {}
        }
        // A path with `..` in it is resolved, for which it must exist; any other is made by the first
        // object that is put below it.
        if let SourceUrl::Local(path) = &parsed
            && path.components().any(|part| part == std::path::Component::ParentDir)
        {
            tokio::fs::create_dir_all(path).await.map_err(|error| Error::NotWritten {
                key: path.display().to_string(),
                reason: error.to_string(),
            })?;
        }
        let (store, root) = OpenStore::locate(&parsed, options).await?;
        Ok(Self { name: url.to_owned(), store, root })
    }

    /// The store it lies in.
    #[must_use]
    pub fn store(&self) -> &OpenStore {
        &self.store
    }

    /// The same as a source of what is written there, without a look at it.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::of_store(&self.name, self.store.clone(), self.root.clone())
    }

    /// The folder of a tenant.
    #[must_use]
    pub fn tenant_folder(&self, tenant: &TenantId) -> Path {
        path::tenant_folder(&self.root, tenant)
    }

    /// Whether a block lies in the folder of this tenant, by whatever path it was reached.
    #[must_use]
    pub fn holds(&self, tenant: &TenantId, block: &Block) -> bool {
        let folder = self.tenant_folder(tenant);
        if self.store.url != block.store_url {
            return false;
        }
        block.data.prefix_matches(&folder)
            || is_local(&self.store.url) && resolved(&block.data, &folder).unwrap_or(false)
    }
}

/// The file that stands where a folder would have to be; `None` if the path, as far as it exists, is
/// one of folders.
async fn file_on_the_way(path: &std::path::Path) -> Option<&std::path::Path> {
    for there in path.ancestors() {
        match tokio::fs::metadata(there).await {
            Ok(metadata) => return (!metadata.is_dir()).then_some(there),
            // Below a file nothing exists.
            Err(_) => continue,
        }
    }
    None
}

/// Whether the store is the file system, where one file has several paths.
fn is_local(store_url: &str) -> bool {
    store_url == "file://"
}

/// Whether a file lies below a folder once links are followed; `None` if one of them does not exist.
fn resolved(file: &Path, folder: &Path) -> Option<bool> {
    let real = |key: &Path| std::fs::canonicalize(path::object_url("file://", key)).ok();
    Some(real(file)?.starts_with(real(folder)?))
}
