//! Small objects fetched whole, with a bound on their size before and after decompression, and the
//! translation of a store's errors into ours.

use std::io::Read;

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};

use super::path;
use crate::{Error, Result};

/// Where an object is, for requests and for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) store_url: &'a str,
}

impl At<'_> {
    pub(crate) fn url(self, key: &Path) -> String {
        path::object_url(self.store_url, key)
    }

    /// The object's bytes, or `None` if there is no such object.
    pub(crate) async fn fetch_if_any(self, key: &Path, limit_bytes: u64) -> Result<Option<Bytes>> {
        let found = match self.store.get(key).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::storage("object", self.url(key), error)),
        };
        if found.meta.size > limit_bytes {
            return Err(Error::OverLimit {
                what: format!("reading {}", self.url(key)),
                limit_bytes,
            });
        }
        let bytes = found.bytes().await;
        bytes.map(Some).map_err(|e| Error::storage("object", self.url(key), e))
    }

    pub(super) async fn fetch(
        self,
        what: &'static str,
        key: &Path,
        limit_bytes: u64,
    ) -> Result<Bytes> {
        self.fetch_if_any(key, limit_bytes)
            .await?
            .ok_or_else(|| Error::not_found(what, self.url(key)))
    }
}

/// Undoes gzip; `key` names the object in errors.
pub(super) fn gunzip(key: &str, bytes: &[u8], limit_bytes: u64) -> Result<Vec<u8>> {
    read_to_limit(key, "gzip", flate2::read::MultiGzDecoder::new(bytes), limit_bytes)
}

/// Undoes zstd; `key` names the object in errors.
pub(super) fn unzstd(key: &str, bytes: &[u8], limit_bytes: u64) -> Result<Vec<u8>> {
    let decoder = zstd::stream::read::Decoder::with_buffer(bytes)
        .map_err(|e| Error::corrupt(key, None, "a zstd frame", e.to_string()))?;
    read_to_limit(key, "zstd", decoder, limit_bytes)
}

// A few kilobytes can inflate to terabytes, so the bound holds while decompressing.
fn read_to_limit(key: &str, codec: &str, from: impl Read, limit_bytes: u64) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    from.take(limit_bytes.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|e| Error::corrupt(key, None, format!("{codec} data"), e.to_string()))?;
    if out.len() as u64 > limit_bytes {
        return Err(Error::OverLimit { what: format!("decompressing {key}"), limit_bytes });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let zeros = vec![0; 1 << 20];
        for (small, undo) in [
            (gzip(&zeros), gunzip as fn(&str, &[u8], u64) -> Result<Vec<u8>>),
            (zstd::encode_all(&zeros[..], 3).unwrap(), unzstd),
        ] {
            assert!(small.len() < 4096);
            assert_eq!(undo("k", &small, 1 << 20).unwrap(), zeros);
            let error = undo("k", &small, (1 << 20) - 1).unwrap_err();
            assert!(matches!(error, Error::OverLimit { limit_bytes: 1_048_575, .. }), "{error}");
        }
    }

    #[test]
    fn truncated_and_foreign_bytes_are_corrupt() {
        let whole = gzip(b"some text that is long enough");
        let frame = zstd::encode_all(&b"some text that is long enough"[..], 3).unwrap();
        for result in [
            gunzip("k", &whole[..whole.len() - 6], 100),
            gunzip("k", b"not gzip", 100),
            unzstd("k", &frame[..frame.len() - 3], 100),
            unzstd("k", b"not zstd", 100),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(&error, Error::Corrupt { key, .. } if key == "k"), "{error}");
        }
    }
}
