//! The program `isopod`, run as a user runs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::{Finished, cache, run_limited};

/// Long enough for any guest of the tests on a slow machine without hardware virtualisation.
const LIMIT: Duration = Duration::from_mins(3);

/// How `isopod` is run: with which state and which environment.
#[derive(Debug)]
pub struct Isopod {
    home: PathBuf,
    variables: Vec<(String, String)>,
    input: Vec<u8>,
    limit: Duration,
}

impl Isopod {
    /// `isopod` with the cache that the tests share.
    pub fn shared() -> Self {
        Self::with_home(&cache::target().join("e2e/home"))
    }

    /// `isopod` with a cache and state of its own.
    pub fn with_home(home: &Path) -> Self {
        Self { home: home.to_owned(), variables: Vec::new(), input: Vec::new(), limit: LIMIT }
    }

    /// Gives it an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives it standard input.
    #[must_use]
    pub fn input(mut self, bytes: &[u8]) -> Self {
        bytes.clone_into(&mut self.input);
        self
    }

    /// Changes the time after which a run counts as hung.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The time after which a run counts as hung.
    pub fn time(&self) -> Duration {
        self.limit
    }

    /// The program's file: `$ISOPOD`, else what cargo built last in the profile of the tests.
    pub fn program() -> PathBuf {
        std::env::var_os("ISOPOD").map_or_else(|| cache::target().join("debug/isopod"), PathBuf::from)
    }

    /// The command that [`Isopod::run`] runs, for those who want to start it in another way.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(Self::program());
        command.args(arguments).env("ISOPOD_HOME", &self.home);
        // Credentials of the machine's user are no business of the tests.
        command.env("REGISTRY_AUTH_FILE", self.home.join("auth.json")).env("DOCKER_CONFIG", &self.home);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end; a run that hangs is killed and an error with all it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        self.finish(&mut self.command(arguments))
    }

    /// As [`Isopod::run`], for a command that starts the program in another way.
    pub fn finish(&self, command: &mut Command) -> Result<Outcome> {
        let Finished { status, stdout, stderr, elapsed } = run_limited(command, &self.input, self.limit)?;
        let words = command.get_args().map(|word| word.to_string_lossy());
        Ok(Outcome {
            arguments: words.collect::<Vec<_>>().join(" "),
            status: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            elapsed,
        })
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    arguments: String,
    /// The exit status; nothing if a signal ended it.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Everything about the run, for a test that fails.
    fn report(&self) -> String {
        format!(
            "isopod {} ended with {:?} after {:?}\n--- standard output\n{}\n--- standard error\n{}",
            self.arguments, self.status, self.elapsed, self.stdout, self.stderr
        )
    }

    /// Panics unless the run ended with this status.
    #[track_caller]
    pub fn expect_status(&self, status: i32) -> &Self {
        assert!(self.status == Some(status), "status {status} was expected\n{}", self.report());
        self
    }

    /// Panics unless the run printed exactly this on standard output.
    #[track_caller]
    pub fn expect_stdout(&self, text: &str) -> &Self {
        assert!(self.stdout == text, "standard output {text:?} was expected\n{}", self.report());
        self
    }

    /// Panics unless standard error contains this.
    #[track_caller]
    pub fn expect_stderr_contains(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "{text:?} was expected on standard error\n{}", self.report());
        self
    }

    /// Panics unless the run failed as every failure of Isopod's own does: status 125, one message with one hint
    /// behind it, and neither a backtrace nor a panic.
    #[track_caller]
    pub fn expect_refusal(&self, message: &str) -> &Self {
        self.expect_failure(&[125], message)
    }

    /// As [`Outcome::expect_refusal`], with one of these statuses: a command that cannot be run ends with 126 or 127.
    #[track_caller]
    pub fn expect_failure(&self, statuses: &[i32], message: &str) -> &Self {
        let found = self.status.is_some_and(|status| statuses.contains(&status));
        assert!(found, "one of the statuses {statuses:?} was expected\n{}", self.report());
        let lines: Vec<_> = self.stderr.lines().collect();
        let hints: Vec<_> = (0..lines.len()).filter(|&index| lines[index].starts_with("hint: ")).collect();
        assert!(hints.len() == 1, "{} hints\n{}", hints.len(), self.report());
        assert!(hints[0] > 0, "a hint without a message\n{}", self.report());
        let error = lines[hints[0] - 1];
        assert!(error.starts_with("isopod: "), "no message before the hint\n{}", self.report());
        assert!(error.contains(message), "{message:?} was expected in the message\n{}", self.report());
        for word in ["panicked", "backtrace", "RUST_BACKTRACE"] {
            assert!(!self.stderr.contains(word), "{word:?} on standard error\n{}", self.report());
        }
        self
    }
}
