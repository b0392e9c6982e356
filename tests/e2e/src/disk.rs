//! Small disks: a tmpfs in a mount namespace of its own, so that nothing stays mounted and no root is needed where Linux gives
//! everybody user namespaces.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::succeed;

/// Mounts the disk and becomes the script. A machine that lets nobody mount must not pass for one that passes the test.
const MOUNT: &str = r#"mount -t tmpfs -o "size=$2" none "$1" || exit 99
DISK=$1; export DISK; exec sh -c "$3""#;

/// A command that runs the shell script with a disk of `size` (as in `tmpfs(5)`) mounted at the folder, which it knows as `$DISK`.
pub fn small(folder: &Path, size: &str, script: &str) -> Result<Command> {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !is_root()? {
        command.arg("--map-root-user");
    }
    command.args(["sh", "-c", MOUNT, "sh"]).arg(folder).args([size, script]);
    Ok(command)
}

/// Whether the tests run as root.
pub fn is_root() -> Result<bool> {
    Ok(succeed(Command::new("id").arg("-u"))?.trim_ascii() == b"0")
}
