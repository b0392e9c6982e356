//! Running other programs, never for longer than they are given.

use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::guest;

/// What a program that ended left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything that it wrote to standard output.
    pub stdout: Vec<u8>,
    /// Everything that it wrote to standard error.
    pub stderr: Vec<u8>,
    /// How long it ran.
    pub elapsed: Duration,
}

/// Runs a program to its end. One that takes longer than `limit` is killed, which is an error that shows its output.
pub fn run_limited(command: &mut Command, input: &[u8], limit: Duration) -> Result<Finished> {
    let line = format!("{command:?}");
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {line}"))?;
    let mut stdin = child.stdin.take().context("standard input is a pipe")?;
    let (mut out, mut err) = (child.stdout.take().context("a pipe")?, child.stderr.take().context("a pipe")?);
    std::thread::scope(|scope| {
        // A program that ends without reading all its input closes the pipe, which is no failure.
        scope.spawn(move || drop(stdin.write_all(input)));
        let stdout = scope.spawn(move || read_all(&mut out));
        let stderr = scope.spawn(move || read_all(&mut err));
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if start.elapsed() > limit {
                // What it has started holds its pipes, and would keep us reading.
                kill_tree(child.id())?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let elapsed = start.elapsed();
        let stdout = stdout.join().expect("reading does not panic")?;
        let stderr = stderr.join().expect("reading does not panic")?;
        let Some(status) = status else {
            bail!(
                "{line} took longer than {limit:?}\n--- standard output\n{}\n--- standard error\n{}",
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            );
        };
        Ok(Finished { status, stdout, stderr, elapsed })
    })
}

/// Kills a process and all that it has started; stopped before, it starts no more.
fn kill_tree(id: u32) -> Result<()> {
    // Those below may have ended by themselves.
    let signal =
        |name| Command::new("kill").args(["-s", name, &id.to_string()]).stderr(Stdio::null()).status();
    signal("STOP")?;
    for below in guest::children(id).unwrap_or_default() {
        kill_tree(below.parse()?)?;
    }
    signal("KILL")?;
    Ok(())
}

fn read_all(from: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs a tool of ours to its end within ten minutes and returns its output; a failure shows its messages.
pub fn succeed(command: &mut Command) -> Result<Vec<u8>> {
    let finished = run_limited(command, b"", Duration::from_mins(10))?;
    if !finished.status.success() {
        bail!("{command:?} failed: {}\n{}", finished.status, String::from_utf8_lossy(&finished.stderr));
    }
    Ok(finished.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_has_started_does_not_outlive_its_limit() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sh -c 'echo begun; sleep 1000; true'; true"]);
        let error = run_limited(&mut shell, b"", Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("took longer"), "{error}");
    }
}
