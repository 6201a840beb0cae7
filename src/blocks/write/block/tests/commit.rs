//! The order in which objects appear, and what is left when something fails on the way.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

use super::*;
use crate::error::Error;
use crate::model::{AttributeValue, KeyValue, ResourceSpans, ScopeSpans, Span, TraceId};

/// How the beginning of an upload in parts is noted, and refused.
const MULTIPART: &str = "in parts";

/// A store in memory that notes what is put into it, and refuses one object.
#[derive(Debug)]
struct Noting {
    inner: InMemory,
    put: Mutex<Vec<String>>,
    refused: Option<&'static str>,
}

impl std::fmt::Display for Noting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Noting")
    }
}

#[async_trait]
impl ObjectStore for Noting {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let name = location.filename().unwrap_or_default();
        if self.refused == Some(name) {
            let source = "the disk is full".into();
            return Err(object_store::Error::Generic { store: "Noting", source });
        }
        self.put.lock().push(name.to_owned());
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if self.refused == Some(MULTIPART) {
            let source = "the disk is full".into();
            return Err(object_store::Error::Generic { store: "Noting", source });
        }
        self.put.lock().push(MULTIPART.to_owned());
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

fn store(refused: Option<&'static str>) -> Arc<Noting> {
    Arc::new(Noting { inner: InMemory::new(), put: Mutex::default(), refused })
}

async fn keys(store: &Noting) -> Vec<String> {
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    objects.iter().map(|object| object.location.filename().unwrap().to_owned()).collect()
}

fn trace(id: u8) -> Trace {
    let span = Span { span_id: vec![id; 8], name: "n".into(), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    Trace { id: TraceId::from_bytes(&[id]), resource_spans }
}

async fn writer(store: &Arc<Noting>) -> BlockWriter {
    let place = place_in(Arc::clone(store) as Arc<dyn ObjectStore>, "t");
    let mut writer = BlockWriter::new(place, BlockSettings::default()).unwrap();
    writer.write(&trace(1)).await.unwrap();
    writer.write(&trace(2)).await.unwrap();
    writer
}

#[tokio::test]
async fn the_meta_comes_last() {
    let store = store(None);
    let prepared = writer(&store).await.prepare().await.unwrap().unwrap();
    assert_eq!(*store.put.lock(), ["data.parquet", "bloom-0", "index"]);
    let written = prepared.commit().await.unwrap();
    assert_eq!(store.put.lock().last().unwrap(), "meta.json");
    assert_eq!((written.meta.total_objects, written.span_count), (2, 2));
    verify(&block_at(&place_in(Arc::clone(&store) as _, "t"), &written)).await;

    // Its id is taken now, and what is there stays.
    let mut other = writer(&store).await;
    other.write(&trace(3)).await.unwrap();
    let error = other.finish().await.unwrap_err();
    verify(&block_at(&place_in(Arc::clone(&store) as _, "t"), &written)).await;
    assert!(
        matches!(&error, Error::NotWritten { key, .. } if key.ends_with("/meta.json")),
        "{error}"
    );
    assert_eq!(keys(&store).await.len(), 4);
}

#[tokio::test]
async fn a_failure_leaves_nothing_behind() {
    for refused in ["data.parquet", "bloom-0", "index"] {
        let store = store(Some(refused));
        let error = writer(&store).await.finish().await.unwrap_err();
        let expect = format!("{refused}: the disk is full");
        assert!(error.to_string().starts_with("cannot write memory:t/"), "{error}");
        assert!(error.to_string().ends_with(&expect), "{error}");
        assert_eq!(keys(&store).await, [] as [String; 0], "{refused}");
    }
}

/// A file of several parts; a part that is refused fails the block, and no part is left.
#[tokio::test]
async fn large_files_are_uploaded_in_parts() {
    // Noise does not compress.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise: String = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + state.to_le_bytes()[3] % 95)
    })
    .take(5_000_000)
    .collect();
    let mut settings = BlockSettings { row_group_bytes: 1, ..BlockSettings::default() };
    settings.dedicated_columns = vec!["span.noise:blob".parse().unwrap()];
    for refused in [None, Some(MULTIPART)] {
        let store = store(refused);
        let place = place_in(Arc::clone(&store) as _, "t");
        let mut writer = BlockWriter::new(place.clone(), settings.clone()).unwrap();
        let mut result = Ok(());
        let mut n_written = 0;
        while result.is_ok() && n_written < 5 {
            n_written += 1;
            let mut trace = trace(n_written);
            trace.resource_spans[0].scope_spans[0].spans[0].attributes = vec![KeyValue {
                key: "noise".into(),
                value: AttributeValue::String(noise[usize::from(n_written)..].to_owned()),
            }];
            result = writer.write(&trace).await;
        }
        match refused {
            None => {
                let written = writer.finish().await.unwrap().unwrap();
                assert_eq!(written.meta.total_records, 5);
                assert!(written.meta.size_bytes > 16 << 20, "{}", written.meta.size_bytes);
                assert_eq!(store.put.lock()[0], MULTIPART);
                verify(&block_at(&place, &written)).await;
            }
            Some(_) => {
                assert!(matches!(result, Err(Error::NotWritten { .. })), "{result:?}");
                writer.abort().await;
                assert_eq!(keys(&store).await, [] as [String; 0]);
            }
        }
    }
}

#[tokio::test]
async fn a_block_given_up_leaves_nothing_behind() {
    let store = store(None);
    writer(&store).await.abort().await;
    assert_eq!(keys(&store).await, [] as [String; 0]);
    writer(&store).await.prepare().await.unwrap().unwrap().discard().await;
    assert_eq!(keys(&store).await, [] as [String; 0]);
}

#[tokio::test]
async fn no_traces_make_no_block() {
    let store = store(None);
    let place = place_in(Arc::clone(&store) as _, "t");
    let writer = BlockWriter::new(place, BlockSettings::default()).unwrap();
    assert_eq!(writer.finish().await.unwrap(), None);
    assert_eq!(keys(&store).await, [] as [String; 0]);
}

#[tokio::test]
async fn ids_out_of_order_are_refused() {
    let store = store(None);
    for id in [1, 2] {
        let error = writer(&store).await.write(&trace(id)).await.unwrap_err();
        assert!(matches!(&error, Error::Usage { what: "trace", .. }), "{error}");
    }
    let place = BlockPlace { block_id: Uuid::nil(), ..place_in(Arc::clone(&store) as _, "t") };
    let error = BlockWriter::new(place, BlockSettings::default()).unwrap_err();
    assert!(matches!(&error, Error::Usage { what: "block id", .. }), "{error}");
}

#[tokio::test]
async fn several_blocks_become_visible_or_none() {
    let store = store(None);
    let mut blocks = Vec::new();
    for n in 1..=3 {
        let place = place_in(Arc::clone(&store) as _, "t");
        let place = BlockPlace { block_id: Uuid::from_u128(n), ..place };
        let mut writer = BlockWriter::new(place, BlockSettings::default()).unwrap();
        writer.write(&trace(1)).await.unwrap();
        blocks.push(writer.prepare().await.unwrap().unwrap());
    }
    // Meanwhile somebody else takes the id of the second.
    let taken = path::child(&blocks[1].written().meta.block_id.to_string().into(), path::META);
    let taken = Path::from(format!("t/{taken}"));
    store.put(&taken, "theirs".into()).await.unwrap();
    let error = PreparedBlock::commit_all(blocks).await.unwrap_err();
    assert!(error.to_string().contains("there is a block of this id"), "{error}");
    let left: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert!(left.iter().all(|object| object.location.as_ref().contains("-000000000002/")));
}
