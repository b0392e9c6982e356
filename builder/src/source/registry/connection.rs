//! The conversation with one registry about one repository.

use std::future::Future;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use super::credentials::Credentials;
use super::download::{self, Download, Job};
use super::failure::Failure;
use super::session::{self, Session};
use crate::source::SourceError;
use crate::source::reference::RegistryReference;
use crate::store::Digest;

/// Tags listed when the one asked for is missing.
const TAGS: usize = 1000;

/// What a manifest may be. Docker's schema 1 is left out, so that registries do not convert to it.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The largest manifest or list of tags, in bytes: registries accept no larger manifests, as the specification says.
const ANSWER_MAX: usize = 4 << 20;

/// A session, and the runtime its requests live on.
#[derive(Debug)]
pub(super) struct Connection {
    runtime: Runtime,
    session: Arc<Session>,
}

impl Connection {
    /// Prepares to speak with the registry, which hears of it with the first request.
    pub fn new(
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
        Ok(Self { runtime, session })
    }

    /// The digest of what `reference` stands for, as the registry tells it; `None` when it does not.
    pub fn digest(&self, reference: &RegistryReference) -> Result<Option<Digest>, SourceError> {
        let headers = async || {
            let answer = self.session.ask(Method::HEAD, &manifest_path(reference), accept()).await?;
            Ok(answer.headers().clone())
        };
        let headers = self.repeat(headers).map_err(|failure| self.not_found(failure, reference))?;
        Ok(content_digest(&headers))
    }

    /// A manifest or index, and its digest. What the registry tells of that is compared; the caller compares `reference`.
    pub fn manifest(&self, reference: &RegistryReference) -> Result<Vec<u8>, SourceError> {
        let manifest = async || {
            let answer = self.session.ask(Method::GET, &manifest_path(reference), accept()).await?;
            let told = content_digest(answer.headers());
            let bytes = session::body(answer, ANSWER_MAX).await?;
            let actual = Digest::of(&bytes);
            match told.filter(|expected| *expected != actual) {
                Some(expected) => Err(Failure::Digest { expected, actual }),
                None => Ok(bytes),
            }
        };
        self.repeat(manifest).map_err(|failure| self.not_found(failure, reference))
    }

    /// Starts the download of a blob. The caller verifies its digest.
    pub fn blob(&self, digest: Digest, size: u64) -> Download {
        Download::start(&self.runtime, Job { session: self.session.clone(), digest, size })
    }

    /// Makes a request, again where it broke off on the way.
    fn repeat<T, F>(&self, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.runtime.block_on(async {
            let mut tries = 0;
            loop {
                match request().await {
                    Err(failure) if failure.may_pass() && download::pause(&mut tries).await => {}
                    result => return result,
                }
            }
        })
    }

    /// For a manifest that could not be had: whether the tag or all of the repository is missing.
    fn not_found(&self, failure: Failure, reference: &RegistryReference) -> SourceError {
        #[derive(Deserialize)]
        struct List {
            tags: Option<Vec<String>>,
        }
        let (Failure::NotFound, Some(tag), None) = (&failure, &reference.tag, reference.digest) else {
            return self.session.error(failure, &reference.to_string());
        };
        let list = async || {
            let path = format!("tags/list?n={TAGS}");
            let answer = self.session.ask(Method::GET, &path, HeaderMap::new()).await?;
            let list: List = serde_json::from_slice(&session::body(answer, ANSWER_MAX).await?)
                .map_err(|error| Failure::Other(error.to_string()))?;
            Ok(list.tags.unwrap_or_default())
        };
        let name = reference.name();
        match self.repeat(list) {
            Ok(tags) => SourceError::NoTag { name, tag: tag.clone(), tags },
            Err(Failure::NotFound) => SourceError::NoRepository { name },
            // Not every registry lets everyone list tags; what was asked for is missing all the same.
            Err(_) => SourceError::Missing { place: name, what: format!("the tag `{tag}`") },
        }
    }
}

fn manifest_path(reference: &RegistryReference) -> String {
    match (reference.digest, &reference.tag) {
        (Some(digest), _) => format!("manifests/{digest}"),
        (None, tag) => format!("manifests/{}", tag.as_deref().unwrap_or("latest")),
    }
}

fn accept() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(MANIFESTS))])
}

/// The digest that a registry tells of what it sends.
fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.parse().ok()
}
