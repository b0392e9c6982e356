//! How an error looks to a user: one line that says what went wrong, one that says what to do.

use crate::engine::EngineError;
use crate::link::inspect::InspectError;
use crate::link::{CommandError, LinkError};
use crate::prepare::PrepareError;
use crate::source::{ParseReferenceError, SourceError};
use crate::store::StoreError;

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// An error that no other room has a type for.
    pub fn new(message: impl Into<String>, hint: impl Into<Option<String>>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }

    pub fn print(&self) {
        eprintln!("isopod: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
    }
}

/// Every error type of the library has a `hint`.
macro_rules! failure_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let hint: Option<String> = error.hint().into();
                Self { message: error.to_string(), hint }
            }
        }
    )*};
}

failure_from!(
    CommandError,
    EngineError,
    InspectError,
    LinkError,
    ParseReferenceError,
    PrepareError,
    SourceError,
    StoreError
);
