//! Sources: what a URL turns out to hold, and the blocks in it.

use std::{collections::BTreeSet, fmt, io::Read as _, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ListResult, ObjectStoreExt as _, memory::InMemory, path::Path};

pub use super::kept::KeptCounts;
use super::{
    Block,
    blocklist::{Blocklist, BlocklistOptions, MAX_META_BYTES, TenantFolder, Unreadable, Warning},
    fetch::gunzip,
    kept::KeptBlocklists,
    live::{HiddenTraces, LiveBlocks},
    lone,
    meta::{BlockMeta, ParsedMeta},
    path,
    store::{OpenStore, SourceOptions},
    tenant::TenantId,
    url::SourceUrl,
};
use crate::model::Trace;
use crate::write::otlp;
use crate::{Error, Result};

/// Folders looked into when a tenant was not found, to say which tenants there are.
const MAX_CANDIDATES_CHECKED: usize = 100;

/// How often lists are made anew because traces moved into the bucket meanwhile.
const MAX_LIVE_TRIES: usize = 4;

/// Data named by a URL: opened far enough to know what kind it is.
#[derive(Clone, Debug)]
pub struct Source {
    /// As the user wrote it.
    name: String,
    kind: SourceKind,
    place: Option<Place>,
    /// Block lists read before, if they are kept at all.
    kept: Option<Arc<KeptBlocklists>>,
    /// What is not in the bucket yet.
    live: Option<Arc<dyn LiveBlocks>>,
    /// A tenant without a folder is one without data: what there is of it is live.
    may_lack_tenants: bool,
}

/// Where a source lies; standard input lies nowhere.
#[derive(Clone, Debug)]
struct Place {
    store: OpenStore,
    key: Path,
}

/// What a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A folder of tenants.
    Bucket,
    /// The folder of one tenant.
    Tenant(TenantId),
    /// The folder of one block.
    Block,
    /// One Parquet file.
    Parquet,
    /// A file of OTLP traces.
    Otlp(OtlpFormat),
}

