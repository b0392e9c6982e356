//! How an error looks to a user: one line that says what went wrong, one that says what to do.

use super::say;
use crate::disk::{DiskError, NotTaken};
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
    hint: String,
}

impl Failure {
    /// An error that no other room has a type for.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: plain(&message.into()), hint: plain(&hint.into()) }
    }

    pub fn print(&self) {
        say(format_args!("{}\nhint: {}", self.message, self.hint));
    }
}

/// A message without the numbers that Rust puts behind what the operating system says, and without control characters: registries and
/// archives could drive the user's terminal with them.
fn plain(message: &str) -> String {
    let mut visible = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() && c != '\n' { visible.extend(c.escape_default()) } else { visible.push(c) }
    }
    let message = visible.as_str();
    let mut parts = message.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or(part, |(_, rest)| rest))
}

/// Every error type of the library has a `hint`.
macro_rules! failure_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error.to_string(), error.hint())
            }
        }
    )*};
}

failure_from!(
    CommandError,
    DiskError,
    EngineError,
    InspectError,
    LinkError,
    NotTaken,
    ParseReferenceError,
    PrepareError,
    SourceError,
    StoreError
);

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn error_numbers_are_left_out() {
        assert_eq!(
            plain("cannot read x: No such file (os error 2), sorry"),
            "cannot read x: No such file, sorry"
        );
        assert_eq!(plain("nothing (to do)"), "nothing (to do)");
    }
}
