//! Random operations, on the tree of files and on the host's: outcomes, errors and what is left must be the same.
//!
//! The host's side is a directory on its tmpfs. There every path stays within that directory: `..` follows a name
//! only, and no symbolic link leads upwards.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::vec;

use proptest::prelude::*;
use rustix::fs as host;
use rustix::io::Errno as HostErrno;

use super::*;
use crate::credentials::{Capabilities, Credentials};
use crate::erofs::Erofs;
use crate::file::{FileOps, OpenFile, OpenFlags, OpenRequest};
use crate::inode::{AllocateMode, FileSystem};
use crate::metadata::{FileType, RenameFlags, XattrFlags};
use crate::pages;
use crate::tmpfs::{self, Options, Tmpfs};
use crate::{Buffer, Bytes, Errno, Error};

/// What an operation gave, in words; or its error number.
type Outcome = core::result::Result<String, i32>;

#[derive(Clone, Debug)]
enum Op {
    Mkdir(String),
    Rmdir(String),
    Unlink(String),
    Symlink(String, String),
    Link(String, String, bool),
    Rename(String, String, u32),
    /// Opens into a slot.
    Open(usize, String, u32),
    Write(usize, u64, usize, u8),
    Append(usize, usize),
    Read(usize, u64, usize),
    Truncate(usize, u64),
    TruncatePath(String, u64),
    Punch(usize, u64, u64),
    Reserve(usize, u64, u64, bool),
    Chmod(String, u16),
    Stat(String, bool),
    Readlink(String),
    List(String),
    SetXattr(String, usize, u32),
    ListXattr(String),
}

const SLOTS: usize = 3;

fn path() -> impl Strategy<Value = String> {
    let plain =
        prop::sample::select(vec!["a", "b", "c", "l", "a/b", "a/c", "b/c", "b/l", "a/b/c", "l/c", "c/b"]);
    let odd = prop::sample::select(vec![
        "a/",
        "a/.",
        "a/..",
        "a/b/..",
        "b/../a",
        "l/",
        "a//b",
        "c/.",
        ".",
        "./a",
        "a/b/../../c",
        "",
        "c/",
        "l/.",
        "b/c/",
    ]);
    prop_oneof![4 => plain, 1 => odd].prop_map(String::from)
}

fn target() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "a/b", "c", "l", "none", "a/", "b/c"]).prop_map(String::from)
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![0..20_u64, 4090..4100_u64, 0..20_000_u64]
}

fn op() -> impl Strategy<Value = Op> {
    let slot = 0..SLOTS;
    let flags =
        (0..3_u32, any::<[bool; 6]>()).prop_map(|(access, [creat, excl, trunc, append, dir, nofollow])| {
            let bits = [
                (creat, OpenFlags::CREAT),
                (creat && excl, OpenFlags::EXCL),
                (trunc, OpenFlags::TRUNC),
                (append, OpenFlags::APPEND),
                (dir && !creat, OpenFlags::DIRECTORY),
                (nofollow, OpenFlags::NOFOLLOW),
            ];
            bits.iter().filter(|(set, _)| *set).fold(access, |flags, (_, bit)| flags | bit.bits())
        });
    prop_oneof![
        3 => path().prop_map(Op::Mkdir),
        2 => path().prop_map(Op::Rmdir),
        2 => path().prop_map(Op::Unlink),
        2 => (target(), path()).prop_map(|(target, path)| Op::Symlink(target, path)),
        2 => (path(), path(), any::<bool>()).prop_map(|(old, new, follow)| Op::Link(old, new, follow)),
        4 => (path(), path(), 0..4_u32).prop_map(|(old, new, flags)| Op::Rename(old, new, flags)),
        6 => (slot.clone(), path(), flags).prop_map(|(slot, path, flags)| Op::Open(slot, path, flags)),
        4 => (slot.clone(), offset(), 0..9000_usize, any::<u8>())
            .prop_map(|(slot, at, length, byte)| Op::Write(slot, at, length, byte)),
        1 => (slot.clone(), 0..5000_usize).prop_map(|(slot, length)| Op::Append(slot, length)),
        3 => (slot.clone(), offset(), 0..9000_usize).prop_map(|(slot, at, length)| Op::Read(slot, at, length)),
        2 => (slot.clone(), offset()).prop_map(|(slot, length)| Op::Truncate(slot, length)),
        1 => (path(), offset()).prop_map(|(path, length)| Op::TruncatePath(path, length)),
        2 => (slot.clone(), offset(), offset()).prop_map(|(slot, at, length)| Op::Punch(slot, at, length)),
        1 => (slot, offset(), offset(), any::<bool>())
            .prop_map(|(slot, at, length, keep)| Op::Reserve(slot, at, length, keep)),
        1 => (path(), prop::sample::select(vec![0o644_u16, 0o600, 0o4755, 0o2711, 0o1777]))
            .prop_map(|(path, mode)| Op::Chmod(path, mode)),
        4 => (path(), any::<bool>()).prop_map(|(path, follow)| Op::Stat(path, follow)),
        1 => path().prop_map(Op::Readlink),
        2 => path().prop_map(Op::List),
        1 => (path(), 0..3_usize, 0..3_u32).prop_map(|(path, name, flags)| Op::SetXattr(path, name, flags)),
        1 => path().prop_map(Op::ListXattr),
    ]
}

