//! Shared memory segments: `shmget(2)`, `shmop(2)`.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;

use isopod_fs::file::{FileOps, OpenFile, OpenFlags};
use isopod_fs::{Errno, Inode};
use isopod_hal::PAGE_SIZE;
use isopod_hal::paging::Access;

use super::registry::OBJECTS_MAX;
use super::{Object, Registry, now};
use crate::dev;
use crate::fail::errno;
use crate::kernel;
use crate::mm::{self, AddressSpace, Backing, FileBacking, MapRequest, Placement, VmaFlags};
use crate::process::{self, Identity};
use crate::tunable::Tunable;

/// In a mode: it goes with its last user.
pub const DOOMED: u32 = 0o1000;
/// In a mode: it is to stay in memory.
pub const LOCKED: u32 = 0o2000;

/// As many bytes, or pages, as there could be (`SHMMAX`, `SHMALL`).
const ANY: u64 = u64::MAX - (1 << 24);
/// `/proc/sys/kernel/shmmax`
pub static BYTES_MAX: Tunable = Tunable::new(|| ANY, 0, u64::MAX - 1);
/// `/proc/sys/kernel/shmall`
pub static PAGES_MAX: Tunable = Tunable::new(|| ANY, 0, u64::MAX - 1);
/// `/proc/sys/kernel/shmmni`
pub static SEGMENTS_MAX: Tunable = Tunable::new(|| 4096, 0, OBJECTS_MAX);

/// All segments.
pub static SEGMENTS: Registry<Segment> = Registry::new(&SEGMENTS_MAX);

/// A segment.
#[derive(Debug)]
pub struct Segment {
    /// Its size in bytes.
    pub size: u64,
    /// Its pages: a file without a name.
    pub inode: Arc<dyn Inode>,
    /// How many mappings of it there are.
    pub attached: u64,
    /// When it was last attached, detached and changed.
    pub times: [i64; 3],
    /// Who made it.
    pub creator: u32,
    /// Who attached or detached it last.
    pub last: u32,
}

impl Segment {
    /// Pages in memory.
    pub fn resident(&self) -> u64 {
        const SECTOR: u64 = 512;
        self.inode.metadata().map_or(0, |about| about.blocks / (PAGE_SIZE as u64 / SECTOR))
    }
}

/// Pages of all segments, in memory or not.
pub fn pages() -> Result<u64, Errno> {
    Ok(SEGMENTS.all()?.iter().map(|object| object.lock().body.size.div_ceil(PAGE_SIZE as u64)).sum())
}

/// shmget(2)
pub fn get(caller: &Identity, pid: u32, key: i32, size: u64, flags: u32) -> Result<i32, Errno> {
    const HUGE_TLB: u32 = 0o4000;
    const NO_RESERVE: u32 = 0o10_000;
    // Counted before the table is locked: what is made meanwhile passes the limit by little.
    let used = pages()?;
    let big_enough = |segment: &Segment| if segment.size < size { Err(Errno::EINVAL) } else { Ok(()) };
    let make = || {
        if size == 0 || size > BYTES_MAX.get() {
            return Err(Errno::EINVAL);
        }
        let length = size.checked_next_multiple_of(PAGE_SIZE as u64).ok_or(Errno::ENOSPC)?;
        if used.checked_add(length / PAGE_SIZE as u64).is_none_or(|sum| sum > PAGES_MAX.get()) {
            return Err(Errno::ENOSPC);
        }
        if flags & HUGE_TLB != 0 {
            // No huge pages are reserved, which is how a Linux without them answers.
            return Err(Errno::ENOMEM);
        }
        if flags & NO_RESERVE == 0 {
            mm::commit(length as usize)?;
        }
        let inode = dev::memory_inode(length)?;
        Ok(Segment { size, inode, attached: 0, times: [0, 0, now()], creator: pid, last: 0 })
    };
    SEGMENTS.get_or_make(caller, key, flags, &big_enough, &make)
}

