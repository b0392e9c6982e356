//! Images in registries, by the [OCI distribution
//! specification](https://github.com/opencontainers/distribution-spec/blob/main/spec.md).

mod answer;
mod connection;
mod credentials;
mod download;
mod failure;
mod login;
mod session;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Form;
use super::manifest::{self, Description, Descriptor, Kind};
use super::progress::{Activity, Progress};
use super::reference::RegistryReference;
use super::{Blob, Content, Damage, Options, Origin, SourceError, layout};
use crate::store::{Digest, Store};
use connection::Connection;

/// Finds the image that `reference` stands for: in the store where it is named by digest, else by asking the
/// registry.
pub(super) fn resolve(
    reference: &RegistryReference,
    options: &Options,
    store: &Store,
    progress: &dyn Progress,
) -> Result<(Description, Arc<dyn Origin>), SourceError> {
    let repository = Repository {
        reference: reference.clone(),
        plain_http: options.insecure || reference.is_loopback(),
        offline: options.offline,
        connection: Mutex::new(None),
    };
    let known = options.offline || reference.digest.is_some_and(|digest| store.blob(&digest).is_some());
    let _step = (!known).then(|| progress.start(Activity::Resolve, &reference.to_string(), None));
    let first = match reference.digest {
        Some(digest) => (digest, repository.manifest(digest, store)?),
        None => repository.tagged(store, progress)?,
    };
    let digest = first.0;
    let get = &mut |kind, descriptor: &Descriptor| repository.document(kind, descriptor, store);
    let description = manifest::describe(reference, first, options, get)?;
    if reference.digest.is_none() {
        // Only now is it known to be an image: any host may answer in a registry's place, with anything.
        store.put_tag(&reference.to_string(), digest)?;
    }
    Ok((description, Arc::new(repository)))
}

/// The repository of one image. The network is touched when something is first asked of it.
#[derive(Debug)]
struct Repository {
    reference: RegistryReference,
    plain_http: bool,
    offline: bool,
    connection: Mutex<Option<Arc<Connection>>>,
}

impl Repository {
    /// The manifest or index that the tag stands for now, or stood for when the registry was last asked if it
    /// cannot be asked now.
    fn tagged(&self, store: &Store, progress: &dyn Progress) -> Result<(Digest, Vec<u8>), SourceError> {
        let name = self.reference.to_string();
        let known = store.tag(&name).and_then(|digest| Some((digest, store.blob(&digest)?)));
        match (self.current(&name, known.as_ref(), store), known) {
            (Ok(Some(current)), _) | (Ok(None), Some(current)) => Ok(current),
            (Ok(None), None) => Err(SourceError::Missing { place: self.place(), what: name }),
            (Err(error), Some(known)) if error.may_pass() => {
                if !self.offline {
                    progress.notice(&format!("{error}; using {name} as it was when it was last pulled"));
                }
                Ok(known)
            }
            (Err(error), _) => Err(error),
        }
    }

    /// What the tag stands for now; `None` when that is still what is `known`.
    fn current(
        &self,
        name: &str,
        known: Option<&(Digest, Vec<u8>)>,
        store: &Store,
    ) -> Result<Option<(Digest, Vec<u8>)>, SourceError> {
        let connection = self.connect(name)?;
        // Docker Hub counts the reading of manifests against a limit, but not the question for their digest.
        if let Some((digest, _)) = known
            && connection.digest(&self.reference)? == Some(digest.to_string())
        {
            return Ok(None);
        }
        let bytes = connection.manifest(&self.reference)?;
        Ok(Some((store.put_blob(&bytes)?, bytes)))
    }

    /// A manifest or index by its digest.
    fn manifest(&self, digest: Digest, store: &Store) -> Result<Vec<u8>, SourceError> {
        if let Some(bytes) = store.blob(&digest) {
            return Ok(bytes);
        }
        let reference = RegistryReference { digest: Some(digest), ..self.reference.clone() };
        let bytes = self.connect(&reference.to_string())?.manifest(&reference)?;
        let actual = store.put_blob(&bytes)?;
        if actual == digest {
            Ok(bytes)
        } else {
            Err(self.damaged(digest, Damage::Digest { expected: digest, actual }))
        }
    }

    /// A document that another one names.
    fn document(&self, kind: Kind, descriptor: &Descriptor, store: &Store) -> Result<Vec<u8>, SourceError> {
        let digest = descriptor.digest;
        if kind == Kind::Manifest {
            let bytes = self.manifest(digest, store)?;
            layout::check(&bytes, descriptor).map_err(|damage| self.damaged(digest, damage))?;
            return Ok(bytes);
        }
        if let Some(bytes) = store.blob(&digest) {
            return Ok(bytes);
        }
        if descriptor.size > layout::MAX_DOCUMENT {
            let what = format!("{digest} of {}", self.reference.name());
            let reason = format!("it has {} bytes", descriptor.size);
            return Err(SourceError::malformed(what, Form::Config, reason));
        }
        let mut bytes = Vec::new();
        let stream = self.connect(&digest.to_string())?.blob(digest, descriptor.size);
        stream.take(descriptor.size + 1).read_to_end(&mut bytes).map_err(|error| {
            error.downcast().unwrap_or_else(|source| SourceError::Read { path: self.place().into(), source })
        })?;
        layout::check(&bytes, descriptor).map_err(|damage| self.damaged(digest, damage))?;
        store.put_blob(&bytes)?;
        Ok(bytes)
    }

    /// The connection, made when it is first needed: for the sake of `what`.
    fn connect(&self, what: &str) -> Result<Arc<Connection>, SourceError> {
        if self.offline {
            return Err(SourceError::Offline { what: what.to_owned() });
        }
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let credentials = credentials::find(&self.reference.registry, &self.reference.repository)?;
        let new = Arc::new(Connection::open(&self.reference, self.plain_http, credentials.as_ref())?);
        *connection = Some(new.clone());
        Ok(new)
    }

    fn damaged(&self, digest: Digest, damage: Damage) -> SourceError {
        SourceError::Damaged { what: digest.to_string(), place: self.place(), damage }
    }
}

impl Origin for Repository {
    fn open(&self, blob: &Blob) -> Result<Box<dyn Read + Send>, SourceError> {
        match &blob.content {
            Content::Blob(digest) => Ok(Box::new(self.connect(&blob.name())?.blob(*digest, blob.size))),
            Content::Member(path) => Err(SourceError::Missing { place: self.place(), what: path.clone() }),
        }
    }

    fn place(&self) -> String {
        self.reference.name()
    }

    fn activity(&self) -> Activity {
        Activity::Download
    }
}
