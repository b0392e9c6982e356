//! Requests to one registry about one repository: who asks, what an answer means, and how much of it is read.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use super::credentials::Credentials;
use super::failure::{self, Failure};
use crate::source::reference::RegistryReference;
use crate::source::{Damage, SourceError, Unreachable};

/// How long a connection may take to come about, and how long an answer may pause, before it counts as broken.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The most of an answer that is read, in bytes: of a token service, and of an error.
const TOKEN_MAX: usize = 1 << 20;
const ERROR_MAX: usize = 64 << 10;

/// A client, with what it says to the registry of itself.
pub(super) struct Session {
    client: Client,
    plain_http: bool,
    reference: RegistryReference,
    credentials: Option<Credentials>,
    /// What the registry wanted to be shown last; each request shows it again.
    pass: Mutex<Option<Pass>>,
}

/// What a registry may want to be shown.
#[derive(Clone)]
enum Pass {
    /// User and password.
    Basic,
    /// What its token service gave out.
    Token(String),
}

impl Session {
    pub fn new(
        reference: &RegistryReference,
        plain_http: bool,
        credentials: Option<Credentials>,
    ) -> Result<Self, SourceError> {
        let client = client(reference.is_loopback())?;
        Ok(Self { client, plain_http, reference: reference.clone(), credentials, pass: Mutex::new(None) })
    }

    /// Host and port.
    pub fn registry(&self) -> String {
        self.reference.registry.clone()
    }

    /// Registry and repository.
    pub fn place(&self) -> String {
        self.reference.name()
    }

    /// Asks for what is at `path` in the repository, and shows the registry who asks if it wants to know. The answer has a status of
    /// success; its body is not read yet.
    pub async fn ask(&self, method: Method, path: &str, headers: HeaderMap) -> Result<Response, Failure> {
        let scheme = if self.plain_http { "http" } else { "https" };
        let host = match self.reference.registry.as_str() {
            // The name that everybody uses is not that of the host.
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        let url = format!("{scheme}://{host}/v2/{}/{path}", self.reference.repository);
        let request =
            |pass| self.show(pass, self.client.request(method.clone(), &url).headers(headers.clone()));
        let known = self.pass.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut response = request(known).send().await?;
        // Nothing was shown yet, or a token that has expired.
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(pass) = self.pass_for(response.headers()).await?
        {
            *self.pass.lock().unwrap_or_else(PoisonError::into_inner) = Some(pass.clone());
            response = request(Some(pass)).send().await?;
        }
        succeeded(response).await
    }

    fn show(&self, pass: Option<Pass>, request: RequestBuilder) -> RequestBuilder {
        match (pass, &self.credentials) {
            (Some(Pass::Token(token)), _) => request.bearer_auth(token),
            (Some(Pass::Basic), Some(known)) => request.basic_auth(&known.user, Some(&known.password)),
            _ => request,
        }
    }

    /// What an answer asks to be shown (RFC 9110, 11.6.1); `None` where there is nothing to show.
    async fn pass_for(&self, headers: &HeaderMap) -> Result<Option<Pass>, Failure> {
        let lines = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|line| line.to_str().ok());
        let challenges: Vec<_> =
            lines.flat_map(|line| http_auth::parse_challenges(line).unwrap_or_default()).collect();
        let of_scheme =
            |scheme: &str| challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(scheme));
        let Some(bearer) = of_scheme("Bearer") else {
            return Ok(of_scheme("Basic").and(self.credentials.as_ref()).map(|_| Pass::Basic));
        };
        let parameter = |name: &str| {
            let found = bearer.params.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = parameter("realm").unwrap_or_default();
        self.token(&realm, parameter("service")).await.map(Some)
    }

    /// Asks the token service at `realm` for the right to pull
    /// ([specification](https://distribution.github.io/distribution/spec/auth/token/)).
    async fn token(&self, realm: &str, service: Option<String>) -> Result<Pass, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let unusable = |reason: &str| Failure::Other(format!("its token service {realm} {reason}"));
        let mut url = Url::parse(realm).map_err(|_| unusable("has no address"))?;
        if url.scheme() != "https" && !self.plain_http {
            return Err(unusable("would see the password in clear: it does not speak TLS"));
        }
        let scope = format!("repository:{}:pull", self.reference.repository);
        url.query_pairs_mut()
            .append_pair("scope", &scope)
            .extend_pairs(service.map(|name| ("service", name)));
        let request = self.show(Some(Pass::Basic), self.client.get(url));
        let answer = succeeded(request.send().await?).await.map_err(|failure| match failure {
            // It is not the image that is missing.
            Failure::Other(detail) | Failure::Denied(detail) => Failure::Unauthorized(detail),
            Failure::NotFound => unusable("is not there"),
            failure => failure,
        })?;
        let answer: Answer = serde_json::from_slice(&body(answer, TOKEN_MAX).await?)
            .map_err(|error| unusable(&format!("cannot be understood: {error}")))?;
        let token = answer.token.or(answer.access_token).ok_or_else(|| unusable("gave out no token"))?;
        Ok(Pass::Token(token))
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
                credentials: self.credentials.as_ref().map(|known| known.file.clone()),
                reason,
            },
            Failure::Denied(reason) => SourceError::Denied { registry, repository, reason },
            Failure::NotFound => SourceError::Missing { place: self.place(), what: what.to_owned() },
            Failure::Digest { expected, actual } => {
                let damage = Damage::Digest { expected, actual };
                SourceError::Damaged { what: what.to_owned(), place: self.place(), damage }
            }
            Failure::RateLimited => SourceError::RateLimited { registry },
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

/// The answer, if its status is one of success.
async fn succeeded(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    // An error that cannot be read, or has no end, still has its status.
    let words = body(response, ERROR_MAX).await.unwrap_or_default();
    Err(Failure::answer(status.as_u16(), &words))
}

/// The whole of an answer that has at most `limit` bytes.
pub(super) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > limit {
            return Err(Failure::Other(format!("its answer has more than {} KiB", limit >> 10)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn client(loopback: bool) -> Result<Client, SourceError> {
    // Fails where another part of the process has chosen a provider already, and that one serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("isopod/", env!("CARGO_PKG_VERSION")));
    // The environment's proxy cannot reach this machine's loopback.
    let builder = if loopback { builder.no_proxy() } else { builder };
    builder.build().map_err(|error| SourceError::Client(failure::chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::{Login, TestRegistry};
    use crate::source::{ImageReference, Reference};

    #[test]
    fn a_password_is_told_to_nobody_in_clear() {
        let Ok(Reference::Image(ImageReference::Registry(reference))) = "example.com/app:1".parse() else {
            panic!("it is one")
        };
        let (user, password, file) = ("user".to_owned(), "secret".to_owned(), "/auth.json".into());
        let session = Session::new(&reference, false, Some(Credentials { user, password, file })).unwrap();
        let registry = TestRegistry::start(Login::Token);
        let realm = format!("http://{}", registry.name("token"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let Err(Failure::Other(reason)) = runtime.block_on(session.token(&realm, None)) else {
            panic!("it was told")
        };
        assert!(reason.contains("does not speak TLS"), "{reason}");
        assert!(registry.requests().is_empty());
    }
}
