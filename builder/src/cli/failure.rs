//! How an error looks to a user: one line that says what went wrong, one that says what to do.

use super::say;
use crate::disk::{DiskError, NotTaken};
use crate::engine::EngineError;
use crate::foreign::visible;
use crate::link::inspect::InspectError;
use crate::link::{CommandError, LinkError};
use crate::prepare::PrepareError;
use crate::source::{ParseReferenceError, SourceError};
use crate::store::StoreError;

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    /// What a machine said last, line by line.
    said: Vec<String>,
    hint: String,
}

impl Failure {
    /// An error that no other room has a type for.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: plain(&message.into()), said: Vec::new(), hint: plain(&hint.into()) }
    }

    pub fn print(&self) {
        let Self { message, said, hint } = self;
        let said =
            if said.is_empty() { String::new() } else { format!("; the last it said:\n{}", said.join("\n")) };
        say(format_args!("{message}{said}\nhint: {hint}"));
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let said = error.last_words().lines().map(visible).collect();
        Self { said, ..Self::new(error.to_string(), error.hint()) }
    }
}

/// A message on one line, without the numbers that Rust puts behind what the operating system says, and without what registries and
/// archives could drive the user's terminal with.
fn plain(message: &str) -> String {
    let message = visible(message);
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
        assert_eq!(plain("one\ntwo\u{202e}"), "one\\ntwo\\u{202e}");
    }
}
