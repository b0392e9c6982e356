//! What the client's errors mean.

use std::error::Error;
use std::io;

use oci_client::errors::{DigestError, OciDistributionError, OciEnvelope, OciErrorCode};

use crate::source::Unreachable;

/// How a request to a registry failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection came about.
    Unreachable(Unreachable),
    /// The connection broke off.
    Cut(String),
    /// The registry fails for now: HTTP status 5xx.
    Server(String),
    /// HTTP status 401.
    Unauthorized(String),
    /// HTTP status 403.
    Denied(String),
    /// HTTP status 404.
    NotFound,
    /// HTTP status 416: nothing where the download is to go on.
    NoSuchRange,
    /// HTTP status 429.
    RateLimited,
    /// Content has another digest than its name or its header says.
    Digest {
        /// What it should be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// Anything else: the answer makes no sense.
    Other(String),
}

impl Failure {
    /// Whether to try again makes sense.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::Server(_))
    }

    fn status(code: u16, detail: String) -> Self {
        match code {
            401 => Self::Unauthorized(detail),
            403 => Self::Denied(detail),
            404 => Self::NotFound,
            408 | 500..=599 => Self::Server(format!("HTTP status {code}{}", after_colon(&detail))),
            416 => Self::NoSuchRange,
            429 => Self::RateLimited,
            code => Self::Other(format!("HTTP status {code}{}", after_colon(&detail))),
        }
    }

    /// The registry's own words, by the specification's error codes.
    fn envelope(envelope: &OciEnvelope) -> Self {
        let Some(error) = envelope.errors.first() else {
            return Self::Other("an empty list of errors".to_owned());
        };
        let message =
            if error.message.is_empty() { format!("{:?}", error.code) } else { one_line(&error.message) };
        match error.code {
            OciErrorCode::Unauthorized => Self::Unauthorized(message),
            OciErrorCode::Denied => Self::Denied(message),
            OciErrorCode::NameUnknown
            | OciErrorCode::ManifestUnknown
            | OciErrorCode::ManifestBlobUnknown
            | OciErrorCode::BlobUnknown
            | OciErrorCode::NotFound => Self::NotFound,
            OciErrorCode::Toomanyrequests => Self::RateLimited,
            _ => Self::Other(message),
        }
    }

    /// An error of the HTTP client's, by whatever lies at its bottom.
    fn request(error: &(dyn Error + 'static), connecting: bool, timed_out: bool) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return Self::Unreachable(Unreachable::Tls(match error {
                    rustls::Error::InvalidMessage(_) => "what answers does not speak TLS".to_owned(),
                    error => error.to_string(),
                }));
            }
            if let Some(error) = error.downcast_ref::<io::Error>()
                && error.kind() == io::ErrorKind::ConnectionRefused
            {
                return Self::Unreachable(Unreachable::Refused);
            }
            // The resolver's error has no type of its own.
            if error.to_string() == "dns error" {
                return Self::Unreachable(Unreachable::Name);
            }
            cause = below(error);
        }
        match (connecting, timed_out) {
            (true, true) => Self::Unreachable(Unreachable::Timeout),
            (true, false) => Self::Unreachable(Unreachable::Other(deepest(error))),
            (false, true) => Self::Cut("no answer in time".to_owned()),
            (false, false) => Self::Cut(deepest(error)),
        }
    }
}

impl From<OciDistributionError> for Failure {
    fn from(error: OciDistributionError) -> Self {
        match error {
            OciDistributionError::RequestError(error) if error.is_builder() || error.is_redirect() => {
                Self::Other(chain(&error))
            }
            OciDistributionError::RequestError(error) => {
                Self::request(&error, error.is_connect(), error.is_timeout())
            }
            OciDistributionError::AuthenticationFailure(reason) => {
                match serde_json::from_str::<OciEnvelope>(&reason) {
                    Ok(OciEnvelope { errors }) if !errors.is_empty() => {
                        Self::Unauthorized(one_line(&errors[0].message))
                    }
                    _ => Self::Unauthorized(one_line(&reason)),
                }
            }
            OciDistributionError::UnauthorizedError { .. } => Self::Unauthorized(String::new()),
            OciDistributionError::RegistryError { envelope, .. } => Self::envelope(&envelope),
            OciDistributionError::ServerError { code, message, .. } => Self::status(code, one_line(&message)),
            OciDistributionError::DigestError(DigestError::VerificationError { expected, actual }) => {
                Self::Digest { expected, actual }
            }
            error => Self::Other(chain(&error)),
        }
    }
}

/// An error in the middle of a blob.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(DigestError::VerificationError { expected, actual }) => {
                Self::Digest { expected: expected.clone(), actual: actual.clone() }
            }
            _ => Self::Cut(deepest(&error)),
        }
    }
}

/// The cause of an error. What an `io::Error` wraps is not among its sources.
fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(below(error), |error| below(*error));
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// The last cause: the ones above only say which layer of the client passed it on.
fn deepest(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| below(*error)).last().unwrap_or(error).to_string()
}

/// What a registry said, shortened: it may be a page of HTML.
fn one_line(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line,
    }
}

fn after_colon(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(code: &str) -> Failure {
        let json = format!(r#"{{"errors":[{{"code":"{code}","message":"the  registry's\nwords"}}]}}"#);
        Failure::envelope(&serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn the_specification_s_codes_are_understood() {
        assert!(matches!(envelope("DENIED"), Failure::Denied(words) if words == "the registry's words"));
        assert!(matches!(envelope("UNAUTHORIZED"), Failure::Unauthorized(_)));
        assert!(matches!(envelope("TOOMANYREQUESTS"), Failure::RateLimited));
        for code in ["NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"] {
            assert!(matches!(envelope(code), Failure::NotFound), "{code}");
        }
        assert!(matches!(envelope("ARTIFACT_LOCKED"), Failure::Other(_)));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (code, again) in
            [(401, false), (403, false), (404, false), (408, true), (416, false), (429, false), (503, true)]
        {
            assert_eq!(Failure::status(code, String::new()).may_pass(), again, "{code}");
        }
        assert!(Failure::from(io::Error::from(io::ErrorKind::ConnectionReset)).may_pass());
    }

    #[test]
    fn the_cause_is_found_below_what_wraps_it() {
        let refused = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(matches!(
            Failure::request(&refused, true, false),
            Failure::Unreachable(Unreachable::Refused)
        ));
        let tls = io::Error::other(io::Error::other(rustls::Error::DecryptError));
        assert!(matches!(Failure::request(&tls, true, false), Failure::Unreachable(Unreachable::Tls(_))));
        let other = io::Error::other("odd");
        assert!(matches!(Failure::request(&other, true, true), Failure::Unreachable(Unreachable::Timeout)));
        assert!(matches!(Failure::request(&other, false, false), Failure::Cut(detail) if detail == "odd"));
    }

    #[test]
    fn pages_of_html_are_shortened() {
        let page = format!("<html>\n  {}", "ä ".repeat(500));
        let line = one_line(&page);
        assert!(line.chars().count() == 202 && line.ends_with(".."), "{line}");
    }
}
