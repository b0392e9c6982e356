//! The conversation with one registry about one repository.

use std::future::Future;
use std::sync::Arc;

use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use tokio::runtime::{Builder, Runtime};

use super::credentials::Credentials;
use super::download::{self, Download, Job};
use super::failure::Failure;
use super::session::{Session, oci};
use crate::source::SourceError;
use crate::source::reference::RegistryReference;
use crate::store::Digest;

/// Tags listed when the one asked for is missing.
const TAGS: usize = 1000;

/// What a manifest may be. Docker's schema 1 is left out, so that registries do not convert to it.
const MANIFESTS: &[&str] = &[
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
];

/// An authenticated session, and the runtime its requests live on.
#[derive(Debug)]
pub(super) struct Connection {
    runtime: Runtime,
    session: Arc<Session>,
}

impl Connection {
    /// Reaches the registry and logs in.
    pub fn open(
        reference: &RegistryReference,
        plain_http: bool,
        credentials: Option<Credentials>,
    ) -> Result<Self, SourceError> {
        let session = Arc::new(Session::new(reference, plain_http, credentials)?);
        // One thread moves bytes between the network and the threads that inflate them.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| SourceError::Client(error.to_string()))?;
        let connection = Self { runtime, session };
        let Session { client, auth, image, .. } = &*connection.session;
        connection
            .ask(|| client.auth(image, auth, RegistryOperation::Pull))
            .map_err(|failure| connection.session.error(failure, &reference.to_string()))?;
        Ok(connection)
    }

    /// The digest of what `reference` stands for, as the registry tells it.
    pub fn digest(&self, reference: &RegistryReference) -> Result<String, SourceError> {
        let image = oci(reference);
        self.ask(|| self.session.client.fetch_manifest_digest(&image, &self.session.auth))
            .map_err(|failure| self.not_found(failure, reference))
    }

    /// A manifest or index. Where `reference` has a digest, the client has compared it.
    pub fn manifest(&self, reference: &RegistryReference) -> Result<Vec<u8>, SourceError> {
        let image = oci(reference);
        self.ask(|| self.session.client.pull_manifest_raw(&image, &self.session.auth, MANIFESTS))
            .map(|(bytes, _)| bytes.to_vec())
            .map_err(|failure| self.not_found(failure, reference))
    }

    /// Starts the download of a blob. The caller verifies its digest.
    pub fn blob(&self, digest: Digest, size: u64) -> Download {
        Download::start(&self.runtime, Job { session: self.session.clone(), digest, size })
    }

    /// Runs a request, again where it broke off on the way.
    fn ask<T, F>(&self, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, OciDistributionError>>,
    {
        self.runtime.block_on(async {
            let mut tries = 0;
            loop {
                match request().await.map_err(Failure::from) {
                    Err(failure) if failure.may_pass() && download::pause(&mut tries).await => {}
                    result => return result,
                }
            }
        })
    }

    /// For a manifest that could not be had: whether the tag or all of the repository is missing.
    fn not_found(&self, failure: Failure, reference: &RegistryReference) -> SourceError {
        let (Failure::NotFound, Some(tag), None) = (&failure, &reference.tag, reference.digest) else {
            return self.session.error(failure, &reference.to_string());
        };
        let image = oci(reference);
        let name = reference.name();
        match self.ask(|| self.session.client.list_tags(&image, &self.session.auth, Some(TAGS), None)) {
            Ok(listed) => SourceError::NoTag { name, tag: tag.clone(), tags: listed.tags },
            Err(Failure::NotFound) => SourceError::NoRepository { name },
            // Not every registry lets everyone list tags; what was asked for is missing all the same.
            Err(_) => SourceError::Missing { place: name, what: format!("the tag `{tag}`") },
        }
    }
}