/// Linux's side.
struct Host {
    /// Kept for its removal at the end.
    _directory: tempfile::TempDir,
    root: OwnedFd,
    path: std::path::PathBuf,
    slots: [Option<OwnedFd>; SLOTS],
}

/// Our side.
struct Guest {
    namespace: Namespace,
    root: Path,
    credentials: Credentials,
    slots: [Option<Arc<OpenFile>>; SLOTS],
    /// Directories over lower ones have sizes and counts of their own.
    overlay: bool,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        // Deep enough that a mistake in the paths above does no harm.
        let path = directory.path().join("x/y/root");
        std::fs::create_dir_all(&path).unwrap();
        let root = host::open(&path, host::OFlags::DIRECTORY, host::Mode::empty()).unwrap();
        Self { _directory: directory, root, path, slots: Default::default() }
    }

    fn slot(&self, slot: usize) -> core::result::Result<&OwnedFd, HostErrno> {
        self.slots[slot].as_ref().ok_or(HostErrno::BADF)
    }

    fn run(&mut self, op: &Op, overlay: bool) -> Outcome {
        self.try_run(op, overlay).map_err(HostErrno::raw_os_error)
    }

    fn try_run(&mut self, op: &Op, overlay: bool) -> core::result::Result<String, HostErrno> {
        let root = &self.root;
        let done = |()| String::new();
        match op {
            Op::Mkdir(path) => host::mkdirat(root, path, host::Mode::from_raw_mode(0o755)).map(done),
            Op::Rmdir(path) => host::unlinkat(root, path, host::AtFlags::REMOVEDIR).map(done),
            Op::Unlink(path) => host::unlinkat(root, path, host::AtFlags::empty()).map(done),
            Op::Symlink(target, path) => host::symlinkat(target, root, path).map(done),
            Op::Link(old, new, follow) => {
                let flags = if *follow { host::AtFlags::SYMLINK_FOLLOW } else { host::AtFlags::empty() };
                host::linkat(root, old, root, new, flags).map(done)
            }
            Op::Rename(old, new, flags) => {
                host::renameat_with(root, old, root, new, host::RenameFlags::from_bits_retain(*flags))
                    .map(done)
            }
            Op::Open(slot, path, flags) => {
                self.slots[*slot] = None;
                let flags = host::OFlags::from_bits_retain(*flags);
                let file = host::openat(root, path, flags, host::Mode::from_raw_mode(0o644))?;
                self.slots[*slot] = Some(file);
                Ok(String::new())
            }
            Op::Write(slot, at, length, byte) => {
                let bytes = std::vec![*byte; *length];
                Ok(format!("{}", rustix::io::pwrite(self.slot(*slot)?, &bytes, *at)?))
            }
            Op::Append(slot, length) => {
                Ok(format!("{}", rustix::io::write(self.slot(*slot)?, &std::vec![0x55; *length])?))
            }
            Op::Read(slot, at, length) => {
                let mut bytes = std::vec![0; *length];
                let count = rustix::io::pread(self.slot(*slot)?, &mut bytes, *at)?;
                Ok(show(&bytes[..count]))
            }
            Op::Truncate(slot, length) => host::ftruncate(self.slot(*slot)?, *length).map(done),
            Op::TruncatePath(path, length) => {
                let file = host::openat(root, path, host::OFlags::WRONLY, host::Mode::empty())?;
                host::ftruncate(file, *length).map(done)
            }
            Op::Punch(slot, at, length) => {
                let mode = host::FallocateFlags::PUNCH_HOLE | host::FallocateFlags::KEEP_SIZE;
                host::fallocate(self.slot(*slot)?, mode, *at, *length).map(done)
            }
            Op::Reserve(slot, at, length, keep) => {
                let mode =
                    if *keep { host::FallocateFlags::KEEP_SIZE } else { host::FallocateFlags::empty() };
                host::fallocate(self.slot(*slot)?, mode, *at, *length).map(done)
            }
            Op::Chmod(path, mode) => {
                let mode = host::Mode::from_raw_mode(u32::from(*mode));
                host::chmodat(root, path, mode, host::AtFlags::empty()).map(done)
            }
            Op::Stat(path, follow) => {
                let flags = if *follow { host::AtFlags::empty() } else { host::AtFlags::SYMLINK_NOFOLLOW };
                let stat = host::statat(root, path, flags)?;
                let directory = host::FileType::from_raw_mode(stat.st_mode) == host::FileType::Directory;
                let size = if directory && overlay { 0 } else { stat.st_size };
                Ok(format!("{:o} {} {size}", stat.st_mode, stat.st_nlink))
            }
            Op::Readlink(path) => {
                host::readlinkat(root, path, Vec::new()).map(|target| target.into_string().unwrap())
            }
            Op::List(path) => {
                let file = host::openat(root, path, host::OFlags::DIRECTORY, host::Mode::empty())?;
                let entries = host::Dir::new(file)?;
                let mut names: Vec<String> = entries
                    .map(|entry| entry.map(|entry| entry.file_name().to_str().unwrap().into()))
                    .collect::<core::result::Result<_, _>>()?;
                names.sort();
                Ok(names.join(" "))
            }
            Op::SetXattr(path, name, flags) => {
                let flags = host::XattrFlags::from_bits_retain(*flags);
                existing(path)?;
                host::setxattr(self.full(path), format!("user.{name}"), b"value", flags).map(done)
            }
            Op::ListXattr(path) => {
                existing(path)?;
                let mut buffer = [0_u8; 1000];
                let length = host::listxattr(self.full(path), &mut buffer[..])?;
                let mut names: Vec<_> = buffer[..length]
                    .split(|byte| *byte == 0)
                    .filter(|name| name.starts_with(b"user."))
                    .map(|name| String::from_utf8(name.to_vec()).unwrap())
                    .collect();
                names.sort();
                Ok(names.join(" "))
            }
        }
    }

    fn full(&self, path: &str) -> std::path::PathBuf {
        // Not `Path::join`, and no normalization: a slash at the end counts.
        let mut text = self.path.clone().into_os_string();
        text.push("/");
        text.push(path);
        text.into()
    }
}

