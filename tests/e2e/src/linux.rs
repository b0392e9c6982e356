//! An image run by the Linux of this machine, as a yardstick: its files as the root, with namespaces of its own.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

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

/// Runs a command of an image as its first process, which needs root.
pub fn run(layout: &Layout, command: &[&str]) -> Result<Finished> {
    ensure!(disk::is_root()?, "a root of its own for the yardstick needs root");
    let bundle = tempfile::tempdir()?;
    let root = layout.unpack(&bundle.path().join("bundle"))?;
    let mut namespaces = Command::new("unshare");
    namespaces.args([
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
    namespaces.arg(root).args(["-i", PATH, "HOME=/root", "HOSTNAME=isopod"]).args(command);
    run_limited(&mut namespaces, b"", LIMIT)
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
