//! Where an application comes from: registries, OCI layouts and archives, `docker save` archives.
//!
//! [`resolve`] finds out which image a reference stands for and how it wants to be run; it moves no layer.
//! [`fetch()`] brings the layers into the store. Directories and single programs are references too, but have
//! no layers: the `root` room reads them.

mod archive;
mod config;
mod error;
mod fetch;
mod inflate;
mod ingest;
mod layout;
mod manifest;
mod platform;
mod progress;
mod reference;
mod registry;
#[cfg(test)]
mod testing;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use crate::store::{Digest, Store};

pub use config::ImageConfig;
pub use error::{Damage, Form, SourceError, Unreachable};
pub use fetch::fetch;
pub use platform::{ParsePlatformError, Platform};
pub use progress::{Activity, Progress, Silent, Step};
pub use reference::{ImageReference, ParseReferenceError, Reference, RegistryReference};

/// How an image is to be found.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which of an index's images is meant.
    pub platform: Platform,
    /// Speak plain HTTP to the registry. Loopback hosts get plain HTTP without it.
    pub insecure: bool,
    /// Never use the network: what is not in the store is an error.
    pub offline: bool,
}

/// An image whose manifest and configuration are known; its layers may not be here yet.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What it was asked for as.
    pub reference: ImageReference,
    /// Stands for the image's content: the digest of its manifest, or of its configuration where it has none
    /// (older `docker save`).
    pub key: Digest,
    /// How the image wants to be run.
    pub config: ImageConfig,
    layers: Vec<Blob>,
    origin: Arc<dyn Origin>,
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

/// A layer as its image names it.
#[derive(Debug, Clone)]
struct Blob {
    diff_id: Digest,
    content: Content,
    /// As transferred, in bytes.
    size: u64,
}

/// Where the bytes of a layer are.
#[derive(Debug, Clone)]
enum Content {
    /// Named by their digest.
    Blob(Digest),
    /// A member of an archive that knows no digests.
    Member(String),
}

impl Blob {
    /// For messages.
    fn name(&self) -> String {
        match &self.content {
            Content::Blob(digest) => digest.to_string(),
            Content::Member(path) => path.clone(),
        }
    }
}

/// What layers can be read from.
trait Origin: fmt::Debug + Send + Sync {
    /// Opens a layer as transferred. The caller verifies what it reads. A [`SourceError`] inside an
    /// `io::Error` keeps its meaning.
    fn open(&self, blob: &Blob) -> Result<Box<dyn Read + Send>, SourceError>;

    /// The registry and repository, or the file, for messages.
    fn place(&self) -> String;

    /// What reading a layer is called.
    fn activity(&self) -> Activity;
}

/// Finds out which image `reference` stands for: reads its manifest and configuration, and no layer.
///
/// Digests that are in the store need no network. A tag is asked of its registry; when that cannot be
/// reached, what the tag stood for last is used, with a notice.
///
/// # Errors
/// Whatever keeps the image's manifest or configuration from being found, read or understood.
pub fn resolve(
    reference: &ImageReference,
    options: &Options,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Resolved, SourceError> {
    let (description, origin) = match reference {
        ImageReference::Registry(reference) => registry::resolve(reference, options, store, progress)?,
        ImageReference::OciLayout { dir, name } => {
            layout::resolve(archive::Files::directory(dir)?, name.as_deref(), options)?
        }
        ImageReference::OciArchive { file, name } => {
            layout::resolve(archive::Files::archive(file, store)?, name.as_deref(), options)?
        }
        ImageReference::DockerArchive { file, name } => {
            layout::resolve_docker(archive::Files::archive(file, store)?, name.as_deref(), options)?
        }
    };
    let manifest::Description { key, config, layers } = description;
    Ok(Resolved { reference: reference.clone(), key, config, layers, origin })
}
