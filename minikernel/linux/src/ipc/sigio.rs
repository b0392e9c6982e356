//! Signals that tell of a file: fcntl(2), "Managing signals" and "File and directory change notification (dnotify)".

use alloc::sync::{Arc, Weak};
use alloc::task::Wake;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::task::Waker;

use isopod_fs::file::{OpenFile, Ready};
use isopod_fs::{Errno, Event, Events, FileType, Inode, Watcher};
use isopod_hal::sync::SpinLock;
use isopod_hal::sync::wait::{Listener, WaitQueue};

use crate::process::{Process, Thread, find_process, find_thread, hold_groups, processes};
use crate::sched;
use crate::signal::{SigInfo, Signal, send_to_process, send_to_thread};

/// `F_OWNER_TID`
pub const THREAD: i32 = 0;
/// `F_OWNER_PID`
pub const PROCESS: i32 = 1;
/// `F_OWNER_PGRP`
pub const GROUP: i32 = 2;

/// `POLL_IN`, `POLL_OUT`, `POLL_MSG`, `POLL_ERR`, `POLL_HUP`, each with the events that it is told with.
const IN: (i32, u32) = (1, 0x41);
const OUT: (i32, u32) = (2, 0x304);
const MESSAGE: (i32, u32) = (3, 0x441);
const ERROR: (i32, u32) = (4, 0x8);
const HANG_UP: (i32, u32) = (6, 0x18);

/// The bits of `F_NOTIFY` and what they ask for: `DN_ACCESS`, `DN_MODIFY`, `DN_CREATE`, `DN_DELETE`, `DN_RENAME`, `DN_ATTRIB`.
const NOTICES: [Events; 6] = [
    Events::ACCESS,
    Events::MODIFY,
    Events::CREATE.union(Events::MOVED_TO),
    Events::DELETE.union(Events::MOVED_FROM),
    Events::MOVED_FROM,
    Events::ATTRIB,
];
/// `DN_MULTISHOT`: the watch stays when it has told of something.
const MULTISHOT: u32 = 1 << 31;

/// Who is told, by what, and for whom it was asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    /// What `id` is of.
    pub kind: i32,
    /// 0 for nobody.
    pub id: u32,
    /// The real and the effective user who said so, who must be allowed to send signals (`sigio_perm`).
    pub users: [u32; 2],
    /// `None` for SIGIO without any details.
    pub signal: Option<Signal>,
}

impl Told {
    /// Calls `act` for everybody who is told: a thread alone, or a process.
    fn each(&self, act: &mut dyn FnMut(&Process, Option<&Thread>)) {
        match self.kind {
            _ if self.id == 0 => {}
            THREAD => drop(find_thread(self.id).map(|thread| act(thread.process(), Some(&thread)))),
            PROCESS => drop(find_process(self.id).map(|process| act(&process, None))),
            _ => {
                let _groups = hold_groups();
                processes()
                    .filter(|process| process.group.load(Ordering::Relaxed) == self.id)
                    .for_each(|process| act(&process, None));
            }
        }
    }
}

impl Told {
    /// Sends a signal with details, or without them another, to whom it may be sent.
    fn send(&self, detailed: Option<SigInfo>, plain: Signal) {
        self.each(&mut |process, thread| {
            let first = process.first_thread();
            let Some(about) = thread.or(first.as_deref()) else { return };
            let users = about.identity().users;
            let known = |user: &u32| *user == users.real || *user == users.saved;
            if self.users[1] != 0 && !self.users.iter().any(known) {
                return;
            }
            let send = |signal, info| match thread {
                Some(thread) => send_to_thread(thread, signal, info),
                None => send_to_process(process, signal, info),
            };
            let told = self.signal.zip(detailed).map(|(signal, info)| send(signal, info));
            if !matches!(told, Some(Ok(()))) {
                // To those whose queue is full, too. Of a standard signal one is enough.
                let _ = send(plain, SigInfo::kernel(plain));
            }
        });
    }
}

/// The owner of an open file description.
#[derive(Debug, Default)]
pub struct Owner {
    told: SpinLock<Told>,
    /// Hears of changes as long as `O_ASYNC` is set.
    ear: SpinLock<Option<Listener<Arc<WaitQueue>>>>,
    /// What of a directory is told: bits of `F_NOTIFY`.
    notice: AtomicU32,
}

impl Owner {
    /// That of `file`.
    pub fn of(file: &OpenFile) -> Result<Arc<Self>, Errno> {
        let attached = file.attached().get_or_init(|| Arc::new(Self::default()));
        Arc::clone(attached).downcast().map_err(|_| Errno::EINVAL)
    }

