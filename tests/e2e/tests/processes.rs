//! Programs that start others: shells and their pipelines do as they do on Linux.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use isopod_e2e::image;
use isopod_e2e::isopod::Isopod;
use isopod_e2e::run_limited;

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
