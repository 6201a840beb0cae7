//! Pages of a column chunk that has no offset index, found by walking their headers.

use bytes::Bytes;

use super::error::{DecodeError, Result};
use super::page::{DataPage, LeafShape};
use super::thrift::{PageKind, PageLocation, parse_page_header};

/// Locations of the data pages of a chunk whose first byte lies at `start` in the file.
pub(crate) fn locate_pages(
    chunk: &Bytes,
    start: u64,
    shape: &LeafShape,
) -> Result<Vec<PageLocation>> {
    let mut locations = Vec::new();
    let (mut at, mut first_row) = (0_usize, 0_u64);
    while at < chunk.len() {
        let header = parse_page_header(&chunk[at..]).map_err(|error| error.shifted(at))?;
        let size = header.header_len.saturating_add(header.compressed_size);
        let end = at.checked_add(size).filter(|end| *end <= chunk.len()).ok_or_else(|| {
            DecodeError::corrupt("page", format!("{size} bytes"), chunk.len() - at, at)
        })?;
        if matches!(header.kind, PageKind::DataV1 | PageKind::DataV2) {
            locations.push(PageLocation {
                offset: start + at as u64,
                compressed_size: size,
                first_row,
            });
            first_row += match header.n_rows {
                Some(n_rows) => n_rows as u64,
                None => {
                    let page = DataPage::parse(chunk.slice(at..end), shape)
                        .map_err(|error| error.shifted(at))?;
                    let mut rep = Vec::new();
                    page.rep_levels(&mut rep)?;
                    rep.iter().filter(|level| **level == 0).count() as u64
                }
            };
        }
        at = end;
    }
    Ok(locations)
}
