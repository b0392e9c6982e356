//! How a registry wants to know who asks: not at all, by name and password, or by a
//! [token](https://distribution.github.io/distribution/spec/auth/token/) of a service that it names, which wants one of these in turn, or
//! an identity token ([OAuth 2.0](https://distribution.github.io/distribution/spec/auth/oauth/)).

use reqwest::header::{AUTHORIZATION, GetAll, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::answer;
use super::credentials::{Credentials, Secret};
use super::failure::Failure;

/// More than any token service says, in bytes.
const MAX_TOKEN: usize = 1 << 20;

/// Who asks, in the way that one registry wants to know it.
pub(super) struct Login {
    secret: Option<Secret>,
    scheme: Scheme,
}

enum Scheme {
    Open,
    Password { user: String, password: String },
    Token { service: TokenService, header: Mutex<HeaderValue> },
}

/// Where tokens come from, and what is asked for.
struct TokenService {
    realm: Url,
    /// The parameters `service` and `scope`.
    wanted: Vec<(&'static str, String)>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Login {
    /// Asks the registry at `base`, such as `https://ghcr.io/v2/`, how it wants to know who reads `repository`, and gets a token where it
    /// wants one.
    pub async fn find(
        http: &Client,
        base: &str,
        repository: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Self, Failure> {
        let secret = credentials.map(|credentials| credentials.secret.clone());
        let response = http.get(base).send().await?;
        let scheme = match Challenge::of(&response.headers().get_all(WWW_AUTHENTICATE)) {
            Challenge::None => Scheme::Open,
            Challenge::Password => match &secret {
                None => Scheme::Open,
                Some(Secret::Password { user, password }) => {
                    Scheme::Password { user: user.clone(), password: password.clone() }
                }
                Some(Secret::IdentityToken(_)) => {
                    let reason = "it wants a password and no identity token";
                    return Err(Failure::Unauthorized(reason.to_owned()));
                }
            },
            Challenge::Token { realm, service } => {
                let service = TokenService::new(&realm, service, repository, base, secret.is_some())?;
                let header = Mutex::new(service.token(http, secret.as_ref()).await?);
                Scheme::Token { service, header }
            }
        };
        Ok(Self { secret, scheme })
    }

    /// The token in use, if there is one.
    pub async fn token(&self) -> Option<HeaderValue> {
        match &self.scheme {
            Scheme::Token { header, .. } => Some(header.lock().await.clone()),
            Scheme::Open | Scheme::Password { .. } => None,
        }
    }

    /// Says in a request who asks.
    pub fn sign(&self, request: RequestBuilder, token: Option<&HeaderValue>) -> RequestBuilder {
        match (&self.scheme, token) {
            (Scheme::Password { user, password }, _) => request.basic_auth(user, Some(password)),
            (_, Some(token)) => request.header(AUTHORIZATION, token.clone()),
            (_, None) => request,
        }
    }

    /// Gets another token where `refused` is no longer taken; `false` where there is no other way to ask.
    pub async fn renew(&self, http: &Client, refused: Option<&HeaderValue>) -> Result<bool, Failure> {
        let Scheme::Token { service, header } = &self.scheme else { return Ok(false) };
        let mut header = header.lock().await;
        // Several downloads may be refused at once; the first of them renews it for all.
        if Some(&*header) == refused {
            *header = service.token(http, self.secret.as_ref()).await?;
        }
        Ok(true)
    }
}

impl TokenService {
    fn new(
        realm: &str,
        service: Option<String>,
        repository: &str,
        base: &str,
        secret: bool,
    ) -> Result<Self, Failure> {
        let url = Url::parse(realm)
            .map_err(|error| Failure::Other(format!("tokens are to come from `{realm}`: {error}")))?;
        if secret && base.starts_with("https:") && url.scheme() != "https" {
            let reason = format!("it wants the credentials sent to {url} without encryption");
            return Err(Failure::Unauthorized(reason));
        }
        let mut wanted = vec![("scope", format!("repository:{repository}:pull"))];
        wanted.extend(service.map(|service| ("service", service)));
        Ok(Self { realm: url, wanted })
    }

    async fn token(&self, http: &Client, secret: Option<&Secret>) -> Result<HeaderValue, Failure> {
        let realm = self.realm.clone();
        let request = match secret {
            None => http.get(realm).query(&self.wanted),
            Some(Secret::Password { user, password }) => {
                http.get(realm).query(&self.wanted).basic_auth(user, Some(password))
            }
            Some(Secret::IdentityToken(token)) => {
                let mut form = vec![("grant_type", "refresh_token"), ("client_id", "isopod")];
                form.extend(self.wanted.iter().map(|(name, value)| (*name, value.as_str())));
                form.push(("refresh_token", token));
                http.post(realm).form(&form)
            }
        };
        let response = answer::success(request.send().await?).await.map_err(|failure| match failure {
            // Whatever else it says, it gives no token to who asks.
            Failure::Other(reason) | Failure::Denied(reason) => Failure::Unauthorized(reason),
            Failure::NotFound => Failure::Other(format!("there is no token service at {}", self.realm)),
            failure => failure,
        })?;
        let body = answer::body(response, MAX_TOKEN).await?;
        let none = |detail: &str| Failure::Other(format!("its token service gives {detail}"));
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| none("no token"))?;
        let token = answer.token.or(answer.access_token).ok_or_else(|| none("no token"))?;
        let mut header = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| none("a token that cannot stand in a header"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

/// What a registry wants ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1), section 11.6.1).
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    None,
    Password,
    Token { realm: String, service: Option<String> },
}

impl Challenge {
    /// The challenge that can be met best. Of one that is not understood it is supposed that a password meets it.
    fn of(headers: &GetAll<'_, HeaderValue>) -> Self {
        let mut best = Self::None;
        for header in headers {
            let text = header.to_str().unwrap_or_default();
            for challenge in http_auth::parse_challenges(text).unwrap_or_default() {
                if !challenge.scheme.eq_ignore_ascii_case("bearer") {
                    continue;
                }
                let parameter = |wanted: &str| {
                    let mut all = challenge.params.iter();
                    all.find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                        .map(|(_, value)| value.to_unescaped())
                };
                if let Some(realm) = parameter("realm") {
                    return Self::Token { realm, service: parameter("service") };
                }
            }
            best = Self::Password;
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn challenge(values: &[&str]) -> Challenge {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Challenge::of(&headers.get_all(WWW_AUTHENTICATE))
    }

    #[test]
    fn a_token_is_preferred_and_what_is_not_understood_taken_for_a_password() {
        let token = |service: Option<&str>| Challenge::Token {
            realm: "https://a/token".to_owned(),
            service: service.map(ToOwned::to_owned),
        };
        assert_eq!(challenge(&[]), Challenge::None);
        assert_eq!(challenge(&[r#"Basic realm="x""#]), Challenge::Password);
        assert_eq!(challenge(&[r#"bearer realm="https://a/token",service="s",scope="x""#]), token(Some("s")));
        assert_eq!(challenge(&[r#"Basic realm="x""#, r#"Bearer REALM="https://a/token""#]), token(None));
        assert_eq!(challenge(&[r#"Basic realm="x", Bearer realm="https://a/token""#]), token(None));
        for odd in ["", "Bearer", "Bearer service=s", "Bearer realm=\"", "\u{fc}", "=,=", "Negotiate"] {
            assert_eq!(challenge(&[odd]), Challenge::Password, "{odd}");
        }
    }

    #[test]
    fn credentials_are_not_sent_without_encryption_where_the_registry_has_it() {
        let service = |realm: &str, base: &str, secret| TokenService::new(realm, None, "app", base, secret);
        assert!(service("http://a/token", "https://a/v2/", false).is_ok());
        assert!(service("http://a/token", "http://localhost/v2/", true).is_ok());
        assert!(service("https://a/token", "https://a/v2/", true).is_ok());
        assert!(matches!(service("http://a/token", "https://a/v2/", true), Err(Failure::Unauthorized(_))));
        assert!(matches!(service("token", "https://a/v2/", true), Err(Failure::Other(_))));
    }
}
