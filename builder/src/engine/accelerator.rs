//! Whether to use KVM. It is used only after a guest has run under it: `/dev/kvm` may open and still be broken or emulated
//! (nested virtualisation, sandboxes), and a machine that hangs is worse than one that is emulated.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::EngineError;
use super::probe;

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The CPU, through Linux's KVM.
    Kvm,
    /// QEMU's emulator.
    Tcg,
}

/// What the user wants to run the guest's instructions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acceleration {
    /// KVM where it works, emulation elsewhere.
    #[default]
    Auto,
    /// KVM or an error.
    Kvm,
    /// Emulation.
    Tcg,
}

impl Acceleration {
    /// Decides. `state` is the directory in which the verdict on KVM is kept.
    pub(super) fn choose(self, qemu: &Path, state: &Path) -> Result<Accelerator, EngineError> {
        if self == Self::Tcg {
            return Ok(Accelerator::Tcg);
        }
        match (kvm(qemu, state, self == Self::Kvm), self) {
            (Ok(()), _) => Ok(Accelerator::Kvm),
            (Err(reason), Self::Kvm) => Err(EngineError::Kvm(reason)),
            (Err(_), _) => Ok(Accelerator::Tcg),
        }
    }
}

/// Whether KVM works, else why not. A kept verdict serves, except that a user who insists gets a new trial after a bad one.
fn kvm(qemu: &Path, state: &Path, insist: bool) -> Result<(), String> {
    let device = fs::File::options().read(true).write(true).open("/dev/kvm");
    device.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "this host has no /dev/kvm".to_owned(),
        io::ErrorKind::PermissionDenied => "you may not open /dev/kvm (join the group kvm)".to_owned(),
        _ => format!("/dev/kvm cannot be opened: {error}"),
    })?;
    let (kept, key) = (state.join("kvm"), key(qemu));
    match recall(&kept, &key) {
        Some(Err(_)) if insist => {}
        Some(verdict) => return verdict,
        None => {}
    }
    let verdict = probe::run(qemu);
    // A verdict that cannot be kept is only found again next time.
    let _ = remember(&kept, &key, &verdict);
    verdict
}

/// Stands for everything a verdict depends on: the host's boot, QEMU and the probe.
fn key(qemu: &Path) -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let (size, modified) = qemu.metadata().map_or((0, 0), |about| (about.len(), about.mtime()));
    format!("{} {size} {modified} {} {}", boot.trim(), probe::VERSION, qemu.display())
}

/// The verdict file holds the key, and below it the reason against KVM; nothing below it says that KVM works.
fn recall(kept: &Path, key: &str) -> Option<Result<(), String>> {
    let text = fs::read_to_string(kept).ok()?;
    match text.split_once('\n')? {
        (found, "") if found == key => Some(Ok(())),
        (found, reason) if found == key => Some(Err(reason.to_owned())),
        _ => None,
    }
}

fn remember(kept: &Path, key: &str, verdict: &Result<(), String>) -> io::Result<()> {
    let reason = verdict.as_ref().err().map_or("", String::as_str);
    let mut file = tempfile::NamedTempFile::new_in(kept.parent().unwrap_or(Path::new(".")))?;
    io::Write::write_all(&mut file, format!("{key}\n{reason}").as_bytes())?;
    file.persist(kept).map(drop).map_err(|error| error.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_serves_only_for_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kvm");
        assert_eq!(recall(&kept, "key"), None);
        remember(&kept, "key", &Ok(())).unwrap();
        assert_eq!(recall(&kept, "key"), Some(Ok(())));
        assert_eq!(recall(&kept, "other"), None);
        remember(&kept, "key", &Err("slow".to_owned())).unwrap();
        assert_eq!(recall(&kept, "key"), Some(Err("slow".to_owned())));
    }
}
