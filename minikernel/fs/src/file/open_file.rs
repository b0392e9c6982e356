//! The open file description: what descriptors of several processes can share.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::any::Any;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use isopod_hal::sync::{Once, SpinLock, wait::WaitQueue};

use super::{FileOps, LockOwner, Mapping, OpenFlags, Ready, Seeking, UserMemory, Whence};
use crate::credentials::{Credentials, Subject};
use crate::inode::{AllocateMode, DirEntry, Extent, FIRST_COOKIE, Inode};
use crate::metadata::FileType;
use crate::transfer::{Sink, Source};
use crate::vfs::{MountFlags, Path, clear_privileges};
use crate::watch::{self, Events};
use crate::{Errno, Result};

/// The largest offset of a file.
pub(crate) const MAX_OFFSET: u64 = i64::MAX as u64;

/// An open file description: a file, how it is open, and a position.
#[derive(Debug)]
pub struct OpenFile {
    path: Path,
    kind: FileType,
    flags: AtomicU32,
    /// Anybody may look at it: /proc/PID/fdinfo does, while it is read itself.
    position: AtomicU64,
    /// Held while the position moves, and over the read or write that moves it.
    moving: SpinLock<()>,
    /// It counts among those who may write to the inode.
    writer: bool,
    /// `None` where the inode says all.
    ops: Option<Box<dyn FileOps>>,
    /// What belongs to it besides, such as who is told of it by signals.
    attached: Once<Arc<dyn Any + Send + Sync>>,
}

impl OpenFile {
    /// Describes `path` as open with `flags`, which have passed all checks. Counts as a writer if it can write.
    pub(crate) fn new(path: Path, flags: OpenFlags, ops: Option<Box<dyn FileOps>>) -> Result<Arc<Self>> {
        let kind = path.inode().metadata()?.kind;
        // Neither a directory nor a device of characters, a FIFO or a generated file is read past a cache.
        if flags.contains(OpenFlags::DIRECT) && !Self::goes_direct(kind, ops.as_deref()) {
            return Err(Errno::EINVAL.into());
        }
        let writer = kind == FileType::Regular && flags.writable();
        if writer {
            path.inode().state().allow_write()?;
        }
        Ok(Self::describe(path, kind, flags, ops, writer))
    }

    /// Whether reads and writes may go past the page cache (`FMODE_CAN_ODIRECT`).
    fn goes_direct(kind: FileType, ops: Option<&dyn FileOps>) -> bool {
        kind == FileType::BlockDevice || (kind == FileType::Regular && ops.is_none())
    }

    /// Describes something that has no place in the tree, such as a pipe; see
    /// [`Namespace::detached`](crate::vfs::Namespace::detached) for its path. Who can write to it by this description does not keep it
    /// from being executed, as with a file of `memfd_create(2)` (`alloc_file_pseudo`).
    pub fn anonymous(path: Path, flags: OpenFlags, ops: Option<Box<dyn FileOps>>) -> Result<Arc<Self>> {
        let kind = path.inode().metadata()?.kind;
        Ok(Self::describe(path, kind, flags, ops, false))
    }

