//! All sockets of the Internet, for `/proc/net`.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use isopod_fs::Result;
use isopod_hal::sync::SpinLock;
use isopod_net::address::SocketAddress;
use isopod_net::segments::to_packets;
use isopod_net::tcp::{Endpoint, Seen};

use super::{AF_INET, AF_INET6, stack};

/// What is told of a socket.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Its family.
    pub family: u16,
    /// Where it is.
    pub local: SocketAddress,
    /// Its peer; any address if it has none.
    pub remote: SocketAddress,
    /// `TCP_ESTABLISHED` and its kin.
    pub state: u8,
    /// Bytes that wait to be sent.
    pub sending: usize,
    /// Bytes that wait to be received; connections that wait to be accepted.
    pub receiving: usize,
    /// Whose it is.
    pub owner: u32,
    /// The inode's number.
    pub inode: u64,
    /// Messages that found no room.
    pub dropped: u32,
}

/// A socket that can be shown.
pub trait Listed: Send + Sync {
    /// What there is to tell; nothing of one that has no port.
    fn shown(&self) -> Option<Shown>;
}

/// Sockets of a protocol, some of which may be no more.
pub struct All(SpinLock<(Vec<Weak<dyn Listed>>, usize)>);

/// Up to so many, those that are no more are not looked for.
const SWEEP_MIN: usize = 64;
/// `TCP_SYN_RECV`
const SYN_RECEIVED: u8 = 3;
/// `TCP_TIME_WAIT`
const TIME_WAIT: u8 = 6;

/// The sockets of TCP.
pub static STREAMS: All = All::new();
/// The sockets of UDP.
pub static DATAGRAMS: All = All::new();

impl core::fmt::Debug for All {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("All").finish_non_exhaustive()
    }
}

impl All {
    const fn new() -> Self {
        Self(SpinLock::new((Vec::new(), SWEEP_MIN)))
    }

    /// Enters a new socket. Without memory for that it is one that is not shown.
    pub fn enter(&self, socket: &Arc<impl Listed + 'static>) {
        let socket: Weak<dyn Listed> = Arc::downgrade(socket) as Weak<dyn Listed>;
        let mut all = self.0.lock();
        let (sockets, sweep_at) = &mut *all;
        if sockets.len() >= *sweep_at {
            sockets.retain(|socket| socket.strong_count() > 0);
            *sweep_at = (sockets.len() * 2).max(SWEEP_MIN);
        }
        if sockets.try_reserve(1).is_ok() {
            sockets.push(socket);
        }
    }

    /// What there is to tell of all sockets of a family. ENOMEM
    pub fn shown(&self, family: u16) -> Result<Vec<Shown>> {
        let mut sockets = Vec::new();
        {
            let all = self.0.lock();
            sockets.try_reserve_exact(all.0.len())?;
            sockets.extend(all.0.iter().filter_map(Weak::upgrade));
        }
        let mut shown = Vec::new();
        shown.try_reserve_exact(sockets.len())?;
        shown.extend(
            sockets.iter().filter_map(|socket| socket.shown()).filter(|shown| shown.family == family),
        );
        Ok(shown)
    }
}

/// What there is to tell of connections of a family that are no socket's: those that a peer begins, and those that are over. ENOMEM
pub fn of_nobody(family: u16) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    let mut lost = Ok(());
    stack().tcp.each(&mut |seen| {
        let (flow, state) = match seen {
            Seen::Stream(_) => return,
            Seen::Request(flow) => (flow, SYN_RECEIVED),
            Seen::TimeWait(flow, _) => (flow, TIME_WAIT),
        };
        let place = |at: &Endpoint| SocketAddress { address: to_packets(at.address), port: at.port };
        if flow.local.address.is_ipv4() != (family == AF_INET) {
            return;
        }
        if let Err(error) = shown.try_reserve(1) {
            lost = Err(error.into());
            return;
        }
        shown.push(Shown {
            family: if flow.local.address.is_ipv4() { AF_INET } else { AF_INET6 },
            local: place(&flow.local),
            remote: place(&flow.remote),
            state,
            sending: 0,
            receiving: 0,
            owner: 0,
            inode: 0,
            dropped: 0,
        });
    });
    lost.map(|()| shown)
}
