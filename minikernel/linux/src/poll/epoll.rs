//! epoll(7).
//!
//! An item listens at its file's queue for as long as it is in the interest list. A wake-up only puts it on the list of candidates and wakes who
//! waits; whether it is ready is asked when events are collected, so that a wait costs what is ready, not what is watched. An item with level
//! triggering that was ready stays a candidate; one with edge triggering becomes one again at the next wake-up.
//!
//! An item does not keep its file open. Items of closed files are dropped when they are met, and in sweeps that a growing list pays for.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use alloc::vec::Vec;
use core::task::Waker;

use bitflags::bitflags;
use isopod_fs::Errno;
use isopod_fs::file::{FileOps, OpenFile, OpenFlags, Ready, Seeking, UserMemory};
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::atomic::{AtomicBool, Ordering};
use isopod_hal::sync::wait::{Listener, WaitQueue};

use crate::ipc::anonymous_file;

/// How deep epoll files may watch epoll files (`EP_MAX_NESTS`).
const NESTS_MAX: usize = 4;
/// Interest lists up to this length are not swept.
const SWEEP_MIN: usize = 64;

bitflags! {
    /// What an item asks for besides readiness.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Mode: u32 {
        /// Wake no more waiters than needed; all may be woken.
        const EXCLUSIVE = 1 << 28;
        /// Keeps the machine from sleeping; it never does.
        const WAKEUP = 1 << 29;
        /// Silent after one event, until it is modified.
        const ONE_SHOT = 1 << 30;
        /// Edge-triggered.
        const EDGE = 1 << 31;
    }
}

/// The events that are reported without being asked for.
const ALWAYS: Ready = Ready::ERROR.union(Ready::HANG_UP);

/// What a program wants to know of a file, and what it is told with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Readiness and modes, as `EPOLL_CTL_ADD` takes them.
    pub events: u32,
    /// The program's own.
    pub data: u64,
}

impl Interest {
    fn mode(self) -> Mode {
        Mode::from_bits_truncate(self.events)
    }

    /// Whether room to write is news even if there was some before.
    fn wants_room(self) -> bool {
        let room = Ready::WRITABLE | Ready::WRITE_BAND;
        self.mode().contains(Mode::EDGE) && Ready::from_bits_truncate(self.events).intersects(room)
    }
}

/// An epoll instance.
#[derive(Debug)]
pub struct Epoll {
    inner: SpinLock<Inner>,
    /// Woken when there is a new candidate.
    changed: Arc<WaitQueue>,
    /// The instances that watch this one, once for each time that they do.
    watchers: SpinLock<Vec<Weak<Epoll>>>,
}

#[derive(Debug, Default)]
struct Inner {
    items: BTreeMap<Key, Arc<Item>>,
    candidates: VecDeque<Arc<Item>>,
    /// The length at which closed files are looked for next.
    sweep_at: usize,
}

/// A descriptor, and the address of what it referred to when it was added. No two live files share that: a weak reference keeps the address.
type Key = (i32, usize);

fn key(fd: i32, file: &Arc<OpenFile>) -> Key {
    (fd, Arc::as_ptr(file).addr())
}

/// An entry of the interest list.
#[derive(Debug)]
struct Item {
    epoll: Weak<Epoll>,
    file: Weak<OpenFile>,
    interest: SpinLock<Interest>,
    /// In the list of candidates.
    queued: AtomicBool,
    /// Taken out of the interest list, maybe while it was a candidate.
    gone: AtomicBool,
    /// The registration; it refers back to this item, and is taken to let go of it.
    listener: SpinLock<Option<Listener<Arc<WaitQueue>>>>,
}

impl Item {
    /// Makes it a candidate, and wakes one who waits for events.
    fn queue(self: &Arc<Self>) {
        let Some(epoll) = self.epoll.upgrade() else { return };
        if !self.queued.swap(true, Ordering::AcqRel) {
            epoll.inner.lock().candidates.push_back(Arc::clone(self));
        }
        epoll.changed.wake_one();
    }

