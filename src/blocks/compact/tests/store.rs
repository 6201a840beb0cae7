//! A store in memory whose clock is set by hand and which ends when it is told to: at its n-th change
//! it fails, and from then on in everything, as the store of a process that is gone.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

/// What becomes of the change at which the store ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It does not happen.
    Before,
    /// It happens, and whoever asked for it does not learn so.
    After,
}

/// The store. Clones are the same store.
#[derive(Clone, Debug)]
pub(super) struct TestStore {
    inner: Arc<InMemory>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    now_unix_nanos: i64,
    changed: HashMap<Path, i64>,
    log: Vec<String>,
    ends_at: Option<(usize, End)>,
    has_ended: bool,
    ignores_conditions: bool,
}

impl TestStore {
    pub(super) fn at(now_unix_nanos: i64) -> Self {
        let state = State {
            now_unix_nanos,
            changed: HashMap::new(),
            log: Vec::new(),
            ends_at: None,
            has_ended: false,
            ignores_conditions: false,
        };
        Self { inner: Arc::default(), state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn now(&self) -> i64 {
        self.state.lock().now_unix_nanos
    }

    pub(super) fn advance(&self, by: Duration) {
        self.state.lock().now_unix_nanos += i64::try_from(by.as_nanos()).unwrap();
    }

    /// Ends at this change, counted from now on.
    pub(super) fn end_at(&self, n: usize, end: End) {
        let mut state = self.state.lock();
        state.log.clear();
        state.ends_at = Some((n, end));
    }

    /// Works again; true if it had ended.
    pub(super) fn heal(&self) -> bool {
        let mut state = self.state.lock();
        state.ends_at = None;
        std::mem::take(&mut state.has_ended)
    }

    /// Creates objects whether they exist or not, as some stores do.
    pub(super) fn ignore_conditions(&self) {
        self.state.lock().ignores_conditions = true;
    }

    /// The changes since the end was set, as verb and last name.
    pub(super) fn log(&self) -> Vec<String> {
        self.state.lock().log.clone()
    }

    /// Keys of all objects, sorted.
    pub(super) async fn keys(&self) -> Vec<String> {
        let objects: Vec<_> = self.inner.list(None).try_collect().await.unwrap();
        let mut keys: Vec<_> = objects.iter().map(|object| object.location.to_string()).collect();
        keys.sort();
        keys
    }

    fn gone<T>() -> Result<T> {
        Err(object_store::Error::Generic { store: "test", source: "the process is gone".into() })
    }

    fn read(&self) -> Result<()> {
        if self.state.lock().has_ended { Self::gone() } else { Ok(()) }
    }

    /// Counts a change; whether its answer is lost.
    fn change(&self, verb: &str, key: &Path) -> Result<bool> {
        self.read()?;
        let mut state = self.state.lock();
        let n = state.log.len();
        state.log.push(format!("{verb} {}", key.filename().unwrap_or_default()));
        let end = state.ends_at.filter(|(at, _)| *at == n).map(|(_, end)| end);
        state.has_ended = end.is_some();
        if end == Some(End::Before) {
            return Self::gone();
        }
        let now = state.now_unix_nanos;
        state.changed.insert(key.clone(), now);
        Ok(end == Some(End::After))
    }

    /// The object with the time of the clock that is set by hand.
    fn timed(&self, mut object: ObjectMeta) -> ObjectMeta {
        let wanted = self.state.lock().changed.get(&object.location).copied();
        let real = object.last_modified.timestamp_nanos_opt().unwrap();
        let by = wanted.unwrap_or(real) - real;
        match u64::try_from(by) {
            Ok(by) => object.last_modified += Duration::from_nanos(by),
            Err(_) => object.last_modified -= Duration::from_nanos(by.unsigned_abs()),
        }
        object
    }
}

impl std::fmt::Display for TestStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestStore")
    }
}

#[async_trait]
impl ObjectStore for TestStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        if self.state.lock().ignores_conditions {
            options.mode = PutMode::Overwrite;
        }
        let is_lost = self.change("put", location)?;
        let put = self.inner.put_opts(location, payload, options).await?;
        if is_lost { Self::gone() } else { Ok(put) }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.change("parts", location)?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read()?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read()?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let delete = move |location: Result<Path>| {
            let this = this.clone();
            async move {
                let location = location?;
                let is_lost = this.change("delete", &location)?;
                this.inner.delete(&location).await?;
                if is_lost { Self::gone() } else { Ok(location) }
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if let Err(error) = self.read() {
            return futures::stream::iter([Err(error)]).boxed();
        }
        let this = self.clone();
        self.inner.list(prefix).map_ok(move |object| this.timed(object)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let is_lost = self.change("copy", to)?;
        self.inner.copy_opts(from, to, options).await?;
        if is_lost { Self::gone() } else { Ok(()) }
    }
}
