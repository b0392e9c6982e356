//! Programs that start others: shells and their pipelines do as they do on Linux.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use isopod_e2e::isopod::{Isopod, Outcome};
use isopod_e2e::{image, programs, run_limited};

const SCRIPT: &str = include_str!("../programs/processes.sh");

/// What the script's tools need.
const PACKAGES: [&str; 10] = [
    "dash",
    "coreutils",
    "findutils",
    "libc6",
    "libacl1",
    "libattr1",
    "libgmp10",
    "libpcre2-8-0",
    "libselinux1",
    "libtinfo6",
];

/// Runs the script with a shell here and in a guest of these packages.
fn compare(shell: &[&str], packages: &[&str]) -> Result<()> {
    let (program, words) = (shell[0], &shell[1..]);
    let mut here = Command::new(program);
    here.args(words).args(["-c", SCRIPT]).current_dir("/");
    let here = run_limited(&mut here, b"", Duration::from_mins(1))?;
    let image = image::debian(packages)?.entrypoint(&[shell, &["-c", SCRIPT]].concat());
    Isopod::shared()
        .run(&["run", &image.cached()?.reference()])?
        .expect_stdout(&String::from_utf8(here.stdout)?)
        .expect_status(here.status.code().unwrap_or(-1));
    Ok(())
}

#[test]
fn dash_starts_what_it_is_told_to() -> Result<()> {
    compare(&["/bin/dash"], &PACKAGES)
}

#[test]
fn bash_starts_what_it_is_told_to() -> Result<()> {
    compare(&["/bin/bash"], &[&["bash"], &PACKAGES[..]].concat())
}

/// Runs a line of busybox's shell in a guest of 64 MiB.
fn in_little_memory(line: &str) -> Result<Outcome> {
    let image = image::debian(&["busybox-static"])?.entrypoint(&["/bin/busybox", "sh", "-c", line]);
    Isopod::shared().run(&["run", "-m", "64M", &image.cached()?.reference()])
}

#[test]
fn the_largest_process_goes_when_memory_runs_out() -> Result<()> {
    let line = "busybox sleep 100 & busybox tail /dev/zero; echo tail: $?; kill $!; wait $!; echo sleep: $?";
    in_little_memory(line)?
        .expect_stdout("tail: 137\nsleep: 143\n")
        .expect_stderr_contains("ends with SIGKILL: out of memory: it holds")
        .expect_status(0);
    Ok(())
}

#[test]
fn a_fork_bomb_leaves_the_kernel_answering() -> Result<()> {
    in_little_memory("bomb() { bomb | bomb & }; bomb; busybox usleep 500000; echo alive")?
        .expect_stdout("alive\n")
        .expect_stderr_contains("can't fork: Resource temporarily unavailable");
    Ok(())
}

#[test]
fn a_nicer_process_has_less_of_a_cpu() -> Result<()> {
    let program = programs::bytes(&programs::compile("gcc", "shares.c", &["-O1", "-static"])?)?;
    let reference = image::Image::new().files(&[("shares", &program)]).cached()?.reference();
    // Who gets more, who less, and how many times as much at least: by the weights it is 68, 341, 9 and 7 times.
    let pairs = [["0", "19", "4"], ["batch", "idle", "4"], ["-10", "0", "2"], ["10", "19", "2"]];
    Isopod::shared()
        .run(&[&["run", &reference, "/shares"], pairs.as_flattened()].concat())?
        .expect_stdout(
            "0 against 19: more\nbatch against idle: more\n-10 against 0: more\n10 against 19: more\n",
        )
        .expect_status(0);
    Ok(())
}
