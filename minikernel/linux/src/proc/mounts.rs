//! `/proc/PID/mounts` and `mountinfo`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use isopod_fs::Result;
use isopod_fs::vfs::{Mount, MountFlags, Path};

use super::subject::Subject;
use super::table::put;
use super::text::Text;
use crate::kernel;

/// What is written in octal so that fields can be told apart.
const SPECIAL: &[u8] = b" \t\n\\#";

/// The mounts that `root` reaches, and where they are.
fn reachable(root: &Path) -> impl Iterator<Item = (Arc<Mount>, Vec<u8>)> {
    kernel::namespace().mounts().filter_map(move |mount| {
        let (place, seen) = mount.root_path().text(root);
        seen.then_some((mount, place))
    })
}

/// The restrictions of a mount, the way of access first.
fn put_options(flags: MountFlags, text: &mut Text) {
    put!(text, "{}", if flags.contains(MountFlags::RDONLY) { "ro" } else { "rw" });
    for (flag, name) in
        [(MountFlags::NOSUID, "nosuid"), (MountFlags::NODEV, "nodev"), (MountFlags::NOEXEC, "noexec")]
    {
        if flags.contains(flag) {
            put!(text, ",{name}");
        }
    }
    put!(text, ",{}", if flags.contains(MountFlags::NOATIME) { "noatime" } else { "relatime" });
}

/// `proc_pid_mounts(5)`: the lines of fstab(5).
pub(super) fn mounts(subject: &Subject, text: &mut Text) -> Result<()> {
    for (mount, place) in reachable(&subject.thread()?.fs().root()) {
        text.put_escaped(mount.source(), SPECIAL);
        text.put(b" ");
        text.put_escaped(&place, SPECIAL);
        put!(text, " {} ", mount.file_system().name());
        put_options(mount.flags(), text);
        put!(text, "{} 0 0\n", mount.file_system().options());
    }
    Ok(())
}

/// `proc_pid_mountinfo(5)`
pub(super) fn mountinfo(subject: &Subject, text: &mut Text) -> Result<()> {
    for (mount, place) in reachable(&subject.thread()?.fs().root()) {
        let parent = mount.place().map_or(mount.id(), |place| place.mount().id());
        let root = mount.root_path();
        let device = root.inode().metadata()?.device;
        put!(text, "{} {parent} {}:{} ", mount.id(), device.major, device.minor);
        text.put_escaped(&root.text_on_file_system(), SPECIAL);
        text.put(b" ");
        text.put_escaped(&place, SPECIAL);
        text.put(b" ");
        put_options(mount.flags(), text);
        put!(text, " - {} ", mount.file_system().name());
        text.put_escaped(mount.source(), SPECIAL);
        let file_system = mount.file_system();
        put!(text, " {}{}\n", if file_system.read_only() { "ro" } else { "rw" }, file_system.options());
    }
    Ok(())
}