/// ENOENT for the empty path, which would not be empty any more as a part of another one.
fn existing(path: &str) -> core::result::Result<(), HostErrno> {
    if path.is_empty() { Err(HostErrno::NOENT) } else { Ok(()) }
}

/// Contents in few words: runs of equal bytes.
fn show(bytes: &[u8]) -> String {
    let runs = bytes.chunk_by(|one, other| one == other).map(|run| format!("{}*{}", run[0], run.len()));
    runs.collect::<Vec<_>>().join(" ")
}

impl Guest {
    fn new(file_system: Arc<dyn FileSystem>, uid: u32, gid: u32, overlay: bool) -> Self {
        let no_fifo = |_: &OpenRequest<'_>| -> crate::Result<alloc::boxed::Box<dyn FileOps>> {
            Err(Errno::ENXIO.into())
        };
        let namespace = Namespace::new(file_system, b"none", SpecialFiles::new(Arc::new(no_fifo)));
        let capabilities = if uid == 0 { Capabilities::all() } else { Capabilities::empty() };
        let credentials = Credentials { uid, gid, groups: Arc::default(), capabilities };
        Self { root: namespace.root(), namespace, credentials, slots: Default::default(), overlay }
    }

    fn slot(&self, slot: usize) -> crate::Result<&Arc<OpenFile>> {
        self.slots[slot].as_ref().ok_or_else(|| Errno::EBADF.into())
    }

    fn run(&mut self, op: &Op) -> Outcome {
        self.try_run(op).map_err(|error| match error {
            Error::Errno(errno) => i32::from(errno.number()),
            Error::Wait(_) => panic!("memory makes nobody wait"),
        })
    }

    fn try_run(&mut self, op: &Op) -> crate::Result<String> {
        // The namespace is borrowed by the view, while slots change.
        let namespace = &self.namespace;
        let (root, credentials) = (&self.root, &self.credentials);
        let view =
            View { namespace, credentials, root, directory: root, umask: 0o022, process: Process::default() };
        let done = |()| String::new();
        let at = |path: &str, follow: bool| {
            view.resolve(root, path.as_bytes(), if follow { Resolve::FOLLOW } else { Resolve::empty() })
        };
        match op {
            Op::Mkdir(path) => view.mkdir(root, path.as_bytes(), 0o755).map(done),
            Op::Rmdir(path) => view.rmdir(root, path.as_bytes()).map(done),
            Op::Unlink(path) => view.unlink(root, path.as_bytes()).map(done),
            Op::Symlink(target, path) => view.symlink(target.as_bytes(), root, path.as_bytes()).map(done),
            Op::Link(old, new, follow) => view.link(&at(old, *follow)?, root, new.as_bytes()).map(done),
            Op::Rename(old, new, flags) => {
                let flags = RenameFlags::from_bits_retain(*flags);
                view.rename(root, old.as_bytes(), root, new.as_bytes(), flags).map(done)
            }
            Op::Open(slot, path, flags) => {
                let how = OpenHow::new(OpenFlags::from_bits_truncate(*flags), 0o644);
                let file = view.open(root, path.as_bytes(), &how);
                // The old file is closed first, as on the host.
                self.slots[*slot] = None;
                self.slots[*slot] = Some(file?);
                Ok(String::new())
            }
            Op::Write(slot, at, length, byte) => {
                let bytes = std::vec![*byte; *length];
                Ok(format!("{}", self.slot(*slot)?.write_at(*at, credentials, &mut Bytes::new(&bytes))?))
            }
            Op::Append(slot, length) => {
                let bytes = std::vec![0x55; *length];
                Ok(format!("{}", self.slot(*slot)?.write(credentials, &mut Bytes::new(&bytes))?))
            }
            Op::Read(slot, at, length) => {
                let mut bytes = std::vec![0; *length];
                let count = self.slot(*slot)?.read_at(*at, &mut Buffer::new(&mut bytes))?;
                Ok(show(&bytes[..count]))
            }
            Op::Truncate(slot, length) => self.slot(*slot)?.truncate(*length, credentials).map(done),
            Op::TruncatePath(path, length) => {
                let how = OpenHow::new(OpenFlags::WRONLY, 0);
                view.open(root, path.as_bytes(), &how)?.truncate(*length, credentials).map(done)
            }
            Op::Punch(slot, at, length) => {
                let (at, length) = (*at as i64, *length as i64);
                self.slot(*slot)?.allocate(AllocateMode::PunchHole, at, length, credentials).map(done)
            }
            Op::Reserve(slot, at, length, keep) => {
                let mode = if *keep { AllocateMode::ReserveKeepSize } else { AllocateMode::Reserve };
                self.slot(*slot)?.allocate(mode, *at as i64, *length as i64, credentials).map(done)
            }
            Op::Chmod(path, mode) => view.chmod(&at(path, true)?, *mode).map(done),
            Op::Stat(path, follow) => {
                let stat = view.metadata(&at(path, *follow)?)?;
                let size = if stat.kind == FileType::Directory && self.overlay { 0 } else { stat.size };
                Ok(format!("{:o} {} {size}", stat.st_mode(), stat.links))
            }
            Op::Readlink(path) => Ok(String::from_utf8(view.read_link(&at(path, false)?)?).unwrap()),
            Op::List(path) => {
                let file = view.open(root, path.as_bytes(), &OpenHow::new(OpenFlags::DIRECTORY, 0))?;
                let mut names = Vec::new();
                file.read_dir(&mut |entry| {
                    names.push(String::from_utf8(entry.name.to_vec()).unwrap());
                    true
                })?;
                names.sort();
                Ok(names.join(" "))
            }
            Op::SetXattr(path, name, flags) => {
                let flags = XattrFlags::from_bits_truncate(*flags);
                view.set_xattr(&at(path, true)?, format!("user.{name}").as_bytes(), b"value", flags).map(done)
            }
            Op::ListXattr(path) => {
                let names = String::from_utf8(view.xattr_names(&at(path, true)?)?).unwrap();
                let mut names: Vec<_> = names.split_terminator('\0').collect();
                names.sort_unstable();
                Ok(names.join(" "))
            }
        }
    }
}

