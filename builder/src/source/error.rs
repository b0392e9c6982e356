//! What can go wrong between a reference and its layers in the store.

use crate::store::StoreError;

/// Why an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A kind of source this version cannot read.
    #[error("cannot read {what}")]
    Unsupported {
        /// Its reference.
        what: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SourceError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unsupported { .. } => None,
            Self::Store(error) => error.hint(),
        }
    }
}
