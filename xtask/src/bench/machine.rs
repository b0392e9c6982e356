//! Machines to measure in: the one that `isopod` starts, with another kernel or with QEMU's counters switched on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use isopod_e2e::{Finished, programs, run_limited};

use crate::workspace;

/// Counts instructions exactly: the guest's time-stamp counter then advances by one with each.
pub const COUNT: [&str; 4] = ["-icount", "shift=0,sleep=off", "-rtc", "clock=vm"];

/// Longer than any guest of the measurements takes.
const LIMIT: Duration = Duration::from_mins(10);

/// The program `isopod`, built for speed.
pub fn isopod() -> PathBuf {
    workspace::target().join("release/isopod")
}

/// QEMU's program.
pub fn qemu() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|place| place.join("qemu-system-x86_64"));
    places.find(|file| file.is_file()).context("QEMU is installed")
}

/// The words of the command that `isopod run` with these arguments would start its machine with.
pub fn command_line(home: &Path, arguments: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new(isopod());
    command.args(["run", "--accel", "tcg", "--print-cmd"]).args(arguments).env("ISOPOD_HOME", home);
    let finished = run_limited(&mut command, b"", LIMIT)?;
    if !finished.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&finished.stderr));
    }
    let line = String::from_utf8(finished.stdout)?;
    // The shell takes its quotes apart.
    let split = run_limited(Command::new("sh").args(["-c", &format!("printf '%s\\n' {line}")]), b"", LIMIT)?;
    Ok(String::from_utf8(split.stdout)?.lines().map(str::to_owned).collect())
}

/// The same machine with another kernel and nothing for it to load.
pub fn with_kernel(words: &[String], kernel: &Path) -> Vec<String> {
    let mut words = words.to_vec();
    if let Some(place) = words.iter().position(|word| word == "-kernel") {
        words[place + 1] = kernel.display().to_string();
    }
    if let Some(place) = words.iter().position(|word| word == "-initrd") {
        words.drain(place..place + 2);
    }
    words
}

/// Runs a machine to its end.
pub fn boot(words: &[String], more: &[&str]) -> Result<Finished> {
    let (program, arguments) = words.split_first().context("a command has a program")?;
    let finished = run_limited(Command::new(program).args(arguments).args(more), b"", LIMIT)?;
    if !finished.status.success() {
        bail!(
            "the machine failed: {}\n{}",
            String::from_utf8_lossy(&finished.stdout),
            String::from_utf8_lossy(&finished.stderr)
        );
    }
    Ok(finished)
}

/// Instructions from reset to the entry of a PVH kernel on this machine: what its firmware takes.
pub fn instructions_to_entry(words: &[String]) -> Result<u64> {
    let finished = boot(&with_kernel(words, &super::pvh::print_counter()?), &COUNT)?;
    super::pvh::counter(&finished.stdout)
        .with_context(|| format!("no counter in {:?}", String::from_utf8_lossy(&finished.stdout)))
}

/// Instructions from reset to the first instruction of `counter.S`, which prints them.
pub fn instructions_to_program(words: &[String]) -> Result<u64> {
    let finished = boot(words, &COUNT)?;
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    let number = text.lines().find_map(|line| line.trim().strip_prefix("instructions ")?.parse().ok());
    number.with_context(|| format!("no counter in {text:?}"))
}

/// Accesses to devices, from reset to the end of the machine.
pub fn device_accesses(words: &[String]) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("accesses");
    let file = log.to_str().context("a path of letters")?;
    boot(words, &["-trace", "memory_region_ops_read", "-trace", "memory_region_ops_write", "-D", file])?;
    Ok(std::fs::read_to_string(log)?.lines().filter(|line| line.contains("memory_region_ops_")).count()
        as u64)
}

/// The program that prints the time-stamp counter which it finds at its first instruction.
pub fn counter_program() -> Result<PathBuf> {
    programs::compile("gcc", "counter.S", &["-static", "-nostdlib"])
}

/// The program that says hello and ends.
pub fn hello_program() -> Result<PathBuf> {
    programs::compile("gcc", "hello.S", &["-static", "-nostdlib"])
}

/// Runs `isopod` to its end; a status other than 0 is an error.
pub fn run_isopod(home: &Path, arguments: &[&str]) -> Result<Finished> {
    let mut command = Command::new(isopod());
    let finished = run_limited(command.args(arguments).env("ISOPOD_HOME", home), b"", LIMIT)?;
    if !finished.status.success() {
        bail!("isopod {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&finished.stderr));
    }
    Ok(finished)
}
