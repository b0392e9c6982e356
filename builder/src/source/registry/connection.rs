//! The conversation with one registry about one repository.

use std::future::Future;
use std::sync::Arc;

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderMap};
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};

use super::credentials::Credentials;
use super::download::{self, Download, Job};
use super::failure::Failure;
use super::session::{self, Session};
use crate::source::SourceError;
use crate::source::layout::MAX_DOCUMENT;
use crate::source::reference::RegistryReference;
use crate::store::Digest;

/// Tags listed when the one asked for is missing, and how long their list may be in bytes.
const TAGS: usize = 1000;
const MAX_TAGS: usize = 1 << 20;

/// What a manifest may be: OCI's and Docker's. Docker's schema 1 is left out, so that registries do not convert to it.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// The header in which a registry tells a manifest's digest.
const DIGEST: &str = "Docker-Content-Digest";

#[derive(Deserialize)]
struct TagList {
    tags: Option<Vec<String>>,
}

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
        credentials: Option<&Credentials>,
    ) -> Result<Self, SourceError> {
        let http = session::client(reference.is_loopback())?;
        // One thread moves bytes between the network and the threads that inflate them.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| SourceError::Client(error.to_string()))?;
        let session = ask(&runtime, || Session::open(http.clone(), reference, plain_http, credentials))
            .map_err(|failure| {
                let file = credentials.map(|credentials| credentials.file.clone());
                session::error(reference, file, failure, &reference.to_string())
            })?;
        Ok(Self { runtime, session: Arc::new(session) })
    }

    /// The digest of what `reference` stands for, if the registry tells it beforehand.
    pub fn digest(&self, reference: &RegistryReference) -> Result<Option<String>, SourceError> {
        let path = path(reference);
        let answer = self.ask(|| self.session.request(Method::HEAD, &path, (ACCEPT, MANIFESTS.to_owned())));
        let answer = answer.map_err(|failure| self.not_found(failure, reference))?;
        Ok(told_digest(answer.headers()).map(ToOwned::to_owned))
    }

    /// A manifest or index. Where `reference` has a digest, the caller compares it.
    pub fn manifest(&self, reference: &RegistryReference) -> Result<Vec<u8>, SourceError> {
        let path = path(reference);
        let answer = self.ask(async || {
            let (headers, body) = self.session.document(&path, MANIFESTS, MAX_DOCUMENT as usize).await?;
            match told_digest(&headers).and_then(|digest| digest.parse().ok()) {
                Some(expected) if expected != Digest::of(&body) => {
                    Err(Failure::Digest { expected, actual: Digest::of(&body) })
                }
                _ => Ok(body),
            }
        });
        answer.map_err(|failure| self.not_found(failure, reference))
    }

    /// Starts the download of a blob. The caller verifies its digest.
    pub fn blob(&self, digest: Digest, size: u64) -> Download {
        Download::start(&self.runtime, Job { session: self.session.clone(), digest, size })
    }

    fn ask<T, F>(&self, request: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        ask(&self.runtime, request)
    }

    /// Some of the repository's tags.
    fn tags(&self) -> Result<Vec<String>, Failure> {
        let path = format!("tags/list?n={TAGS}");
        let (_, json) = self.ask(|| self.session.document(&path, "application/json", MAX_TAGS))?;
        let list: TagList =
            serde_json::from_slice(&json).map_err(|error| Failure::Other(error.to_string()))?;
        Ok(list.tags.unwrap_or_default())
    }

    /// For a manifest that could not be had: whether the tag or all of the repository is missing.
    fn not_found(&self, failure: Failure, reference: &RegistryReference) -> SourceError {
        let (Failure::NotFound, Some(tag), None) = (&failure, &reference.tag, reference.digest) else {
            return self.session.error(failure, &reference.to_string());
        };
        let name = reference.name();
        match self.tags() {
            Ok(tags) => SourceError::NoTag { name, tag: tag.clone(), tags },
            Err(Failure::NotFound) => SourceError::NoRepository { name },
            // Not every registry lets everyone list tags; what was asked for is missing all the same.
            Err(_) => SourceError::Missing { place: name, what: format!("the tag `{tag}`") },
        }
    }
}

/// Runs a request, again where it broke off on the way.
fn ask<T, F>(runtime: &Runtime, request: impl Fn() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    runtime.block_on(async {
        let mut tries = 0;
        loop {
            match request().await {
                Err(failure) if failure.may_pass() && download::pause(&mut tries).await => {}
                result => return result,
            }
        }
    })
}

/// Where the manifest lies that `reference` names.
fn path(reference: &RegistryReference) -> String {
    match (reference.digest, &reference.tag) {
        (Some(digest), _) => format!("manifests/{digest}"),
        (None, tag) => format!("manifests/{}", tag.as_deref().unwrap_or("latest")),
    }
}

fn told_digest(headers: &HeaderMap) -> Option<&str> {
    headers.get(DIGEST)?.to_str().ok()
}
