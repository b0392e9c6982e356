//! Everything that can be said about the code without running it.

use anyhow::Result;

use crate::{process, setup, workspace};

mod borders;
mod instructions;

/// Runs every check; the first that fails ends it.
pub fn run() -> Result<()> {
    setup::ensure()?;
    step("format");
    process::run(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    step("border of unsafe code");
    borders::check()?;
    step("dependencies");
    dependencies()?;
    step("clippy, hosted");
    process::run(workspace::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    step("clippy, kernel");
    clippy_kernel()?;
    step("kernel instructions");
    instructions::check()
}

/// Announces the next check.
fn step(name: &str) {
    println!("lint: {name}");
}

/// Licences, sources and banned crates: once for everything, once with the kernel's stricter rules.
fn dependencies() -> Result<()> {
    process::run(workspace::cargo().args([
        "deny",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))?;
    process::run(workspace::cargo().args([
        "deny",
        "--log-level",
        "error",
        "--manifest-path",
        "minikernel/Cargo.toml",
        "--target",
        workspace::TARGET,
        "--exclude-dev",
        "--config",
        "minikernel/deny.toml",
        "check",
        "bans",
    ]))
}

/// The half of the kernel that exists only under `isopod_bare`: another configuration, so another target folder.
fn clippy_kernel() -> Result<()> {
    let mut clippy = workspace::cargo();
    clippy.args(["clippy", "--profile", "kernel", "--lib", "--bins", "--target", workspace::TARGET]);
    clippy.arg("--target-dir").arg(workspace::target().join("lint-kernel"));
    clippy.args(workspace::KERNEL_PACKAGES.iter().flat_map(|package| ["--package", package]));
    clippy.args(["--", "-D", "warnings"]);
    let flags: Vec<&str> = include_str!("../../minikernel/rustc-flags").lines().collect();
    process::run(clippy.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")))
}
