//! Decompresses page bodies, bounded by the size the page header declares.

use std::io::Read as _;

use super::error::{DecodeError, Result};

const WHAT: &str = "compressed values";

/// Snappy's densest element turns 3 bytes into 64.
const SNAPPY_MAX_RATIO: usize = 32;

/// What a decompressor without a bound on its ratio may allocate before it has produced anything.
const TRUSTED_BYTES: usize = 1 << 20;

/// How a column chunk's pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Not at all.
    None,
    /// Snappy's raw format.
    Snappy,
    /// Gzip members.
    Gzip,
    /// Zstandard frames.
    Zstd,
}

impl Codec {
    /// The codec of a column chunk, unless it is one that we leave to the Parquet library.
    pub(crate) fn of(compression: parquet::basic::Compression) -> Result<Self> {
        use parquet::basic::Compression;
        match compression {
            Compression::UNCOMPRESSED => Ok(Self::None),
            Compression::SNAPPY => Ok(Self::Snappy),
            Compression::GZIP(_) => Ok(Self::Gzip),
            Compression::ZSTD(_) => Ok(Self::Zstd),
            other => Err(DecodeError::Unsupported(format!("compression {other}"))),
        }
    }

    /// Decompresses `bytes` into exactly `n` bytes.
    pub(crate) fn decompress(self, bytes: &[u8], n: usize) -> Result<Vec<u8>> {
        let corrupt = |found: &dyn ToString| {
            DecodeError::corrupt(WHAT, format_args!("{n} bytes"), found.to_string(), 0)
        };
        let out = match self {
            Self::None => bytes.to_vec(),
            // The format allows a page without values to have no compressed bytes at all.
            _ if bytes.is_empty() && n == 0 => Vec::new(),
            Self::Snappy => {
                let declared = snap::raw::decompress_len(bytes).map_err(|e| corrupt(&e))?;
                if declared != n || n > bytes.len().saturating_mul(SNAPPY_MAX_RATIO) {
                    return Err(corrupt(&declared));
                }
                snap::raw::Decoder::new().decompress_vec(bytes).map_err(|e| corrupt(&e))?
            }
            Self::Zstd if n <= TRUSTED_BYTES => {
                zstd::bulk::decompress(bytes, n).map_err(|e| corrupt(&e))?
            }
            Self::Zstd => {
                let decoder =
                    zstd::stream::read::Decoder::with_buffer(bytes).map_err(|e| corrupt(&e))?;
                read_at_most(decoder, n).map_err(|e| corrupt(&e))?
            }
            Self::Gzip => read_at_most(flate2::bufread::MultiGzDecoder::new(bytes), n)
                .map_err(|e| corrupt(&e))?,
        };
        if out.len() != n {
            return Err(corrupt(&out.len()));
        }
        Ok(out)
    }
}

/// Reads up to one byte past `n`. The buffer grows as bytes arrive, not as `n` promises.
fn read_at_most(reader: impl std::io::Read, n: usize) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(n.min(TRUSTED_BYTES));
    reader.take(n as u64 + 1).read_to_end(&mut out)?;
    Ok(out)
}
