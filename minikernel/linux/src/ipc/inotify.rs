//! inotify(7): what happens to files, as something to read.
//!
//! An instance has watches, each on one inode, and a queue of events. Its locks, in the order in which they are taken: the list of watches,
//! the watchers of an inode, the queue. Events come with locks of the tree held (see [`Watcher`]), which are outside of all these.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use isopod_fs::file::{FileOps, OpenFile, OpenFlags, Ready, Seeking, UserMemory};
use isopod_fs::{DeviceId, Errno, Event, Events, Inode, Result, Sink, Watcher};
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::WaitQueue;
use zerocopy::{Immutable, IntoBytes};

use crate::process::{Account, Charge};
use crate::tunable::Tunable;

/// Every event that can be asked for.
pub const ALL_EVENTS: u32 = 0xfff;
/// Events of files without a name are not wanted.
pub const EXCL_UNLINK: u32 = 0x0400_0000;
/// The watch ends with its first event.
pub const ONESHOT: u32 = 0x8000_0000;
/// Events were lost.
const OVERFLOW: u32 = 0x4000;
/// The watch has ended.
const IGNORED: u32 = 0x8000;

/// `/proc/sys/fs/inotify/max_queued_events`
pub static MAX_QUEUED_EVENTS: Tunable = Tunable::new(|| 16_384, 0, i32::MAX as u64);
/// `/proc/sys/fs/inotify/max_user_instances`
pub static MAX_USER_INSTANCES: Tunable = Tunable::new(|| 128, 0, i32::MAX as u64);
/// `/proc/sys/fs/inotify/max_user_watches`: what fits into a hundredth of the memory (`inotify_user_setup`).
pub static MAX_USER_WATCHES: Tunable = Tunable::new(
    || {
        const COST: u64 = 1280;
        let memory = isopod_hal::memory_stats().total_frames as u64 * isopod_hal::PAGE_SIZE as u64;
        (memory / 100 / COST).clamp(8192, 1_048_576)
    },
    0,
    i32::MAX as u64,
);

static INSTANCES: Account = Account::new();
static WATCHES: Account = Account::new();
/// All instances, for what concerns a whole file system.
static ALL: SpinLock<Vec<Weak<Inotify>>> = SpinLock::new(Vec::new());

/// What happened, as it waits to be read.
#[derive(Debug, PartialEq, Eq)]
struct Queued {
    watch: i32,
    mask: u32,
    cookie: u32,
    name: Vec<u8>,
}

/// `struct inotify_event` without its name.
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    watch: i32,
    mask: u32,
    cookie: u32,
    length: u32,
}

impl Queued {
    /// Bytes of the name as it is read: with a NUL, and padded to whole headers.
    fn name_room(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(size_of::<Header>()) }
    }

    fn size(&self) -> usize {
        size_of::<Header>() + self.name_room()
    }

    /// Whether `next`, coming right after, would say nothing new.
    fn says(&self, next: &Self) -> bool {
        self.mask & IGNORED == 0 && (self.watch, self.mask, &self.name) == (next.watch, next.mask, &next.name)
    }
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Queued>,
    /// One of them says that others were lost.
    overflowed: bool,
}

/// An instance.
pub struct Inotify {
    id: u64,
    queue: SpinLock<Queue>,
    /// Woken when there is something to read.
    changed: Arc<WaitQueue>,
    watches: SpinLock<Watches>,
    user: u32,
    _charge: Charge,
}

impl core::fmt::Debug for Inotify {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Inotify").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The watches by rising number, and the last number given out.
#[derive(Default)]
struct Watches {
    all: Vec<Arc<Watch>>,
    last: i32,
}

/// A watch on an inode, which it keeps in memory.
struct Watch {
    instance: Weak<Inotify>,
    identity: (u64, i32),
    /// What is asked for, with [`EXCL_UNLINK`] and [`ONESHOT`].
    mask: AtomicU32,
    inode: Arc<dyn Inode>,
    _charge: Charge,
}

/// What an open instance is; its end is the end of its watches.
struct InotifyFile(Arc<Inotify>);

/// A new instance of `user`'s. `flags` can be `O_NONBLOCK`. `EMFILE` when the user has too many.
pub fn new_inotify(user: u32, flags: OpenFlags) -> core::result::Result<Arc<OpenFile>, Errno> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let charge = INSTANCES.charge(user, 1, MAX_USER_INSTANCES.get()).ok_or(Errno::EMFILE)?;
    let instance = Arc::new(Inotify {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        queue: SpinLock::default(),
        changed: Arc::default(),
        watches: SpinLock::default(),
        user,
        _charge: charge,
    });
    {
        let mut all = ALL.lock();
        all.retain(|known| known.strong_count() > 0);
        all.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        all.push(Arc::downgrade(&instance));
    }
    super::anonymous_file("inotify", flags, Box::new(InotifyFile(instance)))
}

/// How a mask is combined with that of a watch that there is already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It takes its place.
    Replace,
    /// It is added (`IN_MASK_ADD`).
    Add,
    /// `EEXIST` (`IN_MASK_CREATE`).
    Refuse,
}

