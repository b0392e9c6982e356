//! The conversation with one registry about one repository.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use tokio::runtime::{Builder, Runtime};

use super::credentials::Credentials;
use super::download::{self, Download};
use super::failure::{self, Failure};
use crate::source::reference::RegistryReference;
use crate::source::{Damage, SourceError, Unreachable};
use crate::store::Digest;

/// How long a connection may take to come about, and how long an answer may pause, before it counts as
/// broken.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Tags listed when the one asked for is missing.
const TAGS: usize = 1000;

/// What a manifest may be. Docker's schema 1 is left out, so that registries do not convert to it.
const MANIFESTS: &[&str] = &[
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
];

/// An authenticated client, and the runtime its requests live on.
pub(super) struct Connection {
    runtime: Runtime,
    client: Client,
    auth: RegistryAuth,
    /// Where the credentials come from, if any were found.
    credentials: Option<PathBuf>,
    reference: RegistryReference,
}

impl Connection {
    /// Reaches the registry and logs in.
    pub fn open(
        reference: &RegistryReference,
        plain_http: bool,
        credentials: Option<Credentials>,
    ) -> Result<Self, SourceError> {
        let (auth, credentials) = match credentials {
            Some(Credentials { user, password, file }) => (RegistryAuth::Basic(user, password), Some(file)),
            None => (RegistryAuth::Anonymous, None),
        };
        let client = client(plain_http, reference.is_loopback())?;
        // One thread moves bytes between the network and the threads that inflate them.
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| SourceError::Client(error.to_string()))?;
        let connection = Self { runtime, client, auth, credentials, reference: reference.clone() };
        let image = oci(reference);
        connection
            .ask(|| connection.client.auth(&image, &connection.auth, RegistryOperation::Pull))
            .map_err(|failure| connection.error(failure, &reference.to_string()))?;
        Ok(connection)
    }

    /// The digest of what `reference` stands for, as the registry tells it.
    pub fn digest(&self, reference: &RegistryReference) -> Result<String, SourceError> {
        let image = oci(reference);
        self.ask(|| self.client.fetch_manifest_digest(&image, &self.auth))
            .map_err(|failure| self.not_found(failure, reference))
    }

    /// A manifest or index. Where `reference` has a digest, the client has compared it.
    pub fn manifest(&self, reference: &RegistryReference) -> Result<Vec<u8>, SourceError> {
        let image = oci(reference);
        self.ask(|| self.client.pull_manifest_raw(&image, &self.auth, MANIFESTS))
            .map(|(bytes, _)| bytes.to_vec())
            .map_err(|failure| self.not_found(failure, reference))
    }

    /// Starts the download of a blob. The caller verifies its digest.
    pub fn blob(&self, digest: Digest, size: u64) -> Download {
        let job = download::Job {
            client: self.client.clone(),
            image: oci(&self.reference),
            registry: self.reference.registry.clone(),
            place: self.reference.name(),
            digest,
            size,
        };
        Download::start(&self.runtime, job)
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
            return self.error(failure, &reference.to_string());
        };
        let image = oci(reference);
        let name = reference.name();
        match self.ask(|| self.client.list_tags(&image, &self.auth, Some(TAGS), None)) {
            Ok(listed) => SourceError::NoTag { name, tag: tag.clone(), tags: listed.tags },
            Err(Failure::NotFound) => SourceError::NoRepository { name },
            // Not every registry lets everyone list tags; what was asked for is missing all the same.
            Err(_) => SourceError::Missing { place: name, what: format!("the tag `{tag}`") },
        }
    }

    fn error(&self, failure: Failure, what: &str) -> SourceError {
        let RegistryReference { registry, repository, .. } = self.reference.clone();
        match failure {
            Failure::Unreachable(reason) => SourceError::Unreachable { registry, reason },
            Failure::Cut(detail) => SourceError::Unreachable { registry, reason: Unreachable::Other(detail) },
            Failure::Unauthorized(reason) => SourceError::Unauthorized {
                registry,
                repository,
                credentials: self.credentials.clone(),
                reason,
            },
            Failure::Denied(reason) => SourceError::Denied { registry, repository, reason },
            Failure::NotFound => SourceError::Missing { place: self.reference.name(), what: what.to_owned() },
            Failure::Digest { expected, actual }
                if let (Ok(expected), Ok(actual)) = (expected.parse(), actual.parse()) =>
            {
                let damage = Damage::Digest { expected, actual };
                SourceError::Damaged { what: what.to_owned(), place: self.reference.name(), damage }
            }
            failure => failure.about(registry),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("reference", &self.reference).finish_non_exhaustive()
    }
}

fn client(plain_http: bool, loopback: bool) -> Result<Client, SourceError> {
    // The client makes another one with default settings on the way, and panics when there is no certificate
    // to trust.
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        return Err(SourceError::Client(
            "this machine has no certificates of authorities to trust".to_owned(),
        ));
    }
    // Fails where another part of the process has chosen a provider already, and that one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = ClientConfig {
        protocol: if plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: concat!("isopod/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    if loopback {
        // The environment's proxy cannot reach this machine's loopback. The client has no switch for it, but
        // a proxy that is named here replaces the environment's, and this one serves no host.
        config.http_proxy = Some("http://localhost".to_owned());
        config.no_proxy = Some("*,127.0.0.0/8,::1".to_owned());
    }
    Client::try_from(config).map_err(|error| SourceError::Client(failure::chain(&error)))
}

/// The reference in the client's own type.
fn oci(reference: &RegistryReference) -> Reference {
    let RegistryReference { registry, repository, tag, digest } = reference.clone();
    match (digest, tag) {
        (Some(digest), _) => Reference::with_digest(registry, repository, digest.to_string()),
        (None, Some(tag)) => Reference::with_tag(registry, repository, tag),
        (None, None) => Reference::with_tag(registry, repository, "latest".to_owned()),
    }
}
