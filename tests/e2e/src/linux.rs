//! An image run by the Linux of this machine, as a yardstick: its files as the root, with namespaces of its own.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::image::Layout;
use crate::isopod::{Isopod, Outcome};
use crate::{Finished, disk, run_limited};

/// Long enough for any program of the tests, on Linux or in a guest.
const LIMIT: Duration = Duration::from_mins(10);

/// The environment of both, as `docker run` gives it.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Mounts what a container has besides its files, and becomes the program. The first argument is the root.
const ENTER: &str = r#"root=$1; shift
echo isopod > /proc/sys/kernel/hostname &&
mount --rbind /dev "$root/dev" && mount -t proc proc "$root/proc" && mount -t sysfs -o ro sysfs "$root/sys" &&
mount -t tmpfs shm "$root/dev/shm" && cd "$root" && exec chroot . /usr/bin/env -C / "$@""#;

/// An image's files, unpacked to run its commands, which needs root.
#[derive(Debug)]
pub struct Unpacked {
    root: PathBuf,
    _bundle: TempDir,
}

impl Unpacked {
    /// Unpacks an image.
    pub fn new(layout: &Layout) -> Result<Self> {
        ensure!(disk::is_root()?, "a root of its own for the yardstick needs root");
        let bundle = tempfile::tempdir()?;
        Ok(Self { root: layout.unpack(&bundle.path().join("bundle"))?, _bundle: bundle })
    }

    /// A command of the image as the first process of namespaces of its own.
    pub fn command(&self, command: &[&str]) -> Command {
        let mut namespaces = Command::new("unshare");
        self.enter(&mut namespaces, command);
        namespaces
    }

    /// As [`Unpacked::command`], in the network of the process with this number.
    pub fn command_beside(&self, process: u32, command: &[&str]) -> Command {
        let mut namespaces = Command::new("nsenter");
        namespaces.arg(format!("--net=/proc/{process}/ns/net")).arg("unshare");
        self.enter(&mut namespaces, command);
        namespaces
    }

    fn enter(&self, unshare: &mut Command, command: &[&str]) {
        unshare.args([
            "--mount",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            ENTER,
            "sh",
        ]);
        unshare.arg(&self.root).args(["-i", PATH, "HOME=/root", "HOSTNAME=isopod"]).args(command);
    }
}

/// Runs a command of an image as its first process, which needs root.
pub fn run(layout: &Layout, command: &[&str]) -> Result<Finished> {
    run_limited(&mut Unpacked::new(layout)?.command(command), b"", LIMIT)
}

/// Runs a command of an image on Linux and in a guest: both must print the same on standard output, and end with the same status.
pub fn compare(layout: &Layout, options: &[&str], command: &[&str]) -> Result<Outcome> {
    let theirs = run(layout, command)?;
    let reference = layout.reference();
    let outcome = Isopod::shared().limit(LIMIT).run(&[&["run"], options, &[&reference], command].concat())?;
    outcome.expect_stdout(&String::from_utf8_lossy(&theirs.stdout));
    outcome.expect_status(theirs.status.code().unwrap_or(-1));
    Ok(outcome)
}