impl Inotify {
    /// The instance behind `file`, if it is one.
    pub fn of(file: &OpenFile) -> Option<&Arc<Self>> {
        file.ops()?.downcast_ref::<InotifyFile>().map(|file| &file.0)
    }

    /// Watches `inode` for what is in `mask`; returns the watch's number. `ENOSPC` when the user has too many.
    pub fn add(self: &Arc<Self>, inode: &Arc<dyn Inode>, mask: u32, existing: Existing) -> Result<i32> {
        let mut watches = self.watches.lock();
        if let Some(known) = inode.state().watch_of(self.id).and_then(|number| watches.find(number)) {
            let known = &watches.all[known];
            match existing {
                Existing::Refuse => return Err(Errno::EEXIST.into()),
                Existing::Add => drop(known.mask.fetch_or(mask, Ordering::Relaxed)),
                Existing::Replace => known.mask.store(mask, Ordering::Relaxed),
            }
            return Ok(known.identity.1);
        }
        let charge = WATCHES.charge(self.user, 1, MAX_USER_WATCHES.get()).ok_or(Errno::ENOSPC)?;
        watches.all.try_reserve(1)?;
        let number = watches.last.checked_add(1).ok_or(Errno::ENOSPC)?;
        let watch = Arc::new(Watch {
            instance: Arc::downgrade(self),
            identity: (self.id, number),
            mask: AtomicU32::new(mask),
            inode: Arc::clone(inode),
            _charge: charge,
        });
        inode.state().watch(Arc::clone(&watch) as Arc<dyn Watcher>)?;
        watches.last = number;
        watches.all.push(watch);
        Ok(number)
    }

    /// Ends the watch with this number; the reader is told (`IN_IGNORED`). `EINVAL` if there is none.
    pub fn remove(&self, number: i32) -> core::result::Result<(), Errno> {
        let ended = {
            let mut watches = self.watches.lock();
            let index = watches.find(number).ok_or(Errno::EINVAL)?;
            let ended = watches.all.remove(index);
            (ended.inode.state().unwatch(ended.identity), ended)
        };
        // Dropped without the lock: the inode may be no one else's.
        drop(ended);
        self.put(number, IGNORED, 0, b"");
        Ok(())
    }

    /// The watches with their masks, the last one first.
    pub fn watches(&self) -> Vec<(i32, u32, Arc<dyn Inode>)> {
        let watches = self.watches.lock();
        let shown = |watch: &Arc<Watch>| {
            (watch.identity.1, watch.mask.load(Ordering::Relaxed), Arc::clone(&watch.inode))
        };
        watches.all.iter().rev().map(shown).collect()
    }

    /// Puts an event into the queue and wakes who reads.
    fn put(&self, watch: i32, mask: u32, cookie: u32, name: &[u8]) {
        {
            let mut queue = self.queue.lock();
            let mut event = Queued { watch, mask, cookie, name: Vec::new() };
            let room =
                event.name.try_reserve_exact(name.len()).is_ok() && queue.events.try_reserve(1).is_ok();
            if !room || queue.events.len() as u64 >= MAX_QUEUED_EVENTS.get() {
                // One word for all that is lost. Without memory even for that, the reader has all that came before.
                if queue.overflowed || queue.events.try_reserve(1).is_err() {
                    return;
                }
                queue.overflowed = true;
                event = Queued { watch: -1, mask: OVERFLOW, cookie: 0, name: Vec::new() };
            } else {
                event.name.extend_from_slice(name);
                if queue.events.back().is_some_and(|last| last.says(&event)) {
                    return;
                }
            }
            queue.events.push_back(event);
        }
        self.changed.wake_all();
    }
}

impl Watches {
    fn find(&self, number: i32) -> Option<usize> {
        self.all.binary_search_by_key(&number, |watch| watch.identity.1).ok()
    }
}

impl Watcher for Watch {
    fn identity(&self) -> (u64, i32) {
        self.identity
    }

    fn hear(&self, event: &Event<'_>) {
        let mask = self.mask.load(Ordering::Relaxed);
        let wanted = Events::from_bits_retain(mask & ALL_EVENTS) | Events::UNMOUNT;
        if !event.what.intersects(wanted) || event.unlinked && mask & EXCL_UNLINK != 0 {
            return;
        }
        let Some(instance) = self.instance.upgrade() else { return };
        instance.put(self.identity.1, event.what.bits(), event.cookie, event.name);
        if mask & ONESHOT != 0 {
            self.end();
        }
    }

    fn end(&self) {
        if let Some(instance) = self.instance.upgrade() {
            // Somebody else may have ended it meanwhile.
            let _ = instance.remove(self.identity.1);
        }
    }
}

/// Tells who watches something of the file system with this device number that it is no longer mounted.
pub fn unmounted(device: DeviceId) {
    let instances: Vec<_> = ALL.lock().iter().filter_map(Weak::upgrade).collect();
    for instance in instances {
        for (number, _, inode) in instance.watches() {
            if inode.metadata().is_ok_and(|about| about.device == device) {
                instance.put(number, Events::UNMOUNT.bits(), 0, b"");
                // Somebody else may have ended it meanwhile.
                let _ = instance.remove(number);
            }
        }
    }
}

