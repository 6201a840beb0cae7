//! Schema, encodings and checksums: what can be checked of a Parquet file page by page, without
//! decoding a value.

use std::fmt;

use parquet::basic::Type as PhysicalType;

use super::{Findings, Rule};
use crate::error::Result;
use crate::read::encoding::Encoding;
use crate::read::error::DecodeError;
use crate::read::open::{OpenBlock, ReadContext};
use crate::read::page::{split_page, verify_crc};
use crate::read::thrift::PageKind;
use crate::schema::layout::{ExpectedLeaf, expected_leaves};

/// Compares the leaves of the file with those that its meta demands; true if they are the same.
pub(super) fn check_leaves(open: &OpenBlock, findings: &mut Findings<'_>) -> bool {
    let columns = open.metadata().file_metadata().schema_descr().columns();
    let found: Vec<_> = columns
        .iter()
        .map(|column| LeafFacts {
            path: column.path().string(),
            physical: column.physical_type(),
            levels: (column.max_def_level(), column.max_rep_level()),
        })
        .collect();
    let expected: Vec<_> = expected_leaves(&open.block.meta)
        .into_iter()
        .map(|leaf| LeafFacts {
            path: leaf.path,
            physical: leaf.kind.physical(),
            levels: (leaf.max_def, leaf.max_rep),
        })
        .collect();
    if found == expected {
        return true;
    }
    // One leaf too many shifts all that follow: only the first difference says something.
    let at = found.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
    let show = |leaf: Option<&LeafFacts>| {
        leaf.map_or_else(|| format!("no leaf {at}"), |leaf| format!("leaf {at} to be {leaf}"))
    };
    findings.add_data(
        Rule::Leaves,
        None,
        format_args!("{} leaves, {}", expected.len(), show(expected.get(at))),
        format_args!("{} leaves, {}", found.len(), show(found.get(at))),
    );
    false
}

#[derive(PartialEq)]
struct LeafFacts {
    path: String,
    physical: PhysicalType,
    levels: (i16, i16),
}

impl fmt::Display for LeafFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max_def, max_rep) = self.levels;
        write!(f, "{} of type {} at levels {max_def}/{max_rep}", self.path, self.physical)
    }
}

/// Walks the pages of all column chunks of a row group.
pub(super) async fn check_row_group(
    open: &OpenBlock,
    row_group: usize,
    leaves_fit: bool,
    context: &ReadContext,
    findings: &mut Findings<'_>,
) -> Result<()> {
    let expected = expected_leaves(&open.block.meta);
    for (at, leaf) in open.schema.leaves().iter().enumerate() {
        let checked = match open.chunk_range(row_group, leaf.index) {
            Ok(range) => {
                let chunk = context.fetch(&open.block, vec![range.clone()]).await?;
                let chunk = chunk.into_iter().next().unwrap_or_default();
                // Whether dictionaries are allowed is known only where the leaves are.
                let allowed = expected.get(at).filter(|_| leaves_fit);
                let name = format!("{} in row group {row_group}", leaf.path);
                check_chunk(&chunk, range.start, &name, leaf.physical, allowed, findings)
                    .map_err(|e| open.decode_error(row_group, leaf.index, Some(range), e))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = checked {
            findings.add_error(error)?;
        }
    }
    Ok(())
}

fn check_chunk(
    chunk: &bytes::Bytes,
    start: u64,
    name: &str,
    physical: PhysicalType,
    leaf: Option<&ExpectedLeaf>,
    findings: &mut Findings<'_>,
) -> Result<(), DecodeError> {
    let mut at = 0;
    let mut has_dictionary = false;
    let mut fell_back = false;
    while at < chunk.len() {
        let (header, body) = split_page(chunk.slice(at..)).map_err(|error| error.shifted(at))?;
        if let Err(DecodeError::Corrupt { expected, found, .. }) = verify_crc(&header, &body) {
            let place = start + at as u64;
            findings.add_data(
                Rule::Checksum,
                None,
                format_args!("{expected} of the page at byte {place}, leaf {name}"),
                found,
            );
        }
        let is_data = matches!(header.kind, PageKind::DataV1 | PageKind::DataV2);
        has_dictionary |= header.kind == PageKind::Dictionary;
        if is_data && physical == PhysicalType::BOOLEAN && header.encoding != Encoding::Plain {
            let found = format!("{:?}", header.encoding);
            findings.add_data(Rule::Encoding, None, format_args!("PLAIN for leaf {name}"), found);
        }
        fell_back |= is_data && has_dictionary && header.encoding != Encoding::RleDictionary;
        at += header.header_len + header.compressed_size;
    }
    if fell_back {
        findings.add_data(
            Rule::Encoding,
            None,
            format_args!("all pages of leaf {name} coded by its dictionary"),
            "pages without codes",
        );
    }
    if has_dictionary && leaf.is_some_and(|leaf| !leaf.has_dictionary()) {
        findings.add_data(
            Rule::Encoding,
            None,
            format_args!("no dictionary for leaf {name}"),
            "a dictionary",
        );
    }
    Ok(())
}
