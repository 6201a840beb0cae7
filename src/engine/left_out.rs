//! What an answer is given without because it cannot be read: nothing, unless whoever asked prefers
//! an answer from the rest, which then says so.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use traceql_blocks::Error as Storage;
use traceql_blocks::bucket::Block;

use crate::error::{Error, Result};

/// Blocks of which a query has not read all it wanted.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    is_allowed: bool,
    /// The first failure of each, by the URL of its file.
    blocks: Mutex<BTreeMap<String, String>>,
}

impl LeftOut {
    pub(crate) fn new(is_allowed: bool) -> Self {
        Self { is_allowed, blocks: Mutex::default() }
    }

    /// What was read of a block, or nothing if it cannot be read and may be left out.
    ///
    /// # Errors
    /// As [`LeftOut::pass_over`].
    pub(crate) fn or_nothing<T: Default>(
        &self,
        block: &Block,
        read: Result<T, impl Into<Error>>,
    ) -> Result<T> {
        read.or_else(|error| self.pass_over(block, error.into()).map(|()| T::default()))
    }

    /// Lets a failure to read a block pass, and notes it.
    ///
    /// # Errors
    /// The failure, unless it is one of the block, and answers without it are asked for.
    pub(crate) fn pass_over(&self, block: &Block, error: Error) -> Result<()> {
        match error {
            Error::Storage(error) if self.is_allowed && is_of_block(&error) => {
                let url = block.object_url(&block.data);
                self.blocks.lock().entry(url).or_insert_with(|| error.to_string());
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Whether there is any.
    pub(crate) fn is_any(&self) -> bool {
        !self.blocks.lock().is_empty()
    }

    /// A warning for each block.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.blocks.lock().values().map(|error| format!("skipped: {error}")).collect()
    }
}

/// Whether the block is what a failure is about, rather than a limit or a setting.
fn is_of_block(error: &Storage) -> bool {
    matches!(
        error,
        Storage::NotFound { .. }
            | Storage::Unreachable { .. }
            | Storage::Unauthorised { .. }
            | Storage::Corrupt { .. }
            | Storage::Unsupported { .. }
    )
}
