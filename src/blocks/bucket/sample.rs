//! The built-in sample: an hour of a small web shop, 500 traces in two blocks, compiled into the
//! binary from `testdata/sample` so that the first query needs no file, server or network.

use bytes::Bytes;
use object_store::{ObjectStoreExt as _, memory::InMemory, path::Path};

/// The objects of one block, by key.
macro_rules! block {
    ($id:literal, $($name:literal),*) => {
        [$((
            concat!("single-tenant/", $id, "/", $name),
            include_bytes!(concat!("../../../testdata/sample/single-tenant/", $id, "/", $name))
                .as_slice(),
        )),*]
    };
}

/// URL of the store that holds the sample.
pub(super) const STORE_URL: &str = "sample:";

/// A store in memory that holds the sample. The bytes stay where the binary was loaded.
pub(super) async fn store() -> object_store::Result<InMemory> {
    let store = InMemory::new();
    for (key, bytes) in objects() {
        store.put(&Path::from(key), Bytes::from_static(bytes).into()).await?;
    }
    Ok(store)
}

fn objects() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    const BLOCKS: [[(&str, &[u8]); 4]; 2] = [
        block!(
            "2904655c-7134-5dc4-88ef-d24797772124",
            "meta.json",
            "data.parquet",
            "bloom-0",
            "index"
        ),
        block!(
            "2c655cee-860a-51ad-af76-d8df3fe5f2f4",
            "meta.json",
            "data.parquet",
            "bloom-0",
            "index"
        ),
    ];
    BLOCKS.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_the_shop_under_another_tenant() {
        let shop = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/blocks/shop/shop5");
        let mut n_objects = 0;
        for (key, bytes) in objects() {
            let name = key.strip_prefix("single-tenant/").unwrap();
            let original = std::fs::read(format!("{shop}/{name}")).unwrap();
            if name.ends_with("meta.json") {
                let ours = std::str::from_utf8(bytes).unwrap();
                let theirs = String::from_utf8(original).unwrap();
                assert_eq!(ours, theirs.replace("\"shop5\"", "\"single-tenant\""));
            } else {
                assert_eq!(bytes, original, "{key}");
            }
            n_objects += 1;
        }
        assert_eq!(n_objects, 8);
    }
}
