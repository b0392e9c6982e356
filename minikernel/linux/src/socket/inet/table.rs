//! All sockets of the Internet, for `/proc/net`.

use alloc::collections::TryReserveError;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use isopod_fs::Result;
use isopod_hal::sync::SpinLock;
use isopod_net::address::SocketAddress;
use isopod_net::segments::to_packets;
use isopod_net::tcp::{Endpoint, Flow, Seen};

use super::tcp_options::{CLOSED, number_of};
use super::{AF_INET6, stack};

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
    /// How many connections may wait to be accepted.
    pub room: usize,
    /// What shutdown(2) has ended, as its bits.
    pub ended: u8,
    /// It has no peers of IPv4, though its family is that of IPv6.
    pub only_v6: bool,
}

/// A socket that can be shown.
pub trait Listed: Send + Sync {
    /// What there is to tell; nothing of one that has no port.
    fn shown(&self) -> Option<Shown>;
}

/// Sockets of a protocol.
pub struct All(SpinLock<Table>);

struct Table {
    /// Those that are there, and behind each one that is gone the next such place.
    places: Vec<core::result::Result<Weak<dyn Listed>, usize>>,
    free: usize,
    used: usize,
}

/// The place of a socket among all, which it gives back.
pub struct Place(&'static All, Option<usize>);

/// `TCP_SYN_RECV`
const SYN_RECEIVED: u8 = 3;
/// `TCP_TIME_WAIT`
const TIME_WAIT: u8 = 6;

/// The sockets of TCP.
pub static STREAMS: All = All::new();
/// The sockets of UDP.
pub static DATAGRAMS: All = All::new();
/// Those of whole packets.
pub static RAWS: All = All::new();

impl core::fmt::Debug for All {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("All").finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Place {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Place").field(&self.1).finish()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(place) = self.1 else { return };
        let mut all = self.0.0.lock();
        all.places[place] = Err(all.free);
        (all.free, all.used) = (place, all.used - 1);
        if all.used == 0 {
            *all = Table::new();
        }
    }
}

impl Table {
    const fn new() -> Self {
        Self { places: Vec::new(), free: usize::MAX, used: 0 }
    }
}

impl All {
    const fn new() -> Self {
        Self(SpinLock::new(Table::new()))
    }

    /// Enters a new socket. Without memory for that it is one that is not shown.
    pub fn enter(&'static self, socket: Weak<dyn Listed>) -> Place {
        let mut all = self.0.lock();
        if all.free == usize::MAX {
            if all.places.try_reserve(1).is_err() {
                return Place(self, None);
            }
            all.free = all.places.len();
            all.places.push(Err(usize::MAX));
        }
        let place = all.free;
        if let Err(next) = core::mem::replace(&mut all.places[place], Ok(socket)) {
            all.free = next;
        }
        all.used += 1;
        Place(self, Some(place))
    }

    /// What there is to tell of all sockets of a family. ENOMEM
    pub fn shown(&self, family: u16) -> Result<Vec<Shown>> {
        let mut sockets = Vec::new();
        {
            let all = self.0.lock();
            sockets.try_reserve_exact(all.used)?;
            sockets.extend(all.places.iter().flatten().filter_map(Weak::upgrade));
        }
        let mut shown = Vec::new();
        shown.try_reserve_exact(sockets.len())?;
        shown.extend(
            sockets.iter().filter_map(|socket| socket.shown()).filter(|shown| shown.family == family),
        );
        Ok(shown)
    }
}

/// What there is to tell of connections of a family that are no socket's: those that a peer begins, that nobody accepted yet, that nobody
/// has open any more, and that are over. ENOMEM
pub fn of_nobody(family: u16) -> Result<Vec<Shown>> {
    let (mut shown, mut streams) = (Vec::new(), Vec::new());
    let mut lost = Ok(());
    stack().tcp.each(&mut |seen| {
        let more = match seen {
            Seen::Stream(stream) if stream.is_watched() => return,
            // It is not to be locked here.
            Seen::Stream(stream) => streams.try_reserve(1).map(|()| streams.push(Arc::clone(stream))),
            Seen::Request(flow, v6) => add(&mut shown, family, flow, v6, SYN_RECEIVED),
            Seen::TimeWait(flow, v6, _) => add(&mut shown, family, flow, v6, TIME_WAIT),
        };
        if let Err(error) = more {
            lost = Err(error);
        }
    });
    lost?;
    for stream in streams {
        let (v6, state) = stream.look(|connection| (connection.options().v6, connection.state()));
        add(&mut shown, family, stream.flow(), v6, number_of(state))?;
    }
    Ok(shown)
}

/// Adds a connection, if it is one of the family.
fn add(
    shown: &mut Vec<Shown>,
    family: u16,
    flow: &Flow,
    v6: bool,
    state: u8,
) -> core::result::Result<(), TryReserveError> {
    if v6 != (family == AF_INET6) || state == CLOSED {
        return Ok(());
    }
    let place = |at: &Endpoint| SocketAddress { address: to_packets(at.address), port: at.port };
    shown.try_reserve(1)?;
    shown.push(Shown {
        family,
        local: place(&flow.local),
        remote: place(&flow.remote),
        state,
        sending: 0,
        receiving: 0,
        owner: 0,
        inode: 0,
        dropped: 0,
        room: 0,
        ended: 0,
        only_v6: false,
    });
    Ok(())
}
