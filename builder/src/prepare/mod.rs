//! From a reference to a finished root: found in the store where it was made before, made and kept there otherwise.

mod program;

use std::path::{Path, PathBuf};

use crate::link::inspect::{Files, InspectError, Needs, RootImage, inspect};
use crate::root::{RootError, Tree, erofs};
use crate::source::{self, ImageConfig, ImageReference, Options, Progress, Reference, SourceError};
use crate::store::{CachedRoot, Digest, DigestWriter, RootInfo, Store, StoreError};

pub use program::Program;

/// The most of a passwd or group file that is kept, in bytes. More would slow down every run.
const NAMES_MAX: u64 = 4 << 20;

/// Whether a tag that is in the store already is asked of its registry again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// Always, though what the store has serves when the registry cannot be reached.
    Always,
    /// Only when the store does not have it.
    Missing,
    /// Never: without the store's answer there is none.
    Never,
}

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The image cannot be had.
    #[error(transparent)]
    Source(Box<SourceError>),
    /// Its files cannot become a root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The program cannot be started.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The program's file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Where it is.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl From<SourceError> for PrepareError {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}

impl PrepareError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Root(error) => Some(error.hint().to_owned()),
            Self::Store(error) => error.hint(),
            Self::Inspect(error) => error.hint(),
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Some("a path is seen from the directory that you are in".to_owned())
            }
            Self::Read { .. } => None,
        }
    }
}

/// Prepares the root that `reference` stands for.
///
/// # Errors
/// Whatever keeps it from being found, read or written.
pub fn prepare(
    reference: &Reference,
    options: &Options,
    pull: Pull,
    store: &Store,
    progress: &dyn Progress,
) -> Result<CachedRoot, PrepareError> {
    match reference {
        Reference::Image(image) => from_image(image, options, pull, store, progress),
        Reference::RootFs(dir) => {
            // Nothing cheaper than reading it tells whether a directory is still the same.
            let tree = Tree::from_directory(dir)?;
            finish(&tree, None, about(reference, ImageConfig::default()), store)
        }
        Reference::Elf(file) => Program::find(file)?.root(reference, store),
    }
}

fn from_image(
    image: &ImageReference,
    options: &Options,
    pull: Pull,
    store: &Store,
    progress: &dyn Progress,
) -> Result<CachedRoot, PrepareError> {
    let offline = || source::resolve(image, &Options { offline: true, ..options.clone() }, store, progress);
    let asked = || source::resolve(image, options, store, progress);
    let resolved = match pull {
        Pull::Always => asked()?,
        Pull::Never => offline()?,
        // What keeps the store from answering does not matter when the registry can.
        Pull::Missing => offline().or_else(|_| asked())?,
    };
    if let Some(root) = store.root(&resolved.key) {
        return Ok(root);
    }
    let fetched = source::fetch(&resolved, store, progress)?;
    let tree = Tree::from_layers(&fetched.layers)?;
    finish(&tree, Some(resolved.key), about(&Reference::Image(image.clone()), fetched.config), store)
}

fn about(reference: &Reference, config: ImageConfig) -> RootInfo {
    RootInfo { source: reference.to_string(), config, ..RootInfo::default() }
}

/// Writes `tree` into the store; without a `key` its own bytes stand for it.
fn finish(
    tree: &Tree,
    key: Option<Digest>,
    about: RootInfo,
    store: &Store,
) -> Result<CachedRoot, PrepareError> {
    let names = |path: &[u8]| -> Result<Vec<u8>, PrepareError> {
        let read = tree.read_path(path, NAMES_MAX);
        let path = || Path::new("/").join(String::from_utf8_lossy(path).trim_start_matches('/'));
        Ok(read.map_err(|source| PrepareError::Read { path: path(), source })?.unwrap_or_default())
    };
    let about = RootInfo { passwd: names(b"/etc/passwd")?, group: names(b"/etc/group")?, ..about };
    let image = store.temp()?;
    erofs::write(tree, image.as_file())?;
    let key = match key {
        Some(key) => key,
        None => digest_of(image.path()).map_err(StoreError::io("read", image.path()))?,
    };
    Ok(store.put_root(&key, image, &about)?)
}

fn digest_of(path: &Path) -> std::io::Result<Digest> {
    let mut file = std::fs::File::open(path)?;
    let mut writer = DigestWriter::new(std::io::sink());
    std::io::copy(&mut file, &mut writer)?;
    Ok(writer.finish().0)
}

/// Looks whether the program that a manifest names would start from `root`.
///
/// # Errors
/// An [`InspectError`] that names the file and what it lacks.
pub fn check(root: &Path, start: u64, manifest: &isopod_manifest::Manifest) -> Result<Needs, InspectError> {
    let image = RootImage::open(root, start);
    let image = image.map_err(|error| InspectError::Io { path: b"/".to_vec(), error })?;
    let files: &dyn Files = &image;
    inspect(files, &manifest.args, &manifest.env, &manifest.working_dir)
}
