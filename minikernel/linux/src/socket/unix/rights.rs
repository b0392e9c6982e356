//! Open files on their way from one process to another: `SCM_RIGHTS` (unix(7)).
//!
//! A file in flight is kept open by the message it travels with. Two things follow. A user could have many more files open than their limit
//! allows, so files in flight are counted by user. And a socket could wait in its own queue, or two in each other's, with no descriptor left
//! anywhere: sockets in flight are therefore known by name, and [`collect`](super::collect) finds those that keep only each other.
//!
//! Locks are taken in this order: the list of sockets in flight, a listening socket, any other socket. Files are closed with none of them held,
//! and never from within another's closing: however long a chain of sockets within sockets is, it needs no more stack.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use isopod_fs::Errno;
use isopod_fs::file::OpenFile;
use isopod_hal::sync::SpinLock;

use super::UnixSocket;

/// The most files of one message (`SCM_MAX_FD`).
pub const FILES_MAX: usize = 253;

/// The files that travel with a message; often none.
#[derive(Debug, Default)]
pub struct Rights(Option<Box<Parcel>>);

#[derive(Debug)]
struct Parcel {
    files: Vec<Arc<OpenFile>>,
    user: u32,
    /// The next of those that are to be closed.
    next: Option<Box<Self>>,
}

impl Rights {
    /// `files`, at least one, on their way, sent by `user`. `ETOOMANYREFS` when the user has more than `limit` on their way already. `ENOMEM`
    pub fn new(files: Vec<Arc<OpenFile>>, user: u32, limit: u64) -> Result<Self, Errno> {
        let sockets = files.iter().filter(|file| UnixSocket::of(file).is_some()).count();
        let mut graph = GRAPH.lock();
        graph.sockets.try_reserve(sockets).map_err(|_| Errno::ENOMEM)?;
        graph.count(user, files.len(), limit)?;
        for file in &files {
            graph.enter(file);
        }
        drop(graph);
        Ok(Self(Some(Box::new(Parcel { files, user, next: None }))))
    }

    /// True with at least one file.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// The files.
    pub fn files(&self) -> &[Arc<OpenFile>] {
        self.0.as_ref().map_or(&[], |parcel| &parcel.files)
    }

    /// The files, which have arrived.
    pub fn into_files(mut self) -> Vec<Arc<OpenFile>> {
        self.0.take().map_or_else(Vec::new, |mut parcel| parcel.arrive())
    }

    /// The files, which stay on their way. `ENOMEM`
    pub fn duplicate(&self) -> Result<Vec<Arc<OpenFile>>, Errno> {
        let mut files = Vec::new();
        files.try_reserve_exact(self.files().len()).map_err(|_| Errno::ENOMEM)?;
        files.extend_from_slice(self.files());
        Ok(files)
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        if let Some(parcel) = self.0.take() {
            close(parcel);
        }
    }
}

impl Parcel {
    fn arrive(&mut self) -> Vec<Arc<OpenFile>> {
        let mut graph = GRAPH.lock();
        graph.uncount(self.user, self.files.len());
        for file in &self.files {
            graph.leave(file);
        }
        core::mem::take(&mut self.files)
    }
}

/// What is to be closed.
static LIMBO: SpinLock<Option<Box<Parcel>>> = SpinLock::new(None);
/// Somebody closes it.
static CLOSING: AtomicBool = AtomicBool::new(false);

/// Closes the files of `parcel`, and then those that were held by sockets among them, and so on.
fn close(mut parcel: Box<Parcel>) {
    {
        let mut limbo = LIMBO.lock();
        parcel.next = limbo.take();
        *limbo = Some(parcel);
    }
    // Who finds somebody at it leaves it to them; they look once more after they have said that they are done.
    while LIMBO.lock().is_some() && !CLOSING.swap(true, Ordering::AcqRel) {
        while let Some(mut parcel) = next_to_close() {
            drop(parcel.arrive());
        }
        CLOSING.store(false, Ordering::Release);
    }
}

fn next_to_close() -> Option<Box<Parcel>> {
    let mut limbo = LIMBO.lock();
    let mut first = limbo.take()?;
    *limbo = first.next.take();
    Some(first)
}

/// The sockets in flight, and how many files each user has there.
#[derive(Debug)]
pub(super) struct Graph {
    pub sockets: Vec<InFlight>,
    users: Vec<(u32, usize)>,
    /// How many sockets were closed since the last search for circles.
    pub closed: usize,
}

/// A socket in flight.
#[derive(Debug)]
pub(super) struct InFlight {
    pub file: Weak<OpenFile>,
    pub socket: Arc<UnixSocket>,
    /// How often.
    pub count: usize,
    /// For the search: how often of that in queues of sockets that no descriptor refers to.
    pub inner: usize,
    /// For the search: somebody can come to receive it.
    pub reachable: bool,
}

pub(super) static GRAPH: SpinLock<Graph> =
    SpinLock::new(Graph { sockets: Vec::new(), users: Vec::new(), closed: 0 });

impl Graph {
    fn count(&mut self, user: u32, files: usize, limit: u64) -> Result<(), Errno> {
        self.users.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let known = self.users.iter().position(|entry| entry.0 == user);
        let index = known.unwrap_or_else(|| {
            self.users.push((user, 0));
            self.users.len() - 1
        });
        if self.users[index].1 as u64 > limit {
            return Err(Errno::ETOOMANYREFS);
        }
        self.users[index].1 += files;
        Ok(())
    }

    fn uncount(&mut self, user: u32, files: usize) {
        if let Some(index) = self.users.iter().position(|entry| entry.0 == user) {
            self.users[index].1 -= files;
            if self.users[index].1 == 0 {
                self.users.swap_remove(index);
            }
        }
    }

    /// Notes that `file` is in flight once more, if it is a socket. There is room.
    fn enter(&mut self, file: &Arc<OpenFile>) {
        let Some(socket) = UnixSocket::of(file) else { return };
        if let Some(index) = index_of(socket) {
            self.sockets[index].count += 1;
            return;
        }
        let Some(socket) = socket.me.upgrade() else { return };
        socket.flight.store(self.sockets.len() + 1, Ordering::Relaxed);
        let file = Arc::downgrade(file);
        self.sockets.push(InFlight { file, socket, count: 1, inner: 0, reachable: false });
    }

    /// Notes that `file` is in flight once less.
    fn leave(&mut self, file: &Arc<OpenFile>) {
        let Some(index) = UnixSocket::of(file).and_then(index_of) else { return };
        self.sockets[index].count -= 1;
        if self.sockets[index].count > 0 {
            return;
        }
        self.sockets.swap_remove(index).socket.flight.store(0, Ordering::Relaxed);
        if let Some(moved) = self.sockets.get(index) {
            moved.socket.flight.store(index + 1, Ordering::Relaxed);
        }
    }
}

/// Where a socket stands in the list, if it is in flight. The list is locked.
pub(super) fn index_of(socket: &UnixSocket) -> Option<usize> {
    socket.flight.load(Ordering::Relaxed).checked_sub(1)
}
