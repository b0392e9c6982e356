//! What a user can do about each error.

use std::borrow::Cow;
use std::fmt;
use std::io;

use super::{Form, SourceError, Unreachable};

/// How many tags, names or platforms a hint lists before it only counts the rest.
const LISTED: usize = 40;

impl SourceError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let hint: Cow<str> = match self {
            Self::Unreachable { reason, registry } => match reason {
                Unreachable::Refused => "check the port, and that the registry runs".into(),
                Unreachable::Name => {
                    format!("check the spelling of {registry}, and this machine's network").into()
                }
                Unreachable::Tls(_) => "install the authority of its certificate on this machine, or use \
                    --insecure for a registry that speaks plain HTTP"
                    .into(),
                Unreachable::Timeout | Unreachable::Other(_) => {
                    "check the network, and HTTPS_PROXY if there is a proxy".into()
                }
            },
            Self::Offline { .. } => "pull it once with the network: then it stays in the cache".into(),
            Self::Unauthorized { credentials: Some(file), registry, .. } => format!(
                "renew what {} holds with `docker login {registry}` or `podman login {registry}`, and check \
                 the name",
                file.display()
            )
            .into(),
            Self::Unauthorized { registry, .. } => format!(
                "check the name, for registries say so of images that do not exist, too; for a private one \
                 use `docker login {registry}` or `podman login {registry}`"
            )
            .into(),
            Self::Denied { .. } => "check that your account may pull this image".into(),
            Self::Credentials { file, .. } => {
                let file = file.display();
                format!("log in again, correct {file}, or name another file in REGISTRY_AUTH_FILE").into()
            }
            Self::NoRepository { .. } => "check the spelling of the name".into(),
            Self::NoTag { tags, .. } if tags.is_empty() => "it has no tags: name a digest instead".into(),
            Self::NoTag { tags, .. } => format!("there are: {}", list(tags)).into(),
            Self::Missing { .. } => {
                "check name and digest; if they are right, the image is incomplete: push or write it anew"
                    .into()
            }
            Self::RateLimited { .. } => {
                "wait a while, or log in: registries allow more to known users".into()
            }
            Self::Registry { .. } => "see whether a registry answers there, and try again later".into(),
            Self::Cut { .. } => {
                "check the network and try again: layers that arrived stay in the cache".into()
            }
            Self::NoPlatform { available, .. } if available.is_empty() => "it names no platforms".into(),
            Self::NoPlatform { available, .. } => format!("there are: {}", list(available)).into(),
            Self::NoName { names, .. } if names.is_empty() => "none of its images has a name".into(),
            Self::NoName { names, .. } => {
                format!("append :NAME to the reference; there are: {}", list(names)).into()
            }
            Self::Malformed { expected, .. } => malformed(*expected).into(),
            Self::Damaged { .. } => {
                "pull or write it anew; if that does not help, its source is broken".into()
            }
            Self::Compression { .. } => "write the image again with gzip or zstd layers".into(),
            Self::Read { source, .. } => unreadable(source.kind()).into(),
            Self::Client(_) => {
                "install the package ca-certificates, or name a file of certificates in SSL_CERT_FILE".into()
            }
            Self::Cancelled => "see what is wrong with the other layer".into(),
            Self::Store(error) => return error.hint(),
        };
        hint.into_owned()
    }
}

fn malformed(expected: Form) -> &'static str {
    match expected {
        Form::Archive | Form::Layout | Form::Saved => {
            "directories with an oci-layout are read as oci:DIR, archives of them as oci-archive:FILE, what \
             `docker save` writes as docker-archive:FILE, directories of files as rootfs:DIR"
        }
        Form::Manifest | Form::Config | Form::Image => {
            "only container images can be run, not charts, signatures or other artifacts; if it should be \
             one, push or write it anew"
        }
    }
}

fn unreadable(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => "check the path; it counts from the current directory",
        io::ErrorKind::PermissionDenied => "make it readable for you",
        io::ErrorKind::NotADirectory => "oci: wants a directory; archives are read as oci-archive:FILE",
        io::ErrorKind::InvalidInput => {
            "archives are regular files: write it to one first; directories are read as oci:DIR or rootfs:DIR"
        }
        _ => "check the disk it is on",
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let shown: Vec<String> = items.iter().take(LISTED).map(ToString::to_string).collect();
    match items.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
