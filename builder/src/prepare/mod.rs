//! From a reference to a root: found in the store where it was made before, otherwise made, to be kept there or linked.

mod program;

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::link::inspect::{Files, InspectError, Needs, inspect};
use crate::root::{RootError, RootInfo, Tree, erofs};
use crate::source::{self, ImageConfig, ImageReference, Options, Progress, Reference, SourceError};
use crate::store::{self, Cached, CachedRoot, Digest, Store, StoreError};

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
    /// A file is to go where a directory is.
    #[error("{} cannot be put at {}: {} needs a directory there", from.display(), place.display(), below.display())]
    Place {
        /// The file of the host.
        from: PathBuf,
        /// Its place in the root.
        place: PathBuf,
        /// What is at or below that place.
        below: PathBuf,
    },
    /// The program's file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Where it is.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl PrepareError {
    /// For `map_err`: a [`PrepareError::Read`] of `path`.
    fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}

impl From<SourceError> for PrepareError {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}

impl PrepareError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Source(error) => error.hint(),
            Self::Root(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Inspect(error) => error.hint(),
            Self::Place { .. } => "choose another place for it in the root".to_owned(),
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "a path is seen from the directory that you are in".to_owned()
            }
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                "make it readable for you".to_owned()
            }
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::InvalidInput => {
                "name a regular file; a directory that holds a root is read as rootfs:DIR".to_owned()
            }
            Self::Read { .. } => "look whether the disk it is on is sound, and try again".to_owned(),
        }
    }
}

/// What is known of a root before all of it is written.
#[derive(Debug)]
pub struct Prepared {
    /// What is to be known of it.
    pub info: RootInfo,
    /// Its bytes.
    pub root: Root,
}

/// The bytes of a root.
#[derive(Debug)]
pub enum Root {
    /// In the store.
    Cached {
        /// Its file.
        image: PathBuf,
        /// What it is found by.
        key: Digest,
    },
    /// Of this tree, to be written. The key stands for it in the store; without one its own bytes do.
    Tree {
        /// The tree.
        tree: Tree,
        /// What the root is found by later.
        key: Option<Digest>,
    },
}

/// Finds or makes the root that `reference` stands for, and writes nothing of it: who needs its bytes elsewhere need not write
/// them twice.
///
/// # Errors
/// Whatever keeps it from being found or read.
pub fn prepare(
    reference: &Reference,
    options: &Options,
    pull: Pull,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Prepared, PrepareError> {
    match reference {
        Reference::Image(image) => from_image(image, options, pull, store, progress),
        Reference::RootFs(dir) => {
            // Nothing cheaper than reading it tells whether a directory is still the same.
            Prepared::new(Tree::from_directory(dir)?, None, reference, ImageConfig::default())
        }
        Reference::Elf(file) => Program::find(file)?.prepare(reference, store),
    }
}

fn from_image(
    image: &ImageReference,
    options: &Options,
    pull: Pull,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Prepared, PrepareError> {
    let offline = || source::resolve(image, &Options { offline: true, ..options.clone() }, store, progress);
    let asked = || source::resolve(image, options, store, progress);
    let mut resolved = match pull {
        Pull::Always => asked()?,
        Pull::Never => offline()?,
        // What keeps the store from answering does not matter when the registry can.
        Pull::Missing => offline().or_else(|_| asked())?,
    };
    match store.root(&resolved.key) {
        Cached::Whole(root) => return Ok(root.into()),
        Cached::Damaged => progress.notice("the image's root is damaged in the cache, and written again"),
        Cached::Missing => {}
    }
    let fetched = match source::fetch(&resolved, store, progress) {
        // The store knows the image, but has lost a layer of it.
        Err(SourceError::Offline { .. }) if pull == Pull::Missing => {
            resolved = asked()?;
            source::fetch(&resolved, store, progress)?
        }
        fetched => fetched?,
    };
    let tree = Tree::from_layers(&fetched.layers)?;
    Prepared::new(tree, Some(resolved.key), &Reference::Image(image.clone()), fetched.config)
}

impl From<CachedRoot<RootInfo>> for Prepared {
    fn from(root: CachedRoot<RootInfo>) -> Self {
        Self { info: root.info, root: Root::Cached { image: root.image, key: root.key } }
    }
}

impl Prepared {
    fn new(
        tree: Tree,
        key: Option<Digest>,
        reference: &Reference,
        config: ImageConfig,
    ) -> Result<Self, PrepareError> {
        let names = |path: &[u8]| -> Result<Vec<u8>, PrepareError> {
            let read = tree.read_path(path, NAMES_MAX);
            let path = || Path::new("/").join(String::from_utf8_lossy(path).trim_start_matches('/'));
            Ok(read.map_err(|source| PrepareError::Read { path: path(), source })?.unwrap_or_default())
        };
        let (passwd, group) = (names(b"/etc/passwd")?, names(b"/etc/group")?);
        let info = RootInfo { source: reference.to_string(), config, passwd, group };
        Ok(Self { info, root: Root::Tree { tree, key } })
    }

    /// The root in the store, written there if it is not there yet.
    ///
    /// # Errors
    /// Whatever keeps it from being written.
    pub fn keep(self, store: &Store) -> Result<CachedRoot<RootInfo>, PrepareError> {
        let (tree, key) = match self.root {
            Root::Cached { image, key } => return Ok(CachedRoot { key, image, info: self.info }),
            Root::Tree { tree, key } => (tree, key),
        };
        let planned = erofs::Image::plan(&tree)?;
        store.check_room(planned.size())?;
        let image = store.temp()?;
        planned.write(image.as_file())?;
        let key = match key {
            Some(key) => key,
            None => store::digest_of(&image.path()).map_err(StoreError::io("read", store.cache_dir()))?,
        };
        Ok(store.put_root(&key, image, self.info)?)
    }
}

/// Looks whether the program that a manifest names would start from the root that begins at the byte `start` of `file`.
///
/// # Errors
/// An [`InspectError`] that names the file and what it lacks.
pub fn check(file: File, start: u64, manifest: &isopod_manifest::Manifest) -> Result<Needs, InspectError> {
    let image = erofs::RootImage::open(file, start);
    let image = image.map_err(|error| InspectError::Io { path: b"/".to_vec(), error })?;
    let files: &dyn Files = &image;
    inspect(files, &manifest.args, &manifest.env, &manifest.working_dir)
}
