//! What can go wrong between a reference and its layers in the store.

mod hint;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Platform;
use crate::store::{Digest, StoreError};

/// Why an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No conversation with the registry came about.
    #[error("cannot reach the registry {registry}: {reason}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// What stood in the way.
        reason: Unreachable,
    },
    /// The network may not be used, and the store does not hold what is needed.
    #[error("{what} is not in the cache, and the network may not be used")]
    Offline {
        /// A reference or digest.
        what: String,
    },
    /// The registry wants (other) credentials: HTTP status 401.
    #[error("{registry} does not let {} read {repository}{}", user(.credentials.as_deref()), because(.reason))]
    Unauthorized {
        /// Host and port.
        registry: String,
        /// The name within the registry.
        repository: String,
        /// The file whose credentials were refused; none were sent without it.
        credentials: Option<PathBuf>,
        /// What the registry said, if it did.
        reason: String,
    },
    /// The registry knows who asks, and refuses: HTTP status 403.
    #[error("{registry} denies access to {repository}{}", because(.reason))]
    Denied {
        /// Host and port.
        registry: String,
        /// The name within the registry.
        repository: String,
        /// What the registry said, if it did.
        reason: String,
    },
    /// The credentials for a registry cannot be read.
    #[error("cannot read the credentials for {registry} from {}: {reason}", file.display())]
    Credentials {
        /// Host and port.
        registry: String,
        /// The configuration that holds them or names their helper.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The registry holds no such repository.
    #[error("there is no image {name} in the registry")]
    NoRepository {
        /// Registry and repository.
        name: String,
    },
    /// The repository has no such tag.
    #[error("{name} has no tag `{tag}`")]
    NoTag {
        /// Registry and repository.
        name: String,
        /// What was asked for.
        tag: String,
        /// What there is.
        tags: Vec<String>,
    },
    /// The registry or layout does not hold a manifest, configuration or layer.
    #[error("{place} does not hold {what}")]
    Missing {
        /// The registry and repository, or the file.
        place: String,
        /// A digest or file name.
        what: String,
    },
    /// The registry asks to slow down: HTTP status 429.
    #[error("{registry} refuses more requests for now (rate limit)")]
    RateLimited {
        /// Host and port.
        registry: String,
    },
    /// The registry failed, or speaks another protocol.
    #[error("the registry {registry} answers with an error: {detail}")]
    Registry {
        /// Host and port.
        registry: String,
        /// What it said.
        detail: String,
    },
    /// The connection was cut again and again.
    #[error("the download of {what} from {registry} broke off {attempts} times without progress: {detail}")]
    Cut {
        /// Host and port.
        registry: String,
        /// A digest.
        what: String,
        /// How often it was tried since the last progress.
        attempts: u32,
        /// What happened last.
        detail: String,
    },
    /// The index, or the single image, serves another platform.
    #[error("{reference} has no image for {wanted}")]
    NoPlatform {
        /// The reference.
        reference: String,
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        available: Vec<Platform>,
    },
    /// A layout or archive holds several images and none, or an unknown one, was named.
    #[error("{place} holds {}", unnamed(.name.as_deref()))]
    NoName {
        /// The layout or archive.
        place: String,
        /// What was asked for.
        name: Option<String>,
        /// What there is.
        names: Vec<String>,
    },
    /// Something that must be an image is not.
    #[error("{what} is not {expected}: {reason}")]
    Malformed {
        /// The file, or the reference.
        what: String,
        /// What it should be.
        expected: Form,
        /// What is wrong.
        reason: String,
    },
    /// Content differs from what its name or its manifest says.
    #[error("{what} from {place} is damaged: {damage}")]
    Damaged {
        /// The layer, manifest or configuration, by digest or file name.
        what: String,
        /// The registry and repository, or the file.
        place: String,
        /// How.
        damage: Damage,
    },
    /// A layer is compressed in a way Isopod does not know.
    #[error("layer {what} is compressed with {method}, which is not supported (gzip, zstd and none are)")]
    Compression {
        /// The layer.
        what: String,
        /// The method's name.
        method: &'static str,
    },
    /// A local file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// This process cannot use the network at all.
    #[error("cannot set up the network client: {0}")]
    Client(String),
    /// Another layer failed first; never the error a caller sees.
    #[error("given up, since another layer failed")]
    Cancelled,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is read on the way from a reference to layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Form {
    /// A tar file, compressed or not.
    #[error("a tar archive")]
    Archive,
    /// A directory or archive with `oci-layout` and `index.json`.
    #[error("an OCI image layout")]
    Layout,
    /// An archive with `manifest.json`.
    #[error("the output of `docker save`")]
    Saved,
    /// The document that names configuration and layers, or an index of such.
    #[error("an image manifest")]
    Manifest,
    /// The document that says how to run an image.
    #[error("an image configuration")]
    Config,
    /// All of it together.
    #[error("a container image")]
    Image,
}

/// Why no conversation with a registry came about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// Nothing listens on the port.
    #[error("connection refused")]
    Refused,
    /// The host's name cannot be resolved.
    #[error("the host name cannot be resolved")]
    Name,
    /// TLS failed, most often for the certificate's sake.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// How content differs from what was promised.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The bytes as transferred have another digest.
    #[error("its digest is {actual} instead of {expected}")]
    Digest {
        /// The promised digest.
        expected: Digest,
        /// The content's digest.
        actual: Digest,
    },
    /// The uncompressed bytes have another digest.
    #[error("uncompressed, its digest is {actual} instead of {expected}")]
    DiffId {
        /// The promised digest.
        expected: Digest,
        /// The content's digest.
        actual: Digest,
    },
    /// There are fewer bytes than promised.
    #[error("it ends after {actual} of {expected} bytes")]
    Truncated {
        /// The promised number of bytes.
        expected: u64,
        /// How many there are.
        actual: u64,
    },
    /// There are more bytes than promised.
    #[error("it is longer than the {expected} bytes it should have")]
    Overlong {
        /// The promised number of bytes.
        expected: u64,
    },
    /// It does not inflate.
    #[error("it cannot be decompressed ({0})")]
    Inflate(io::Error),
}

impl SourceError {
    /// For `map_err`: a [`SourceError::Read`] of `path`.
    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }

    /// A [`SourceError::Malformed`].
    pub(super) fn malformed(what: impl fmt::Display, expected: Form, reason: impl fmt::Display) -> Self {
        Self::Malformed { what: what.to_string(), expected, reason: reason.to_string() }
    }

    /// Whether the registry is to blame and may answer another time: then what a tag stood for last is better
    /// than nothing.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::RateLimited { .. }
                | Self::Registry { .. }
                | Self::Cut { .. }
                | Self::Offline { .. }
        )
    }
}

fn user(credentials: Option<&Path>) -> String {
    credentials.map_or_else(|| "anonymous users".to_owned(), |file| format!("the user of {}", file.display()))
}

fn unnamed(name: Option<&str>) -> String {
    name.map_or_else(|| "several images".to_owned(), |name| format!("no image named `{name}`"))
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}
