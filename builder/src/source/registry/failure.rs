//! What a registry's answers and the network's errors mean.

use std::error::Error;
use std::io;

use serde::Deserialize;

use crate::source::Unreachable;
use crate::store::Digest;

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
    /// Content has another digest than its header says.
    Digest {
        /// What it should be.
        expected: Digest,
        /// What it is.
        actual: Digest,
    },
    /// Anything else: the answer makes no sense.
    Other(String),
}

/// The [errors](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes) in the body of a refusal.
#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    code: String,
    message: Option<String>,
}

impl Failure {
    /// Whether to try again makes sense.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::Server(_))
    }

    /// An answer with a status that is no success, and the beginning of its body.
    pub fn answered(status: u16, body: &[u8]) -> Self {
        let envelope: Option<Envelope> = serde_json::from_slice(body).ok();
        match envelope.as_ref().and_then(|envelope| envelope.errors.first()) {
            Some(error) if (400..500).contains(&status) => Self::told(status, error),
            _ => Self::status(status, one_line(&String::from_utf8_lossy(body))),
        }
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
    fn told(status: u16, error: &Entry) -> Self {
        let message = match error.message.as_deref() {
            None | Some("") => error.code.clone(),
            Some(message) => one_line(message),
        };
        match &*error.code {
            "UNAUTHORIZED" => Self::Unauthorized(message),
            "DENIED" => Self::Denied(message),
            "NAME_UNKNOWN" | "MANIFEST_UNKNOWN" | "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN" | "NOT_FOUND" => {
                Self::NotFound
            }
            "TOOMANYREQUESTS" => Self::RateLimited,
            _ => Self::status(status, message),
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

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if error.is_builder() || error.is_redirect() {
            return Self::Other(chain(&error));
        }
        Self::request(&error, error.is_connect(), error.is_timeout())
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

    fn told(status: u16, code: &str) -> Failure {
        let json = format!(r#"{{"errors":[{{"code":"{code}","message":"the  registry's\nwords"}}]}}"#);
        Failure::answered(status, json.as_bytes())
    }

    #[test]
    fn the_specification_s_codes_are_understood() {
        assert!(matches!(told(400, "DENIED"), Failure::Denied(words) if words == "the registry's words"));
        assert!(matches!(told(400, "UNAUTHORIZED"), Failure::Unauthorized(_)));
        assert!(matches!(told(400, "TOOMANYREQUESTS"), Failure::RateLimited));
        for code in ["NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"] {
            assert!(matches!(told(400, code), Failure::NotFound), "{code}");
        }
        assert!(matches!(told(400, "ARTIFACT_LOCKED"), Failure::Other(_)));
        assert!(matches!(told(401, "ARTIFACT_LOCKED"), Failure::Unauthorized(_)));
        assert!(matches!(told(503, "NAME_UNKNOWN"), Failure::Server(_)), "what fails says nothing of names");
        assert!(matches!(Failure::answered(404, br#"{"errors":[]}"#), Failure::NotFound));
        let bare = br#"{"errors":[{"code":"DENIED","message":null}]}"#;
        assert!(matches!(Failure::answered(403, bare), Failure::Denied(words) if words == "DENIED"));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for (code, again) in
            [(401, false), (403, false), (404, false), (408, true), (416, false), (429, false), (503, true)]
        {
            assert_eq!(Failure::answered(code, b"").may_pass(), again, "{code}");
        }
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
