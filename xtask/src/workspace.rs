//! Where things stand in the workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use isopod_e2e::cache;

use crate::process;

/// The only target: the kernel is built for it too.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The packages that run in the guest, bottom to top.
pub const KERNEL_PACKAGES: [&str; 7] = [
    "isopod-bios",
    "isopod-efi",
    "isopod-hal",
    "isopod-drivers",
    "isopod-fs",
    "isopod-linux",
    "isopod-kernel",
];

/// The root folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ stands in the workspace's root")
}

/// The folder for everything that is built.
pub fn target() -> PathBuf {
    cache::target()
}

/// The folder for tools that setup installs for this workspace alone, each in a folder of its name.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// The kernel as the builder's build script leaves it.
pub fn kernel() -> PathBuf {
    target().join("kernel-build").join(TARGET).join("kernel/isopod-kernel")
}

/// The length of a section of an ELF.
pub fn section(file: &Path, name: &str) -> Result<u64> {
    let headers = process::output(Command::new("objdump").args(["--section-headers", "--wide"]).arg(file))?;
    let headers = String::from_utf8_lossy(&headers);
    // Number, name, length, and more.
    let words = headers.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let length = words.filter(|words| words.get(1) == Some(&name)).find_map(|words| words.get(2).copied());
    let length = length.and_then(|length| u64::from_str_radix(length, 16).ok());
    length.with_context(|| format!("{} has no section {name}", file.display()))
}

/// `cargo` in the workspace's root, with the tools of [`tools`] on its `PATH`. What it starts need not ask again where things are built.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let tools = std::fs::read_dir(tools()).into_iter().flatten().flatten();
    let mut path: Vec<PathBuf> = tools.map(|tool| tool.path().join("bin")).collect();
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    if let Ok(path) = std::env::join_paths(path) {
        command.env("PATH", path);
    }
    command.env("CARGO_TARGET_DIR", target()).current_dir(root());
    command
}
