//! What a user can do about each error.

use std::fmt;
use std::io;

use super::{Form, SourceError, Unreachable};

/// How many tags, names or platforms a message lists before it only counts the rest.
const LISTED: usize = 40;

impl SourceError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { reason, registry } => match reason {
                Unreachable::Refused => "check the port, and that the registry runs".to_owned(),
                Unreachable::Name => format!("check the spelling of {registry}, and this machine's network"),
                Unreachable::Tls(_) => {
                    "install the registry's certificate authority on this machine (ca-certificates), or use --insecure \
                     for a registry that speaks plain HTTP"
                        .to_owned()
                }
                Unreachable::Timeout | Unreachable::Other(_) => "check the network, and HTTPS_PROXY if there is a proxy".to_owned(),
            },
            Self::Offline { .. } => "once built or pulled with the network, a source stays in the cache".to_owned(),
            Self::Unauthorized { credentials: Some(file), registry, .. } => format!(
                "renew the credentials in {} (`docker login {registry}` or `podman login {registry}`); the image may also not exist",
                file.display()
            ),
            Self::Unauthorized { registry, .. } => format!(
                "check the name: registries answer like this for images that do not exist, too; for a private one log in \
                 with `docker login {registry}` or `podman login {registry}`"
            ),
            Self::Denied { .. } => "check that your account may pull this image".to_owned(),
            Self::Credentials { file, .. } => {
                format!("log in again, correct {}, or name another file in REGISTRY_AUTH_FILE", file.display())
            }
            Self::NoRepository { .. } => "check the spelling of the name".to_owned(),
            Self::NoTag { tags, .. } if tags.is_empty() => "it has no tags at all: use a digest (NAME@sha256:..)".to_owned(),
            Self::NoTag { tags, .. } => format!("there are: {}", list(tags)),
            Self::RateLimited { .. } => "wait a while, or log in: registries allow more to known users".to_owned(),
            Self::Cut { .. } => "check the network and run the same command again: finished layers stay in the cache".to_owned(),
            Self::NoPlatform { available, .. } if available.is_empty() => "it names no platforms at all".to_owned(),
            Self::NoPlatform { available, .. } => format!("there are: {}", list(available)),
            Self::NoName { names, .. } if names.is_empty() => "it holds no named image".to_owned(),
            Self::NoName { names, .. } => format!("append :NAME to the reference; there are: {}", list(names)),
            Self::Damaged { .. } => "fetch or write it anew; if that does not help, its source is broken".to_owned(),
            Self::Missing { .. } => "check name and digest; if they are right, the image is incomplete: push or write it anew".to_owned(),
            Self::Store(error) => return error.hint(),
            Self::Read { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "check the path; it counts from the current directory".to_owned(),
                io::ErrorKind::PermissionDenied => "make it readable for you".to_owned(),
                io::ErrorKind::NotADirectory => "oci: wants a directory; archives are read as oci-archive:FILE".to_owned(),
                _ => "check the disk it is on".to_owned(),
            },
            Self::Compression { .. } => "write the image again with gzip or zstd layers".to_owned(),
            Self::Registry { .. } => "see whether it is a registry that answers there, and try again later".to_owned(),
            Self::Malformed { expected, .. } => match expected {
                Form::Archive | Form::Layout | Form::Saved => {
                    "directories with an oci-layout are read as oci:DIR, archives of them as oci-archive:FILE, what `docker save` \
                     writes as docker-archive:FILE, directories of files as rootfs:DIR"
                }
                Form::Manifest | Form::Config | Form::Image => {
                    "only container images can be run, not charts, signatures or other artifacts; if it should be one, push or \
                     write it anew"
                }
            }
            .to_owned(),
            Self::Cancelled => return None,
            Self::Client(_) => "install the package ca-certificates, or name a file of certificates in SSL_CERT_FILE".to_owned(),
        })
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    let shown: Vec<String> = items.iter().take(LISTED).map(ToString::to_string).collect();
    match items.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
