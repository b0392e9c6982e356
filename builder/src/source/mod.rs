//! Where an application comes from: registries, OCI layouts and archives, `docker save` archives.
//!
//! [`resolve`] finds out which image a reference stands for and how it wants to be run; it moves no layer. [`fetch`] brings the
//! layers into the store. Directories and single programs are references too, but have no layers: the `root` room reads them.

mod config;
mod error;
mod platform;
mod progress;
mod reference;

use std::path::PathBuf;

use crate::store::{Digest, Store};

pub use config::ImageConfig;
pub use error::SourceError;
pub use platform::Platform;
pub use progress::{Activity, Progress, Silent, Step};
pub use reference::{ImageReference, ParseReferenceError, Reference, RegistryReference};

/// How an image is to be found.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which of an index's images is meant.
    pub platform: Platform,
    /// Speak plain HTTP to the registry, or HTTPS without looking at certificates. Loopback hosts get plain HTTP without it.
    pub insecure: bool,
    /// Never use the network: what is not in the store is an error.
    pub offline: bool,
}

/// An image whose manifest and configuration are known; its layers may not be here yet.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What it was asked for as.
    pub reference: ImageReference,
    /// Stands for the image's content: the digest of its manifest, or of its configuration where it has none (older `docker save`).
    pub key: Digest,
    /// How the image wants to be run.
    pub config: ImageConfig,
}

/// An image with all of its layers in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// As in [`Resolved::key`].
    pub key: Digest,
    /// How the image wants to be run.
    pub config: ImageConfig,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
}

/// One layer, inflated and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The tar file, in the store.
    pub tar: PathBuf,
}

/// Finds out which image `reference` stands for.
///
/// # Errors
/// Whatever keeps the image's manifest or configuration from being found, read or understood.
pub fn resolve(
    reference: &ImageReference,
    _options: &Options,
    _store: &Store,
    _progress: &dyn Progress,
) -> Result<Resolved, SourceError> {
    Err(SourceError::Unsupported { what: reference.to_string() })
}

/// Brings the layers of `image` into the store.
///
/// # Errors
/// Whatever keeps a layer from being found, read or verified.
pub fn fetch(
    image: &Resolved,
    _options: &Options,
    _store: &Store,
    _progress: &dyn Progress,
) -> Result<Image, SourceError> {
    Err(SourceError::Unsupported { what: image.reference.to_string() })
}