/// How an OTLP file is written, as far as its name tells. Compression is none of it:
/// [`Source::read_otlp`] undoes that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpFormat {
    /// `.json`: one JSON document.
    Json,
    /// `.jsonl`: one JSON document per line.
    JsonLines,
    /// `.pb`: one protobuf message, or several with their length before each.
    Protobuf,
    /// Standard input: to be recognised by its first bytes.
    Unknown,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Source {
    /// Opens a source: a bucket or folder of tenants, a tenant, a block, a `data.parquet`, an OTLP
    /// file, `sample:`, or `-` for OTLP on standard input. README lists the URLs.
    ///
    /// What lies behind the URL is looked at, not guessed, except that a name ending in `.parquet`,
    /// `.json`, `.jsonl` or `.pb` (each of the last three perhaps with `.gz`) is a file.
    pub async fn open(url: &str, options: &SourceOptions) -> Result<Self> {
        let parsed = SourceUrl::parse(url, options.home().as_deref())?;
        if parsed == SourceUrl::Stdin {
            let kind = SourceKind::Otlp(OtlpFormat::Unknown);
            return Ok(Self {
                name: url.to_owned(),
                kind,
                place: None,
                kept: None,
                live: None,
                may_lack_tenants: false,
            });
        }
        let (store, key) = OpenStore::locate(&parsed, options).await?;
        let mut place = Place { store, key };
        let kind = match &parsed {
            SourceUrl::Local(path) => {
                let found = tokio::fs::metadata(path).await.map_err(|e| match e.kind() {
                    std::io::ErrorKind::NotFound => Error::not_found("source", place.url()),
                    _ => Error::Unreachable { key: place.url(), reason: e.to_string() },
                })?;
                if found.is_dir() {
                    place.recognise_folder(url).await?
                } else {
                    place.recognise_file().ok_or_else(|| not_data(url))?
                }
            }
            _ => match place.recognise_file() {
                Some(kind) => kind,
                None => place.recognise_folder(url).await?,
            },
        };
        Ok(Self {
            name: url.to_owned(),
            kind,
            place: Some(place),
            kept: None,
            live: None,
            may_lack_tenants: false,
        })
    }

    /// Traces that are there already, as a source of one file. Errors call it by `name`, and so
    /// does whoever keeps what was read of it: it should be unique.
    pub async fn of_traces(name: &str, traces: &[Trace]) -> Result<Self> {
        let (store, key) = (InMemory::new(), Path::from("traces.pb"));
        let bytes = Bytes::from(otlp::to_protobuf(traces));
        let put = store.put(&key, bytes.into()).await;
        put.map_err(|e| Error::storage("source", name, e))?;
        let store = OpenStore { store: Arc::new(store), url: name.into(), listable: true };
        let kind = SourceKind::Otlp(OtlpFormat::Protobuf);
        Ok(Self {
            name: name.to_owned(),
            kind,
            place: Some(Place { store, key }),
            kept: None,
            live: None,
            may_lack_tenants: false,
        })
    }

    /// A folder of tenants in a store that is open already; errors call it by `name`.
    #[must_use]
    pub fn of_store(name: &str, store: OpenStore, root: Path) -> Self {
        Self {
            name: name.to_owned(),
            kind: SourceKind::Bucket,
            place: Some(Place { store, key: root }),
            kept: None,
            live: None,
            may_lack_tenants: false,
        }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &SourceKind {
        &self.kind
    }

    /// The store it lies in; none for standard input.
    #[must_use]
    pub fn store(&self) -> Option<&OpenStore> {
        self.place.as_ref().map(|place| &place.store)
    }

    /// The key of the bucket's root, tenant, block or file within the store.
    #[must_use]
    pub fn key(&self) -> Option<&Path> {
        self.place.as_ref().map(|place| &place.key)
    }

    /// The tenants it has, sorted. Folders whose names cannot be a tenant's are left out.
    pub async fn tenants(&self) -> Result<Vec<TenantId>> {
        match (&self.kind, &self.place) {
            (SourceKind::Bucket, Some(place)) => Ok(place.tenants(&place.list().await?)),
            _ => Ok(vec![self.tenant(None).await?]),
        }
    }

    /// Which tenant to ask: the one requested; if none was, the only one the source can mean, or
    /// in a bucket `single-tenant`.
    pub async fn tenant(&self, requested: Option<&TenantId>) -> Result<TenantId> {
        match (requested, &self.kind) {
            (Some(tenant), _) => Ok(tenant.clone()),
            (None, SourceKind::Tenant(tenant)) => Ok(tenant.clone()),
            (None, SourceKind::Block) => {
                let block = self.place()?.block().await?;
                Ok(TenantId::parse(&block.meta.tenant).unwrap_or_else(|_| TenantId::single()))
            }
            _ => Ok(TenantId::single()),
        }
    }

    /// The same source with block lists kept in memory: [`Source::blocks`] reads a tenant's list
    /// once and then answers from memory, until [`Source::refresh_blocklists`] reads it anew.
    #[must_use]
    pub fn keeping_blocklists(self) -> Self {
        Self { kept: Some(Arc::default()), ..self }
    }

    /// The number of a tenant's block list as it is kept now; `None` if it is not, or if there is more
    /// than the list says: what has been received. While the number is the same, so are the blocks.
    pub async fn kept_version(&self, tenant: &TenantId, unreadable: Unreadable) -> Option<u64> {
        if self.live.is_some() {
            return None;
        }
        self.kept.as_ref()?.version(tenant, unreadable == Unreadable::Skip).await
    }

    /// How much is kept of block lists.
    #[must_use]
    pub fn kept_counts(&self) -> KeptCounts {
        self.kept.as_ref().map(|kept| kept.counts()).unwrap_or_default()
    }

    /// The same source with what has been received and is not in it yet.
    #[must_use]
    pub fn with_live(self, live: Arc<dyn LiveBlocks>) -> Self {
        Self { live: Some(live), ..self }
    }

    /// The same source, kept lists included, without what is not in it yet. A tenant that it lacks
    /// has no blocks, and is no error.
    #[must_use]
    pub fn stored(&self) -> Self {
        Self { live: None, may_lack_tenants: true, ..self.clone() }
    }

    /// Makes a block known that was written just now: lists have it from now on, whatever they were
    /// made from. Does nothing where lists are not kept.
    pub fn add_block(&self, tenant: &TenantId, block: Block) {
        if let Some(kept) = &self.kept {
            kept.add(tenant, block);
        }
    }

    /// Reads the kept block lists anew; returns what went wrong. A list that cannot be read is
    /// forgotten, so that the next query meets the error.
    pub async fn refresh_blocklists(&self, now_unix_nanos: Option<i64>) -> Vec<Error> {
        let Some(kept) = &self.kept else { return Vec::new() };
        let read = |tenant: TenantId, options: BlocklistOptions| async move {
            self.read_blocks(&tenant, &options).await
        };
        kept.refresh(now_unix_nanos, read).await
    }

    /// The live blocks of a tenant, by end time descending, then by id.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] with the tenants that exist as candidates, or [`Error::Usage`] saying
    /// what was found if the source does not look like a bucket.
    pub async fn blocks(&self, tenant: &TenantId, options: &BlocklistOptions) -> Result<Blocklist> {
        let (mut live, mut stored);
        let mut n_tries = 0;
        loop {
            let moves = self.live.as_ref().map(|live| live.moves());
            // What is live comes first: it moves into the bucket and not back.
            live = match &self.live {
                Some(live) => live.blocks(tenant, options.range).await?,
                None => None,
            };
            stored = self.stored_blocks(tenant, options).await;
            // Traces that moved in between are here and there. They would count once, but each of
            // them would have to be put together from its two copies.
            n_tries += 1;
            let is_settled = moves.is_none_or(|moves| moves % 2 == 0)
                && moves == self.live.as_ref().map(|live| live.moves());
            if is_settled || n_tries >= MAX_LIVE_TRIES {
                break;
            }
            tokio::task::yield_now().await;
        }
        let stored = match stored {
            Err(Error::NotFound { what: "tenant", .. })
                if self.may_lack_tenants || live.is_some() =>
            {
                Ok(Blocklist::default())
            }
            stored => stored,
        };
        let Some(live) = live else { return stored };
        let mut list = stored?;
        list.blocks.extend(live);
        list.sort();
        Ok(list)
    }

    /// The blocks of the bucket, from memory if lists are kept.
    async fn stored_blocks(
        &self,
        tenant: &TenantId,
        options: &BlocklistOptions,
    ) -> Result<Blocklist> {
        match &self.kept {
            Some(kept) if !options.no_index => {
                let read = |options| async move { self.read_blocks(tenant, &options).await };
                kept.get(tenant, options, read).await
            }
            _ => self.read_blocks(tenant, options).await,
        }
    }

    async fn read_blocks(
        &self,
        tenant: &TenantId,
        options: &BlocklistOptions,
    ) -> Result<Blocklist> {
        let place = self.place()?;
        // Whoever writes blocks lists them: an index, which another process makes, is behind, and a
        // restart would miss what was flushed since.
        let is_written = self.live.is_some() || self.may_lack_tenants;
        let no_index = options.no_index || is_written;
        let options = &BlocklistOptions { no_index, ..*options };
        let folder = match &self.kind {
            SourceKind::Bucket => path::tenant_folder(&place.key, tenant),
            SourceKind::Tenant(own) if own == tenant => place.key.clone(),
            SourceKind::Tenant(own) => return Err(place.no_tenant(tenant, [own.to_string()])),
            SourceKind::Block => return Ok(only(place.block().await?, None, options)),
            SourceKind::Parquet => {
                let (block, warning) = place.parquet().await?;
                return Ok(only(block, warning, options));
            }
            SourceKind::Otlp(_) => {
                return Err(Error::Usage {
                    what: "source",
                    value: self.name.clone(),
                    reason: "an OTLP file has no blocks".to_owned(),
                });
            }
        };
        let folder = TenantFolder {
            store: &place.store.store,
            store_url: &place.store.url,
            folder,
            listable: place.store.listable,
        };
        match folder.blocklist(options).await? {
            Some(list) => Ok(list),
            None if self.is_emptied(place, tenant).await? => Ok(Blocklist::default()),
            None => Err(self.explain_missing(place, tenant).await?),
        }
    }

    /// Whether there is a tenant, of whom no block is left: they were given up, or compacted away.
    async fn is_emptied(&self, place: &Place, tenant: &TenantId) -> Result<bool> {
        if !place.store.listable {
            return Ok(false);
        }
        if matches!(self.kind, SourceKind::Tenant(_)) {
            return Ok(true);
        }
        let there = place.tenants(&place.list().await?);
        if !there.contains(tenant) {
            return Ok(false);
        }
        let own =
            Place { store: place.store.clone(), key: path::tenant_folder(&place.key, tenant) };
        // A folder with anything else in it is of something else.
        let own = own.list().await?;
        let is_ours = |prefix: &Path| {
            let name = prefix.filename().unwrap_or_default();
            path::block_id(name).is_some() || name == path::COMPACTOR
        };
        Ok(own.objects.is_empty() && own.common_prefixes.iter().all(is_ours))
    }

    /// The bytes of an OTLP source, decompressed if they are gzip: at most `limit_bytes`, before and
    /// after together.
    ///
    /// # Errors
    ///
    /// [`Error::OverLimit`] naming the source; storage errors; gzip that is none.
    pub async fn read_otlp(&self, limit_bytes: u64) -> Result<Bytes> {
        let (name, bytes) = match &self.place {
            Some(place) => {
                let fetched = place.store.at().fetch("source", &place.key, limit_bytes).await?;
                (place.url(), fetched)
            }
            None => ("standard input".to_owned(), read_stdin(limit_bytes).await?),
        };
        const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
        if !bytes.starts_with(&GZIP_MAGIC) {
            return Ok(bytes);
        }
        let left = limit_bytes.saturating_sub(bytes.len() as u64);
        gunzip(&name, &bytes, left).map(Into::into)
    }

    fn place(&self) -> Result<&Place> {
        self.place.as_ref().ok_or_else(|| Error::Usage {
            what: "source",
            value: self.name.clone(),
            reason: "standard input holds OTLP and no blocks".to_owned(),
        })
    }

    /// Why a bucket has no such tenant, in terms of what it has.
    async fn explain_missing(&self, place: &Place, tenant: &TenantId) -> Result<Error> {
        if !place.store.listable {
            return Ok(place.no_tenant(tenant, []));
        }
        let below = place.list().await?;
        let folders = place.tenants(&below);
        let looks = futures::stream::iter(folders.iter().take(MAX_CANDIDATES_CHECKED).cloned())
            .map(|name| async move { Ok(place.is_tenant(&name).await?.then(|| name.to_string())) })
            .buffered(16);
        let tenants: Vec<_> = looks.try_filter_map(|name| async { Ok(name) }).try_collect().await?;
        if tenants.is_empty() && !(below.common_prefixes.is_empty() && below.objects.is_empty()) {
            return Ok(Error::Usage {
                what: "source",
                value: self.name.clone(),
                reason: format!(
                    "no bucket of tenants, tenant or block: it holds {}",
                    contents(&below)
                ),
            });
        }
        Ok(place.no_tenant(tenant, tenants))
    }
}

impl Place {
    fn url(&self) -> String {
        self.store.at().url(&self.key)
    }

    async fn list(&self) -> Result<ListResult> {
        let list = self.store.store.list_with_delimiter(Some(&self.key)).await;
        list.map_err(|e| Error::storage("source", self.url(), e))
    }

    async fn has(&self, name: &str) -> Result<bool> {
        let key = path::child(&self.key, name);
        match self.store.store.head(&key).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(e) => Err(Error::storage("object", self.store.at().url(&key), e)),
        }
    }

    fn tenants(&self, below: &ListResult) -> Vec<TenantId> {
        let names = below.common_prefixes.iter().filter_map(|prefix| prefix.filename());
        let tenants: BTreeSet<_> = names.filter_map(|name| TenantId::parse(name).ok()).collect();
        tenants.into_iter().collect()
    }

    fn no_tenant(&self, tenant: &TenantId, candidates: impl IntoIterator<Item = String>) -> Error {
        Error::NotFound {
            what: "tenant",
            key: self.store.at().url(&path::tenant_folder(&self.key, tenant)),
            candidates: candidates.into_iter().collect(),
        }
    }

    async fn is_tenant(&self, tenant: &TenantId) -> Result<bool> {
        let key = path::tenant_folder(&self.key, tenant);
        let folder = Self { store: self.store.clone(), key };
        Ok(looks_like_tenant(&folder.list().await?))
    }

    /// Judges by the name whether this is a file that can be read. Names that stand for a folder's
    /// content become that folder.
    fn recognise_file(&mut self) -> Option<SourceKind> {
        let name = self.key.filename()?;
        if name == path::META || name == path::COMPACTED_META {
            self.key = self.key.parent()?;
            return Some(SourceKind::Block);
        }
        if name == path::TENANT_INDEX_PROTOBUF || name == path::TENANT_INDEX_JSON {
            self.key = self.key.parent()?;
            return Some(SourceKind::Tenant(self.own_tenant()));
        }
        if name.ends_with(".parquet") {
            return Some(SourceKind::Parquet);
        }
        let format = match name.strip_suffix(".gz").unwrap_or(name).rsplit_once('.')?.1 {
            "json" => OtlpFormat::Json,
            "jsonl" | "ndjson" => OtlpFormat::JsonLines,
            "pb" => OtlpFormat::Protobuf,
            _ => return None,
        };
        Some(SourceKind::Otlp(format))
    }

    async fn recognise_folder(&self, name: &str) -> Result<SourceKind> {
        if !self.store.listable {
            return self.recognise_unlisted().await;
        }
        // A tenant's folder may list thousands of blocks; its index answers in one request.
        let may_be_tenant = !self.key.is_root() && self.store.url.as_ref() != "file://";
        if may_be_tenant && self.has(path::TENANT_INDEX_PROTOBUF).await? {
            return Ok(SourceKind::Tenant(self.own_tenant()));
        }
        let below = self.list().await?;
        let has = |name| below.objects.iter().any(|o| o.location.filename() == Some(name));
        if has(path::META) || has(path::COMPACTED_META) {
            Ok(SourceKind::Block)
        } else if looks_like_tenant(&below) {
            Ok(SourceKind::Tenant(self.own_tenant()))
        } else if below.common_prefixes.is_empty() && !below.objects.is_empty() {
            Err(Error::Usage {
                what: "source",
                value: name.to_owned(),
                reason: format!(
                    "no bucket of tenants, tenant or block: it holds {}",
                    contents(&below)
                ),
            })
        } else {
            Ok(SourceKind::Bucket)
        }
    }

    /// Plain HTTP cannot list, so the objects that tell are asked for by name.
    async fn recognise_unlisted(&self) -> Result<SourceKind> {
        if self.has(path::META).await? {
            return Ok(SourceKind::Block);
        }
        for index in [path::TENANT_INDEX_PROTOBUF, path::TENANT_INDEX_JSON] {
            if self.has(index).await? {
                return Ok(SourceKind::Tenant(self.own_tenant()));
            }
        }
        Err(Error::NotFound {
            what: "block or tenant index",
            key: self.url(),
            candidates: Vec::new(),
        })
    }

    /// The tenant whose folder this is.
    fn own_tenant(&self) -> TenantId {
        let name = self.key.filename().unwrap_or_default();
        TenantId::parse(name).unwrap_or_else(|_| TenantId::single())
    }

    /// The block whose folder this is. That it was named makes up for its being compacted.
    async fn block(&self) -> Result<Block> {
        let at = self.store.at();
        for name in [path::META, path::COMPACTED_META] {
            let key = path::child(&self.key, name);
            if let Some(json) = at.fetch_if_any(&key, MAX_META_BYTES).await? {
                return match BlockMeta::parse(&at.url(&key), &json)? {
                    ParsedMeta::Block(meta) => Ok(self.block_of(self.key.clone(), meta)),
                    ParsedMeta::Inert { format } => Err(Error::Unsupported {
                        key: at.url(&key),
                        reason: format!("preview format {format:?} is not read"),
                    }),
                };
            }
        }
        Err(Error::not_found("block", self.url()))
    }

    fn block_of(&self, folder: Path, meta: BlockMeta) -> Block {
        Block {
            store: Arc::clone(&self.store.store),
            store_url: Arc::clone(&self.store.url),
            data: path::child(&folder, path::DATA),
            folder: Some(folder),
            meta: Arc::new(meta),
            hidden: HiddenTraces::default(),
        }
    }

    /// The block a Parquet file is. A `data.parquet` that still lies in its block's folder has a
    /// meta, which names its dedicated columns; nothing else does.
    async fn parquet(&self) -> Result<(Block, Option<Warning>)> {
        if self.key.filename() == Some(path::DATA)
            && let Some(folder) = self.key.parent()
        {
            let folder = Self { store: self.store.clone(), key: folder };
            match folder.block().await {
                Err(Error::NotFound { .. }) => {}
                result => return result.map(|block| (block, None)),
            }
        }
        lone::open(&self.store, &self.key).await
    }
}

