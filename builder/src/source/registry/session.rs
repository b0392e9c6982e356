//! Who talks to which registry about what: the part of a conversation that requests share.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderName};
use reqwest::{Client, Method, Response};

use super::answer;
use super::credentials::Credentials;
use super::failure::{self, Failure};
use super::login::Login;
use crate::source::reference::RegistryReference;
use crate::source::{Damage, SourceError, Unreachable};

/// How long a connection may take to come about, and how long an answer may pause, before it counts as broken.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// A client, with what it says to the registry of itself.
pub(super) struct Session {
    http: Client,
    login: Login,
    /// Where all of the repository lies.
    base: String,
    reference: RegistryReference,
    /// Where the credentials come from, if any were found.
    credentials: Option<PathBuf>,
}

/// What a request says besides its path.
pub(super) type Header = (HeaderName, String);

impl Session {
    /// Reaches the registry and logs in.
    pub async fn open(
        http: Client,
        reference: &RegistryReference,
        plain_http: bool,
        credentials: Option<&Credentials>,
    ) -> Result<Self, Failure> {
        let scheme = if plain_http { "http" } else { "https" };
        let host = match &*reference.registry {
            // What everybody calls Docker Hub is no registry.
            "docker.io" => "registry-1.docker.io",
            registry => registry,
        };
        let root = format!("{scheme}://{host}/v2/");
        Ok(Self {
            login: Login::find(&http, &root, &reference.repository, credentials).await?,
            http,
            base: format!("{root}{}", reference.repository),
            reference: reference.clone(),
            credentials: credentials.map(|credentials| credentials.file.clone()),
        })
    }

    /// The answer to a request for `path` in the repository, if it is a success. With a new token, if the one in use is refused: they live for
    /// minutes, and downloads longer.
    pub async fn request(&self, method: Method, path: &str, header: Header) -> Result<Response, Failure> {
        let mut renewed = false;
        loop {
            let token = self.login.token().await;
            let request = self.http.request(method.clone(), format!("{}/{path}", self.base));
            let request = self.login.sign(request.header(header.0.clone(), &header.1), token.as_ref());
            match answer::success(request.send().await?).await {
                Err(Failure::Unauthorized(_))
                    if !renewed && self.login.renew(&self.http, token.as_ref()).await? =>
                {
                    renewed = true;
                }
                result => return result,
            }
        }
    }

    /// The headers and the body of a document of at most `most` bytes; `accept` are the media types it may have.
    pub async fn document(
        &self,
        path: &str,
        accept: &str,
        most: usize,
    ) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let response = self.request(Method::GET, path, (ACCEPT, accept.to_owned())).await?;
        let headers = response.headers().clone();
        Ok((headers, answer::body(response, most).await?))
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
        error(&self.reference, self.credentials.clone(), failure, what)
    }
}

/// What it means to the user that `what`, in the repository of `reference`, could not be had.
pub(super) fn error(
    reference: &RegistryReference,
    credentials: Option<PathBuf>,
    failure: Failure,
    what: &str,
) -> SourceError {
    let RegistryReference { registry, repository, .. } = reference.clone();
    let place = reference.name();
    match failure {
        Failure::Unreachable(reason) => SourceError::Unreachable { registry, reason },
        Failure::Cut(detail) => SourceError::Unreachable { registry, reason: Unreachable::Other(detail) },
        Failure::Unauthorized(reason) => {
            SourceError::Unauthorized { registry, repository, credentials, reason }
        }
        Failure::Denied(reason) => SourceError::Denied { registry, repository, reason },
        Failure::NotFound => SourceError::Missing { place, what: what.to_owned() },
        Failure::Digest { expected, actual } => {
            let damage = Damage::Digest { expected, actual };
            SourceError::Damaged { what: what.to_owned(), place, damage }
        }
        Failure::RateLimited => SourceError::RateLimited { registry },
        Failure::NoSuchRange => SourceError::Registry { registry, detail: "no such range".to_owned() },
        Failure::Server(detail) | Failure::Other(detail) => SourceError::Registry { registry, detail },
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("reference", &self.reference).finish_non_exhaustive()
    }
}

/// The HTTP client; with `loopback`, for a registry of this machine.
pub(super) fn client(loopback: bool) -> Result<Client, SourceError> {
    // Fails where another part of the process has chosen a provider already, and that one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("isopod/", env!("CARGO_PKG_VERSION")));
    if loopback {
        // The environment's proxy cannot reach this machine's loopback.
        client = client.no_proxy();
    }
    client.build().map_err(|error| SourceError::Client(failure::chain(&error)))
}
