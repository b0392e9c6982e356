//! References: how a user names an application. The words are skopeo's, short names Docker's.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::store::{Digest, ParseDigestError};

/// The registry and namespace of a short name.
const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";

/// Where an application comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A container image.
    Image(ImageReference),
    /// `rootfs:DIR`: a directory that holds a root file system.
    RootFs(PathBuf),
    /// `elf:FILE`: a single program.
    Elf(PathBuf),
}

/// Where a container image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageReference {
    /// `debian:12`, `docker://ghcr.io/x/y@sha256:..`: a registry.
    Registry(RegistryReference),
    /// `oci:DIR[:NAME]`: an OCI image layout.
    OciLayout {
        /// The directory that holds `oci-layout` and `index.json`.
        dir: PathBuf,
        /// The image's `org.opencontainers.image.ref.name`, needed where the layout holds several images.
        name: Option<String>,
    },
    /// `oci-archive:FILE[:NAME]`: an OCI image layout in a tar file, compressed or not.
    OciArchive {
        /// The tar file.
        file: PathBuf,
        /// As in a layout.
        name: Option<String>,
    },
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes, compressed or not.
    DockerArchive {
        /// The tar file.
        file: PathBuf,
        /// One of the image's `RepoTags`, needed where the archive holds several images.
        name: Option<String>,
    },
}

/// An image in a registry, its name complete.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryReference {
    /// Host and optional port: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub registry: String,
    /// The name within the registry: `library/debian`.
    pub repository: String,
    /// The tag; `latest` where neither tag nor digest was given.
    pub tag: Option<String>,
    /// The digest of the manifest or index. Where it is given, the tag is for people only.
    pub digest: Option<Digest>,
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{reference}` is not a reference to an image: {reason}")]
pub struct ParseReferenceError {
    reference: String,
    reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("it is empty")]
    Empty,
    #[error("{0}: needs a path")]
    NoPath(String),
    #[error("`{0}:` is not something Isopod can read")]
    Transport(String),
    #[error("it looks like a path")]
    Path,
    #[error("`{0}` is not a host with an optional port")]
    Registry(String),
    #[error(
        "`{0}` is not a repository name (lower-case letters and digits, with `.`, `_`, `__` and `-` between \
         them and `/` between parts)"
    )]
    Repository(String),
    #[error("`{0}` is not a tag (up to 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`)")]
    Tag(String),
    #[error("{0}")]
    Digest(#[from] ParseDigestError),
}

impl ParseReferenceError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let own = match &self.reason {
            Reason::Path => "for a path say what is there, as elf:FILE or rootfs:DIR do; ",
            Reason::Transport(transport) if transport == "docker-daemon" => {
                "write it to a file first with `docker save -o FILE IMAGE`, then use docker-archive:FILE; "
            }
            Reason::Transport(_) => "push it to a registry, or copy it with skopeo to oci:DIR; ",
            _ => "",
        };
        format!("{own}{FORMS}")
    }
}

/// All the forms there are, for hints and help texts.
const FORMS: &str = "references look like debian:12, ghcr.io/owner/name@sha256:.., localhost:5000/app, \
    oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], rootfs:DIR or elf:FILE";

/// Transports of skopeo that would otherwise pass for the name of a repository.
const FOREIGN: [&str; 6] = ["docker-daemon", "containers-storage", "dir", "ostree", "sif", "tarball"];

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|reason| ParseReferenceError { reference: text.to_owned(), reason })
    }
}

impl FromStr for RegistryReference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_registry(text).map_err(|reason| ParseReferenceError { reference: text.to_owned(), reason })
    }
}