fn looks_like_tenant(below: &ListResult) -> bool {
    let is_index = |key: &Path| {
        matches!(key.filename(), Some(path::TENANT_INDEX_PROTOBUF | path::TENANT_INDEX_JSON))
    };
    let is_block = |prefix: &Path| prefix.filename().and_then(path::block_id).is_some();
    below.objects.iter().any(|object| is_index(&object.location))
        || below.common_prefixes.iter().any(is_block)
}

/// What a folder holds, in a few words.
fn contents(below: &ListResult) -> String {
    const MAX_NAMES: usize = 3;
    let describe = |keys: Vec<&Path>, noun: &str| {
        let names: Vec<_> = keys.iter().filter_map(|key| key.filename()).take(MAX_NAMES).collect();
        let more = if keys.len() > MAX_NAMES { ", …" } else { "" };
        let plural = if keys.len() == 1 { "" } else { "s" };
        (!keys.is_empty())
            .then(|| format!("{} {noun}{plural} ({}{more})", keys.len(), names.join(", ")))
    };
    let folders = describe(below.common_prefixes.iter().collect(), "folder");
    let files = describe(below.objects.iter().map(|object| &object.location).collect(), "file");
    match [folders, files].into_iter().flatten().collect::<Vec<_>>().join(" and ") {
        nothing if nothing.is_empty() => "nothing".to_owned(),
        some => some,
    }
}

fn only(block: Block, warning: Option<Warning>, options: &BlocklistOptions) -> Blocklist {
    let warnings = warning.into_iter().collect();
    let mut list = Blocklist { blocks: vec![block], warnings, ..Blocklist::default() };
    if let Some(range) = options.range {
        list.prune(range);
    }
    list
}

fn not_data(url: &str) -> Error {
    Error::Usage {
        what: "source",
        value: url.to_owned(),
        reason: "a file is read if its name ends in .parquet (a block's data) or in .json, .jsonl \
                 or .pb (OTLP traces), the latter perhaps followed by .gz"
            .to_owned(),
    }
}

async fn read_stdin(limit_bytes: u64) -> Result<Bytes> {
    let key = || "standard input".to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock().take(limit_bytes.saturating_add(1));
        input.read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = read
        .await
        .map_err(std::io::Error::other)
        .flatten()
        .map_err(|e| Error::Unreachable { key: key(), reason: e.to_string() })?;
    if bytes.len() as u64 > limit_bytes {
        return Err(Error::OverLimit { what: format!("reading {}", key()), limit_bytes });
    }
    Ok(bytes.into())
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