/// How a segment is attached.
#[derive(Debug, Clone, Copy)]
pub struct Attach {
    /// Where; `None` for anywhere.
    pub at: Option<usize>,
    /// In place of what is there.
    pub replace: bool,
    /// What the program may do with it.
    pub access: Access,
}

/// shmat(2): maps the segment; returns where.
pub fn attach(memory: &Arc<AddressSpace>, caller: &Identity, id: i32, how: Attach) -> Result<usize, Errno> {
    let object = SEGMENTS.get(id)?;
    let mut wanted = super::READ;
    if how.access.contains(Access::WRITE) {
        wanted |= super::WRITE;
    }
    if how.access.contains(Access::EXEC) {
        wanted |= 0o111;
    }
    object.lock().permission.check(caller, wanted)?;
    let file = open(&object)?;
    let (inode, size) = {
        let state = object.lock();
        (Arc::clone(&state.body.inode), state.body.size as usize)
    };
    let placement = match how.at {
        None => Placement::Hint(0),
        Some(at) if how.replace => Placement::Fixed(at),
        Some(at) => Placement::FixedNoReplace(at),
    };
    let request = MapRequest {
        placement,
        length: size,
        access: how.access,
        max_access: if how.access.contains(Access::WRITE) {
            Access::all()
        } else {
            Access::all() - Access::WRITE
        },
        flags: VmaFlags::SHARED,
        backing: Backing::File(FileBacking::new(memory, file, inode, 0)?),
    };
    memory.map(request).map_err(|errno| if errno == Errno::EEXIST { Errno::EINVAL } else { errno })
}

/// shmdt(2). Whether a segment is attached there, and how many bytes of it are not any more when it is another's turn.
pub fn detach(memory: &AddressSpace, at: usize) -> (bool, Option<usize>) {
    let attached = |file: &OpenFile| file.ops().is_some_and(|ops| ops.downcast_ref::<Attachment>().is_some());
    if at.is_multiple_of(PAGE_SIZE) { memory.unmap_file(at, &attached) } else { (false, None) }
}

/// What a child's memory has in place of `file`, if that is an attached segment: another attachment of it.
pub fn inherited(file: &Arc<OpenFile>) -> Result<Option<Arc<OpenFile>>, Errno> {
    let attachment = file.ops().and_then(|ops| ops.downcast_ref::<Attachment>());
    attachment.map(|attachment| open(&attachment.0)).transpose()
}

/// An attachment, which lasts as long as the file is mapped.
fn open(object: &Arc<Object<Segment>>) -> Result<Arc<OpenFile>, Errno> {
    let (inode, name) = {
        let mut state = object.get()?;
        let (key, body) = (state.permission.key, &mut state.body);
        body.attached += 1;
        body.times[0] = now();
        body.last = caller();
        (Arc::clone(&body.inode), format!("/SYSV{key:08x} (deleted)"))
    };
    let path = kernel::namespace().detached(inode, name.as_bytes());
    let ops = Box::new(Attachment(Arc::clone(object)));
    OpenFile::anonymous(path, OpenFlags::RDWR, Some(ops)).map_err(errno)
}

/// Who attaches and detaches.
fn caller() -> u32 {
    process::current().map_or(0, |thread| thread.process().pid)
}

/// One mapping of a segment.
struct Attachment(Arc<Object<Segment>>);

impl FileOps for Attachment {}

impl Drop for Attachment {
    fn drop(&mut self) {
        let over = {
            let mut state = self.0.lock();
            let doomed = state.permission.mode & DOOMED != 0;
            let body = &mut state.body;
            body.attached -= 1;
            body.times[1] = now();
            body.last = caller();
            doomed && body.attached == 0
        };
        if over {
            remove_unused(self.0.id);
        }
    }
}

/// Takes out a segment that nobody has attached by now.
fn remove_unused(id: i32) {
    let gone = SEGMENTS.remove_if(id, |state| state.body.attached == 0);
    drop(gone);
}

/// `IPC_RMID`: the segment goes when nobody has it attached any more.
pub fn remove(object: &Object<Segment>) {
    object.lock().permission.mode |= DOOMED;
    SEGMENTS.forget_key(object.id);
    remove_unused(object.id);
}