    fn describe(
        path: Path,
        kind: FileType,
        flags: OpenFlags,
        ops: Option<Box<dyn FileOps>>,
        writer: bool,
    ) -> Arc<Self> {
        let flags = flags
            - (OpenFlags::CREAT
                | OpenFlags::EXCL
                | OpenFlags::TRUNC
                | OpenFlags::NOCTTY
                | OpenFlags::CLOEXEC);
        OPEN.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            path,
            kind,
            flags: AtomicU32::new(flags.bits()),
            position: AtomicU64::new(0),
            moving: SpinLock::new(()),
            writer,
            ops,
            attached: Once::new(),
        })
    }

    /// How many descriptions there are.
    pub fn count() -> usize {
        OPEN.load(Ordering::Relaxed)
    }

    /// Bytes of the heap that it takes, with what is behind it.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + self.ops().map_or(0, size_of_val)
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The inode.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.path.inode()
    }

    /// The inode's type.
    pub fn kind(&self) -> FileType {
        self.kind
    }

    /// What is behind a file that is more than its inode.
    pub fn ops(&self) -> Option<&dyn FileOps> {
        self.ops.as_deref()
    }

    /// What belongs to it besides.
    pub fn attached(&self) -> &Once<Arc<dyn Any + Send + Sync>> {
        &self.attached
    }

    /// The identity of a process as one who watches a directory by this description.
    pub fn watch_identity(&self, process: u32) -> (u64, i32) {
        (core::ptr::from_ref(self).addr() as u64, process as i32)
    }

    /// The access mode and the status flags, as `F_GETFL` of fcntl(2) tells them.
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// `F_SETFL`: changes the flags in [`OpenFlags::CHANGEABLE`], ignores all others. EPERM for `O_NOATIME` on a
    /// file of another owner, EINVAL for `O_DIRECT` where it means nothing; to a pipe it means packets.
    pub fn set_flags(&self, flags: OpenFlags, credentials: &Credentials) -> Result<()> {
        let old = self.flags();
        let gained = flags & (OpenFlags::CHANGEABLE - old);
        if gained.contains(OpenFlags::NOATIME) && !credentials.owns(self.inode().metadata()?.uid) {
            return Err(Errno::EPERM.into());
        }
        let direct = self.kind == FileType::Fifo || Self::goes_direct(self.kind, self.ops());
        if flags.contains(OpenFlags::DIRECT) && !direct {
            return Err(Errno::EINVAL.into());
        }
        let new = (old - OpenFlags::CHANGEABLE) | (flags & OpenFlags::CHANGEABLE);
        self.flags.store(new.bits(), Ordering::Relaxed);
        Ok(())
    }

    /// EBADF for a description that only names a place (`O_PATH`).
    pub fn check_not_path(&self) -> Result<()> {
        if self.flags().contains(OpenFlags::PATH) { Err(Errno::EBADF.into()) } else { Ok(()) }
    }

    /// The identity of this description as the owner of locks.
    pub fn lock_owner(self: &Arc<Self>) -> LockOwner {
        LockOwner::description(Arc::as_ptr(self).addr())
    }

    /// What it means that a process has closed one of its descriptors: its POSIX locks go, and its watch (`fcntl_locking(2)`, fcntl(2)).
    pub fn closed_by(&self, process: u32) {
        let state = self.inode().state();
        state.locks.release(LockOwner::process(process));
        if self.kind == FileType::Directory {
            drop(state.unwatch(self.watch_identity(process)));
        }
        if let Some(ops) = &self.ops {
            ops.closed_by(process);
        }
    }

    /// Whether reads and writes move a position.
    pub fn seeking(&self) -> Seeking {
        match &self.ops {
            Some(ops) => ops.seeking(),
            None => Seeking::Position,
        }
    }

    /// read(2): from the position, which moves on. EBADF if not open for reading, EISDIR for a directory.
    ///
    /// A short count from a regular file can be followed by more: call again until the sink is full or 0 comes.
    pub fn read(&self, sink: &mut dyn Sink) -> Result<usize> {
        self.check_readable()?;
        if !self.seeking().has_position() {
            return self.read_from(0, sink);
        }
        let _moving = self.moving.lock();
        let position = self.position();
        let count = self.read_from(position, sink)?;
        self.set_position(position + count as u64);
        Ok(count)
    }

    /// pread(2): from `offset`. ESPIPE for a file without a position.
    pub fn read_at(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        if matches!(self.seeking(), Seeking::Never | Seeking::ZeroButStream) {
            return Err(Errno::ESPIPE.into());
        }
        self.check_readable()?;
        self.read_from(offset, sink)
    }

    /// write(2): at the position, which moves on, or at the end with `O_APPEND`. EBADF if not open for writing.
    ///
    /// A short count to a regular file does not say that it is full: call again until the source is empty, or an
    /// error or 0 comes.
    pub fn write(&self, subject: &dyn Subject, source: &mut dyn Source) -> Result<usize> {
        self.check_may_write()?;
        if !self.seeking().has_position() {
            return self.write_to(0, false, subject, source).map(|(_, count)| count);
        }
        let _moving = self.moving.lock();
        let (start, count) = self.write_to(self.position(), false, subject, source)?;
        self.set_position(start + count as u64);
        Ok(count)
    }

    /// pwrite(2): at `offset`, but, as on Linux, at the end with `O_APPEND`. ESPIPE for a file without a position.
    pub fn write_at(&self, offset: u64, subject: &dyn Subject, source: &mut dyn Source) -> Result<usize> {
        if matches!(self.seeking(), Seeking::Never | Seeking::ZeroButStream) {
            return Err(Errno::ESPIPE.into());
        }
        self.check_may_write()?;
        self.write_to(offset, false, subject, source).map(|(_, count)| count)
    }

    /// pwritev2(2) with `RWF_APPEND`: as [`write`](Self::write) with `O_APPEND`, but the position moves only if
    /// `moving`.
    pub fn append(&self, moving: bool, subject: &dyn Subject, source: &mut dyn Source) -> Result<usize> {
        self.check_may_write()?;
        let _moving = self.moving.lock();
        let (start, count) = self.write_to(self.position(), true, subject, source)?;
        if moving && self.seeking().has_position() {
            self.set_position(start + count as u64);
        }
        Ok(count)
    }

    /// lseek(2).
    pub fn seek(&self, offset: i64, whence: Whence) -> Result<u64> {
        self.check_not_path()?;
        match self.seeking() {
            Seeking::Never => return Err(Errno::ESPIPE.into()),
            Seeking::AlwaysZero | Seeking::ZeroButStream => return Ok(0),
            Seeking::WithoutEnd if !matches!(whence, Whence::Set | Whence::Current) => {
                return Err(Errno::EINVAL.into());
            }
            Seeking::Position | Seeking::WithoutEnd => {}
        }
        if whence == Whence::Current && offset == 0 {
            return Ok(self.position());
        }
        let _moving = self.moving.lock();
        let base = match whence {
            Whence::Set => 0,
            Whence::Current => self.position() as i64,
            Whence::End if self.kind == FileType::Directory => return Err(Errno::EINVAL.into()),
            Whence::End => self.inode().metadata()?.size as i64,
            Whence::Data | Whence::Hole => {
                let extent = if whence == Whence::Data { Extent::Data } else { Extent::Hole };
                let offset = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
                let found = self.inode().seek_extent(offset, extent)?;
                self.set_position(found);
                return Ok(found);
            }
        };
        let target = base.checked_add(offset).ok_or(Errno::EINVAL)?;
        let target = u64::try_from(target).map_err(|_| Errno::EINVAL)?;
        self.set_position(target);
        Ok(target)
    }

    fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// The lock on moving is held.
    fn set_position(&self, position: u64) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// getdents64(2): calls `visit` for each entry from the position, `.` and `..` first, until it returns false.
    /// ENOTDIR for what is no directory, ENOENT for a directory that was removed.
    pub fn read_dir(&self, visit: &mut dyn FnMut(&DirEntry<'_>) -> bool) -> Result<()> {
        self.check_readable()?;
        if self.kind != FileType::Directory {
            return Err(Errno::ENOTDIR.into());
        }
        if self.path.is_unlinked() {
            return Err(Errno::ENOENT.into());
        }
        let moving = self.moving.lock();
        for (cookie, name) in [&b"."[..], b".."].into_iter().enumerate() {
            if self.position() == cookie as u64 {
                let inode =
                    if cookie == 0 { self.inode().clone() } else { self.path.parent().inode().clone() };
                let next = cookie as u64 + 1;
                if !visit(&DirEntry { name, inode: inode.metadata()?.inode, kind: FileType::Directory, next })
                {
                    return Ok(());
                }
                self.set_position(next);
            }
        }
        let position = self.position();
        debug_assert!(position >= FIRST_COOKIE);
        let mut visited = position;
        let outcome = self.inode().read_dir(position, &mut |entry| {
            let wanted = visit(entry);
            if wanted {
                visited = entry.next;
            }
            wanted
        });
        // A wait after the first entries is met again by the next call.
        if visited == position {
            outcome?;
        }
        self.set_position(visited);
        drop(moving);
        self.touch_accessed();
        watch::open_file(&self.path, Events::ACCESS);
        Ok(())
    }

    /// ftruncate(2). EINVAL unless it is a regular file open for writing.
    pub fn truncate(&self, size: u64, credentials: &Credentials) -> Result<()> {
        self.check_not_path()?;
        if self.kind != FileType::Regular || !self.flags().writable() {
            return Err(Errno::EINVAL.into());
        }
        clear_privileges(&self.path, credentials)?;
        self.inode().truncate(size)?;
        watch::file(&self.path, Events::MODIFY);
        Ok(())
    }

    /// fallocate(2) of `length` bytes from `offset`.
    pub fn allocate(
        &self,
        mode: AllocateMode,
        offset: i64,
        length: i64,
        credentials: &Credentials,
    ) -> Result<()> {
        self.check_not_path()?;
        if offset < 0 || length <= 0 {
            return Err(Errno::EINVAL.into());
        }
        if !self.flags().writable() {
            return Err(Errno::EBADF.into());
        }
        match self.kind {
            FileType::Regular => {}
            FileType::Fifo => return Err(Errno::ESPIPE.into()),
            FileType::Directory => return Err(Errno::EISDIR.into()),
            _ => return Err(Errno::ENODEV.into()),
        }
        let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
        clear_privileges(&self.path, credentials)?;
        self.inode().allocate(mode, offset as u64..end as u64)?;
        watch::open_file(&self.path, Events::MODIFY);
        Ok(())
    }

    /// What would not block: poll(2).
    pub fn ready(&self) -> Ready {
        match &self.ops {
            Some(ops) => ops.ready(self),
            None => Ready::READABLE | Ready::WRITABLE,
        }
    }

    /// What is woken when [`ready`](Self::ready) changes; `None` if it never does.
    pub fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        self.ops.as_ref()?.wait_queue()
    }

    /// ioctl(2) for what belongs to the file; ENOTTY for all that is not known.
    pub fn ioctl(&self, request: u32, argument: usize, memory: &mut dyn UserMemory) -> Result<usize> {
        self.check_not_path()?;
        match &self.ops {
            Some(ops) => ops.ioctl(self, request, argument, memory),
            None => Err(Errno::ENOTTY.into()),
        }
    }

    /// What mmap(2) maps. ENODEV for what has no pages.
    pub fn mapping(&self) -> Result<Mapping> {
        self.check_not_path()?;
        match (&self.ops, self.kind) {
            (Some(ops), _) => ops.mapping(),
            (None, FileType::Regular) => Ok(Mapping::Inode(self.inode().clone())),
            (None, _) => Err(Errno::ENODEV.into()),
        }
    }

    fn check_readable(&self) -> Result<()> {
        if self.flags().readable() { Ok(()) } else { Err(Errno::EBADF.into()) }
    }

    fn check_may_write(&self) -> Result<()> {
        if self.flags().writable() { Ok(()) } else { Err(Errno::EBADF.into()) }
    }

    /// Reads, and tells of it.
    fn read_from(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        let count = self.read_bytes(offset, sink)?;
        if count > 0 {
            watch::open_file(&self.path, Events::ACCESS);
        }
        Ok(count)
    }

    fn read_bytes(&self, offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        if let Some(ops) = &self.ops {
            return ops.read(self, offset, sink);
        }
        if self.kind == FileType::Directory {
            return Err(Errno::EISDIR.into());
        }
        let count = self.inode().read_at(offset, sink)?;
        self.touch_accessed();
        Ok(count)
    }

    /// Writes, and tells of it. Returns where the write began, and how much was written.
    fn write_to(
        &self,
        offset: u64,
        append: bool,
        subject: &dyn Subject,
        source: &mut dyn Source,
    ) -> Result<(u64, usize)> {
        let (start, count) = self.write_bytes(offset, append, subject, source)?;
        if count > 0 {
            watch::open_file(&self.path, Events::MODIFY);
        }
        Ok((start, count))
    }

    fn write_bytes(
        &self,
        offset: u64,
        append: bool,
        subject: &dyn Subject,
        source: &mut dyn Source,
    ) -> Result<(u64, usize)> {
        if let Some(ops) = &self.ops {
            return Ok((offset, ops.write(self, offset, source)?));
        }
        if source.remaining() == 0 {
            return Ok((offset, 0));
        }
        clear_privileges(&self.path, &subject.credentials())?;
        if append || self.flags().contains(OpenFlags::APPEND) {
            return self.inode().append(source);
        }
        if offset >= MAX_OFFSET {
            return Err(Errno::EFBIG.into());
        }
        Ok((offset, self.inode().write_at(offset, source)?))
    }

    fn touch_accessed(&self) {
        let mount = self.path.mount().flags();
        if !self.flags().contains(OpenFlags::NOATIME)
            && !mount.intersects(MountFlags::NOATIME | MountFlags::RDONLY)
        {
            self.inode().touch_accessed();
        }
    }
}

/// All descriptions that are open.
static OPEN: AtomicUsize = AtomicUsize::new(0);

impl Drop for OpenFile {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        let state = self.path.inode().state();
        state.locks.release(LockOwner::description(core::ptr::from_ref(self).addr()));
        if self.writer {
            state.end_write();
        }
        let flags = self.flags();
        if !flags.contains(OpenFlags::PATH) {
            let what = if flags.writable() { Events::CLOSE_WRITE } else { Events::CLOSE_NOWRITE };
            watch::open_file(&self.path, what);
        }
    }
}
