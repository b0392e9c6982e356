//! The tree of files, with `/dev`, `/proc` and `/sys` in it.

use alloc::boxed::Box;
use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenRequest};
use isopod_fs::tmpfs::{Options, Tmpfs};
use isopod_fs::vfs::{Device, MountFlags, Namespace, Resolve, SpecialFiles, View};
use isopod_fs::{Credentials, DeviceId, Errno, Error, FileSystem, FileType, NewNode, NodeKind, Result};

use super::constant::{Full, Null, Zero};
use super::random::Random;
use super::streams;
use crate::host::HostStream;
use crate::ipc::pipe::Fifos;
use crate::proc;
use crate::socket::vsock;
use crate::tty::{self, pty};

/// A device node: name, number, and what opens it.
struct Node(&'static [u8], DeviceId, Open);

/// Opens a device.
type Open = fn(&OpenRequest<'_>) -> Result<Box<dyn FileOps>>;

/// The character devices, with Linux's numbers (`Documentation/admin-guide/devices.txt`).
const NODES: [Node; 8] = [
    Node(b"null", DeviceId::new(1, 3), |_| Ok(Box::new(Null))),
    Node(b"zero", DeviceId::new(1, 5), |_| Ok(Box::new(Zero))),
    Node(b"full", DeviceId::new(1, 7), |_| Ok(Box::new(Full))),
    Node(b"random", DeviceId::new(1, 8), |_| Ok(Box::new(Random))),
    Node(b"urandom", DeviceId::new(1, 9), |_| Ok(Box::new(Random))),
    Node(b"tty", DeviceId::new(5, 0), tty::open_controlling),
    Node(b"console", DeviceId::new(5, 1), streams::open_console),
    Node(b"vsock", DeviceId::new(10, 256), |_| Ok(Box::new(vsock::Device))),
];

/// Links that container engines make.
const LINKS: [(&[u8], &[u8]); 5] = [
    (b"ptmx", b"pts/ptmx"),
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
];

/// Bytes of `/dev/shm` at most, as container engines give it.
const SHM_SIZE: u64 = 64 << 20;

/// The tree of files over `root`, with the file systems that every container finds. `place` is where the last was mounted, or could not be.
pub fn namespace(root: Arc<dyn FileSystem>, place: &mut &'static str) -> Result<Namespace> {
    let special = SpecialFiles::new(Arc::new(open_fifo));
    for Node(_, id, open) in NODES {
        special.register(id, id, Arc::new(open));
    }
    special.register(pty::PTMX, pty::PTMX, Arc::new(pty::open_master as Open));
    special.register(pty::slave(0), pty::slave(u32::MAX), Arc::new(pty::open_terminal as Open));
    let namespace = Namespace::new(root, b"isopod", special);
    let mut mount = |at, file_system, flags, source| {
        *place = at;
        mount(&namespace, at.as_bytes(), file_system, flags, source)
    };
    let hidden = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("/dev", device_tree()?, hidden, b"tmpfs")?;
    mount("/dev/pts", pty::file_system()?, hidden, b"devpts")?;
    let half_of_memory = Options::default();
    let pages = half_of_memory.pages.min(SHM_SIZE / isopod_hal::PAGE_SIZE as u64);
    let shm = Tmpfs::new(&Options { pages, ..half_of_memory })?;
    let flags = hidden | MountFlags::NODEV;
    mount("/dev/shm", shm, flags, b"shm")?;
    mount("/proc", proc::proc(), flags, b"proc")?;
    let fixed = flags | MountFlags::RDONLY;
    mount("/sys", proc::sys(), fixed, b"sysfs")?;
    mount("/sys/fs/cgroup", proc::cgroup(), fixed, b"cgroup")?;
    Ok(namespace)
}

/// What stands behind a FIFO: one of the standard streams, or a pipe.
fn open_fifo(request: &OpenRequest<'_>) -> Result<Box<dyn FileOps>> {
    match HostStream::reopen(request.inode) {
        Some(stream) => Ok(Box::new(stream)),
        None => Fifos.open(request),
    }
}

/// The file system of `/dev`.
fn device_tree() -> Result<Arc<Tmpfs>> {
    let tree = Tmpfs::new(&Options { mode: 0o755, ..Options::default() })?;
    let root = tree.root();
    let node = |kind, mode| NewNode { kind, mode, uid: 0, gid: 0 };
    for Node(name, id, _) in NODES {
        let mode = if name == b"console" { 0o620 } else { 0o666 };
        root.create(name, &node(NodeKind::Special(FileType::CharacterDevice, id), mode))?;
    }
    for (name, target) in LINKS {
        root.create(name, &node(NodeKind::Symlink(target), 0o777))?;
    }
    root.create(b"shm", &node(NodeKind::Directory, 0o1777))?;
    root.create(b"pts", &node(NodeKind::Directory, 0o755))?;
    Ok(tree)
}

/// Mounts `file_system` at `place`, which is made if the image does not have it.
fn mount(
    namespace: &Namespace,
    place: &[u8],
    file_system: Arc<dyn FileSystem>,
    flags: MountFlags,
    source: &[u8],
) -> Result<()> {
    let root = namespace.root();
    let credentials = Credentials::root();
    let view = View {
        namespace,
        credentials: &credentials,
        root: &root,
        directory: &root,
        umask: 0,
        process: isopod_fs::vfs::Process::default(),
    };
    let at = match view.resolve(&root, place, Resolve::FOLLOW | Resolve::DIRECTORY) {
        Err(Error::Errno(Errno::ENOENT)) => {
            view.mkdir(&root, place, 0o755)?;
            view.resolve(&root, place, Resolve::FOLLOW)?
        }
        outcome => outcome?,
    };
    namespace.mount(file_system, &at, flags, source)?;
    Ok(())
}
