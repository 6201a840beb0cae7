//! The values of one page, decoded as far as the window wants them, and once for the windows that
//! share it.

use std::sync::Arc;

use parquet::basic::Type as PhysicalType;

use super::block_batch::{BlockBatch, PageStrings};
use super::leaf::{Demand, Fault, LeafPage, Piece};
use super::library::Values;
use super::page::{ByteArrays, DecodeError, Encoding};
use super::values::{AttributeCell, StringTable};
use crate::schema::LeafIndex;

impl BlockBatch {
    /// Integers of a page; of one that goes on behind the window, those up to its end at least.
    pub(super) fn page_ints(&self, leaf: LeafIndex, piece: &Piece) -> Demand<Arc<Vec<i64>>> {
        let wanted = self.window.wanted_values(leaf, piece)?;
        let is_kept = self.window.is_cut(piece);
        let held = &piece.held;
        held.memo.ints.get(wanted, &held.page, is_kept, |n| match &held.page {
            LeafPage::Encoded(page) => {
                let fail = |error| self.window.fail(leaf, piece, error);
                let mut values = Vec::new();
                if self.info(leaf).physical == PhysicalType::INT32 {
                    let mut narrow = Vec::new();
                    page.i32s_to(n, &mut narrow).map_err(fail)?;
                    values.extend(narrow.into_iter().map(i64::from));
                } else {
                    page.i64s_to(n, &mut values).map_err(fail)?;
                }
                Ok(values)
            }
            LeafPage::Library(decoded) => match &decoded.values {
                Values::I32(narrow) => Ok(narrow.iter().map(|v| i64::from(*v)).collect()),
                Values::I64(wide) => Ok(wide.clone()),
                other => Err(self.wrong_type(leaf, piece, "integers", other)),
            },
        })
    }

    pub(super) fn page_floats(&self, leaf: LeafIndex, piece: &Piece) -> Demand<Vec<f64>> {
        let mut values = Vec::new();
        match &piece.held.page {
            LeafPage::Encoded(page) => {
                page.f64s(&mut values).map_err(|e| self.window.fail(leaf, piece, e))?;
            }
            LeafPage::Library(decoded) => match &decoded.values {
                Values::F64(floats) => values.extend_from_slice(floats),
                other => return Err(self.wrong_type(leaf, piece, "doubles", other)),
            },
        }
        Ok(values)
    }

    pub(super) fn page_bools(&self, leaf: LeafIndex, piece: &Piece) -> Demand<Vec<bool>> {
        let mut values = Vec::new();
        match &piece.held.page {
            LeafPage::Encoded(page) => {
                page.bools(&mut values).map_err(|e| self.window.fail(leaf, piece, e))?;
            }
            LeafPage::Library(decoded) => match &decoded.values {
                Values::Bool(bools) => values.extend_from_slice(bools),
                other => return Err(self.wrong_type(leaf, piece, "booleans", other)),
            },
        }
        Ok(values)
    }

    pub(super) fn page_strings(&self, leaf: LeafIndex, piece: &Piece) -> Demand<PageStrings> {
        match &piece.held.page {
            LeafPage::Encoded(page) if page.encoding() == Encoding::RleDictionary => {
                let wanted = self.window.wanted_values(leaf, piece)?;
                let is_kept = self.window.is_cut(piece);
                let held = &piece.held;
                let codes = held.memo.codes.get(wanted, &held.page, is_kept, |n| {
                    let mut codes = Vec::new();
                    page.codes_to(n, &mut codes).map_err(|e| self.window.fail(leaf, piece, e))?;
                    Ok(codes)
                })?;
                Ok(PageStrings::Codes(codes))
            }
            LeafPage::Encoded(page) => {
                if let Some(known) = piece.held.memo.strings.get() {
                    return Ok(PageStrings::Plain(Arc::clone(known)));
                }
                let mut plain = ByteArrays::default();
                page.byte_arrays(&mut plain).map_err(|e| self.window.fail(leaf, piece, e))?;
                let plain = Arc::new(plain);
                if self.window.is_cut(piece) {
                    piece.held.memo.strings.get_or_init(|| Arc::clone(&plain));
                }
                Ok(PageStrings::Plain(plain))
            }
            LeafPage::Library(decoded) => match &decoded.values {
                Values::Bytes(plain) => Ok(PageStrings::Plain(Arc::new(plain.clone()))),
                other => Err(self.wrong_type(leaf, piece, "byte arrays", other)),
            },
        }
    }

    fn wrong_type(&self, leaf: LeafIndex, piece: &Piece, expected: &str, found: &Values) -> Fault {
        let found = format!("{:?}", std::mem::discriminant(found));
        self.window.fail(leaf, piece, DecodeError::corrupt("values", expected, found, 0))
    }

    /// Strings of a page as attribute values: codes into the chunk's dictionary, which is table 0;
    /// those of a page without one go into `own`, which is table `own_at`.
    pub(super) fn string_cells(
        &self,
        leaf: LeafIndex,
        piece: &Piece,
        table: Option<&StringTable>,
        own_at: u32,
        own: &mut StringTable,
    ) -> Demand<Vec<AttributeCell>> {
        match (self.page_strings(leaf, piece)?, table) {
            (PageStrings::Codes(codes), Some(table)) => {
                self.check_codes(leaf, piece, &codes, table)?;
                Ok(codes.iter().map(|code| AttributeCell::String(0, *code)).collect())
            }
            (PageStrings::Codes(_), None) => Err(self.no_dictionary(leaf, piece)),
            (PageStrings::Plain(plain), _) => Ok(plain
                .iter()
                .map(|value| AttributeCell::String(own_at, own.push(value)))
                .collect()),
        }
    }
}
