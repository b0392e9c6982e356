//! Who talks to which registry about what: the part of a conversation that requests share.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

use super::credentials::Credentials;
use super::failure::{self, Failure};
use crate::source::reference::RegistryReference;
use crate::source::{Damage, SourceError, Unreachable};

/// How long a connection may take to come about, and how long an answer may pause, before it counts as broken.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A client, with what it says to the registry of itself.
pub(super) struct Session {
    pub client: Client,
    pub auth: RegistryAuth,
    /// The image's name in the client's own type.
    pub image: Reference,
    reference: RegistryReference,
    /// Where the credentials come from, if any were found.
    credentials: Option<PathBuf>,
}

impl Session {
    pub fn new(
        reference: &RegistryReference,
        plain_http: bool,
        credentials: Option<Credentials>,
    ) -> Result<Self, SourceError> {
        let (auth, credentials) = match credentials {
            Some(Credentials { user, password, file }) => (RegistryAuth::Basic(user, password), Some(file)),
            None => (RegistryAuth::Anonymous, None),
        };
        let client = client(plain_http, reference.is_loopback())?;
        Ok(Self { client, auth, image: oci(reference), reference: reference.clone(), credentials })
    }

    /// Host and port.
    pub fn registry(&self) -> String {
        self.reference.registry.clone()
    }

    /// Registry and repository.
    pub fn place(&self) -> String {
        self.reference.name()
    }

    /// What it means to the user that `what` could not be had.
    pub fn error(&self, failure: Failure, what: &str) -> SourceError {
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
            Failure::NotFound => SourceError::Missing { place: self.place(), what: what.to_owned() },
            Failure::Digest { expected, actual }
                if let (Ok(expected), Ok(actual)) = (expected.parse(), actual.parse()) =>
            {
                let damage = Damage::Digest { expected, actual };
                SourceError::Damaged { what: what.to_owned(), place: self.place(), damage }
            }
            Failure::RateLimited => SourceError::RateLimited { registry },
            Failure::Digest { expected, actual } => SourceError::Registry {
                registry,
                detail: format!("content with the digest {actual} for {expected}"),
            },
            Failure::NoSuchRange => SourceError::Registry { registry, detail: "no such range".to_owned() },
            Failure::Server(detail) | Failure::Other(detail) => SourceError::Registry { registry, detail },
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("reference", &self.reference).finish_non_exhaustive()
    }
}

fn client(plain_http: bool, loopback: bool) -> Result<Client, SourceError> {
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
pub(super) fn oci(reference: &RegistryReference) -> Reference {
    let RegistryReference { registry, repository, tag, digest } = reference.clone();
    match (digest, tag) {
        (Some(digest), _) => Reference::with_digest(registry, repository, digest.to_string()),
        (None, Some(tag)) => Reference::with_tag(registry, repository, tag),
        (None, None) => Reference::with_tag(registry, repository, "latest".to_owned()),
    }
}
