//! All sockets of the family, for `/proc/net/unix`, and those whose name is in no directory.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use isopod_fs::{Errno, Result};
use isopod_hal::sync::SpinLock;

use super::{Address, Kind, Phase, UnixSocket};

/// Every socket, and some that are no more.
static ALL: SpinLock<(Vec<Weak<UnixSocket>>, usize)> = SpinLock::new((Vec::new(), SWEEP_MIN));
/// Up to so many, those that are no more are not looked for.
const SWEEP_MIN: usize = 64;

/// Sockets by kind and name, rising.
static ABSTRACT: SpinLock<Vec<Named>> = SpinLock::new(Vec::new());

struct Named {
    kind: Kind,
    name: Arc<Address>,
    socket: Weak<UnixSocket>,
}

/// Enters a new socket. Without memory for that it is one that is not shown.
pub(super) fn enter(socket: &Arc<UnixSocket>) {
    let mut all = ALL.lock();
    let (sockets, sweep_at) = &mut *all;
    if sockets.len() >= *sweep_at {
        sockets.retain(|socket| socket.strong_count() > 0);
        *sweep_at = (sockets.len() * 2).max(SWEEP_MIN);
    }
    if sockets.try_reserve(1).is_ok() {
        sockets.push(Arc::downgrade(socket));
    }
}

fn place(sockets: &[Named], kind: Kind, name: &Address) -> core::result::Result<usize, usize> {
    sockets.binary_search_by(|known| (known.kind, known.name.bytes()).cmp(&(kind, name.bytes())))
}

/// Gives `socket` a name that is in no directory; EADDRINUSE if another of its kind has it.
pub(super) fn name(socket: &UnixSocket, name: &Arc<Address>) -> Result<()> {
    let mut sockets = ABSTRACT.lock();
    let Err(index) = place(&sockets, socket.kind(), name) else { return Err(Errno::EADDRINUSE.into()) };
    sockets.try_reserve(1)?;
    let (name, weak) = (Arc::clone(name), Weak::clone(&socket.me));
    sockets.insert(index, Named { kind: socket.kind(), name, socket: weak });
    Ok(())
}

/// Takes the name of a socket that is closed.
pub(super) fn unname(socket: &UnixSocket, name: &Address) {
    let mut sockets = ABSTRACT.lock();
    if let Ok(index) = place(&sockets, socket.kind(), name)
        && core::ptr::eq(sockets[index].socket.as_ptr(), socket)
    {
        sockets.remove(index);
    }
}

/// The socket of this kind and name.
pub(super) fn find(kind: Kind, name: &Address) -> Option<Arc<UnixSocket>> {
    let sockets = ABSTRACT.lock();
    place(&sockets, kind, name).ok().and_then(|index| sockets[index].socket.upgrade())
}

/// What `/proc/net/unix` tells of a socket.
#[derive(Debug)]
pub struct Shown {
    /// How many refer to it.
    pub references: usize,
    /// Its kind.
    pub kind: Kind,
    /// It listens.
    pub listens: bool,
    /// It is connected.
    pub connected: bool,
    /// The inode's number.
    pub inode: u64,
    /// Its name.
    pub name: Option<Arc<Address>>,
    /// The inode's number of the other side.
    pub peer: Option<u64>,
    /// Bytes that can be received; connections that wait to be accepted.
    pub receiving: usize,
    /// Bytes that nobody has received; connections that may wait to be accepted.
    pub sending: usize,
    /// What shutdown(2) has ended, as its bits.
    pub ended: u8,
}

/// Calls `visit` for every socket. ENOMEM
pub fn for_each(visit: &mut dyn FnMut(&Shown)) -> Result<()> {
    let mut sockets = Vec::new();
    {
        let all = ALL.lock();
        sockets.try_reserve_exact(all.0.len())?;
        sockets.extend(all.0.iter().filter_map(Weak::upgrade));
    }
    for socket in sockets {
        let state = socket.state.lock();
        if state.dead {
            continue;
        }
        let listens = state.phase == Phase::Listening;
        let shown = Shown {
            // This function's stands for the file's own, which Linux counts apart.
            references: Arc::strong_count(&socket),
            kind: socket.kind(),
            listens,
            connected: state.phase == Phase::Connected,
            inode: socket.common.inode.load(Ordering::Relaxed),
            name: state.name.clone(),
            peer: state.peer.as_ref().map(|peer| peer.common.inode.load(Ordering::Relaxed)),
            receiving: match state.messages.front() {
                _ if listens => state.arrivals.len(),
                Some(first) if socket.kind() == Kind::Datagram => first.length,
                _ => state.bytes.len(),
            },
            sending: if listens { state.backlog } else { socket.charged.load(Ordering::Relaxed) },
            ended: state.shutdown.bits(),
        };
        drop(state);
        visit(&shown);
    }
    Ok(())
}