    /// What is ready of what is asked for.
    fn ready(&self) -> Ready {
        if self.gone.load(Ordering::Acquire) {
            return Ready::empty();
        }
        let wanted = Ready::from_bits_truncate(self.interest.lock().events);
        self.file.upgrade().map_or(Ready::empty(), |file| file.ready() & wanted)
    }

    /// Makes it a candidate if it is ready.
    fn queue_if_ready(self: &Arc<Self>) {
        if !self.ready().is_empty() {
            self.queue();
        }
    }

    /// Lets go of the file's queue.
    fn leave(&self) {
        self.gone.store(true, Ordering::Release);
        let listener = self.listener.lock().take();
        drop(listener);
    }
}

impl Wake for Item {
    fn wake(self: Arc<Self>) {
        self.queue();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue();
    }
}

/// Whether the program could be told of an event, and whether there is room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It has been told, and can be told of more.
    GoOn,
    /// It has been told, and that was the last.
    Enough,
    /// It could not be told: the item is a candidate again.
    Not,
}

impl Epoll {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: SpinLock::default(), changed: Arc::default(), watchers: SpinLock::default() })
    }

    /// The instance behind `file`, if it is one.
    pub fn of(file: &OpenFile) -> Option<&Arc<Self>> {
        file.ops()?.downcast_ref::<EpollFile>().map(|file| &file.0)
    }

    /// `EPOLL_CTL_ADD`. `EPERM` for a file that is always ready, `EEXIST`, `ELOOP` when instances would watch each other, or too deep,
    /// `EINVAL` for what `EPOLLEXCLUSIVE` does not go with.
    pub fn add(self: &Arc<Self>, fd: i32, file: &Arc<OpenFile>, interest: Interest) -> Result<(), Errno> {
        /// Changes of who watches whom, one at a time: no two of them close a loop together.
        static NESTING: SpinLock<()> = SpinLock::new(());
        let queue = file.wait_queue().ok_or(Errno::EPERM)?;
        let inner_epoll = Self::of(file);
        let exclusive_with = Ready::READABLE | Ready::WRITABLE | ALWAYS;
        let exclusive_ok = Mode::all().difference(Mode::ONE_SHOT).bits() | exclusive_with.bits();
        if interest.mode().contains(Mode::EXCLUSIVE)
            && (inner_epoll.is_some() || interest.events & !exclusive_ok != 0)
        {
            return Err(Errno::EINVAL);
        }
        let nesting = inner_epoll.map(|inner| (NESTING.lock(), inner));
        if let Some((_, inner)) = &nesting {
            self.check_nesting(inner)?;
            let mut watchers = inner.watchers.lock();
            watchers.retain(|watcher| watcher.strong_count() > 0);
            watchers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        }
        let item = Arc::new(Item {
            epoll: Arc::downgrade(self),
            file: Arc::downgrade(file),
            interest: SpinLock::new(Interest { events: interest.events | ALWAYS.bits(), ..interest }),
            queued: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            listener: SpinLock::new(None),
        });
        self.sweep();
        let mut state = self.inner.lock();
        if state.items.contains_key(&key(fd, file)) {
            return Err(Errno::EEXIST);
        }
        // Room for all of them: who wakes an item cannot fail.
        let items = state.items.len() + 1;
        state.candidates.try_reserve(items).map_err(|_| Errno::ENOMEM)?;
        state.items.insert(key(fd, file), Arc::clone(&item));
        drop(state);
        let Ok(listener) = queue.listen_owned(&Waker::from(Arc::clone(&item))) else {
            self.inner.lock().items.remove(&key(fd, file));
            return Err(Errno::ENOMEM);
        };
        listener.hear_of_room(interest.wants_room());
        *item.listener.lock() = Some(listener);
        if item.gone.load(Ordering::Acquire) {
            // It was deleted before it had anything to let go of.
            item.leave();
        }
        if let Some((_, inner)) = &nesting {
            inner.watchers.lock().push(Arc::downgrade(self));
        }
        drop(nesting);
        item.queue_if_ready();
        Ok(())
    }

    /// `EPOLL_CTL_MOD`. `ENOENT`; `EINVAL` for `EPOLLEXCLUSIVE`, now or before.
    pub fn modify(&self, fd: i32, file: &Arc<OpenFile>, interest: Interest) -> Result<(), Errno> {
        if interest.mode().contains(Mode::EXCLUSIVE) {
            return Err(Errno::EINVAL);
        }
        let item = self.inner.lock().items.get(&key(fd, file)).cloned().ok_or(Errno::ENOENT)?;
        let mut current = item.interest.lock();
        if current.mode().contains(Mode::EXCLUSIVE) {
            return Err(Errno::EINVAL);
        }
        *current = Interest { events: interest.events | ALWAYS.bits(), ..interest };
        drop(current);
        if let Some(listener) = &*item.listener.lock() {
            listener.hear_of_room(interest.wants_room());
        }
        item.queue_if_ready();
        Ok(())
    }

    /// `EPOLL_CTL_DEL`. `ENOENT`.
    pub fn delete(&self, fd: i32, file: &Arc<OpenFile>) -> Result<(), Errno> {
        let item = self.inner.lock().items.remove(&key(fd, file)).ok_or(Errno::ENOENT)?;
        item.leave();
        if let Some(inner) = Self::of(file) {
            let mut watchers = inner.watchers.lock();
            if let Some(index) = watchers.iter().position(|watcher| core::ptr::eq(watcher.as_ptr(), self)) {
                watchers.swap_remove(index);
            }
        }
        Ok(())
    }

    /// Tells of what is ready, what waited longest first, until `tell` has enough.
    pub fn collect(&self, tell: &mut dyn FnMut(Interest) -> Told) {
        // Each candidate is looked at once, though it may come back to the end of the list.
        let mut left = self.inner.lock().candidates.len();
        let mut found = false;
        while left > 0 {
            left -= 1;
            // Bound to its own statement: the lock must not be held while the file is asked.
            let next = self.inner.lock().candidates.pop_front();
            let Some(item) = next else { break };
            // From here on a wake-up makes it a candidate again.
            item.queued.swap(false, Ordering::AcqRel);
            let ready = item.ready();
            let mut interest = item.interest.lock();
            // Asked once more: another collector may have silenced it meanwhile.
            let report = Interest { events: ready.bits() & interest.events, data: interest.data };
            if report.events == 0 {
                continue;
            }
            found = true;
            let (asked, mode) = (interest.events, interest.mode());
            if mode.contains(Mode::ONE_SHOT) {
                interest.events = mode.bits();
            }
            drop(interest);
            let told = tell(report);
            if told == Told::Not {
                // It is no longer silenced, unless it has been modified meanwhile.
                let mut interest = item.interest.lock();
                if interest.events == mode.bits() {
                    interest.events = asked;
                }
            }
            if (told == Told::Not || !mode.intersects(Mode::ONE_SHOT | Mode::EDGE))
                && !item.queued.swap(true, Ordering::AcqRel)
            {
                self.inner.lock().candidates.push_back(item);
            }
            if told != Told::GoOn {
                break;
            }
        }
        if found && !self.inner.lock().candidates.is_empty() {
            // What this caller leaves is for the next.
            self.changed.wake_one();
        }
    }

    /// Waits until there is something to [`collect`](Self::collect).
    pub async fn wait(&self) {
        self.changed.until(|| self.is_ready().then_some(())).await;
    }

    /// True when an event could be collected.
    fn is_ready(&self) -> bool {
        loop {
            let Some(first) = self.inner.lock().candidates.front().cloned() else { return false };
            if !first.ready().is_empty() {
                return true;
            }
            // Not ready after all; a wake-up will bring it back.
            let mut inner = self.inner.lock();
            if inner.candidates.front().is_some_and(|item| Arc::ptr_eq(item, &first)) {
                inner.candidates.pop_front();
                first.queued.store(false, Ordering::Release);
            }
            drop(inner);
            // It may have become so in between, when it still counted as a candidate.
            first.queue_if_ready();
        }
    }

    /// `ELOOP` if watching `inner` closed a loop, or made a chain of more than [`NESTS_MAX`] instances below another.
    fn check_nesting(self: &Arc<Self>, inner: &Arc<Self>) -> Result<(), Errno> {
        if Arc::ptr_eq(inner, self) {
            return Err(Errno::ELOOP);
        }
        let below = inner.depth_below(self, 1)?;
        let above = self.height_above(0).ok_or(Errno::ELOOP)?;
        if above + below > NESTS_MAX { Err(Errno::ELOOP) } else { Ok(()) }
    }

    /// The longest chain of instances from this one, at `level`, down. `ELOOP` when `sought` is in it, or it is too long.
    fn depth_below(&self, sought: &Arc<Self>, level: usize) -> Result<usize, Errno> {
        if level > NESTS_MAX {
            return Err(Errno::ELOOP);
        }
        // Let go of without the lock: it may be the last that keeps a file open, whose end wakes this very instance.
        let mut files = Vec::new();
        let state = self.inner.lock();
        files.try_reserve_exact(state.items.len()).map_err(|_| Errno::ENOMEM)?;
        files.extend(state.items.values().filter_map(|item| item.file.upgrade()));
        drop(state);
        let mut deepest = level;
        for inner in files.iter().filter_map(|file| Self::of(file)) {
            if Arc::ptr_eq(inner, sought) {
                return Err(Errno::ELOOP);
            }
            deepest = deepest.max(inner.depth_below(sought, level + 1)?);
        }
        Ok(deepest)
    }

    /// The longest chain of instances that watch this one, which has `level` below it; `None` when it is too long.
    fn height_above(&self, level: usize) -> Option<usize> {
        if level > NESTS_MAX {
            return None;
        }
        let watchers: Vec<_> = self.watchers.lock().iter().filter_map(Weak::upgrade).collect();
        watchers
            .iter()
            .try_fold(level, |highest, watcher| Some(highest.max(watcher.height_above(level + 1)?)))
    }

    /// The address of the file that descriptor `fd` was when it was added: of several that are still open, the one behind `skip` others
    /// (`ep_find_tfd`).
    pub fn target(&self, fd: i32, skip: u32) -> Option<usize> {
        let inner = self.inner.lock();
        let mut left = skip;
        for (key, item) in &inner.items {
            if key.0 == fd && item.file.strong_count() > 0 {
                if left == 0 {
                    return Some(key.1);
                }
                left -= 1;
            }
        }
        None
    }

    /// Drops the items of closed files when the list has doubled since the last time.
    fn sweep(&self) {
        let mut inner = self.inner.lock();
        if inner.items.len() < inner.sweep_at.max(SWEEP_MIN) {
            return;
        }
        let mut closed = Vec::new();
        inner.items.retain(|_, item| {
            let live = item.file.strong_count() > 0;
            if !live {
                closed.push(Arc::clone(item));
            }
            live
        });
        inner.sweep_at = inner.items.len() * 2;
        drop(inner);
        for item in closed {
            item.leave();
        }
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let items = core::mem::take(&mut self.inner.lock().items);
        for item in items.values() {
            item.leave();
        }
    }
}

/// `epoll_create(2)`: a file that is a new instance.
pub fn new_epoll() -> Result<Arc<OpenFile>, Errno> {
    anonymous_file("[eventpoll]", OpenFlags::RDWR, Box::new(EpollFile(Epoll::new())))
}

#[derive(Debug)]
struct EpollFile(Arc<Epoll>);

impl FileOps for EpollFile {
    fn ready(&self, _file: &OpenFile) -> Ready {
        if self.0.is_ready() { Ready::READABLE } else { Ready::empty() }
    }

    fn wait_queue(&self) -> Option<Arc<WaitQueue>> {
        Some(Arc::clone(&self.0.changed))
    }

    fn ioctl(&self, _: &OpenFile, _: u32, _: usize, _: &mut dyn UserMemory) -> isopod_fs::Result<usize> {
        // Since Linux 6.9 an epoll instance has requests of its own, and says so to all others.
        Err(Errno::EINVAL.into())
    }

    fn transfers(&self) -> bool {
        false
    }

    fn seeking(&self) -> Seeking {
        Seeking::ZeroButStream
    }
}

#[cfg(all(test, loom))]
mod models;

#[cfg(all(test, not(loom)))]
mod tests;