/// The operations that make the tree which an overlay starts with.
fn beginning() -> Vec<Op> {
    let (creat, path) = (OpenFlags::CREAT | OpenFlags::RDWR, String::from);
    alloc::vec![
        Op::Mkdir(path("a")),
        Op::Mkdir(path("a/b")),
        Op::Open(0, path("a/b/c"), creat.bits()),
        Op::Write(0, 0, 9000, 7),
        Op::Open(0, path("b"), creat.bits()),
        Op::Write(0, 0, 5000, 8),
        Op::Link(path("b"), path("a/c"), false),
        Op::Symlink(path("a/b"), path("l")),
        Op::SetXattr(path("b"), 0, 0),
    ]
}

fn compare(host: &mut Host, guest: &mut Guest, ops: &[Op]) -> core::result::Result<(), TestCaseError> {
    for (index, op) in ops.iter().enumerate() {
        let (expected, found) = (host.run(op, guest.overlay), guest.run(op));
        prop_assert_eq!(found, expected, "operation {}: {:?}", index, op);
    }
    Ok(())
}

/// The tree of [`beginning`] as an EROFS image.
fn image() -> Arc<dyn FileSystem> {
    static IMAGE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let bytes = IMAGE.get_or_init(|| {
        let mut host = Host::new();
        for op in beginning() {
            host.run(&op, true).unwrap();
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut mkfs = std::process::Command::new("mkfs.erofs");
        assert!(mkfs.arg(file.path()).arg(&host.path).output().unwrap().status.success());
        std::fs::read(file.path()).unwrap()
    });
    Erofs::open(Arc::new(pages::Bytes::new(bytes))).unwrap()
}

fn options() -> Options {
    Options { pages: 10_000, inodes: 10_000, mode: 0o755, ..Options::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tmpfs_does_as_linux_does(ops in prop::collection::vec(op(), 1..60)) {
        let mut host = Host::new();
        let owner = std::fs::metadata(&host.path).unwrap();
        let mut guest = Guest::new(Tmpfs::new(&options()).unwrap(), owner.uid(), owner.gid(), false);
        if owner.uid() != 0 {
            guest.root.inode().set_attributes(&crate::SetAttributes {
                uid: Some(owner.uid()),
                gid: Some(owner.gid()),
                ..crate::SetAttributes::default()
            }).unwrap();
        }
        compare(&mut host, &mut guest, &ops)?;
    }

    #[test]
    fn an_overlay_over_an_image_does_so_too(ops in prop::collection::vec(op(), 1..60)) {
        let mut host = Host::new();
        let owner = std::fs::metadata(&host.path).unwrap();
        for op in beginning() {
            host.run(&op, true).unwrap();
        }
        host.slots = Default::default();
        let mut guest = Guest::new(tmpfs::overlay(&image(), &options()).unwrap(), owner.uid(), owner.gid(), true);
        compare(&mut host, &mut guest, &ops)?;
    }

    #[test]
    fn an_overlay_does_as_a_file_system_in_one_piece(ops in prop::collection::vec(op(), 1..60)) {
        let mut host = Host::new();
        let owner = std::fs::metadata(&host.path).unwrap();
        let lower: Arc<dyn FileSystem> = Tmpfs::new(&options()).unwrap();
        lower.root().set_attributes(&crate::SetAttributes {
            uid: Some(owner.uid()),
            gid: Some(owner.gid()),
            ..crate::SetAttributes::default()
        }).unwrap();
        let mut below = Guest::new(lower.clone(), owner.uid(), owner.gid(), true);
        compare(&mut host, &mut below, &beginning())?;
        host.slots = Default::default();
        drop(below);
        let mut guest = Guest::new(tmpfs::overlay(&lower, &options()).unwrap(), owner.uid(), owner.gid(), true);
        compare(&mut host, &mut guest, &ops)?;
    }
}