    /// Who is told, if they are still there.
    pub fn told(&self) -> Told {
        let mut told = *self.told.lock();
        let mut any = false;
        told.each(&mut |_, _| any = true);
        told.id = if any { told.id } else { 0 };
        told
    }

    /// Changes who is told.
    pub fn change(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock());
    }

    /// Tells of changes of `file`, whose descriptor is `fd`, or no more (`O_ASYNC`). `ENOTTY` for what never changes.
    pub fn listen(file: &Arc<OpenFile>, fd: i32, on: bool) -> Result<(), Errno> {
        let queue = file.wait_queue().ok_or(Errno::ENOTTY)?;
        let owner = Self::of(file)?;
        let mut ear = None;
        if on {
            let waker =
                Waker::from(Arc::new(Ear { file: Arc::downgrade(file), fd, called: AtomicBool::new(false) }));
            ear = Some(queue.listen_owned(&waker).map_err(|_| Errno::ENOMEM)?);
        }
        let before = core::mem::replace(&mut *owner.ear.lock(), ear);
        drop(before);
        Ok(())
    }

    /// Tells of these events in a directory too, or of none (`F_NOTIFY`). The watch is the process's: it ends when that closes the file.
    pub fn notify(file: &OpenFile, fd: i32, process: u32, events: u32) -> Result<(), Errno> {
        let (owner, state) = (Self::of(file)?, file.inode().state());
        let identity = file.watch_identity(process);
        if events & !MULTISHOT == 0 {
            owner.notice.store(0, Ordering::Relaxed);
            drop(state.unwatch(identity));
            return Ok(());
        }
        if file.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        owner.notice.fetch_or(events, Ordering::Relaxed);
        if state.watch_of(identity.0).is_none() {
            let inode = Arc::downgrade(file.inode());
            state.watch(Arc::new(Notice { identity, inode, owner, fd })).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(())
    }

    /// Sends the signals (`send_sigio`).
    fn tell(&self, (code, band): (i32, u32), fd: i32) {
        let told = *self.told.lock();
        let info = told.signal.map(|signal| SigInfo::of_file(signal, code, band, fd));
        told.send(info, Signal::IO);
    }

    /// Tells the owner of `file`, if it has one, that urgent data has come (`send_sigurg`).
    pub fn tell_urgent(file: &OpenFile) {
        let owner = file.attached().get().and_then(|_| Self::of(file).ok());
        let told = owner.map(|owner| *owner.told.lock()).filter(|told| told.id != 0);
        if let Some(told) = told {
            // Whoever has it to tell may hold locks.
            sched::spawn(async move { told.send(None, Signal::URG) });
        }
    }
}

/// What a file's queue wakes.
struct Ear {
    file: Weak<OpenFile>,
    fd: i32,
    /// It is about to tell.
    called: AtomicBool,
}

impl Wake for Ear {
    fn wake(self: Arc<Self>) {
        // Whoever wakes may hold what the file must lock to say what has changed.
        if !self.called.swap(true, Ordering::Relaxed) {
            sched::spawn(async move { self.tell() });
        }
    }
}

impl Ear {
    fn tell(&self) {
        self.called.store(false, Ordering::Relaxed);
        let Some(file) = self.file.upgrade() else { return };
        let ready = file.ready();
        let what = match () {
            () if ready.contains(Ready::ERROR) => ERROR,
            () if ready.contains(Ready::HANG_UP) => HANG_UP,
            () if ready.contains(Ready::READ) => IN,
            () if ready.contains(Ready::WRITE) => OUT,
            () => return,
        };
        if let Ok(owner) = Owner::of(&file) {
            owner.tell(what, self.fd);
        }
    }
}

/// Watches a directory (`F_NOTIFY`).
struct Notice {
    identity: (u64, i32),
    inode: Weak<dyn Inode>,
    owner: Arc<Owner>,
    fd: i32,
}

impl Watcher for Notice {
    fn identity(&self) -> (u64, i32) {
        self.identity
    }

    fn hear(&self, event: &Event<'_>) {
        let notice = self.owner.notice.load(Ordering::Relaxed);
        let wanted =
            |(bit, events): (usize, &Events)| notice & 1 << bit != 0 && event.what.intersects(*events);
        if !NOTICES.iter().enumerate().any(wanted) {
            return;
        }
        if notice & MULTISHOT == 0 {
            self.owner.notice.store(0, Ordering::Relaxed);
            self.end();
        }
        self.owner.tell(MESSAGE, self.fd);
    }

    fn end(&self) {
        if let Some(inode) = self.inode.upgrade() {
            drop(inode.state().unwatch(self.identity));
        }
    }
}
