//! A guest that runs while a test goes on.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::isopod::Isopod;

/// `isopod run` and what the application prints.
#[derive(Debug)]
pub struct Guest {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Isopod {
    /// Starts it, without standard input.
    pub fn start(&self, arguments: &[&str]) -> Result<Guest> {
        Guest::spawn(&mut self.command(arguments))
    }

    /// As [`Isopod::start`]; what it writes to standard error are lines too.
    pub fn start_heard(&self, arguments: &[&str]) -> Result<Guest> {
        let command = self.command(arguments);
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(command.get_program()).args(command.get_args());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Guest::spawn(&mut shell)
    }
}

impl Guest {
    fn spawn(command: &mut Command) -> Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let lines = BufReader::new(process.stdout.take().context("a pipe")?).lines();
        Ok(Self { process, lines })
    }

    /// The next line of the application's.
    pub fn line(&mut self) -> Result<String> {
        Ok(self.lines.next().context("the guest says nothing")??)
    }

    /// Sends a signal to `isopod`.
    pub fn signal(&self, name: &str) -> Result<()> {
        crate::succeed(Command::new("kill").args(["-s", name, &self.process.id().to_string()])).map(drop)
    }

    /// True until `isopod` ends.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// Waits for the end and returns the exit status.
    pub fn end(&mut self) -> Result<Option<i32>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status.code());
            }
            if start.elapsed() > Duration::from_mins(1) {
                self.process.kill()?;
                self.process.wait()?;
                bail!("isopod did not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The processes that `isopod` started.
    pub fn children(&self) -> Result<Vec<String>> {
        children(self.process.id())
    }
}

/// The processes that a process has started.
pub(crate) fn children(id: u32) -> Result<Vec<String>> {
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
    Ok(children.split_whitespace().map(str::to_owned).collect())
}