impl Drop for InotifyFile {
    fn drop(&mut self) {
        let ended = core::mem::take(&mut *self.0.watches.lock());
        for watch in ended.all {
            let known = watch.inode.state().unwatch(watch.identity);
            drop(known);
        }
    }
}

impl FileOps for InotifyFile {
    fn read(&self, _file: &OpenFile, _offset: u64, sink: &mut dyn Sink) -> Result<usize> {
        const ZEROS: [u8; size_of::<Header>()] = [0; size_of::<Header>()];
        let mut queue = self.0.queue.lock();
        let mut done = 0;
        while let Some(event) = queue.events.front() {
            let (size, room) = (event.size(), event.name_room());
            if size > sink.remaining() {
                return if done > 0 { Ok(done) } else { Err(Errno::EINVAL.into()) };
            }
            let header =
                Header { watch: event.watch, mask: event.mask, cookie: event.cookie, length: room as u32 };
            let parts = [header.as_bytes(), &event.name, &ZEROS[..room - event.name.len()]];
            let put: usize = parts.into_iter().map(|part| sink.put(part)).sum();
            if put < size {
                // The copy was cut: the event waits, to be met by the next try.
                return Ok(done);
            }
            done += size;
            let taken = queue.events.pop_front();
            queue.overflowed &= taken.is_some_and(|event| event.mask != OVERFLOW);
        }
        if done > 0 { Ok(done) } else { Err(Errno::EAGAIN.into()) }
    }

    fn ready(&self, _file: &OpenFile) -> Ready {
        if self.0.queue.lock().events.is_empty() { Ready::empty() } else { Ready::READABLE }
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        Some(Arc::clone(&self.0.changed))
    }

    fn ioctl(
        &self,
        _file: &OpenFile,
        request: u32,
        argument: usize,
        memory: &mut dyn UserMemory,
    ) -> Result<usize> {
        let waiting = || self.0.queue.lock().events.iter().map(Queued::size).sum();
        super::bytes_waiting(request, argument, memory, waiting)
    }

    fn seeking(&self) -> Seeking {
        Seeking::ZeroButStream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::with_view;
    use crate::testing;
    use isopod_fs::Buffer;
    use isopod_fs::vfs::OpenHow;

    /// All that waits: watch, mask, name.
    fn events(file: &OpenFile) -> Vec<(i32, u32, Vec<u8>)> {
        let mut bytes = [0; 4096];
        let length = file.read(&mut Buffer::new(&mut bytes)).unwrap_or(0);
        let (mut rest, mut found) = (&bytes[..length], Vec::new());
        while !rest.is_empty() {
            let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
            let end = 16 + word(12) as usize;
            let name = rest[16..end].iter().copied().take_while(|byte| *byte != 0).collect();
            found.push((word(0) as i32, word(4), name));
            rest = &rest[end..];
        }
        found
    }

    #[test]
    fn a_directory_tells_of_its_names_and_its_files() {
        let thread = testing::thread();
        let file = new_inotify(71_001, OpenFlags::NONBLOCK).unwrap();
        let instance = Inotify::of(&file).unwrap();
        with_view(&thread, |view| {
            let root = view.root;
            view.mkdir(root, b"watched", 0o755).unwrap();
            let place = view.resolve(root, b"watched", isopod_fs::vfs::Resolve::empty()).unwrap();
            assert_eq!(instance.add(place.inode(), ALL_EVENTS, Existing::Replace).unwrap(), 1);
            assert!(instance.add(place.inode(), 1, Existing::Refuse).is_err());
            let how = OpenHow::new(OpenFlags::CREAT | OpenFlags::RDWR, 0o644);
            let opened = view.open(&place, b"a", &how).unwrap();
            for _ in 0..2 {
                opened.write(view.credentials, &mut isopod_fs::Bytes::new(b"x")).unwrap();
            }
            drop(opened);
            view.unlink(&place, b"a").unwrap();
            drop(place);
            view.rmdir(root, b"watched").unwrap();
        });
        let found = events(&file);
        let named: Vec<_> = found.iter().map(|(watch, mask, name)| (*watch, *mask, name.len())).collect();
        assert_eq!(
            named,
            [
                (1, 0x100, 1),
                (1, 0x20, 1),
                (1, 2, 1),
                (1, 8, 1),
                (1, 0x200, 1),
                (1, 0x400, 0),
                (1, IGNORED, 0)
            ]
        );
        assert!(instance.watches().is_empty());
    }

    #[test]
    fn what_finds_no_room_is_one_overflow() {
        testing::install_kernel();
        let file = new_inotify(71_002, OpenFlags::NONBLOCK).unwrap();
        let instance = Inotify::of(&file).unwrap();
        for number in 0..20_000 {
            instance.put(number, 2, 0, b"");
        }
        assert_eq!(instance.queue.lock().events.len(), 16_385);
        instance.queue.lock().events.drain(..16_384);
        assert_eq!(events(&file), [(-1, OVERFLOW, Vec::new())]);
        instance.put(1, 2, 0, b"");
        assert_eq!(events(&file).len(), 1);
    }
}