fn parse(text: &str) -> Result<Reference, Reason> {
    let registry = |text| parse_registry(text).map(ImageReference::Registry);
    let Some((transport, rest)) = text.split_once(':') else { return registry(text).map(Reference::Image) };
    let path = |text: &str| match text {
        "" => Err(Reason::NoPath(transport.to_owned())),
        text => Ok(PathBuf::from(text)),
    };
    // As in skopeo, a path before a name holds no colon.
    let named = || {
        let (text, name) = rest.split_once(':').unwrap_or((rest, ""));
        Ok((path(text)?, Some(name.to_owned()).filter(|name| !name.is_empty())))
    };
    let image = match transport {
        "elf" => return path(rest).map(Reference::Elf),
        "rootfs" => return path(rest).map(Reference::RootFs),
        "oci" => named().map(|(dir, name)| ImageReference::OciLayout { dir, name }),
        "oci-archive" => named().map(|(file, name)| ImageReference::OciArchive { file, name }),
        "docker-archive" => named().map(|(file, name)| ImageReference::DockerArchive { file, name }),
        "docker" if rest.starts_with("//") => registry(&rest[2..]),
        foreign if FOREIGN.contains(&foreign) => Err(Reason::Transport(foreign.to_owned())),
        _ => registry(text),
    };
    image.map(Reference::Image)
}

/// The grammar is that of the [distribution project](https://pkg.go.dev/github.com/distribution/reference),
/// defaults included.
fn parse_registry(text: &str) -> Result<RegistryReference, Reason> {
    if text.is_empty() {
        return Err(Reason::Empty);
    }
    if text.starts_with(['/', '.', '~']) {
        return Err(Reason::Path);
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse()?)),
        None => (text, None),
    };
    // A colon behind the last slash parts the tag off; one before it belongs to a port.
    let (name, tag) = match rest.rfind(':') {
        Some(at) if !rest[at..].contains('/') => (&rest[..at], Some(&rest[at + 1..])),
        _ => (rest, None),
    };
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if is_host(first) => (first, rest.to_owned()),
        Some(_) => (DEFAULT_REGISTRY, name.to_owned()),
        None => (DEFAULT_REGISTRY, format!("{DEFAULT_NAMESPACE}/{name}")),
    };
    // Docker Hub's other names, and what it leaves out of its own.
    let (registry, repository) = match registry {
        "docker.io" | "index.docker.io" if !repository.contains('/') => {
            (DEFAULT_REGISTRY, format!("{DEFAULT_NAMESPACE}/{repository}"))
        }
        "index.docker.io" => (DEFAULT_REGISTRY, repository),
        other => (other, repository),
    };
    if !valid_registry(registry) {
        return Err(Reason::Registry(registry.to_owned()));
    }
    if !valid_repository(&repository) {
        let given = if name.contains('/') { repository } else { name.to_owned() };
        return Err(Reason::Repository(given));
    }
    if let Some(tag) = tag.filter(|tag| !valid_tag(tag)) {
        return Err(Reason::Tag(tag.to_owned()));
    }
    let tag = tag.or((digest.is_none()).then_some(DEFAULT_TAG)).map(ToOwned::to_owned);
    Ok(RegistryReference { registry: registry.to_owned(), repository, tag, digest })
}

/// Whether the part before the first slash is a registry rather than a namespace. Repository names have no
/// upper-case letters.
fn is_host(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn valid_registry(registry: &str) -> bool {
    let port_ok = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if let Some(rest) = registry.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(port_ok));
    }
    let (host, port) = registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port)));
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(port_ok)
}

fn valid_repository(repository: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    // Runs of these, joined by `.`, `_`, `__` or any number of `-`.
    let joint = |joint: &str| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-');
    let part = |part: &str| part.starts_with(inner) && part.ends_with(inner) && part.split(inner).all(joint);
    repository.len() <= 255 && repository.split('/').all(part)
}

fn valid_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !tag.starts_with(['.', '-'])
}

impl RegistryReference {
    /// Whether the registry is this machine, which is spoken to in plain HTTP.
    pub fn is_loopback(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => self.registry.split(':').next().unwrap_or(&self.registry),
        };
        let address = host.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Host and name without tag and digest: `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (prefix, path, name) = match self {
            Self::Registry(reference) => return reference.fmt(f),
            Self::OciLayout { dir, name } => ("oci", dir, name),
            Self::OciArchive { file, name } => ("oci-archive", file, name),
            Self::DockerArchive { file, name } => ("docker-archive", file, name),
        };
        write!(f, "{prefix}:{}", path.display())?;
        name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(image) => image.fmt(f),
            Self::RootFs(dir) => write!(f, "rootfs:{}", dir.display()),
            Self::Elf(file) => write!(f, "elf:{}", file.display()),
        }
    }
}
